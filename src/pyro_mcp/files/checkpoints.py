"""What the files of one workspace were, moment by moment: kept on this computer, where no guest reaches.

A checkpoint is what differs from the one before it: for each path the state of the file afterwards, or None where it
is as in the baseline again. Contents are files named by their SHA-256, so that a file that comes back costs nothing.
The list is lines of JSON that are only appended to; it is written anew when old checkpoints go. Blocking: call it from
a worker thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_mcp.wholeness import write_new

MOST = 200
"""Checkpoints of a workspace."""
MOST_BYTES = 256 * 1024 * 1024
"""Of contents that are kept for a workspace; the oldest checkpoints go first."""
MOST_SECONDS = 7 * 24 * 3600.0
"""Age of a checkpoint, while there are newer ones."""
YOUNG = 20
"""So many stay however old they seem: a clock that is set forward must not end what can be undone."""
State = dict[str, Any]
"""kind, mode, and sha256 and size of a file (sha256 None: not kept), or link of a symbolic link; kind "absent"."""


@dataclass
class Checkpoint:
    """The files after something happened."""

    number: int
    at: float
    what: str
    changed: dict[str, State | None] = field(default_factory=dict)


class Checkpoints:
    """Those of one workspace, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._base: dict[str, State | None] = {}
        """The files at `first`, by path."""
        self.first = Checkpoint(0, time.time(), "as it began")
        self.list: list[Checkpoint] = []
        self.now: dict[str, State] = {}
        """The files as last seen."""
        self.bytes = 0
        self._load()

    # -- reading

    def _load(self) -> None:
        for record in self._lines():
            changed = record["changed"]
            checkpoint = Checkpoint(record["number"], record["at"], record["what"], changed)
            if "base" in record:
                self.first, self._base, self.list = checkpoint, changed, []
                checkpoint.changed = {}
                self.now = {path: state for path, state in changed.items() if state is not None}
            else:
                self.list.append(checkpoint)
                _fold(self.now, changed)
        with contextlib.suppress(OSError):
            self.bytes = sum(entry.stat().st_size for entry in os.scandir(self._directory / "contents"))

    def _lines(self) -> list[dict[str, Any]]:
        try:
            raw = (self._directory / "list").read_bytes()
        except OSError:
            return []
        found: list[dict[str, Any]] = []
        for line in raw.split(b"\n"):
            # One that the daemon was killed at has no end: it is passed over, as is an empty one.
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def at(self, number: int) -> dict[str, State] | None:
        """The files at a checkpoint, by path; None when it is not kept."""
        if number != self.first.number and all(number != one.number for one in self.list):
            return None
        state = {path: kept for path, kept in self._base.items() if kept is not None}
        for one in self.list:
            if one.number <= number:
                _fold(state, one.changed)
        return state

    def content(self, sha256: str) -> bytes | None:
        """A content that is kept."""
        try:
            data = (self._directory / "contents" / sha256).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    # -- writing

    def keep(self, data: bytes) -> str:
        """Keep a content; gives its name."""
        name = hashlib.sha256(data).hexdigest()
        contents = self._directory / "contents"
        place = contents / name
        if not place.exists():
            contents.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_new(place, data)
            self.bytes += len(data)
        return name

    def add(self, what: str, changed: dict[str, State | None]) -> Checkpoint:
        """One more, after what is there; old ones go where the bounds say so."""
        last = self.list[-1] if self.list else self.first
        made = Checkpoint(last.number + 1, time.time(), what, changed)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(self._directory / "list", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(opened, "ab") as file:
            file.write(b"\n" + _line(made))  # apart from one that a kill cut off
        self.list.append(made)
        _fold(self.now, changed)
        self._prune()
        return made

    def _prune(self) -> None:
        old = [one for one in self.list[:-YOUNG] if one.at < time.time() - MOST_SECONDS]
        count = max(len(self.list) - MOST, len(old))
        if count <= 0 and self.bytes <= MOST_BYTES:
            return
        if self.bytes > MOST_BYTES:
            count = max(count, (len(self.list) + 1) // 2)
        for one in self.list[:count]:
            for path, state in one.changed.items():
                self._base[path] = state
            self.first = Checkpoint(one.number, one.at, one.what)
        self._base = {path: state for path, state in self._base.items() if state is not None}
        self.list = self.list[count:]
        first = Checkpoint(self.first.number, self.first.at, self.first.what, self._base)
        write_new(self._directory / "list", b"".join([_line(first, base=True), *map(_line, self.list)]))
        self._sweep()

    def _sweep(self) -> None:
        used = {
            state["sha256"]
            for changed in (self._base, *(one.changed for one in self.list))
            for state in changed.values()
            if state is not None and state.get("sha256")
        }
        self.bytes = 0
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._directory / "contents"):
                if entry.name in used:
                    self.bytes += entry.stat().st_size
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _fold(state: dict[str, State], changed: dict[str, State | None]) -> None:
    for path, now in changed.items():
        if now is None:
            state.pop(path, None)
        else:
            state[path] = now


def _line(checkpoint: Checkpoint, *, base: bool = False) -> bytes:
    record = {"number": checkpoint.number, "at": checkpoint.at, "what": checkpoint.what, "changed": checkpoint.changed}
    return json.dumps(record | ({"base": True} if base else {})).encode() + b"\n"
