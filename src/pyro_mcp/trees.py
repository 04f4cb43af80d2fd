"""Walks through trees that somebody else made, and opens what is in them: no link is followed, none is looked behind,
nothing is passed over in silence (`Path.rglob` looks behind links and fails at a long one; `os.walk` leaves out what it
cannot list). Blocks.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path

MOST_DEPTH = 256
"""Directories within one another; deeper trees are refused, for the programs that have to go through them."""
_CHUNK = 1024 * 1024


def matching(directory: Path, pattern: str) -> list[Path]:
    """What a directory has under names like `pattern`, sorted; nothing where there is no such directory.

    Raises:
        OSError: it cannot be listed, for want of descriptors, say: since Python 3.13 `Path.glob` finds nothing then.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [directory / name for name in sorted(names) if fnmatchcase(name, pattern)]


def walk(top: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """All that is below a directory; a directory before what is in it. Raises OSError where one cannot be listed."""
    waiting = [os.fspath(top)]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            entries = list(found)
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def opened(place: str | os.PathLike[str], directory: int | None = None) -> BufferedReader:
    """A regular file to read, below the open `directory` where that is given: never what a link there leads to.

    A pipe or a device in its place does not hang, and leaves no descriptor behind.

    Raises:
        OSError: ELOOP where a link stands, EINVAL where something else does that is not a file.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(place, flags, dir_fd=directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(place))
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def extents(file: int) -> Iterator[tuple[int, int]]:
    """Where an open file has content: start and stop of what is no hole. Moves its offset. Raises OSError."""
    end = os.fstat(file).st_size
    at = 0
    while at < end:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
            stop = os.lseek(file, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # a hole up to the end
            start, stop = at, end  # a file system that does not tell
        yield start, stop
        at = stop


def copy_content(source: int, target: int) -> None:
    """The content of an open file into an empty one: what is a hole stays one. Raises OSError."""
    end = os.fstat(source).st_size
    for start, stop in extents(source):
        while start < stop:
            data = os.pread(source, min(_CHUNK, stop - start), start)
            if not data:
                break  # shorter by now; who wants the whole of it looks at the times
            start += _write(target, data, start)
    if os.fstat(target).st_size < end:
        os.ftruncate(target, end)


def _write(target: int, data: bytes, at: int) -> int:
    left = memoryview(data)
    while left:
        done = os.pwrite(target, left, at)
        left, at = left[done:], at + done
    return len(data)
