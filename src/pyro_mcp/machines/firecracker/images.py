"""Drives: the environment's root, a machine's own disk, the seed; and copying them without reading holes.

A file appears under its name in one rename, whole. Methods block; call them from a worker thread.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from pyro_mcp import wholeness
from pyro_mcp.errors import ComponentMissing, EngineError
from pyro_mcp.machines.firecracker import erofs
from pyro_mcp.machines.firecracker.erofs import copy_range
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.packages import install_command

DISK_BYTES = 20 * 1024**3
"""What a machine may write; the file is sparse, so only what was written takes room."""
PLACEHOLDER_BYTES = 4096
"""The seed's drive before there is a seed (agent/boot.go knows the size)."""
FICLONE = 0x40049409  # include/uapi/linux/fs.h
_MKFS_SECONDS = 600


def _mke2fs(*arguments: str) -> None:
    tool = shutil.which("mke2fs", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if tool is None:
        raise ComponentMissing(
            "mke2fs, with which the Firecracker engine makes its drives, is not on this computer.",
            hint=f"Install it: {install_command('mke2fs')}",
            code="mke2fs_missing",
        )
    done = subprocess.run(
        [tool, "-q", "-F", "-t", "ext4", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_MKFS_SECONDS,
    )
    if done.returncode != 0:
        raise EngineError(f"mke2fs failed: {done.stderr.strip()[-300:]}", hint="Is the disk full?", code="image_failed")


def _made(target: Path, make: Callable[[Path], None]) -> Path:
    """`target`, made whole by `make` unless it is there, just as it was made.

    One of an earlier pyro, which took no note, gets it now.
    """
    note = f".{target.name}.{wholeness.SEAL}"
    if target.exists() and not (target.parent / note).exists():
        wholeness.seal(target.parent, [target.name], hashed=False, note=note)
    if not target.exists() or wholeness.broken(target.parent, note) is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        partial.unlink(missing_ok=True)
        try:
            make(partial)
            os.replace(partial, target)
            wholeness.seal(target.parent, [target.name], hashed=False, note=note)
        finally:
            partial.unlink(missing_ok=True)
    return target


def root_image(root: RootTree) -> Path:
    """The environment's tree as an ext4 image beside it, shared by all machines of the environment."""

    def make(partial: Path) -> None:
        size, inodes = _measure(root.path)
        _mke2fs("-O", "^has_journal", "-m", "0", "-N", str(inodes), "-d", str(root.path), str(partial), str(size >> 10))

    return _made(root.path.parent / "root.ext4", make)


def _measure(tree: Path) -> tuple[int, int]:
    """Bytes and inodes that an ext4 with this tree needs, generously: what is not used is a hole."""
    size, inodes = 64 << 20, 64
    for directory, names, files in os.walk(tree):
        inodes += len(names) + len(files)
        size += 4096 + 64 * (len(names) + len(files))
        for name in files:
            size += -(-os.lstat(os.path.join(directory, name)).st_size // 4096) * 4096
    return size + size // 16 + inodes * 512, inodes


def empty_disk(place: Path) -> Path:
    """A formatted disk with nothing on it, to be copied."""

    def make(partial: Path) -> None:
        options = "lazy_itable_init=1,nodiscard,root_owner=0:0"
        _mke2fs("-O", "^has_journal", "-m", "0", "-E", options, str(partial), str(DISK_BYTES >> 10))

    return _made(place, make)


def placeholder(place: Path) -> Path:
    """What the seed's drive shows before there is a seed."""

    def make(partial: Path) -> None:
        partial.write_bytes(bytes(PLACEHOLDER_BYTES))

    return _made(place, make)


def seed_image(tree: Path, directory: Path) -> Path:
    """The seed as an image, kept by the identity of the tree (a store never changes one in place)."""
    info = os.stat(tree)
    identity = f"{tree}\n{info.st_dev}:{info.st_ino}:{info.st_mtime_ns}:{info.st_ctime_ns}"
    image = directory / (hashlib.sha256(identity.encode()).hexdigest()[:32] + ".erofs")

    def make(partial: Path) -> None:
        erofs.write_image(tree, partial)
        image.with_suffix(".source").write_text(str(tree))

    return _made(image, make)


def prune_seeds(directory: Path) -> None:
    """Remove the images of seeds that are gone. Machines that use one keep its content."""
    for note in directory.glob("*.source") if directory.exists() else ():
        if not os.path.exists(note.read_text()):
            image = note.with_suffix(".erofs")
            image.unlink(missing_ok=True)
            image.with_name(f".{image.name}.{wholeness.SEAL}").unlink(missing_ok=True)
            note.unlink(missing_ok=True)


def clone(source: Path, target: Path) -> None:
    """Copy a file: by reference where the file system can, else only what is not a hole.

    A Firecracker that was broken into may have put something else at the place of its disk: no link is followed.
    """
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(reading).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(source))
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.ioctl(writing, FICLONE, reading)
            except OSError:
                _copy_data(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def move(source: Path, target: Path) -> None:
    """Move a file that a Firecracker wrote, to another file system if need be; a link is none."""
    if not stat.S_ISREG(os.lstat(source).st_mode):
        raise OSError(errno.EINVAL, "not a file", str(source))
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        clone(source, target)
        source.unlink()


def _copy_data(reading: int, writing: int) -> None:
    size = os.fstat(reading).st_size
    os.ftruncate(writing, size)
    place = 0
    while place < size:
        try:
            start = os.lseek(reading, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        place = os.lseek(reading, start, os.SEEK_HOLE)
        if copy_range(reading, writing, place - start, start, start) != place - start:
            raise OSError(errno.EIO, "a copy ended early")
