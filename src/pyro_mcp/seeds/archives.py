"""Unpacks .tar, .tar.gz, .tgz and .tar.zst from anywhere into a private, empty directory.

Members are checked as they stream by. Nothing is written outside the directory, through a symbolic
link, or as a device. A symbolic link that leads out is kept as it is (it can only be followed inside a
machine); a later member that goes through a link is refused. On any error the caller removes the directory.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import zstandard

from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.paths import check_parts, show
from pyro_mcp.seeds import bounds
from pyro_mcp.tars import MADE_UP, BoundedInfo, Places, copy_parts, copy_with_holes, mtime_ns
from pyro_mcp.trees import MOST_DEPTH

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
MAX_MEMBERS = bounds.MAX_FILES
MAX_BYTES = bounds.MAX_BYTES
MOST_NOMINAL_BYTES = 16 * 1024**4
"""Of a file with holes; ext4 takes no larger one."""
MAX_LINK_BYTES = 4095
"""A symbolic link's target on Linux: PATH_MAX without the NUL."""

Progress = Callable[[int, int | None, int], None]
"""Called with files done, files in total (None when not known), bytes done."""
PARTS = "PYRO.parts"
"""Of a file with holes, sent in parts by the agent: its size, then offset and length of each; see agent/holes.go."""
KIND = "PYRO.kind"
"""What the agent says of a member that is not a file, directory or link: see agent/tarout.go."""
_NOT_WHOLE = {
    "PYRO.changing": (
        "is being written constantly and could not be read whole",
        "file_changing",
        "Stop whatever is writing it, then try again.",
    ),
    "PYRO.unreadable": ("could not be read", "file_unreadable", "Check it in the workspace, or export without it."),
}
"""What the agent writes as the last member of a tree that it could not send whole; see agent/tarout.go."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an archive held: files and links, and the bytes of the files."""

    files: int
    bytes: int
    specials: list[str] = field(default_factory=list)
    """FIFOs, sockets and devices that were left out, where that was allowed: `name (kind)`, relative."""
    widened: list[str] = field(default_factory=list)
    """Directories whose modes do not let their owner list, enter and write them."""


def is_archive_name(name: str) -> bool:
    """Whether a file of this name is taken for an archive."""
    return name.lower().endswith(SUFFIXES)


def extract(archive: Path, into: Path, progress: Progress | None = None, *, of_workspace: bool = False) -> Extracted:
    """Unpack `archive` into the empty directory `into`. Modes (without setuid), mtimes and links are kept.

    One that an agent made of a workspace is read further: what is not a file, directory or link is left out and named,
    and directories are made such that their owner can remove them again.

    Raises:
        InvalidInput: damaged, cut off, of another kind than its name says, over the bounds of this module,
            or with a member that leads outside or is not a file, directory or link.
        Conflict: it is a workspace's, which says that a file changed each time that it was read.
    """
    try:
        with archive.open("rb") as raw, _opened(raw, archive.name) as stream:
            with tarfile.open(
                fileobj=stream,
                mode="r|",
                tarinfo=BoundedInfo,
                errorlevel=2,
                encoding="utf-8",
                errors="surrogateescape",
            ) as tar:
                found = _Extraction(tar, into, archive.name, progress, of_workspace).run()
            while stream.read(1024 * 1024):
                pass  # To the end, so that the checksum of the compression is looked at.
            return found
    except (tarfile.TarError, gzip.BadGzipFile, zstandard.ZstdError, zlib.error, EOFError, *MADE_UP) as error:
        raise _bad(archive.name, f"is damaged, cut off or no such archive ({error or type(error).__name__})") from error


def _opened(raw: IO[bytes], name: str) -> IO[bytes]:
    if name.lower().endswith(".zst"):
        reader = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(raw, read_across_frames=True)
        return cast(IO[bytes], reader)
    if name.lower().endswith(("gz", ".tgz")):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw, mode="rb"))
    return raw


def _refuse_what_is_not_whole(member: tarfile.TarInfo) -> None:
    for record, (why, code, hint) in _NOT_WHOLE.items():
        if (name := member.pax_headers.get(record)) is not None:
            raise Conflict(
                f"{show(f'/workspace/{name}')} {why}; nothing was written.",
                hint=hint,
                code=code,
            )


def _bad(archive: str, what: str, code: str = "bad_archive") -> InvalidInput:
    return InvalidInput(
        f"The archive {show(archive)} {what}; none of it was used.",
        hint="Create it again with `tar -C DIRECTORY -cf ARCHIVE .`, without such a member.",
        code=code,
    )


class _Extraction:
    def __init__(
        self, tar: tarfile.TarFile, into: Path, name: str, progress: Progress | None, of_workspace: bool
    ) -> None:
        self.of_workspace = of_workspace
        self.specials: list[str] = []
        self.widened: list[str] = []
        self.tar, self.into, self.name, self.progress = tar, str(into), name, progress
        self.places = Places(self.into, 0o755, self.through)
        self.kinds = self.places.kinds
        self.dirs: dict[str, tuple[int, int]] = {}
        self.files = self.bytes = 0

    def run(self) -> Extracted:
        for number, member in enumerate(self.tar):
            if number >= MAX_MEMBERS:
                raise _bad(self.name, f"has more than {MAX_MEMBERS} members", "archive_too_large")
            _refuse_what_is_not_whole(member)
            self.tar.members = []  # type: ignore[attr-defined]  # else it keeps every header it has seen
            try:
                self.member(member)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                raise _bad(self.name, f"has {show(member.name)}, a path too long for this computer") from None
            if self.progress and not number % 100:
                self.progress(self.files, None, self.bytes)
        # Inner ones first: a directory's mtime changes when something is made in it.
        for path, (mode, mtime) in sorted(self.dirs.items(), reverse=True):
            _stamp(os.path.join(self.into, path), mode, mtime)
        if self.progress:
            self.progress(self.files, self.files, self.bytes)
        return Extracted(self.files, self.bytes, self.specials, self.widened)

    def member(self, member: tarfile.TarInfo) -> None:
        path = self.checked_name(member.name, "member")
        mode, mtime = member.mode & 0o777, mtime_ns(member)
        if not path:
            if not member.isdir():
                raise _bad(self.name, "has a member without a name")
            return
        self.places.make_parents(path)
        target = os.path.join(self.into, path)
        there = self.kinds.get(path)
        if member.isdir():
            if there is None:
                os.mkdir(target, 0o700)
            elif there != "dir":
                raise self.twice(path)
            self.kinds[path] = "dir"
            if self.of_workspace and mode & stat.S_IRWXU != stat.S_IRWXU:
                self.widened.append(path)
                mode |= stat.S_IRWXU
            self.dirs[path] = mode, mtime
            return
        if self.of_workspace and (member.isfifo() or member.isdev()):
            self.specials.append(f"{path} ({member.pax_headers.get(KIND, 'special file')})")
            return
        if there == "dir" or (there is not None and (there == "symlink") != member.issym()):
            raise self.twice(path)
        if member.isfile():
            if there:
                os.unlink(target)
            self.write(member, target)
            _stamp(target, mode, mtime)
            self.kinds[path] = "file"
        elif member.issym():
            link = member.linkname
            if not link or "\0" in link or len(os.fsencode(link)) > MAX_LINK_BYTES:
                raise _bad(self.name, f"has the symbolic link {show(path)} without a usable target")
            if there:
                os.unlink(target)
            os.symlink(link, target)
            os.utime(target, ns=(mtime, mtime), follow_symlinks=False)
            self.kinds[path] = "symlink"
        elif member.islnk():
            self.hard_link(member, path, target, there is not None)
        else:
            raise _bad(self.name, f"has {show(path)}, which is a device, FIFO or of another unknown kind")
        self.files += 1

    def hard_link(self, member: tarfile.TarInfo, path: str, target: str, there: bool) -> None:
        source = self.checked_name(member.linkname, "hard link to")
        self.places.refuse_through(source)
        if self.kinds.get(source) != "file":
            raise _bad(
                self.name, f"has the hard link {show(path)} to {show(source)}, which is not an earlier file in it"
            )
        if source == path:
            return
        if there:
            os.unlink(target)
        os.link(os.path.join(self.into, source), target, follow_symlinks=False)
        self.kinds[path] = "file"

    def checked_name(self, name: str, what: str) -> str:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise _bad(self.name, f"has the {what} {show(name)}, which leads outside of it", "archive_escapes")
        try:
            check_parts(parts, show(name))
        except InvalidInput as error:
            raise _bad(self.name, f"has a name that cannot be: {error.message}") from error
        if len(parts) > MOST_DEPTH:
            raise _bad(self.name, f"has a path of {len(parts)} parts; {MOST_DEPTH} is the most", "tree_too_deep")
        return "/".join(parts)

    def through(self, path: str, parent: str, kind: str) -> InvalidInput:
        if kind != "symlink":
            return self.twice(parent)
        return _bad(
            self.name, f"has {show(path)}, which goes through its symbolic link {show(parent)}", "archive_escapes"
        )

    def twice(self, path: str) -> InvalidInput:
        return _bad(self.name, f"has {show(path)} twice, as different kinds")

    def write(self, member: tarfile.TarInfo, target: str) -> None:
        in_parts = member.pax_headers.get(PARTS) if self.of_workspace else None
        size, parts = (member.size, []) if in_parts is None else _parts(in_parts, member.size)
        # `bytes` is counted before writing: a header that lies about its size must not fill the disk.
        self.bytes += member.size
        if self.bytes > MAX_BYTES:
            raise _bad(self.name, f"unpacks to more than {MAX_BYTES} bytes", "archive_too_large")
        source = self.tar.extractfile(member)
        assert source is not None
        with source, open(target, "xb") as out:
            if in_parts is not None:
                copy_parts(source, out, parts, size)
            elif member.issparse():
                copy_with_holes(source, out)
            else:
                shutil.copyfileobj(source, out, 256 * 1024)
            if out.tell() != size:
                raise tarfile.ReadError(f"{member.name} ends early")


def _parts(record: str, stored: int) -> tuple[int, list[tuple[int, int]]]:
    """The file's size, and offset and length of what of it is in the archive, in ascending order."""
    size, *numbers = map(int, record.split())
    parts = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in parts:
        if offset < end or length <= 0:
            raise tarfile.ReadError("the parts of a file are not in their order")
        end = offset + length
    if not end <= size <= MOST_NOMINAL_BYTES or sum(length for _, length in parts) != stored:
        raise tarfile.ReadError("the parts of a file do not make up the file")
    return size, parts


def _stamp(path: str, mode: int, mtime: int) -> None:
    os.utime(path, ns=(mtime, mtime))
    os.chmod(path, mode)
