"""What every reader of foreign tar archives needs: bounds that tarfile lacks, holes instead of zeros, exact times."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import IO, Any

MAX_HEADER_BYTES = 1024 * 1024
"""One extended header (long name, pax records); real ones have a few KiB."""
MADE_UP = (UnicodeError, ValueError, IndexError, KeyError, OverflowError, RecursionError)
"""What tarfile raises of numbers that are none, such as those of a sparse file's map, and of extended headers without
end."""
_HEADER_TYPES = (b"x", b"g", b"X", b"L", b"K")
_CHUNK = 256 * 1024


class BoundedInfo(tarfile.TarInfo):
    """tarfile reads extended headers whole into memory, however large they say they are."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:
        if self.type in _HEADER_TYPES and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"an extended header of {self.size} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]


class Places:
    """What an archive has put where, so that no member goes through a link or a file of its own."""

    def __init__(self, into: str, mode: int, refused: Callable[[str, str, str], Exception]) -> None:
        """`mode` is that of directories on the way that it does not name; `refused` makes the error of a path, and
        of what is not a directory on its way: name and kind."""
        self._into, self._mode, self._refused = into, mode, refused
        self.kinds: dict[str, str] = {}
        """`file`, `dir` or `symlink`, by path."""

    def refuse_through(self, path: str) -> None:
        for parent in _above(path):
            kind = self.kinds.get(parent, "dir")
            if kind != "dir":
                raise self._refused(path, parent, kind)

    def make_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if not parent or self.kinds.get(parent) == "dir":
            return
        self.refuse_through(path)
        for parent in _above(path):
            if parent not in self.kinds:
                os.mkdir(os.path.join(self._into, parent), self._mode)
                self.kinds[parent] = "dir"


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


def copy_with_holes(source: IO[bytes], out: IO[bytes]) -> None:
    """A small archive may say that it holds gigabytes of nothing: that must not take their place on the disk."""
    while data := source.read(_CHUNK):
        if data.count(0) == len(data):
            out.seek(len(data), os.SEEK_CUR)
        else:
            out.write(data)
    out.truncate()


def copy_parts(source: IO[bytes], out: IO[bytes], parts: list[tuple[int, int]], size: int) -> None:
    """Write a file of which only parts (offset, length) are there, one after the other; the rest of it is holes."""
    for offset, length in parts:
        out.seek(offset)
        while length > 0 and (data := source.read(min(_CHUNK, length))):
            out.write(data)
            length -= len(data)
        if length > 0:
            return
    out.truncate(size)
    out.seek(size)


def mtime_ns(member: tarfile.TarInfo) -> int:
    """The time of a member in nanoseconds; 0 where it says none that can be."""
    text = member.pax_headers.get("mtime")
    try:
        # tarfile keeps pax times as float, which loses nanoseconds.
        value = int(Decimal(text) * 10**9) if text else int(member.mtime) * 10**9
    except (InvalidOperation, ValueError, OverflowError):
        return 0
    return value if abs(value) < 2**62 else 0
