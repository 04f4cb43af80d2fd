"""One running Firecracker machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from pyro_mcp import enclosure
from pyro_mcp.errors import EngineError, GuestUnreachable, PyroError
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.machines import processes
from pyro_mcp.machines.endings import Endings
from pyro_mcp.machines.firecracker import images, jail
from pyro_mcp.machines.firecracker.record import MachineRecord, SnapshotRecord
from pyro_mcp.machines.firecracker.vmm import Vmm, open_socket

AGENT_PORT = 1024
AGENT_SECONDS = 20.0
"""How long an agent may take to answer after a restore."""
ATTEMPT_SECONDS = 2.0
"""How long one attempt to connect may take; a guest that does not listen yet may not answer at all."""
SNAPSHOT_SECONDS = 120.0
WAKE_SECONDS = 2.0
"""How long a new daemon's start may wait for one machine."""
PAGE = os.sysconf("SC_PAGE_SIZE")


class FirecrackerMachine:
    """A machine that runs. See `machines.protocol.Machine` for what each method promises."""

    def __init__(
        self,
        directory: Path,
        record: MachineRecord,
        console: int,
        *,
        endings: Endings,
        seeds: Path,
        limits: Callable[[], str],
    ) -> None:
        self.id = record.id
        self.directory = directory
        self.record = record
        self.guest = Guest(self.connect)
        self.vmm = Vmm(directory / "cell" / "api.sock")
        self._endings = endings
        self._seeds = seeds
        self._limits = limits
        self._console = console
        self._snapshotting = asyncio.Lock()
        self._waking: asyncio.Task[None] | None = None
        self._open: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()

    def __del__(self) -> None:
        os.close(self._console)

    @property
    def limits(self) -> str:
        return self._limits()

    def alive(self) -> bool:
        return processes.runs(self.record.vmm)

    async def connect(self) -> Streams:
        """A connection to the agent; waits while a snapshot is taken.

        Raises:
            GuestUnreachable: the machine is gone, or its agent does not listen within 20 s.
        """
        return await self.connect_within(AGENT_SECONDS, ATTEMPT_SECONDS)

    async def connect_within(self, seconds: float, attempt_seconds: float) -> Streams:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    async with self._snapshotting:
                        pass
                    found = await self._attempt(attempt_seconds)
                    if found is not None:
                        return found
                    if not self.alive():
                        raise GuestUnreachable("The machine is gone.")
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise GuestUnreachable(f"The agent did not start listening within {seconds:.0f} s.") from None

    async def _attempt(self, seconds: float) -> Streams | None:
        """One connection through Firecracker's socket (docs/vsock.md of Firecracker), when the agent takes it."""
        try:
            reader, writer = await open_socket(self.directory / "cell" / "v.sock")
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise GuestUnreachable(f"The machine's socket: {error}.") from error
        # Known before the first byte: a snapshot that comes now ends it.
        self._open.add(writer)
        try:
            async with asyncio.timeout(seconds):
                writer.write(b"CONNECT %d\n" % AGENT_PORT)
                if (await reader.readuntil(b"\n")).startswith(b"OK "):
                    return reader, writer
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        except BaseException:
            writer.transport.abort()
            raise
        writer.transport.abort()
        return None

    async def show_seed(self, tree: Path | None) -> None:
        target = self.directory / "cell" / "seed.img"
        shown = self.directory / "seeded"
        if tree is None and not shown.exists():
            return
        if shown.exists():
            enclosure.unmount(str(target))
            shown.unlink()
        if tree is not None:
            image = await asyncio.to_thread(images.seed_image, tree, self._seeds)
            shown.touch()
            jail.show_seed(self.directory, image)
        # The same path, opened anew; the guest is told of the new size.
        await self.vmm.patch("/drives/seed", {"drive_id": "seed", "path_on_host": "seed.img"})

    async def snapshot(self, destination: Path) -> None:
        async with self._snapshotting:
            partial = destination.with_name(destination.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            base, fresh = self.record.usable_base(), self.record.fresh
            try:
                with self._outbox() as out:
                    if base is not None:
                        await asyncio.to_thread(images.clone, base, out / "memory")
                    # Firecracker forgets what was dirty as soon as it has written it.
                    self._rebase(None)
                    jail.lend(self.directory, out)
                    await self._write(partial, "Diff" if fresh or base is not None else "Full")
                    for name in jail.WRITTEN:
                        await asyncio.to_thread(images.move, out / name, partial / name)
                jail.take_back(self.directory, partial)
                SnapshotRecord.write(partial, self.record, seeded=(self.directory / "seeded").exists())
                os.replace(partial, destination)
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, partial, True)
                raise
            self._rebase(destination / "memory")

    @contextlib.contextmanager
    def _outbox(self) -> Iterator[Path]:
        """The directory in the cell that Firecracker writes into, empty before and after.

        What is mounted now would not appear in the cell of a machine that an earlier daemon started, in a mount
        namespace that ended with it. It is held open: a link that a broken Firecracker puts in its place leads nowhere.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.directory / "cell" / "out", flags)
        out = Path(f"/proc/self/fd/{descriptor}")
        try:
            _empty(out)
            yield out
        finally:
            try:
                _empty(out)
            finally:
                os.close(descriptor)

    async def _write(self, partial: Path, kind: str) -> None:
        """Memory, devices and disk of one moment. The machine rests meanwhile, and goes on whatever happens."""
        try:
            await self.vmm.pause()
            request = {"snapshot_type": kind, "snapshot_path": "out/state", "mem_file_path": "out/memory"}
            results = await asyncio.gather(
                self.vmm.put("/snapshot/create", request, SNAPSHOT_SECONDS),
                asyncio.to_thread(images.clone, self.directory / "cell" / "disk.img", partial / "disk.img"),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        finally:
            await asyncio.shield(self._go_on())

    async def wake(self) -> None:
        """Let the machine go on if an earlier daemon was killed during its snapshot.

        Firecracker says nothing before it has written all of that. Nobody waits for it here: connections do.

        Raises:
            EngineError: Firecracker does not answer and is not about to.
        """
        try:
            await self._wake(WAKE_SECONDS)
        except EngineError as error:
            if error.code != "firecracker_timeout":
                raise
            await self._snapshotting.acquire()
            self._waking = asyncio.create_task(self._wake_later())

    async def _wake(self, seconds: float) -> None:
        if await self.vmm.state(seconds) == "Paused":
            await self.vmm.resume()

    async def _wake_later(self) -> None:
        try:
            with contextlib.suppress(PyroError):  # whoever uses it next hears of that
                await self._wake(SNAPSHOT_SECONDS)
        finally:
            self._snapshotting.release()

    async def _go_on(self) -> None:
        with contextlib.suppress(PyroError):  # it may be gone; whoever uses it next hears of that
            await self.vmm.resume()
        # A snapshot resets the guest's ends of all connections and says nothing to this side.
        for writer in list(self._open):
            writer.transport.abort()
        self._open.clear()

    def _rebase(self, memory: Path | None) -> None:
        self.record = self.record.based_on(self.directory, memory)
        self.record.write(self.directory)

    @property
    def memory_limit_bytes(self) -> int:
        return self.record.mem_mib * 1024 * 1024

    def memory_bytes(self) -> int:
        """What the guest has touched. It cannot have more than its memory; Firecracker's own does not count."""
        resident = int(Path(f"/proc/{self.record.vmm.pid}/statm").read_text().split()[1]) * PAGE
        return min(resident, self.memory_limit_bytes)

    @property
    def main_pid(self) -> int:
        return self.record.vmm.pid

    def hold_disk(self, limit_bytes: int) -> None:
        """Its disk has the size that it has; a workspace of another size is refused before it is made."""

    def settle_disk(self) -> None:
        """Its own kernel holds the limit."""

    async def wait_gone(self) -> str:
        await processes.wait_gone(self.record.vmm)
        said = self.console_text()[-400:].strip()
        return "the Firecracker process ended" + (f": {said}" if said else "")

    def console_text(self) -> str:
        """What the serial console and Firecracker printed, at most 64 KiB from the start, once."""
        return read_console(self._console)

    async def destroy(self) -> None:
        await self._endings.destroy(self.id)


def _empty(directory: Path) -> None:
    for left in list(directory.iterdir()):
        left.unlink(missing_ok=True)


def read_console(descriptor: int) -> str:
    try:
        return os.read(descriptor, 65536).decode(errors="replace")
    except OSError:
        return ""
