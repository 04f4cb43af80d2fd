"""Holds what the files of a gVisor machine take on this computer's disk.

They are in three files, one each for /, /tmp and the workspace's upper layer, which the sandbox lets grow by a GiB at
a time. The latter two have the size of the disk (gvisor/spec.py): `df` shows it, and what is beyond is ENOSPC. This
release of gVisor gives / none, so there, and for all three together, this computer's kernel holds it: the sandbox's
limit of file size (RLIMIT_FSIZE, setrlimit(2)). A guest that meets it reads "File too large". The limit is for one
file; what the others take is taken off it a few times a second, rounded up to a whole GiB. Room that is freed can be
filled again.
"""

from __future__ import annotations

import contextlib
import os
import resource

GIB = 1 << 30
RESERVE = 2 * GIB
"""What stays free on this computer's disk: below that no machine's files grow."""

PROCESS_BYTES, PROCESS_HELD = 18 << 20, 48 << 10
"""What each process takes of the sandbox's file `systrap-memory`, which never shrinks: nearly all of it is a hole, and
less than the second figure is not (measured: 17.1 MiB and 58 KiB). Where that file cannot grow, the sandbox ends."""
PROCESS_ROOM = 512 << 20
"""For those that start until the next look."""


class Disk:
    """The files of one machine, by the process that holds them. Nothing here raises because it is gone."""

    def __init__(self, pid: int, memory: int) -> None:
        self._pid = pid
        # Its memory is such a file, too, and grows in the same steps.
        self._memory = 2 * memory
        self.limit: int | None = None
        """Bytes; None holds nothing."""
        self._paths: list[str] = []
        self._systrap: list[str] = []
        self._set: int | None = None

    def settle(self, *, again: bool = False) -> None:
        """Set what each file may grow to; `again` also when that was set before."""
        if self.limit is None:
            return
        with contextlib.suppress(OSError):
            sizes, free = self._sizes()
            self._hold(growth(self.limit, sizes, free, self._least()), again)

    def _least(self) -> int:
        held = sum(os.stat(path).st_blocks * 512 for path in self._systrap)
        return whole(max(self._memory, held // PROCESS_HELD * PROCESS_BYTES + PROCESS_ROOM))

    def held_bytes(self) -> int:
        """What its files take on this computer's disk; 0 when it is gone."""
        try:
            return sum(self._sizes()[0])
        except OSError:
            return 0

    def lift(self) -> None:
        """Hold nothing until the next `settle`."""
        with contextlib.suppress(OSError):
            self._hold(resource.RLIM_INFINITY, again=True)

    def _hold(self, value: int, again: bool) -> None:
        if value != self._set or again:
            _, hard = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
            resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (value, hard))
            self._set = value

    def _sizes(self) -> tuple[list[int], int]:
        if not self._paths:
            base = f"/proc/{self._pid}/fd"
            links = [(f"{base}/{entry}", os.readlink(f"{base}/{entry}")) for entry in os.listdir(base)]
            self._paths = [path for path, target in links if "filestore" in target]
            self._systrap = [path for path, target in links if target.startswith("/memfd:systrap-memory")]
        sizes = [os.stat(path).st_blocks * 512 for path in self._paths]
        if not self._paths:
            return sizes, RESERVE
        there = os.statvfs(self._paths[0])
        return sizes, there.f_bavail * there.f_frsize


def whole(size: int) -> int:
    """A size in bytes, rounded up to the steps in which files grow."""
    return -(-size // GIB) * GIB


def growth(limit: int, sizes: list[int], free: int, least: int) -> int:
    """What a single file may grow to, in whole steps: the limit without what the smaller files take.

    Args:
        limit: bytes that all files may take together.
        sizes: what each takes.
        free: what is free on the disk that they are on.
        least: what is never taken away, because the machine's memory and processes need it.
    """
    if free < RESERVE:
        return least
    smaller = sum(sizes) - max(sizes, default=0)
    return max(least, whole(max(0, limit - smaller)))
