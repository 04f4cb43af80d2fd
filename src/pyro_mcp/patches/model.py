"""The records that a parsed patch consists of. See `patches.parse` for how they come about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PatchKind = Literal["modify", "create", "delete", "rename", "copy"]


@dataclass(frozen=True, slots=True)
class HunkLine:
    """One line of a hunk. `text` ends in a newline unless the file ends without one there."""

    tag: Literal[" ", "-", "+"]
    text: bytes


@dataclass(frozen=True, slots=True)
class Hunk:
    """One hunk. Line numbers are hints; `lines` is what counts.

    `old_count` and `new_count` are those of the lines, also when the header was wrong (`recovered`). A header
    without numbers (`@@`, Codex's format) leaves `old_start` and `new_start` None. `anchors` are the lines that the
    header names, outermost first: those below which the hunk stands. `at_end` says that it stands at the file's end.
    """

    old_start: int | None
    old_count: int
    new_start: int | None
    new_count: int
    header: str
    lines: tuple[HunkLine, ...]
    line_number: int
    recovered: bool = False
    anchors: tuple[bytes, ...] = ()
    at_end: bool = False

    def before(self) -> list[bytes]:
        """The lines that the file must have."""
        return [line.text for line in self.lines if line.tag != "+"]

    def after(self) -> list[bytes]:
        """The lines that the file has afterwards."""
        return [line.text for line in self.lines if line.tag != "-"]


@dataclass(frozen=True, slots=True)
class BinaryData:
    """The forward part of a `GIT binary patch`, inflated. For a delta, `data` is git's delta code."""

    method: Literal["literal", "delta"]
    data: bytes


@dataclass(frozen=True, slots=True)
class FilePatch:
    """What a patch says about one file.

    `old_path` is None for a creation, `new_path` for a deletion. `candidates` are the names to try, in
    order, when a plain `diff -u` header gives two different ones. `binary_without_data` is git's
    `Binary files … differ`. `crlf` tells that the whole patch, headers too, has CRLF line ends.
    """

    kind: PatchKind
    old_path: str | None
    new_path: str | None
    old_mode: int | None = None
    new_mode: int | None = None
    old_id: str | None = None
    new_id: str | None = None
    hunks: tuple[Hunk, ...] = ()
    binary: BinaryData | None = None
    binary_without_data: bool = False
    candidates: tuple[str, ...] = ()
    line_number: int = 1
    git: bool = False
    stamped: bool = False
    """The plain header has time stamps, so a program wrote it."""
    crlf: bool = False
    codex: bool = False
    """In Codex's format: a deletion names no content, and trailing whitespace of context does not count."""

    @property
    def path(self) -> str:
        """The name to show: the new one, else the old one."""
        return self.new_path or self.old_path or ""
