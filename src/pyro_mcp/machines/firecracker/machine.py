"""One running Firecracker machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp import enclosure
from pyro_mcp.errors import EngineError, GuestUnreachable, PyroError
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.machines import processes
from pyro_mcp.machines.firecracker import images, jail
from pyro_mcp.machines.firecracker.vmm import Vmm, open_socket
from pyro_mcp.machines.processes import ProcessId

if TYPE_CHECKING:
    from pyro_mcp.machines.firecracker.engine import FirecrackerEngine

RECORD = "machine.json"
SNAPSHOT_RECORD = "snapshot.json"
AGENT_PORT = 1024
AGENT_SECONDS = 20.0
"""How long an agent may take to answer after a restore."""
ATTEMPT_SECONDS = 2.0
"""How long one attempt to connect may take; a guest that does not listen yet may not answer at all."""
SNAPSHOT_SECONDS = 120.0
WAKE_SECONDS = 2.0
"""How long a new daemon's start may wait for one machine."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class MachineRecord:
    """What a later daemon needs to adopt the machine."""

    id: str
    boot_id: str
    keeper: ProcessId
    """unshare(1), which ends when the machine does; the machine itself where there are no namespaces."""
    vmm: ProcessId
    vcpu_count: int
    mem_mib: int
    pins: list[int]
    root_digest: str
    base: str | None = None
    """The memory file of the last snapshot or restore: what a diff snapshot builds on."""
    base_inode: int = 0
    fresh: bool = False
    """Booted and never snapshotted: all of its memory that is not zero counts as dirty."""

    def write(self, directory: Path) -> None:
        partial = directory / (RECORD + ".partial")
        partial.write_text(json.dumps(asdict(self)))
        os.replace(partial, directory / RECORD)

    @classmethod
    def read(cls, directory: Path) -> MachineRecord | None:
        """The record, or None when the machine was not finished or the file is damaged."""
        try:
            raw = json.loads((directory / RECORD).read_text())
            return cls(**{**raw, "keeper": ProcessId(**raw["keeper"]), "vmm": ProcessId(**raw["vmm"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def based_on(self, directory: Path, memory: Path | None) -> MachineRecord:
        """A record with another base, which stays usable when the snapshot that it belongs to is deleted."""
        own = directory / "base"
        own.unlink(missing_ok=True)
        if memory is None:
            return replace(self, base=None, base_inode=0, fresh=False)
        try:
            os.link(memory, own)
        except OSError:
            own = memory  # a template on another file system; it is not deleted
        return replace(self, base=str(own), base_inode=os.stat(own).st_ino, fresh=False)

    def usable_base(self) -> Path | None:
        """The base, when it is still that very file."""
        try:
            if self.base is not None and os.stat(self.base).st_ino == self.base_inode:
                return Path(self.base)
        except OSError:
            pass
        return None


@dataclass(frozen=True)
class SnapshotRecord:
    """What a restore must know of a snapshot."""

    vcpu_count: int
    mem_mib: int
    root_digest: str
    seeded: bool
    """Whether the guest had a seed: a copy needs the same."""
    sizes: dict[str, int]
    """Bytes of each of its files: one that was cut is noticed before a machine runs into its end."""

    @classmethod
    def write(cls, directory: Path, machine: MachineRecord, seeded: bool) -> None:
        """Record what `directory` holds, which is a snapshot of that machine."""
        sizes = {name: (directory / name).stat().st_size for name in jail.SNAPSHOT_MODES}
        record = cls(machine.vcpu_count, machine.mem_mib, machine.root_digest, seeded, sizes)
        (directory / SNAPSHOT_RECORD).write_text(json.dumps(asdict(record)))

    @classmethod
    def read(cls, directory: Path) -> SnapshotRecord:
        """Raises EngineError when the snapshot is not whole."""
        try:
            record = cls(**json.loads((directory / SNAPSHOT_RECORD).read_text()))
            if record.sizes != {name: (directory / name).stat().st_size for name in jail.SNAPSHOT_MODES}:
                raise ValueError("a file was cut")
            return record
        except (OSError, ValueError, TypeError):
            raise EngineError(
                f"The snapshot {directory.name} is not whole.", hint="Delete it.", code="snapshot_damaged"
            ) from None


class FirecrackerMachine:
    """A machine that runs. See `machines.protocol.Machine` for what each method promises."""

    def __init__(self, engine: FirecrackerEngine, directory: Path, record: MachineRecord, console: int) -> None:
        self.id = record.id
        self.directory = directory
        self.record = record
        self.guest = Guest(self.connect)
        self.vmm = Vmm(directory / "cell" / "api.sock")
        self._engine = engine
        self._console = console
        self._snapshotting = asyncio.Lock()
        self._waking: asyncio.Task[None] | None = None
        self._open: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()

    def __del__(self) -> None:
        os.close(self._console)

    @property
    def limits(self) -> str:
        return self._engine.limits_description

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
            raise GuestUnreachable(f"The agent did not listen within {seconds:.0f} s.") from None

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
            image = await asyncio.to_thread(images.seed_image, tree, self._engine.seeds)
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

    async def wait_gone(self) -> str:
        await processes.wait_gone(self.record.vmm)
        said = self.console_text()[-400:].strip()
        return "the Firecracker process ended" + (f": {said}" if said else "")

    def console_text(self) -> str:
        """What the serial console and Firecracker printed, at most 64 KiB from the start, once."""
        return read_console(self._console)

    async def destroy(self) -> None:
        await self._engine.destroy(self.id)


def _empty(directory: Path) -> None:
    for left in list(directory.iterdir()):
        left.unlink(missing_ok=True)


def read_console(descriptor: int) -> str:
    try:
        return os.read(descriptor, 65536).decode(errors="replace")
    except OSError:
        return ""
