"""Whether bytes that many workspaces share are still those that were made: agents, seeds, environments, images.

Guests cannot write them (docs/security.md), but a full disk, a power loss or a stray command can, and what is shared
must not be served damaged to everybody. What is checked, and what that costs:

- a *file* is known by size and time, and by its content's hash where one was taken: the hash is looked at again only
  when inode or change time differ, as in a cache that was copied;
- a *tree* is known by one hash over the names, kinds, modes, owners, sizes, times and links in it: one lstat an entry,
  about 80 ms for 10,000 of them.

Bits that rot in place, under the same times, are the file system's to find.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyro_mcp import trees

SEAL = "whole.json"
_CHUNK = 1024 * 1024


def tree_mark(root: Path) -> str:
    """One hash for all that `root` is and holds, as far as lstat tells. Blocks.

    Raises:
        OSError: it cannot be listed, or is a link.
    """
    info = os.lstat(root)
    own = f"{stat.S_IMODE(info.st_mode):o}-{info.st_uid}-{info.st_gid}"
    return f"{own}.{_listing_mark(root)}"


def is_as_marked(root: Path, mark: str) -> bool:
    """Whether `root` is what it was when `tree_mark` gave `mark`; of an earlier pyro, only what it holds is in it.

    Raises OSError as `tree_mark` does.
    """
    now = tree_mark(root)
    return mark == (now if "." in mark else now.partition(".")[2])


def _listing_mark(root: Path) -> str:
    whole = hashlib.sha256()

    def listed(directory: bytes, relative: bytes) -> None:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            info = entry.stat(follow_symlinks=False)
            name = relative + entry.name
            kind = stat.S_IFMT(info.st_mode)
            size, time = (0, 0) if kind == stat.S_IFDIR else (info.st_size, info.st_mtime_ns)
            link = os.readlink(entry.path) if kind == stat.S_IFLNK else b""
            numbers = (info.st_mode, info.st_uid, info.st_gid, size, time, info.st_rdev, len(name), len(link))
            whole.update(" ".join(map(str, numbers)).encode() + b"\0" + name + link)
            if kind == stat.S_IFDIR:
                listed(entry.path, name + b"/")

    if os.path.islink(root):
        raise NotADirectoryError(errno.ENOTDIR, "it is a link", os.fspath(root))
    listed(os.fsencode(root), b"")
    return whole.hexdigest()


def no_verdict(error: BaseException) -> bool:
    """Whether a look failed for want of descriptors or memory: that says nothing of what was looked at."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def read_text(path: Path) -> str:
    """A small file of pyro's own; whatever else stands there does not hang or mislead.

    Raises:
        OSError: there is none; it is a link, a pipe or anything but a file.
    """
    with trees.opened(path) as file:
        return file.read().decode("utf-8", "surrogateescape")


def read_record(path: Path) -> dict[str, Any]:
    """What stands as JSON in a small file of pyro's own.

    Raises:
        OSError: as `read_text`.
        ValueError: it is not JSON, or no record.
    """
    record = json.loads(read_text(path))
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds no record")
    return record


def content_hash(path: Path) -> str:
    """SHA-256 of a regular file; a link is not followed. Blocks. Raises OSError."""
    with trees.opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def signature(path: Path) -> tuple[int, ...]:
    """What changes whenever a file's bytes do: a write, a truncation, another file in its place. Raises OSError."""
    info = os.lstat(path)
    return info.st_mode, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def seal(directory: Path, names: Iterable[str], *, hashed: bool, note: str = SEAL) -> None:
    """Note in `directory` what its files are, `hashed` where reading them all once more is worth it. Blocks."""
    record: dict[str, Any] = {}
    for name in names:
        path = directory / name
        record[name] = {"signature": list(signature(path)), "sha256": content_hash(path) if hashed else None}
    write_new(directory / note, json.dumps(record).encode())


def broken(directory: Path, note: str = SEAL) -> str | None:
    """Which of the sealed files of `directory` is not what it was, in words; None when all are. Blocks.

    A directory without a seal is broken: it was not finished, or not by this pyro.

    Raises:
        OSError: this computer had no descriptors or memory to look with (`no_verdict`).
    """
    try:
        record = read_record(directory / note)
        sealed = {str(name): (tuple(entry["signature"]), entry["sha256"]) for name, entry in record.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if no_verdict(error):
            raise
        return "it has no seal"
    fresh = False
    for name, (noted, digest) in sealed.items():
        path = directory / name
        try:
            now = signature(path)
            if now == noted:
                continue
            if not stat.S_ISREG(now[0]) or now[2] != noted[2]:
                return (
                    f"{name} has {now[2]} bytes and had {noted[2]}" if now[2] != noted[2] else f"{name} is not a file"
                )
            # Another inode or change time: copied, or changed. The bytes tell, or else the time of the last write.
            if digest is None and now[3] != noted[3]:
                return f"{name} was written since"
            if digest is not None and content_hash(path) != digest:
                return f"{name} holds other bytes"
            fresh = True
        except OSError as error:
            if no_verdict(error):
                raise
            return f"{name}: {error.strerror or error}"
    if fresh:
        with contextlib.suppress(OSError):  # only so that the next look is quick
            again = {
                name: {"signature": list(signature(directory / name)), "sha256": digest}
                for name, (_, digest) in sealed.items()
            }
            write_new(directory / note, json.dumps(again).encode())
    return None


def remove(place: Path) -> None:
    """Remove whatever stands at `place`, and what a directory holds, also where its modes forbid that.

    Nothing is followed. Blocks. Raises nothing.
    """
    if place.is_symlink() or not place.is_dir():
        with contextlib.suppress(OSError):
            place.unlink()
        return
    shutil.rmtree(place, ignore_errors=True)
    if os.path.lexists(place):
        _open_up(os.fspath(place))
        shutil.rmtree(place, ignore_errors=True)


def _open_up(directory: str) -> None:
    """Let the owner into a directory and all below it, each before it is listed."""
    waiting = [directory]
    while waiting:
        at = waiting.pop()
        with contextlib.suppress(OSError):
            os.chmod(at, 0o700)
            with os.scandir(at) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put `content` at `path`, whole or not at all, into a file that is new: nothing that stands there is followed.

    Raises OSError.
    """
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    partial = f".{path.name}.{secrets.token_hex(8)}.partial"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with open(os.open(partial, flags, 0o600, dir_fd=parent), "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            os.replace(partial, path.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial, dir_fd=parent)
            raise
    finally:
        os.close(parent)
