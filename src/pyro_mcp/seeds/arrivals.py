"""Trees of a user's other computer, brought here over a stream of bytes, each a mirror that is kept up to date.

The sender lists what it has, with the SHA-256 of each file; the receiver asks for what its mirror lacks, from the byte
that it has already; so what was sent is not sent again, also after a connection that broke. Layout below `root`:
`KEY/tree`, `KEY/record.json`, and `KEY/partial/` with files that are not whole yet. One receiver a mirror at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pyro_mcp import models, trees, wholeness
from pyro_mcp.errors import Conflict, EngineError, InvalidInput, from_record
from pyro_mcp.paths import show
from pyro_mcp.seeds.prepared import PreparedSeed

MAX_LINE = 64 * 1024
"""Bytes of one line: a path of 4,096 bytes, escaped, and a link's target."""
MAX_BEGIN = 8 * 1024 * 1024
"""Bytes of the first line: with what is kept of the source, such as a hundred paths that were skipped."""
MAX_ENTRIES = 5_000_000
KEPT_SECONDS = 14 * 24 * 3600
"""How long a mirror is kept that nothing was sent to."""
ROOM = "out-"
"""How the directory begins that an export is made in, to be fetched (`remote.box`)."""
ROOM_SECONDS = 24 * 3600
"""After which one is forgotten: the connection broke before it could be removed."""
_CHUNK = 1024 * 1024
_KEY = re.compile(r"[0-9a-f]{16,64}\Z")
_SHA = re.compile(r"[0-9a-f]{64}\Z")
_RECORD = "record.json"
Tell = Callable[[int, int], None]
"""Is told how many bytes of how many were sent."""


@dataclass(frozen=True)
class Item:
    """One entry of a tree, by its path below the top."""

    path: str
    kind: str
    """`file`, `dir` or `link`."""
    mode: int = 0
    mtime_ns: int = 0
    size: int = 0
    sha256: str = ""
    link: str = ""

    def line(self) -> list[Any]:
        return [self.path, self.kind, self.mode, self.mtime_ns, self.size, self.sha256, self.link]

    @classmethod
    def of(cls, line: Any) -> Item:
        """Raises ValueError for what is no item, or would stand outside the tree."""
        if not isinstance(line, list) or len(line) != 7:
            raise ValueError("an entry is not as it should be")
        path, kind, mode, mtime, size, digest, link = line
        texts = all(isinstance(text, str) for text in (path, kind, digest, link))
        if not texts or not all(isinstance(n, int) and 0 <= n < 1 << 63 for n in (mode, mtime, size)):
            raise ValueError("an entry is not as it should be")
        parts = path.split("/")
        if "\0" in path or any(part in ("", ".", "..") or len(os.fsencode(part)) > 255 for part in parts):
            raise ValueError(f"{path!a} is not a path in a tree")
        if kind not in ("file", "dir", "link") or (kind == "file" and not _SHA.match(digest)) or "\0" in link:
            raise ValueError(f"{path!a} is not an entry of a tree")
        if kind == "link" and not link:
            raise ValueError(f"{path!a} is a link to nowhere")
        return cls(path, kind, mode & 0o1777, mtime, size, digest, link)


def items_of(top: Path) -> list[Item]:
    """All that is below `top`, a directory before what is in it. Reads every file; blocks.

    Raises:
        OSError: something cannot be read.
    """
    found = []
    for entry in trees.walk(top):
        path, info = os.path.relpath(entry.path, top), entry.stat(follow_symlinks=False)
        mode = stat.S_IMODE(info.st_mode)
        if stat.S_ISDIR(info.st_mode):
            found.append(Item(path, "dir", mode, info.st_mtime_ns))
        elif stat.S_ISLNK(info.st_mode):
            found.append(Item(path, "link", 0, info.st_mtime_ns, link=os.readlink(entry.path)))
        elif stat.S_ISREG(info.st_mode):
            digest = wholeness.content_hash(Path(entry.path))
            found.append(Item(path, "file", mode, info.st_mtime_ns, info.st_size, digest))
    return sorted(found, key=lambda item: item.path.split("/"))


def _write(stream: BinaryIO, record: Any) -> None:
    stream.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")


def _read(stream: BinaryIO, most: int = MAX_LINE) -> Any:
    """The next line. Raises EOFError where the other side has gone, ValueError for what is none."""
    line = stream.readline(most + 1)
    if not line.endswith(b"\n"):
        if len(line) > most:
            raise ValueError("a line does not end")
        raise EOFError
    try:
        return json.loads(line)
    except RecursionError:
        raise ValueError("a line is nested without end") from None


# -- the side that has the tree


def send(
    reader: BinaryIO,
    writer: BinaryIO,
    key: str,
    digest: str,
    origin: dict[str, Any],
    top: Path,
    items: Callable[[], list[Item]],
    tell: Tell = lambda done, whole: None,
) -> str:
    """Bring the mirror `key` up to what is below `top`; gives the tree's path over there. Blocks.

    Args:
        digest: what the tree is known by: where the mirror has that already, nothing is sent.
        origin: what the receiver keeps beside it.
        items: lists the tree; called only where something may have to be sent.

    Raises:
        EOFError: the other side has gone.
        ValueError: it says what it should not.
        PyroError: it could not take it, and says why.
    """
    info = top.stat()
    top_of = {"mode": stat.S_IMODE(info.st_mode) & 0o1777, "mtime_ns": info.st_mtime_ns}
    try:
        _write(writer, {"mirror": key, "digest": digest, "origin": origin, **top_of})
        writer.flush()
        if (path := _told(reader).get("path")) is None:
            listed = items()
            for item in listed:
                _write(writer, item.line())
            _write(writer, None)
            writer.flush()
            wanted = _wanted(reader, listed)
            whole = sum(listed[at].size - offset for at, offset in wanted)
            done = 0
            for at, offset in wanted:
                for data in _content(top, listed[at], offset):
                    writer.write(data)
                    done += len(data)
                    tell(done, whole)
            writer.flush()
            path = _told(reader).get("path")
    except BrokenPipeError:
        _told(reader)  # it may have said why it takes no more
        raise
    if not isinstance(path, str):
        raise ValueError("no path is told")
    return path


def _wanted(reader: BinaryIO, listed: list[Item]) -> list[tuple[int, int]]:
    """Which files are asked for, by their places in the list, in its order, each from a byte on."""
    wanted: list[tuple[int, int]] = []
    while (line := _read(reader)) is not None:
        if isinstance(line, dict):
            _refused(line)
        if not isinstance(line, list) or len(line) != 2 or not all(type(number) is int for number in line):
            raise ValueError("a wish is not as it should be")
        at, offset = line
        if not (wanted[-1][0] if wanted else -1) < at < len(listed) or not 0 <= offset <= listed[at].size:
            raise ValueError("a wish is for what was not offered")
        wanted.append((at, offset))
    return wanted


def _told(reader: BinaryIO) -> dict[str, Any]:
    answer = _read(reader)
    if not isinstance(answer, dict):
        raise ValueError("an answer is not as it should be")
    _refused(answer)
    return answer


def _refused(answer: dict[str, Any]) -> None:
    error = answer.get("error")
    if isinstance(error, dict):
        raise from_record(error)
    if error is not None:
        raise EngineError(str(error), code="not_taken")


def _content(top: Path, item: Item, offset: int) -> Iterator[bytes]:
    """A file's bytes from an offset on: exactly as many as were announced."""
    left = item.size - offset
    with trees.opened(top / item.path) as file:
        file.seek(offset)
        while left > 0:
            data = file.read(min(_CHUNK, left))
            if not data:
                raise Conflict(f"{show(item.path)} became shorter while it was sent.", code="seed_unstable")
            left -= len(data)
            yield data


# -- the side that gets it


def receive(root: Path, reader: BinaryIO, writer: BinaryIO) -> None:
    """Take one tree, as `send` sends it. Blocks.

    Raises:
        EOFError: the sender has gone; what came is kept for the next time.
        ValueError: it is not as it should be.
    """
    begin = _read(reader, MAX_BEGIN)
    if not isinstance(begin, dict) or not _KEY.match(str(begin.get("mirror"))):
        raise ValueError("no mirror is named")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(root, keep=str(begin["mirror"]))
    home = root / str(begin["mirror"])
    home.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mirror = _Mirror(home)
        if not mirror.is_at(str(begin.get("digest"))):
            _write(writer, {"send": True})
            writer.flush()
            items: list[Item] = []
            kinds = {"": "dir"}
            while (line := _read(reader)) is not None:
                item = Item.of(line)
                # Else it could stand behind a link that the same list makes.
                if item.path in kinds or kinds.get(item.path.rpartition("/")[0]) != "dir":
                    raise ValueError(f"{item.path!a} comes twice, or stands in no directory")
                kinds[item.path] = item.kind
                items.append(item)
                if len(items) > MAX_ENTRIES:
                    raise ValueError("the tree has too many entries")
            try:
                mirror.take(items, reader, writer)
            except OSError as error:
                _write(writer, {"error": f"The tree could not be written there: {error.strerror or error}."})
                writer.flush()
                return
            mirror.top(int(begin["mode"]) & 0o1777, int(begin["mtime_ns"]))
        mirror.finish(str(begin.get("digest")), begin.get("origin") or {})
        _write(writer, {"path": str(mirror.tree)})
        writer.flush()
    finally:
        os.close(lock)


class _Mirror:
    def __init__(self, home: Path) -> None:
        self.home, self.tree, self.partial = home, home / "tree", home / "partial"
        try:
            self._record = wholeness.read_record(home / _RECORD)
            known = self._record["files"]
            self._known = {str(path): (str(digest), tuple(mark)) for path, (digest, mark) in known.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._record, self._known = {}, {}

    def is_at(self, digest: str) -> bool:
        try:
            return self._record.get("digest") == digest and wholeness.is_as_marked(
                self.tree, str(self._record.get("mark"))
            )
        except OSError:
            return False

    def take(self, items: list[Item], reader: BinaryIO, writer: BinaryIO) -> None:
        """Make the tree of these. What is whole and in place stays; everything else goes or comes."""
        for place in (self.tree, self.partial):
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                place.unlink()
            place.mkdir(mode=0o700, exist_ok=True)
        self._record.pop("digest", None)
        self._keep()  # from here on the tree is not what it was
        self._clear({item.path: item for item in items})
        wanted: list[tuple[int, int]] = []
        asked: set[str] = set()
        for at, item in enumerate(items):
            place = self.tree / item.path
            if item.kind == "dir":
                place.mkdir(mode=0o700, exist_ok=True)
                place.chmod(0o700)
            elif item.kind == "link":
                if not place.is_symlink():
                    place.symlink_to(item.link)
                os.utime(place, ns=(item.mtime_ns, item.mtime_ns), follow_symlinks=False)
            elif not self._has(item):
                # Of equal files only the first may go on from what came before: it takes that with it.
                wanted.append((at, 0 if item.sha256 in asked else self._begun(item)))
                asked.add(item.sha256)
        for wish in wanted:
            _write(writer, wish)
        _write(writer, None)
        writer.flush()
        try:
            for at, offset in wanted:
                self._file(items[at], offset, reader)
        finally:
            self._keep()
        for item in reversed(items):
            if item.kind == "dir":
                os.utime(self.tree / item.path, ns=(item.mtime_ns, item.mtime_ns))
                (self.tree / item.path).chmod(item.mode)
        wholeness.remove(self.partial)

    def top(self, mode: int, mtime_ns: int) -> None:
        os.utime(self.tree, ns=(mtime_ns, mtime_ns))
        self.tree.chmod(mode)

    def finish(self, digest: str, origin: dict[str, Any]) -> None:
        """The tree is whole: note what it is."""
        self._record |= {"digest": digest, "mark": wholeness.tree_mark(self.tree), "origin": origin}
        self._keep()

    def _keep(self) -> None:
        self._record["files"] = {path: [digest, list(mark)] for path, (digest, mark) in self._known.items()}
        wholeness.write_new(self.home / _RECORD, json.dumps(self._record).encode())

    def _has(self, item: Item) -> bool:
        """Whether the file stands there as it was received; its mode and time are brought up to date."""
        place, known = self.tree / item.path, self._known.get(item.path)
        try:
            now = wholeness.signature(place)
            if known is None or known[0] != item.sha256 or now != known[1]:
                return False
            if (stat.S_IMODE(now[0]), now[3]) != (
                item.mode,
                item.mtime_ns,
            ):  # else its change time stays: `seeds.index`
                self._settle(place, item)
        except OSError:
            return False
        return True

    def _settle(self, place: Path, item: Item) -> None:
        os.utime(place, ns=(item.mtime_ns, item.mtime_ns), follow_symlinks=False)
        place.chmod(item.mode)
        self._known[item.path] = (item.sha256, wholeness.signature(place))

    def _begun(self, item: Item) -> int:
        try:
            return min(os.lstat(self.partial / item.sha256).st_size, item.size)
        except OSError:
            return 0

    def _file(self, item: Item, offset: int, reader: BinaryIO) -> None:
        """Take one file's bytes, and put it in place when its hash is right."""
        partial, place = self.partial / item.sha256, self.tree / item.path
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(partial, flags, 0o600), "r+b") as file:
            file.truncate(offset)
            file.seek(offset)
            left = item.size - offset
            while left > 0:
                data = reader.read(min(_CHUNK, left))
                if not data:
                    raise EOFError
                file.write(data)
                left -= len(data)
        if wholeness.content_hash(partial) != item.sha256:
            partial.unlink()
            raise ValueError(f"{item.path!a} came damaged")
        partial.replace(place)
        self._settle(place, item)

    def _clear(self, wanted: dict[str, Item]) -> None:
        """Remove what is not to be there, or stands in the way of it."""
        for directory, names, files in os.walk(self.tree, topdown=True):
            os.chmod(directory, 0o700)
            for name in [*names, *files]:
                place = Path(directory, name)
                path = os.path.relpath(place, self.tree)
                item, info = wanted.get(path), place.lstat()
                kinds = {stat.S_IFDIR: "dir", stat.S_IFLNK: "link", stat.S_IFREG: "file"}
                kind = kinds.get(stat.S_IFMT(info.st_mode), "other")
                right = item is not None and item.kind == kind and (kind != "link" or os.readlink(place) == item.link)
                if not right:
                    self._known.pop(path, None)
                    wholeness.remove(place)
                    if name in names:
                        names.remove(name)
                elif kind == "dir":
                    os.chmod(place, 0o700)


def sweep(root: Path, keep: str = "") -> None:
    """Remove mirrors not used for `KEPT_SECONDS`, but for one that is being written, and forgotten rooms. Blocks."""
    for home in root.iterdir():
        if home.name.startswith(ROOM):
            with contextlib.suppress(OSError):
                if time.time() - home.lstat().st_mtime > ROOM_SECONDS:
                    wholeness.remove(home)
            continue
        if not _KEY.match(home.name) or home.name == keep:
            continue
        with contextlib.suppress(OSError):
            if time.time() - (home / _RECORD).stat().st_mtime < KEPT_SECONDS:
                continue
            lock = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                wholeness.remove(home)
            finally:
                os.close(lock)


# -- what a workspace is told of it


def origin_of(root: Path, path: str | None) -> dict[str, Any] | None:
    """What the sender said of the tree at `path`; None where that is a directory of this computer's own."""
    place = Path(path or "")
    if place.parent.parent != root or place.name != "tree":
        return None
    try:
        origin = wholeness.read_record(place.parent / _RECORD)["origin"]
    except (OSError, ValueError, KeyError):
        return None
    return origin if isinstance(origin, dict) else None


def as_from(origin: dict[str, Any], seed: PreparedSeed) -> PreparedSeed:
    """The seed, described as on the computer that it came from.

    Raises:
        InvalidInput: the description is none.
    """
    try:
        info = models.SeedInfo.model_validate(seed.info.model_dump() | dict(origin["seed"]))
    except (KeyError, TypeError, ValueError):
        raise InvalidInput("What came with the seed does not describe it.", code="bad_origin") from None
    return PreparedSeed(seed.digest, seed.tree, info)
