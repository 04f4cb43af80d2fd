"""The kept answers on disk: contents by their digest, and beside them what each answers. Blocks.

    objects/AB/SHA256     content; whole or not there, and compared with its name before a daemon first gives it out,
                          and again when its file changed
    answers/AB/KEY.json   host, path, digest, headers; its time of modification is when it was last given out
    partial/              what is being fetched; emptied when a daemon starts

Files appear by a rename, so a daemon that is killed leaves at most a partial one, or a content that nothing names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from pyro_mcp.network.cache.registries import FRESH_SECONDS, Wanted
from pyro_mcp.wholeness import read_record, write_new

LIMIT_BYTES = 10 << 30
DISK_SHARE = 10
"""By default at most a tenth of the disk."""
SPARE_BYTES = 2 << 30
"""With less free disk than this, nothing more is kept."""
TOUCH_SECONDS = 60.0
CHUNK = 1 << 20
MOST_ANSWERS = 200_000
"""Small ones take room that their bytes do not show."""
SLACK = 16
"""A full cache is brought under its limit by this part of it: each time takes a look at every answer."""
MOST_COMPARED = 4096
UNNAMED_SECONDS = 3600.0
"""A content that no answer names goes when it is older; a younger one may be about to be named."""


@dataclass(frozen=True)
class Answer:
    """One kept answer."""

    host: str
    path: str
    accept: str
    lasting: bool
    sha256: str
    size: int
    headers: tuple[tuple[str, str], ...]
    fetched_at: float
    """When the registry last confirmed it: seconds since 1970."""

    def fresh(self) -> bool:
        return self.lasting or 0 <= time.time() - self.fetched_at < FRESH_SECONDS

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True)
class Settings:
    """What the user set."""

    enabled: bool = True
    limit_bytes: int | None = None


@dataclass(frozen=True)
class Listed:
    """One kept answer, as it stands on disk."""

    answer: Answer
    used_at: float
    name: Path


class Store:
    """One user's kept answers, below `root`; `settings` is a file. Its methods may be called from several threads."""

    def __init__(self, root: Path, settings: Path) -> None:
        self.root = root
        self._settings_file = settings
        self._lock = threading.Lock()
        self._size: int | None = None
        self._answers = 0
        """How many there are; known when `_size` is."""
        self._compared: dict[str, tuple[int, ...]] = {}
        """Contents that were whole, and what their file looked like then."""
        self._settings: Settings | None = None

    # -- settings

    def settings(self) -> Settings:
        """What the user set; what cannot be read is as if it were not there."""
        if self._settings is None:
            try:
                record = read_record(self._settings_file)
                self._settings = Settings(bool(record["enabled"]), record["limit_bytes"])
            except (OSError, ValueError, KeyError, TypeError):
                self._settings = Settings()
        return self._settings

    def set(self, settings: Settings) -> None:
        """Keep what the user set. Raises OSError."""
        write_new(self._settings_file, json.dumps(asdict(settings)).encode())
        self._settings = settings

    def limit(self) -> int:
        """How many bytes all contents may take."""
        chosen = self.settings().limit_bytes
        if chosen is not None:
            return chosen
        with contextlib.suppress(OSError):
            return min(LIMIT_BYTES, shutil.disk_usage(_standing(self.root)).total // DISK_SHARE)
        return LIMIT_BYTES

    # -- answers

    def find(self, wanted: Wanted) -> Answer | None:
        """What is kept for a request, fresh or not; its content may be damaged."""
        name = self._answer(wanted.key)
        try:
            answer = _read(name)
            if (answer.host, answer.path, answer.accept) != (wanted.host, wanted.path, wanted.accept):
                return None
            if time.time() - name.stat().st_mtime > TOUCH_SECONDS:
                os.utime(name)
            return answer
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def open(self, answer: Answer) -> BinaryIO | None:
        """Its content, compared with its digest; None, and it is kept no more, where it is not whole.

        What was compared before, and whose file has not been touched since, is not read again: a guest may ask for a
        large one any number of times.
        """
        name = self._object(answer.sha256)
        try:
            file = name.open("rb")
        except OSError:
            return None
        found = hashlib.sha256()
        try:
            looks = _looks(file)
            if self._compared.get(answer.sha256) == looks and looks[1] == answer.size:
                return file
            while piece := file.read(CHUNK):
                found.update(piece)
            if found.hexdigest() == answer.sha256 and file.tell() == answer.size:
                file.seek(0)
                with self._lock:
                    self._compared[answer.sha256] = looks
                    while len(self._compared) > MOST_COMPARED:
                        self._compared.pop(next(iter(self._compared)))
                return file
        except OSError:
            pass
        file.close()
        with contextlib.suppress(OSError):
            self._drop(name)
        return None

    def partial(self) -> BinaryIO | None:
        """A new file for what is being fetched; None where the disk has no room."""
        directory = self.root / "partial"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self.room():
                return None
            return (directory / secrets.token_hex(16)).open("xb+")
        except OSError:
            return None

    def room(self, size: int = 0) -> bool:
        """Whether so many bytes more leave this computer's disk enough."""
        try:
            return shutil.disk_usage(_standing(self.root)).free - size >= SPARE_BYTES
        except OSError:
            return False

    def keep(self, answer: Answer, partial: BinaryIO) -> None:
        """Keep what was fetched whole, and let what was used longest ago go. Raises OSError."""
        name, named = self._object(answer.sha256), self._answer(_key(answer))
        name.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock:
            size = self._counted()
            if not name.exists():
                size += answer.size
            os.replace(partial.name, name)
            self._size = size
            self._answers += not named.exists()
            many = self._answers > MOST_ANSWERS
        self.confirm(answer)
        limit = self.limit()
        if size > limit or many:
            self.shrink(limit - limit // SLACK, MOST_ANSWERS - MOST_ANSWERS // SLACK)

    def confirm(self, answer: Answer) -> None:
        """Write down what is known of an answer. Raises OSError."""
        name = self._answer(_key(answer))
        name.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_new(name, json.dumps(asdict(answer)).encode())

    # -- the whole

    def begin(self) -> None:
        """Once a daemon: what an earlier one left half done goes."""
        shutil.rmtree(self.root / "partial", ignore_errors=True)

    def all(self) -> list[Listed]:
        """Every kept answer, those used last first."""
        return sorted(self._walk(), key=lambda listed: -listed.used_at)

    def size(self) -> int:
        """Bytes of all contents."""
        with self._lock:
            return self._counted()

    def shrink(self, limit: int, most: int = MOST_ANSWERS) -> tuple[int, int]:
        """Let answers go, those used longest ago first, until all contents take no more than `limit` bytes, and `most`
        are left.

        Returns how many answers went, and how many bytes.
        """
        with self._lock:
            answers = sorted(self._walk(), key=lambda listed: listed.used_at)
            named: dict[str, int] = {}
            for listed in answers:
                named[listed.answer.sha256] = named.get(listed.answer.sha256, 0) + 1
            before = left = self._measured()
            for name in self._objects():
                with contextlib.suppress(OSError):
                    status = name.stat()
                    old = time.time() - status.st_mtime > UNNAMED_SECONDS
                    if name.name not in named and (old or left > limit):
                        name.unlink()
                        left -= status.st_size
            gone = 0
            for listed in answers:
                if left <= limit and limit and len(answers) - gone <= most:
                    break
                with contextlib.suppress(OSError):
                    listed.name.unlink()
                    gone += 1
                    named[listed.answer.sha256] -= 1
                    if not named[listed.answer.sha256]:
                        self._object(listed.answer.sha256).unlink()
                        left -= listed.answer.size
            self._size, self._answers = max(left, 0), len(answers) - gone
            return gone, before - self._size

    def _walk(self) -> Iterator[Listed]:
        for name in self._files("answers", "*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                yield Listed(_read(name), name.stat().st_mtime, name)

    def _objects(self) -> Iterator[Path]:
        return self._files("objects", "*")

    def _files(self, kind: str, pattern: str) -> Iterator[Path]:
        yield from sorted((self.root / kind).glob(f"??/{pattern}"))

    def _counted(self) -> int:
        if self._size is None:
            self._size = self._measured()
            self._answers = sum(1 for _ in self._files("answers", "*.json"))
        return self._size

    def _measured(self) -> int:
        total = 0
        for name in self._objects():
            with contextlib.suppress(OSError):
                total += name.stat().st_size
        return total

    def _drop(self, name: Path) -> None:
        with self._lock:
            size = name.stat().st_size
            name.unlink()
            if self._size is not None:
                self._size = max(self._size - size, 0)

    def _answer(self, key: str) -> Path:
        return self.root / "answers" / key[:2] / f"{key}.json"

    def _object(self, digest: str) -> Path:
        return self.root / "objects" / digest[:2] / digest


def confirmed(answer: Answer) -> Answer:
    """An answer of which the registry said just now that it still holds."""
    return replace(answer, fetched_at=time.time())


def _read(name: Path) -> Answer:
    record: dict[str, Any] = read_record(name)
    headers = tuple((str(key), str(value)) for key, value in record.pop("headers"))
    answer = Answer(headers=headers, **record)
    if len(answer.sha256) != 64 or not answer.sha256.isalnum() or answer.size < 0:
        raise ValueError("not what this module writes")
    return answer


def _key(answer: Answer) -> str:
    return Wanted(answer.host, answer.path, answer.accept, answer.lasting).key


def _looks(file: BinaryIO) -> tuple[int, ...]:
    """What is not the same of a file that was written to, or is another one."""
    found = os.fstat(file.fileno())
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _standing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
