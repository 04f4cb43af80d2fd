"""One running gVisor sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

from pyro_mcp import enclosure, trees, wholeness
from pyro_mcp.errors import EngineError
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.machines import processes
from pyro_mcp.machines.endings import Endings
from pyro_mcp.machines.gvisor.channel import Channel
from pyro_mcp.machines.gvisor.disk import Disk
from pyro_mcp.machines.gvisor.record import AGENT_NAME, DIALS, MachineRecord
from pyro_mcp.machines.gvisor.rest import Rest
from pyro_mcp.machines.gvisor.runsc import PANIC, Runsc
from pyro_mcp.reserve import keep_room

AGENT_SECONDS = 20.0
"""How long an agent may take to answer after a restore or a thaw; 50 ms is usual on an idle core."""


class GvisorMachine:
    """A machine that runs. See `machines.protocol.Machine` for what each method promises."""

    def __init__(
        self, runsc: Runsc, endings: Endings, channel: Channel, directory: Path, record: MachineRecord
    ) -> None:
        self.id = record.id
        self.directory = directory
        self.record = record
        self.guest = Guest(self.connect)
        self._runsc = runsc
        self._endings = endings
        self._channel = channel
        self._memory_fd_path: str | None = None
        self._disk = Disk(record.sandbox.pid, record.mem_mib << 20)
        self._frozen = asyncio.Lock()
        self._quiet = Guest(lambda: channel.take(AGENT_SECONDS, quietly=True))
        self.rest = Rest((record.sandbox, record.gofer), self._idle)
        channel.used = self.rest.used
        self.rest.used()

    async def _idle(self) -> bool:
        idle = (await self._quiet.call("GET", "/v1/idle")).record().flag("idle")
        return idle and not self._channel.awaited  # the agent cannot know who waits for it to dial

    @property
    def limits(self) -> str:
        return self._runsc.limits.description

    def alive(self) -> bool:
        return processes.runs(self.record.sandbox)

    async def connect(self) -> Streams:
        """A connection that the agent dialled; waits while it is about to.

        Raises:
            GuestUnreachable: the machine is gone, or its agent does not dial within 20 s.
        """
        return await self._channel.take(AGENT_SECONDS)

    async def show_seed(self, tree: Path | None) -> None:
        target = self.directory / "seed" / "tree"
        enclosure.unmount(str(target))
        if tree is not None:
            enclosure.bind_read_only(tree, target)

    async def snapshot(self, destination: Path) -> None:
        async with self._frozen:
            with self.rest.held():
                await self._snapshot(destination)

    async def _snapshot(self, destination: Path) -> None:
        await asyncio.to_thread(self._keep_room, destination.parent)
        partial = destination.with_name(destination.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            self._disk.lift()  # the sentry writes the image, too
            await self._freeze()
            (partial / AGENT_NAME).write_text(f"{self.record.agent} {DIALS}")
            await self._runsc.run(
                self.directory,
                "checkpoint",
                "--leave-running",
                "--compression=none",
                f"--image-path={partial}",
                self.id,
            )
            await asyncio.to_thread(wholeness.seal, partial, sealed_files(partial), hashed=False)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            self._disk.settle(again=True)
            self._channel.listen()
        os.replace(partial, destination)

    def _keep_room(self, directory: Path) -> None:
        # A checkpoint that fails for want of room leaves the guest stopped for good: it is not begun.
        try:
            coming = self.memory_bytes() + self._disk.held_bytes()
        except FileNotFoundError:
            return  # the machine is gone; what follows says so
        except PermissionError:
            coming = 0  # one that an earlier daemon's enclosure began: its files are shown to nobody
        directory.mkdir(parents=True, exist_ok=True)
        keep_room(directory, coming)

    async def _freeze(self) -> None:
        """Have the agent close all its connections, which a checkpoint would choke on, and wait until it has.

        It looks for a socket again at once. There is none until the checkpoint is made; the copy finds one of its own.
        """
        await self.guest.call("GET", "/v1/health")  # a stopped one is found out before anything is closed
        last = await self.connect()
        self._channel.hush()
        try:
            async with asyncio.timeout(AGENT_SECONDS):
                await self.guest.call("POST", "/v1/freeze", json_body={}, connection=last)
        except TimeoutError:
            raise EngineError(
                f"The agent did not become idle within {AGENT_SECONDS:.0f} s; no snapshot was made.",
                hint="The machine may be very busy. Try again.",
                code="freeze_timeout",
            ) from None
        finally:
            last[1].close()

    @property
    def memory_limit_bytes(self) -> int:
        return self.record.mem_mib * 1024 * 1024

    def memory_bytes(self) -> int:
        """Memory that the guest uses: the allocated part of the sandbox's memory file."""
        if self._memory_fd_path is None:
            base = f"/proc/{self.record.sandbox.pid}/fd"
            for entry in os.listdir(base):
                if os.readlink(f"{base}/{entry}").startswith("/memfd:runsc-memory"):
                    self._memory_fd_path = f"{base}/{entry}"
                    break
            else:
                raise FileNotFoundError(f"{base}: no memory file")
        return os.stat(self._memory_fd_path).st_blocks * 512

    @property
    def main_pid(self) -> int:
        return self.record.sandbox.pid

    def hold_disk(self, limit_bytes: int) -> None:
        self._disk.limit = limit_bytes
        self._disk.settle()

    def settle_disk(self) -> None:
        self._disk.settle()

    async def wait_gone(self) -> str:
        await processes.wait_gone(self.record.sandbox)
        said = [_read(self.directory / "runsc.log")[-400:], _read(self.directory / PANIC)[:400]]
        return ": ".join(["the sandbox process ended", *filter(None, map(str.strip, said))])

    async def destroy(self) -> None:
        self.rest.close()
        await self._endings.destroy(self.id)


def _read(log: Path) -> str:
    try:
        with log.open(errors="replace") as opened:
            return opened.read(1 << 20)
    except OSError:
        return ""


def sealed_files(image: Path) -> list[str]:
    """The files of an image, which nothing may change any more."""
    return sorted(entry.name for entry in os.scandir(image) if entry.name != wholeness.SEAL)


def pids_from_state(runsc_root: Path, machine_id: str) -> tuple[int, int]:
    """Sandbox and gofer pid, as runsc keeps them in its state file."""
    for path in trees.matching(runsc_root, f"{machine_id}_sandbox:*.state"):
        state = json.loads(path.read_text())
        return int(state["sandbox"]["pid"]), int(state["goferPid"])
    raise EngineError(f"runsc kept no state of machine {machine_id}.")
