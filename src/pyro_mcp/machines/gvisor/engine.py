"""Boots, restores, adopts and ends gVisor machines.

Every machine has a directory of its own under `machines/`, with its own runsc root, so that ending one is:
kill its processes, remove its directory. `runsc delete` (1.5-2 s) is never used. The path of that directory
stands in the command line of each of the machine's processes; that is how the half-started ones of a killed
daemon are found.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import time
from pathlib import Path

from pyro_mcp import enclosure, wholeness
from pyro_mcp.errors import EngineError, PyroError
from pyro_mcp.machines import processes
from pyro_mcp.machines.agents import Agents
from pyro_mcp.machines.endings import Endings, engine_errors, prune_templates, remove_stale
from pyro_mcp.machines.gvisor import spec as bundles
from pyro_mcp.machines.gvisor.channel import Channel
from pyro_mcp.machines.gvisor.machine import AGENT_SECONDS, GvisorMachine, pids_from_state, sealed_files
from pyro_mcp.machines.gvisor.record import AGENT_NAME, DIALS, PARTS, MachineRecord
from pyro_mcp.machines.gvisor.rest import Rest
from pyro_mcp.machines.gvisor.runsc import FLAGS, Runsc
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.processes import ProcessId, boot_id
from pyro_mcp.machines.protocol import DISK_GIB, Machine, MachineSpec, Probe, RootTree
from pyro_mcp.machines.record import RECORD

log = logging.getLogger(__name__)


class GvisorEngine:
    """See `machines.protocol.Engine` for what each method promises."""

    name = "gvisor"
    isolation = "gVisor: a user-space kernel behind seccomp; no network card, no shared directory"

    def __init__(
        self, *, runsc: Path, agent: Path, machines: Path, cache: Path, limits: Limits, shown: enclosure.Shown
    ) -> None:
        self._runsc = Runsc(runsc, limits)
        self._machines = machines
        self._shown = shown
        self._channels: dict[str, Channel] = {}
        self._rests: dict[str, Rest] = {}
        self._templates = cache / "templates"
        self._agents = Agents(agent, cache / "agents")
        self.limits = limits
        self._boot_id = boot_id()
        self._template_locks: dict[str, asyncio.Lock] = {}
        self._endings = Endings(
            machines,
            limits,
            record=RECORD,
            recorded=self._recorded,
            clear=self._clear,
        )

    def _clear(self, directory: Path) -> None:
        rest = self._rests.pop(directory.name, None)
        if rest is not None:
            rest.close()
        channel = self._channels.pop(directory.name, None)
        if channel is not None:
            channel.close()
        enclosure.unmount(str(directory / "seed" / "tree"))

    async def _prepare(self, spec: MachineSpec, agent: Path) -> Path:
        directory = self._machines / spec.id
        directory.mkdir(mode=0o700)
        for part in PARTS:
            (directory / part).mkdir(mode=0o755)
        shown = self._shown
        configuration = bundles.bundle(
            directory=directory,
            shown=shown(directory),
            root=shown(spec.root.path),
            agent=shown(agent),
            hostname="pyro",
            disk_gib=spec.disk_gib,
        )
        bundles.write_bundle(directory, configuration)
        self._channel(directory).listen()
        return directory

    def _channel(self, directory: Path) -> Channel:
        channel = self._channels[directory.name] = Channel(directory / "run")
        return channel

    # -- templates

    async def template(self, root: RootTree, vcpu_count: int, disk_gib: int = DISK_GIB) -> Path:
        with engine_errors():
            agent = await asyncio.to_thread(self._agents.current)
            runsc = await asyncio.to_thread(self._runsc.path.stat)
            tree = await asyncio.to_thread(root.path.stat)
        key = hashlib.sha256(
            "\n".join(
                # The inode: a tree that was built again is another one to a checkpoint's open files.
                [
                    root.digest,
                    str(tree.st_ino),
                    str(vcpu_count),
                    str(disk_gib),
                    agent.parent.name,
                    str(runsc.st_size),
                    str(runsc.st_mtime_ns),
                    *FLAGS,
                ]
            ).encode()
        ).hexdigest()[:24]
        place = self._templates / key
        async with self._template_locks.setdefault(key, asyncio.Lock()):
            if os.path.lexists(place):
                damage = await asyncio.to_thread(wholeness.broken, place)
                if damage is not None:
                    log.warning("the template %s is made anew: %s", key, damage)
                    await asyncio.to_thread(wholeness.remove, place)
            if not place.exists():
                machine_id = f"template-{key[:8]}-{os.getpid()}"
                await self._make_template(MachineSpec(machine_id, root, vcpu_count, 1024, disk_gib), place)
        return place

    def prune_templates(self, digests: set[str]) -> int:
        return prune_templates(self._templates, digests)

    async def _make_template(self, spec: MachineSpec, place: Path) -> None:
        machine = await self._boot(spec)
        try:
            partial = place.with_name(f"{place.name}.{os.getpid()}.made")
            with engine_errors():
                self._templates.mkdir(parents=True, exist_ok=True)
                await machine.snapshot(partial)
                (partial / "environment").write_text(spec.root.digest)
                # With hashes: every machine of this environment begins as these bytes.
                await asyncio.to_thread(wholeness.seal, partial, sealed_files(partial), hashed=True)
            try:
                os.rename(partial, place)
            except OSError:
                await asyncio.to_thread(shutil.rmtree, partial, True)  # another daemon was first
        finally:
            await self.destroy(spec.id)

    async def _boot(self, spec: MachineSpec) -> GvisorMachine:
        agent = await asyncio.to_thread(self._agents.current)
        async with self._endings.whole_or_gone(spec.id):
            directory = await self._prepare(spec, agent)
            await self._runsc.run(
                directory, "run", "--detach", f"--bundle={directory}", spec.id, wrap=spec, pinned=True
            )
            return await self._started(spec, directory, agent)

    async def probe(self, root: RootTree) -> Probe:
        started = time.monotonic()
        machine_id = f"probe-{os.getpid()}-{time.monotonic_ns()}"
        try:
            await self._boot(MachineSpec(machine_id, root, vcpu_count=1, mem_mib=512))
        except (PyroError, OSError) as error:
            return Probe(False, f"a machine did not boot: {error}")
        finally:
            await self.destroy(machine_id)
        return Probe(True, "a machine booted and its agent answered", round(time.monotonic() - started, 3))

    # -- machines

    async def restore(self, spec: MachineSpec, snapshot: Path, seed: Path | None = None) -> Machine:
        agent = await self._agent_of(snapshot)
        async with self._endings.whole_or_gone(spec.id):
            directory = await self._prepare(spec, agent)
            if seed is not None:
                enclosure.bind_read_only(seed, directory / "seed" / "tree")
            await self._runsc.run(
                directory,
                "restore",
                "--detach",
                f"--image-path={snapshot}",
                f"--bundle={directory}",
                spec.id,
                wrap=spec,
            )
            return await self._started(spec, directory, agent)

    async def _agent_of(self, snapshot: Path) -> Path:
        """The agent that runs in a snapshot."""
        damage = await asyncio.to_thread(wholeness.broken, snapshot)
        if damage is not None and (snapshot / wholeness.SEAL).exists():
            raise EngineError(
                f"The snapshot {snapshot.name} was changed on this computer's disk: {damage}.",
                hint="It cannot be trusted and will not be used. Delete it.",
                code="snapshot_damaged",
            )
        try:
            name, _, channel = wholeness.read_text(snapshot / AGENT_NAME).partition(" ")
        except OSError:
            raise EngineError(
                f"The snapshot {snapshot.name} is incomplete.", hint="Delete it.", code="snapshot_damaged"
            ) from None
        if channel != DIALS:
            raise EngineError(
                "This snapshot was made by an earlier pyro, whose agent needs a directory that both sides can "
                "write to.",
                hint="It cannot be restored safely: delete it. A reset without a snapshot returns to the baseline.",
                code="snapshot_of_earlier_pyro",
            )
        return await asyncio.to_thread(self._agents.named, name)

    async def _started(self, spec: MachineSpec, directory: Path, agent: Path) -> GvisorMachine:
        sandbox, gofer = (processes.identify(pid) for pid in pids_from_state(directory / "runsc", spec.id))
        if sandbox is None or gofer is None:
            raise EngineError("The sandbox exited as soon as it started.", code="sandbox_ended")
        try:
            self.limits.pin(spec.id, sandbox.pid, gofer.pid)
        except OSError as error:
            raise EngineError("The sandbox exited as soon as it started.", code="sandbox_ended") from error
        record = MachineRecord(
            id=spec.id,
            boot_id=self._boot_id,
            sandbox=sandbox,
            gofer=gofer,
            vcpu_count=spec.vcpu_count,
            mem_mib=spec.mem_mib,
            pins=self.limits.pins(spec.id),
            agent=agent.parent.name,
            channel=DIALS,
        )
        record.write(directory)
        channel = self._channels[spec.id]
        channel.alive, channel.dialler = (lambda: processes.runs(sandbox)), gofer.pid
        await channel.answers(AGENT_SECONDS)
        return self._machine(channel, directory, record)

    def _machine(self, channel: Channel, directory: Path, record: MachineRecord) -> GvisorMachine:
        machine = GvisorMachine(self._runsc, self._endings, channel, directory, record)
        self._rests[record.id] = machine.rest
        return machine

    async def adopt(self, machine_id: str) -> Machine | None:
        directory = self._machines / machine_id
        record = MachineRecord.read(directory)
        if record is None or record.boot_id != self._boot_id:
            return None
        if not (processes.runs(record.sandbox) and processes.runs(record.gofer)):
            return None
        if record.channel != DIALS:
            raise EngineError(
                "it was ended, because an earlier pyro had started it in a way that let its guest write this "
                "computer's files",
                code="machine_of_earlier_pyro",
            )
        self.limits.adopt(machine_id, record.pins)
        channel = self._channel(directory)
        sandbox = record.sandbox
        channel.alive, channel.dialler = (lambda: processes.runs(sandbox)), record.gofer.pid
        # Its agent looks for this, whatever an earlier daemon was in the middle of when it was killed.
        channel.listen()
        machine = self._machine(channel, directory, record)
        machine.rest.go_on()
        return machine

    async def destroy(self, machine_id: str) -> None:
        """Kill the machine now; its directory is removed behind the caller's back."""
        await self._endings.destroy(machine_id)

    def _recorded(self, directory: Path) -> list[ProcessId]:
        record = MachineRecord.read(directory)
        return [record.sandbox, record.gofer] if record is not None and record.boot_id == self._boot_id else []

    def leave(self) -> None:
        for rest in self._rests.values():
            rest.close()

    async def finish_cleaning(self) -> None:
        await self._endings.finish()

    async def sweep(self, keep: set[str]) -> list[str]:
        found = await self._endings.sweep(keep)
        await remove_stale([*self._templates.glob("*.partial"), *self._templates.glob("*.made")])
        return found
