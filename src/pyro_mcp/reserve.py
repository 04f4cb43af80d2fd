"""A few megabytes kept for the moment when the disk is full, so that what frees it still works.

Whoever fills the disk that holds the state directory, a guest or the user, leaves pyro with nothing: not a row can be
written, not a daemon started, and so nothing deleted. This file is given up just before that, for the database and for
the small files of a machine that is being made by a reset; it is made again when there is room.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from pyro_mcp.host_errors import disk_full

RESERVE_BYTES = 32 * 1024 * 1024
LOW_BYTES = 8 * 1024 * 1024
"""Less than that free, and the reserve is given up for what must work."""
ROOMY_BYTES = 4 * RESERVE_BYTES
"""So much free, and it is made again."""
KEPT_BYTES = 2 * RESERVE_BYTES
"""So much stays free when something large is written that a guest chose the size of."""


def keep_room(directory: Path, coming: int = 0) -> None:
    """Before `coming` bytes are written below `directory`: what everybody else needs must be left. Blocks shortly.

    Raises:
        HostError: it would not be.
    """
    found = os.statvfs(directory)
    if found.f_bavail * found.f_frsize < coming + KEPT_BYTES:
        raise disk_full(str(directory))


class Reserve:
    """The file `path`, on the disk that it is for. Threads may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()

    def free_bytes(self) -> int:
        """What this user may still write there."""
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize

    def low(self) -> bool:
        """The disk is as good as full."""
        try:
            return self.free_bytes() < LOW_BYTES
        except OSError:
            return False

    def give_up_when_low(self) -> bool:
        """Free it when the disk is as good as full; whether there was something to free."""
        return self.low() and self.give_up()

    def give_up(self) -> bool:
        with self._turn:
            try:
                # Cut first: that needs no room anywhere, not even for the directory's new content.
                os.truncate(self._path, 0)
                self._path.unlink()
            except OSError:
                return False
            return True

    def make(self) -> None:
        """Have it again if there is room; quietly not, else."""
        with self._turn, contextlib.suppress(OSError):
            if self._path.exists() or self.free_bytes() < ROOMY_BYTES:
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            except OSError:
                self._path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
