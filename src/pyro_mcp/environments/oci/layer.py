"""Reads one layer, the bytes of a stranger, into a fresh directory of its own.

Nothing is written outside that directory or through a symbolic link, and no device, FIFO or socket is made.
Symbolic links keep their targets, which only a machine ever follows. Owners, setuid bits, times and those extended
attributes that a program can need are kept. What a layer takes away from the ones below it (whiteouts), and hard
links to files of those, are noted in `LayerNotes` for `compose`.

Stricter than a container engine in one thing: a layer that says two different kinds of thing under one name, or goes
through its own symbolic link, is refused. Images that tools build do neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from pyro_mcp.environments.oci.manifest import bad
from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.paths import check_parts, show
from pyro_mcp.reserve import keep_room
from pyro_mcp.tars import MADE_UP, BoundedInfo, Places, copy_with_holes, mtime_ns

MAX_MEMBERS = 1_000_000
"""Entries in one layer."""
MAX_BYTES = 32 * 1024**3
"""Unpacked content of one layer, and of the archive around it."""
MAX_DEPTH, MAX_PATH = 200, 3000
"""Parts and characters of one path; with the place of the cache in front it must stay below PATH_MAX (4096)."""
MAX_LINK_BYTES = 4095
"""A symbolic link's target on Linux: PATH_MAX without the NUL."""
MAX_OPENING = 1000
"""How many times larger a layer may become: gzip reaches 1032 with zeros alone. Counted from `FREE_BYTES` on."""
FREE_BYTES = 4 * 1024**3
AS_BEFORE, DELETED, CHANGED = "=", "-", "~"
"""The owner's name of a member that is only a name: what the agent sends for what is as before (agent/rootfs.go), and
what of its seed a set-up deleted or changed (agent/prepared.go)."""
ALL_BEFORE = "=="
"""And of one that holds the names of all that is as before, each with a NUL behind it."""
MAX_NAMES_BYTES = 256 * 1024**2
NOT_WHOLE = ("PYRO.changing", "PYRO.unreadable")
"""What the agent says in place of the rest, when a file would not stand still (agent/tarout.go)."""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
NOBODY = 65534
"""Who owns what belongs to an id that this user does not have."""
XATTR = "SCHILY.xattr."
LOOK_BYTES = 64 * 1024 * 1024
"""Unpacked, until the room on the disk is looked at again."""
_CHUNK = 1024 * 1024


@dataclass
class LayerNotes:
    """What of a layer its files alone do not say. Paths are relative, without a leading slash."""

    dirs: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    """Directories that it names: mode, uid, gid, mtime in ns. Others are only on the way to something."""
    whiteouts: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    """Hard links to files of lower layers: path, target."""
    skipped: int = 0
    """Devices, FIFOs and sockets that were left out."""
    strangers: int = 0
    """Files whose owner's id is beyond those that this user has."""
    bytes: int = 0


class HashingReader:
    """A compressed layer as a stream of its contents, with the hash of them; `raw` is not closed.

    Raises InvalidInput when more comes out than the bounds allow.
    """

    def __init__(self, raw: IO[bytes], size: int) -> None:
        self._raw = raw
        self._most = min(MAX_BYTES, max(FREE_BYTES, size * MAX_OPENING))
        self._hash = hashlib.sha256()
        self._count = 0
        magic = raw.read(4)
        raw.seek(0)
        self._inner: IO[bytes]
        if magic[:2] == b"\x1f\x8b":
            self._inner = cast(IO[bytes], _Gunzip(raw))
        elif magic == b"\x28\xb5\x2f\xfd":
            unzstd = zstandard.ZstdDecompressor(max_window_size=2**27)
            self._inner = cast(IO[bytes], unzstd.stream_reader(raw, read_across_frames=True, closefd=False))
        else:
            self._inner = raw

    def read(self, size: int = -1) -> bytes:
        data = self._inner.read(size if size >= 0 else _CHUNK)
        self._count += len(data)
        if self._count > self._most:
            raise bad(f"has a layer that unpacks to more than {self._most} bytes")
        self._hash.update(data)
        return data

    def finish(self) -> str:
        """The digest of all that there is."""
        while self.read(_CHUNK):
            pass
        return f"sha256:{self._hash.hexdigest()}"


class _Gunzip:
    """gzip without `GzipFile`'s copies; several members in a row, as parallel compressors write them."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._open = raw, zlib.decompressobj(31)
        self._left = b""
        self._fresh = True

    def read(self, size: int) -> bytes:
        while True:
            if self._open.eof:
                self._left = self._open.unused_data or self._raw.read(_CHUNK)
                if not self._left.strip(b"\0"):
                    return b""  # padding is allowed after the last member
                self._open, self._fresh = zlib.decompressobj(31), True
            else:
                self._left = self._open.unconsumed_tail or self._raw.read(_CHUNK)
            if not self._left:
                raise EOFError("it is cut off")
            data = self._open.decompress(self._left, size)
            if data:
                return data


def unpack(
    raw: IO[bytes],
    size: int,
    into: str,
    diff_id: str | None,
    progress: Callable[[int], None] | None = None,
    marked: dict[str, str] | None = None,
) -> LayerNotes:
    """Unpack the layer in `raw`, of `size` bytes, into the empty directory `into`.

    Without a `diff_id` any contents will do. With `marked`, the layer is what the agent of a machine sends: names that
    are only that come into it, each with its mark, and nothing else is made of them.

    Raises:
        InvalidInput: hostile, damaged, over the bounds of this module, or not the contents that `diff_id` names. The
            caller removes the directory.
        OSError: the disk is full, say.
    """
    stream = HashingReader(raw, size)
    try:
        # tarfile takes an archive of nothing for an error, and an image may have one.
        with tarfile.open(
            fileobj=cast(IO[bytes], stream),
            mode="r|",
            tarinfo=BoundedInfo,
            errorlevel=2,
            encoding="utf-8",
            errors="surrogateescape",
            bufsize=256 * 1024,
        ) as tar:
            notes = _Unpacking(tar, into, progress, lambda: raw.tell(), marked).run()
        found = stream.finish()
    except tarfile.ReadError as error:
        if str(error) != "empty file":
            raise bad(f"has a layer that is damaged or no tar archive ({error})") from error
        notes, found = LayerNotes(), stream.finish()
    except InvalidInput:
        raise
    except (tarfile.TarError, zstandard.ZstdError, zlib.error, EOFError, *MADE_UP) as error:
        raise bad(f"has a layer that is damaged or cut off ({error or type(error).__name__})") from error
    if diff_id is not None and found != diff_id:
        raise bad(f"has a layer with other contents than it says ({found}, not {diff_id})")
    return notes


class _Unpacking:
    def __init__(
        self,
        tar: tarfile.TarFile,
        into: str,
        progress: Callable[[int], None] | None,
        at: Callable[[], int],
        marked: dict[str, str] | None,
    ) -> None:
        self.marked = marked
        self.tar, self.into, self.progress, self.at = tar, into, progress, at
        self.places = Places(into, 0o700, self.through)
        self.kinds = self.places.kinds
        self.notes = LayerNotes()
        self.unlooked = 0

    def run(self) -> LayerNotes:
        for number, member in enumerate(self.tar):
            if number >= MAX_MEMBERS:
                raise bad(f"has a layer of more than {MAX_MEMBERS} files")
            self.tar.members = []  # type: ignore[attr-defined]  # else it keeps every header it has seen
            self.member(member)
            if self.progress and not number % 100:
                self.progress(self.at())
        return self.notes

    def member(self, member: tarfile.TarInfo) -> None:
        path = checked_name(member.name)
        parent, _, name = path.rpartition("/")
        if self.marked is not None and member.uname in (AS_BEFORE, DELETED, CHANGED):
            self.marked[path] = member.uname
            return None
        if self.marked is not None:
            _refuse_halves(member)
            if member.uname == ALL_BEFORE:
                return self.names(member, self.marked)
        if self.marked is None and name.startswith(WHITEOUT):
            return self.whiteout(path, parent, name)
        if not path:
            if not member.isdir():
                raise bad("has a layer with a file that has no name")
            self.notes.dirs[""] = self.attributes(member)
            return None
        self.places.make_parents(path)
        target = os.path.join(self.into, path)
        there = self.kinds.get(path)
        if member.isdir():
            if there is None:
                os.mkdir(target, 0o700)
            elif there != "dir":
                raise _twice(path)
            self.kinds[path] = "dir"
            self.notes.dirs[path] = self.attributes(member)
            return None
        if not (member.isfile() or member.issym() or member.islnk()):
            self.notes.skipped += 1
            return None
        if there == "dir" or (there is not None and (there == "symlink") != member.issym()):
            raise _twice(path)
        if member.islnk():
            return self.hard_link(member, path, target, there)
        if there:
            os.unlink(target)
        if member.isfile():
            self.write(member, target)
            self.kinds[path] = "file"
        else:
            link = member.linkname
            if not link or "\0" in link or len(os.fsencode(link)) > MAX_LINK_BYTES:
                raise bad(f"has the symbolic link {show(path)} without a usable target")
            os.symlink(link, target)
            self.kinds[path] = "symlink"
        self.stamp(member, target)
        return None

    def names(self, member: tarfile.TarInfo, marked: dict[str, str]) -> None:
        """What is as before, by name: the contents of one member."""
        source = self.tar.extractfile(member)
        if source is None or not 0 <= member.size <= MAX_NAMES_BYTES:
            raise bad("lists no names that can be read")
        names = source.read(member.size).split(b"\0")
        if len(names) > MAX_MEMBERS:
            raise bad(f"lists more than {MAX_MEMBERS} names")
        marked.update({os.fsdecode(name): AS_BEFORE for name in names if name})

    def whiteout(self, path: str, parent: str, name: str) -> None:
        """Something of the layers below is taken away. It is not a file, so nothing is made for it."""
        if name == OPAQUE:
            self.places.refuse_through(path)
            self.notes.opaque.append(parent)
            return
        gone = name.removeprefix(WHITEOUT)
        if gone.startswith(WHITEOUT):
            return  # aufs's own notes
        if gone in ("", ".", ".."):
            raise bad(f"has the whiteout {show(path)}, which takes away nothing that can be")
        self.places.refuse_through(path)
        self.notes.whiteouts.append(f"{parent}/{gone}" if parent else gone)

    def hard_link(self, member: tarfile.TarInfo, path: str, target: str, there: str | None) -> None:
        source = checked_name(member.linkname)
        self.places.refuse_through(source)
        kind = self.kinds.get(source)
        if kind == "dir" or not source:
            raise bad(f"has the hard link {show(path)} to {show(source)}, which is a directory")
        if source == path:
            return
        if there:
            os.unlink(target)
        if kind is None:  # a file of a layer below, if anything
            self.kinds[path] = "file"
            self.notes.links.append((path, source))
            # In its place for now, so that what the layer says of it later holds.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            return
        os.link(os.path.join(self.into, source), target, follow_symlinks=False)
        self.kinds[path] = kind

    def through(self, path: str, parent: str, kind: str) -> InvalidInput:
        return bad(f"has a layer with {show(path)}, which goes through its own {show(parent)}")

    def write(self, member: tarfile.TarInfo, target: str) -> None:
        # Counted before writing: a header that lies about its size must not fill the disk.
        self.notes.bytes += max(0, member.size)
        if member.size < 0 or self.notes.bytes > MAX_BYTES:
            raise bad(f"has a layer that unpacks to more than {MAX_BYTES} bytes")
        self.unlooked += member.size
        if self.unlooked > LOOK_BYTES:
            keep_room(Path(self.into), 0 if member.issparse() else member.size)
            self.unlooked = 0
        source = self.tar.extractfile(member)
        if source is None:
            raise bad(f"has {show(member.name)} without contents")
        with source, open(target, "xb") as out:
            if member.issparse() or member.size > _CHUNK:
                copy_with_holes(source, out)
            else:
                shutil.copyfileobj(source, out, _CHUNK)
            if out.tell() != member.size:
                raise bad(f"has a layer whose {show(member.name)} ends early")

    def attributes(self, member: tarfile.TarInfo) -> tuple[int, int, int, int]:
        uid, gid = (self.known(number) for number in (member.uid, member.gid))
        return member.mode & 0o7777, uid, gid, mtime_ns(member)

    def known(self, number: Any) -> int:
        if isinstance(number, int) and 0 <= number < most_ids():
            return number
        self.notes.strangers += 1
        return NOBODY

    def stamp(self, member: tarfile.TarInfo, target: str) -> None:
        mode, uid, gid, mtime = self.attributes(member)
        apply(target, mode, uid, gid, mtime, link=member.issym())
        if member.issym():
            return
        for key, value in member.pax_headers.items():
            name = key.removeprefix(XATTR)
            if name != key and (name == "security.capability" or name.startswith("user.")):
                # What the disk does not take is no reason to refuse the image.
                with contextlib.suppress(OSError, ValueError):
                    os.setxattr(target, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)


def _refuse_halves(member: tarfile.TarInfo) -> None:
    said = next((member.pax_headers[record] for record in NOT_WHOLE if record in member.pax_headers), None)
    if said is not None:
        raise Conflict(
            f"{show(said)} is written all the time, or cannot be read; nothing was kept.", code="file_changing"
        )


def apply(path: str, mode: int, uid: int, gid: int, mtime: int, *, link: bool = False) -> None:
    """Owner first: a change of owner clears the setuid bit. Without the right to give files away all are ours."""
    if os.geteuid() == 0:
        os.lchown(path, uid, gid)
    if not link:
        os.chmod(path, mode)
    os.utime(path, ns=(mtime, mtime), follow_symlinks=False)


def most_ids() -> int:
    """How many ids this process can give files to, counted from 0."""
    global _ids
    if _ids == 0:
        try:
            with open("/proc/self/uid_map") as map_of_users, open("/proc/self/gid_map") as map_of_groups:
                _ids = min(_consecutive(map_of_users.read()), _consecutive(map_of_groups.read()))
        except OSError:
            _ids = 1
    return _ids


_ids = 0


def _consecutive(text: str) -> int:
    end = 0
    for line in sorted(text.splitlines(), key=lambda line: int(line.split()[0])):
        inside, _, count = (int(number) for number in line.split())
        if inside != end:
            break
        end += count
    return end


def checked_name(name: str) -> str:
    """A member's path, relative to the root of the image.

    Raises:
        InvalidInput: it leads outside, or no file can be called so.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise bad(f"has a layer with {show(name)}, which leads outside of it")
    if len(parts) > MAX_DEPTH or len(name) > MAX_PATH:
        raise bad(f"has a layer with a path of {len(parts)} parts and {len(name)} characters")
    try:
        check_parts(parts, show(name))
    except InvalidInput as error:
        raise bad(f"has a layer with a name that cannot be: {error.message}") from error
    return "/".join(parts)


def _twice(path: str) -> InvalidInput:
    return bad(f"has a layer with {show(path)} twice, as different kinds")
