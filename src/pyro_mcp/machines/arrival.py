"""Waiting for a file to appear, by inotify instead of by looking again and again."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path

IN_CREATE = 0x00000100  # include/uapi/linux/inotify.h
IN_MOVED_TO = 0x00000080
_libc = ctypes.CDLL(None, use_errno=True)


class Arrival:
    """Watches a directory from construction on, so that nothing that appears in between is missed."""

    def __init__(self, directory: Path) -> None:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if _libc.inotify_add_watch(self._fd, os.fsencode(directory), IN_CREATE | IN_MOVED_TO) < 0:
            number = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(number, f"inotify_add_watch {directory}: {os.strerror(number)}")

    def close(self) -> None:
        os.close(self._fd)

    async def something(self) -> None:
        """Wait until anything appeared since the last call."""
        loop = asyncio.get_running_loop()
        appeared = asyncio.Event()
        loop.add_reader(self._fd, appeared.set)
        try:
            await appeared.wait()
            os.read(self._fd, 65536)
        finally:
            loop.remove_reader(self._fd)
