"""Copies relative to open directories: no link is followed, no name is taken that somebody has. Blocks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from pyro_mcp.trees import copy_content

OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a directory is opened from the one above it."""


def copy_tree(source: Path, directory: int, name: str) -> None:
    """A file, link or tree to a new name in a directory: contents, modes and times."""
    info = source.lstat()
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(source), name, dir_fd=directory)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=directory, follow_symlinks=False)
        return
    if stat.S_ISDIR(info.st_mode):
        os.mkdir(name, 0o700, dir_fd=directory)
        inner = os.open(name, OPEN, dir_fd=directory)
        try:
            for child in os.listdir(source):
                copy_tree(source / child, inner, child)
            os.fchmod(inner, stat.S_IMODE(info.st_mode) | stat.S_IRWXU)
            os.utime(inner, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(inner)
        return
    if not info.st_mode & stat.S_IRUSR:
        source.chmod(stat.S_IMODE(info.st_mode) | stat.S_IRUSR)  # ours, and private; the copy gets the mode as it was
    with source.open("rb") as old:
        _write_new(old.fileno(), info, directory, name)


def link_or_copy(directory: int, name: str, to: int, new: str) -> None:
    """What stands at a name, as it is, under a second name: a link to the same file where that can be."""
    try:
        os.link(name, new, src_dir_fd=directory, dst_dir_fd=to, follow_symlinks=False)
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV):
            raise
    copy_file(directory, name, to, new)


def copy_file(directory: int, name: str, to: int, new: str) -> None:
    """A copy of a file or link, which is not followed."""
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISLNK(info.st_mode):
        os.symlink(os.readlink(name, dir_fd=directory), new, dir_fd=to)
        os.utime(new, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=to, follow_symlinks=False)
        return
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        _write_new(old, os.fstat(old), to, new)
    finally:
        os.close(old)


def _write_new(old: int, info: os.stat_result, directory: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    new = os.open(name, flags, 0o600, dir_fd=directory)
    with open(new, "wb") as target:
        copy_content(old, target.fileno())
        os.fchmod(target.fileno(), stat.S_IMODE(info.st_mode) & 0o777)
        os.utime(target.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
        os.fsync(target.fileno())
