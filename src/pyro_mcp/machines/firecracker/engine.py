"""Boots, restores, adopts and ends Firecracker machines.

Every machine has a directory of its own with the cell that its Firecracker runs in (`cell.py`); all paths
that Firecracker knows are relative to that cell, so a snapshot fits into any other. The machine's directory
stands in the command line of its processes; that is how the half-started ones of a killed daemon are found.

    ID/machine.json   what a later daemon needs
    ID/base           what the next snapshot's memory builds on: a link to the last one's
    ID/cell/          disk.img (its own), root.img, seed.img, image (mounted, read-only), sockets
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from pyro_mcp import wholeness
from pyro_mcp.errors import ComponentMissing, EngineError, InvalidInput, PyroError
from pyro_mcp.machines import processes
from pyro_mcp.machines.endings import Endings, engine_errors, prune_templates, remove_stale
from pyro_mcp.machines.firecracker import boot, images, jail
from pyro_mcp.machines.firecracker import cell as cells
from pyro_mcp.machines.firecracker.kernel import Kernel, find_kernel
from pyro_mcp.machines.firecracker.machine import (
    AGENT_SECONDS,
    ATTEMPT_SECONDS,
    FirecrackerMachine,
    read_console,
)
from pyro_mcp.machines.firecracker.record import MachineRecord, SnapshotRecord
from pyro_mcp.machines.firecracker.vmm import wait_for_socket
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.processes import boot_id
from pyro_mcp.machines.protocol import DISK_GIB, Machine, MachineSpec, Probe, RootTree
from pyro_mcp.machines.record import RECORD
from pyro_mcp.machines.warming import warm

BOOT_SECONDS = 60.0
"""A boot takes under a second on real hardware, 3.5 s inside an emulation."""
PROBE_SECONDS = float(os.environ.get("PYRO_PROBE_SECONDS") or 5.0)
"""Where KVM exists and its guests spin, this is how long it takes to find out; once per boot of the computer."""

log = logging.getLogger(__name__)


class FirecrackerEngine:
    """See `machines.protocol.Engine` for what each method promises."""

    name = "firecracker"
    isolation = "Firecracker: a virtual machine on KVM with a kernel of its own; no network card, no shared directory"

    def __init__(self, *, firecracker: Path, agent: Path, machines: Path, cache: Path, limits: Limits) -> None:
        self._firecracker = firecracker
        self._agent = agent
        self._machines = machines
        self._cache = cache
        self._templates = cache / "firecracker" / "templates"
        self._seeds = cache / "firecracker" / "seeds"
        self.limits = limits
        self._boot_id = boot_id()
        self._locks: dict[Path, asyncio.Lock] = {}
        self._endings = Endings(
            machines,
            limits,
            record=RECORD,
            recorded=self._recorded,
            clear=lambda directory: cells.clear(directory / "cell"),
        )
        self._cell: cells.Confinement | None = None
        self._agent_digest: str | None = None

    async def cell(self) -> cells.Confinement:
        """The confinement that this computer allows, found out once."""
        if self._cell is None:
            self._cell = await asyncio.to_thread(jail.strongest, self._cache, self._firecracker, self._machines)
        return self._cell

    def look_again(self) -> None:
        """Something was installed: find out anew how to confine what is started from now on."""
        self._cell = None

    def agent_digest(self) -> str:
        """Names the agent's content; it is read once."""
        if self._agent_digest is None:
            self._agent_digest = hashlib.sha256(self._agent.read_bytes()).hexdigest()
        return self._agent_digest

    @property
    def limits_description(self) -> str:
        confined = f"; {self._cell.description}" if self._cell else ""
        return f"{self.limits.description.split(';')[0]}; memory: the virtual machine has no more{confined}"

    def _kernel(self) -> Kernel:
        kernel = find_kernel(self._cache)
        if kernel is None:
            raise ComponentMissing(
                "The guest kernel is missing.", hint="Fetch it with `pyro doctor --fix`.", code="kernel_missing"
            )
        return kernel

    def _machine(self, directory: Path, record: MachineRecord, console: int) -> FirecrackerMachine:
        return FirecrackerMachine(
            directory,
            record,
            console,
            endings=self._endings,
            seeds=self._seeds,
            limits=lambda: self.limits_description,
        )

    # -- templates

    async def template(self, root: RootTree, vcpu_count: int, disk_gib: int = DISK_GIB) -> Path:
        """The place of the environment's templates: one for each size of memory, made when it is first restored."""

        def identify() -> Path:
            kernel = self._kernel()
            stats = [path.stat() for path in (self._firecracker, kernel.vmlinux)]
            known = [root.digest, str(vcpu_count), kernel.release, boot.BOOT_ARGS, str(images.DISK_BYTES)]
            known += [f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats]
            known.append(self.agent_digest())
            place = self._templates / hashlib.sha256("\n".join(known).encode()).hexdigest()[:24]
            if not place.is_dir():
                wholeness.remove(place)
                place.mkdir(parents=True, exist_ok=True)
                (place / "environment").write_text(root.digest)
            return place

        with engine_errors():
            return await asyncio.to_thread(identify)

    async def _template_of(self, place: Path, spec: MachineSpec) -> Path:
        variant = place / f"{spec.mem_mib}"
        async with self._locks.setdefault(variant, asyncio.Lock()):
            if os.path.lexists(variant):
                try:
                    await asyncio.to_thread(SnapshotRecord.read, variant)
                except EngineError:
                    log.warning("the template %s is damaged and made anew", variant)
                    await asyncio.to_thread(wholeness.remove, variant)
            if not variant.exists():
                machine_id = f"template-{place.name[:8]}-{spec.mem_mib}-{os.getpid()}"
                machine = await self._boot(
                    MachineSpec(machine_id, spec.root, spec.vcpu_count, spec.mem_mib), BOOT_SECONDS
                )
                try:
                    partial = place / f"{spec.mem_mib}.{os.getpid()}.made"
                    await warm(machine.guest)  # its programs are in the memory that all machines map
                    with engine_errors():
                        await machine.snapshot(partial)
                    try:
                        os.rename(partial, variant)
                    except OSError:
                        await asyncio.to_thread(shutil.rmtree, partial, True)  # another daemon was first
                finally:
                    await self.destroy(machine_id)
        return variant

    def prune_templates(self, digests: set[str]) -> int:
        return prune_templates(self._templates, digests)

    # -- starting Firecracker

    async def _prepare(self, cell: cells.Confinement, spec: MachineSpec, disk: Path, shared: dict[str, Path]) -> Path:
        """The machine's directory with its cell, and its own copy of `disk`."""
        directory = self._machines / spec.id
        directory.mkdir(mode=0o700)
        os.mkfifo(directory / "console", 0o600)

        def furnish() -> None:
            root = images.root_image(spec.root)
            hole = images.placeholder(self._cache / "firecracker" / "no-seed.img")
            cell.furnish(directory, self._firecracker, {"root.img": root, "seed.img": hole, **shared}, disk)

        await asyncio.to_thread(furnish)
        return directory

    async def _start(self, cell: cells.Confinement, spec: MachineSpec, directory: Path) -> tuple[MachineRecord, int]:
        """Start Firecracker in its cell; gives the machine's record and its console."""
        # A FIFO that is never full for its writer: the console is bounded by the pipe's 64 KiB, and what comes
        # later is dropped, so that a guest can neither fill the disk nor stop its Firecracker.
        console = os.open(directory / "console", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            root = directory / "cell"
            arguments = ["--api-sock", "api.sock", "--level", "Error", "--", f"{directory}/"]
            argv = cell.command(directory, self._firecracker, arguments)
            argv = self.limits.command(spec.id, spec.vcpu_count, spec.mem_mib, argv, pinned=True)
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                cwd=root,
            )
            try:
                await wait_for_socket(root / "api.sock", lambda: process.returncode is None)
            except EngineError as error:
                said = read_console(console)[-400:].strip()
                raise EngineError(
                    f"{error.message} {said}".strip(), hint="Run `pyro doctor`.", code=error.code
                ) from None
            cell.settle(directory)
            keeper = processes.identify(process.pid)
            vmm = _child(process.pid) if cell.forks else keeper
            if keeper is None or vmm is None:
                raise EngineError("Firecracker exited as soon as it started.", code="firecracker_ended")
        except BaseException:
            os.close(console)
            raise
        pins = self.limits.pins(spec.id)
        record = MachineRecord(
            spec.id, self._boot_id, keeper, vmm, spec.vcpu_count, spec.mem_mib, pins, spec.root.digest
        )
        record.write(directory)
        return record, console

    async def _boot(self, spec: MachineSpec, seconds: float) -> FirecrackerMachine:
        kernel = self._kernel()
        cell = await self.cell()
        async with self._endings.whole_or_gone(spec.id):
            initrd = await asyncio.to_thread(boot.initrd, self._cache / "firecracker", self._agent, kernel)
            disk = await asyncio.to_thread(
                images.empty_disk, self._cache / "firecracker" / f"empty-{images.DISK_BYTES >> 30}.ext4"
            )
            directory = await self._prepare(cell, spec, disk, {"vmlinux": kernel.vmlinux, "initrd": initrd})
            record, console = await self._start(cell, spec, directory)
            machine = self._machine(directory, replace(record, fresh=True), console)
            await boot.configure(machine.vmm, spec)
            try:
                _, writer = await machine.connect_within(seconds, 0.1)
            except PyroError as error:
                raise EngineError(
                    f"The guest did not boot: {error.message} {machine.console_text()[-600:].strip()}".strip(),
                    hint="`pyro doctor` shows whether KVM can run guests here; --engine gvisor does not need KVM.",
                    code="guest_did_not_boot",
                ) from None
            writer.close()
            return machine

    async def probe(self, root: RootTree) -> Probe:
        started = time.monotonic()
        if not os.access(cells.KVM, os.R_OK | os.W_OK):
            return Probe(False, "/dev/kvm does not exist, or this user may not open it")
        machine_id = f"probe-{os.getpid()}-{time.monotonic_ns()}"
        try:
            async with asyncio.timeout(PROBE_SECONDS + 10):
                await self._boot(MachineSpec(machine_id, root, vcpu_count=1, mem_mib=256), PROBE_SECONDS)
        except (PyroError, OSError, TimeoutError) as error:
            detail = error.message if isinstance(error, PyroError) else str(error) or "it took too long"
            return Probe(False, f"a machine did not boot: {detail}")
        finally:
            await self.destroy(machine_id)
        return Probe(True, "a machine booted and its agent answered", round(time.monotonic() - started, 3))

    # -- machines

    async def restore(self, spec: MachineSpec, snapshot: Path, seed: Path | None = None) -> Machine:
        if (snapshot / "environment").exists():
            snapshot = await self._template_of(snapshot, spec)
        known = SnapshotRecord.read(snapshot)
        if (known.vcpu_count, known.mem_mib) != (spec.vcpu_count, spec.mem_mib):
            raise InvalidInput(
                f"The snapshot has {known.vcpu_count} CPUs and {known.mem_mib} MiB; a copy must have the same.",
                code="snapshot_shape",
            )
        if known.root_digest != spec.root.digest:
            raise InvalidInput("The snapshot belongs to another environment.", code="snapshot_environment")
        if known.seeded and seed is None:
            raise InvalidInput("The snapshot needs its seed, and none was given.", code="snapshot_seed")
        cell = await self.cell()
        async with self._endings.whole_or_gone(spec.id):
            directory = await self._prepare(cell, spec, snapshot / "disk.img", {"image": snapshot})
            if seed is not None:
                image = await asyncio.to_thread(images.seed_image, seed, self._seeds)
                (directory / "seeded").touch()
                jail.show_seed(directory, image)
            record, console = await self._start(cell, spec, directory)
            record = record.based_on(directory, snapshot / "memory")
            record.write(directory)
            machine = self._machine(directory, record, console)
            await machine.vmm.put(
                "/snapshot/load",
                {
                    "snapshot_path": "image/state",
                    "mem_backend": {"backend_type": "File", "backend_path": "image/memory"},
                    "enable_diff_snapshots": True,
                    "resume_vm": True,
                },
                AGENT_SECONDS,
            )
            await self._answers(machine)
            return machine

    async def _answers(self, machine: FirecrackerMachine) -> None:
        """Wait for the agent. A connection from before the guest noticed its restore may be reset: ask again."""
        async with asyncio.timeout(AGENT_SECONDS):
            while True:
                try:
                    async with asyncio.timeout(ATTEMPT_SECONDS):
                        await machine.guest.call("GET", "/v1/health")
                    return
                except (PyroError, TimeoutError) as error:
                    if not machine.alive():
                        said = machine.console_text()[-400:].strip()
                        raise EngineError(f"The machine exited while it was being restored: {said or error}") from error

    async def adopt(self, machine_id: str) -> Machine | None:
        directory = self._machines / machine_id
        record = MachineRecord.read(directory)
        if record is None or record.boot_id != self._boot_id or not processes.runs(record.vmm):
            return None
        await self.cell()
        self.limits.adopt(machine_id, record.pins)
        console = os.open(directory / "console", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        machine = self._machine(directory, record, console)
        try:
            await machine.wake()
        except PyroError:
            return None
        return machine

    async def destroy(self, machine_id: str) -> None:
        """Kill the machine now; its directory is removed behind the caller's back."""
        await self._endings.destroy(machine_id)

    def _recorded(self, directory: Path) -> list[processes.ProcessId]:
        record = MachineRecord.read(directory)
        return [record.vmm, record.keeper] if record is not None and record.boot_id == self._boot_id else []

    def leave(self) -> None:
        """Machines run on by themselves."""

    async def finish_cleaning(self) -> None:
        await self._endings.finish()

    async def sweep(self, keep: set[str]) -> list[str]:
        found = await self._endings.sweep(keep)
        await asyncio.to_thread(images.prune_seeds, self._seeds)
        await remove_stale([*self._templates.glob("*/*.made"), *self._templates.glob("*/*.partial")])
        return found


def _child(pid: int) -> processes.ProcessId | None:
    """The only child of a process (proc(5), /proc/PID/task/TID/children)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return processes.identify(int(children[0])) if children else None
