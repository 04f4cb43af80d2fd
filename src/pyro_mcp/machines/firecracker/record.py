"""What is kept of a Firecracker machine, and of a snapshot, on disk."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pyro_mcp import wholeness
from pyro_mcp.errors import EngineError
from pyro_mcp.machines.firecracker import jail
from pyro_mcp.machines.processes import ProcessId
from pyro_mcp.machines.record import read_record, write_record

SNAPSHOT_RECORD = "snapshot.json"


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
        write_record(self, directory)

    @classmethod
    def read(cls, directory: Path) -> MachineRecord | None:
        """The record, or None when the machine was not finished or the file is damaged."""
        return read_record(
            directory,
            lambda raw: cls(**{**raw, "keeper": ProcessId(**raw["keeper"]), "vmm": ProcessId(**raw["vmm"])}),
        )

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
    times: dict[str, int] | None = None
    """When each was last written, in nanoseconds: nothing writes one afterwards. None in those of an earlier pyro."""

    @classmethod
    def write(cls, directory: Path, machine: MachineRecord, seeded: bool) -> None:
        """Record what `directory` holds, which is a snapshot of that machine."""
        found = {name: (directory / name).lstat() for name in jail.SNAPSHOT_MODES}
        sizes = {name: info.st_size for name, info in found.items()}
        times = {name: info.st_mtime_ns for name, info in found.items()}
        record = cls(machine.vcpu_count, machine.mem_mib, machine.root_digest, seeded, sizes, times)
        (directory / SNAPSHOT_RECORD).write_text(json.dumps(asdict(record)))

    @classmethod
    def read(cls, directory: Path) -> SnapshotRecord:
        """Raises EngineError when the snapshot is not whole."""
        try:
            record = cls(**wholeness.read_record(directory / SNAPSHOT_RECORD))
            found = {name: (directory / name).lstat() for name in jail.SNAPSHOT_MODES}
            if record.sizes != {name: info.st_size for name, info in found.items()}:
                raise ValueError("a file was cut")
            if record.times is not None and record.times != {name: info.st_mtime_ns for name, info in found.items()}:
                raise ValueError("a file was changed")
            return record
        except (OSError, ValueError, TypeError):
            raise EngineError(
                f"The snapshot {directory.name} is incomplete.", hint="Delete it.", code="snapshot_damaged"
            ) from None
