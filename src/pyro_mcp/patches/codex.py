"""Reads Codex's patch format (`*** Begin Patch`), after codex-rs/apply-patch/apply_patch_tool_instructions.md.

    *** Begin Patch
    *** Update File: src/area.py
    *** Move to: src/shapes.py
    @@ class Square
    @@     def area(self):
    -        return self.side
    +        return self.side ** 2
    *** Add File: NEWS
    +Squares have an area.
    *** Delete File: old.py
    *** End Patch

`@@` names a line below which the hunk stands; there are no numbers. Its hunks are read by the same code as a unified
diff's. Pure: bytes in, records out.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from pyro_mcp.errors import InvalidInput
from pyro_mcp.patches.model import FilePatch, Hunk, HunkLine, PatchKind
from pyro_mcp.patches.names import strip_prefix
from pyro_mcp.patches.unified import UnifiedParser, show_bytes

_PART = re.compile(rb"^\*\*\* (Add|Update|Delete) File:\s*(.*?)\s*$", re.I)
_MOVE = re.compile(rb"^\*\*\* Move to:\s*(.*?)\s*$", re.I)
_ENVELOPE = re.compile(rb"^\s*\*\*\* (?:Begin|End) Patch\s*$", re.I)
_END_OF_FILE = re.compile(rb"^\*\*\* (?:End of File|EOF)\s*$", re.I)
_HINT = (
    "Use `*** Update File: PATH`, `*** Add File: PATH` or `*** Delete File: PATH`, "
    "then lines starting with space, + or -."
)


def is_codex(raw: bytes) -> bool:
    """Whether a patch names its files as Codex does."""
    return any(_PART.match(line.rstrip(b"\r")) for line in raw.split(b"\n") if line.startswith(b"*** "))


def without_envelope(raw: bytes) -> bytes:
    """A unified diff that somebody put between Codex's first and last line, on its own; line numbers stay."""
    if b"*** Begin Patch" not in raw:
        return raw
    return b"\n".join(b"" if _ENVELOPE.match(line) else line for line in raw.split(b"\n"))


class CodexParser(UnifiedParser):
    """A patch in Codex's format."""

    def parse(self) -> list[FilePatch]:
        files: list[FilePatch] = []
        inside = False
        while self.at < len(self.lines):
            line = self.bare(self.at)
            part = _PART.match(line)
            if part:
                files.append(self.part(part[1].title(), _file_name(part[2])))
                inside = True
            elif _ENVELOPE.match(line) or line.startswith(b"```"):
                # A second envelope, or a second block of code, may follow; what is between is prose.
                inside = False
                self.at += 1
            elif inside and line.strip() and not line.startswith(b"*** "):
                raise self.fail(self.at, f"{show_bytes(line)} does not belong to any file.", _HINT)
            else:
                self.at += 1
        if any(not file.path for file in files):
            raise InvalidInput("A `*** … File:` line does not name a file.", hint=_HINT, code="bad_patch")
        return files

    def part(self, kind: bytes, path: str) -> FilePatch:
        start = self.at
        self.at += 1
        if kind == b"Delete":
            return FilePatch("delete", path, None, line_number=start + 1, codex=True)
        if kind == b"Add":
            return FilePatch(
                "create", None, path, hunks=self.added(), line_number=start + 1, codex=True, crlf=self.crlf(start)
            )
        moved = _MOVE.match(self.bare(self.at))
        if moved:
            self.at += 1
        hunks = self.updates()
        if not hunks and not moved:
            raise self.fail(start, f"it updates {show_bytes(os.fsencode(path))} with no lines.", _HINT)
        target = _file_name(moved[1]) if moved else path
        kind_: PatchKind = "rename" if moved and target != path else "modify"
        return FilePatch(
            kind_, path, target, hunks=tuple(hunks), candidates=() if kind_ == "rename" else _unique(path),
            line_number=start + 1, codex=True, crlf=self.crlf(start),
        )  # fmt: skip

    def crlf(self, index: int) -> bool:
        """Whether the format's own line there ends in CRLF: then what carried the patch made it so."""
        return self.lines[index].endswith(b"\r")

    def added(self) -> tuple[Hunk, ...]:
        first = self.at
        if self.bare(self.at).startswith(b"@@"):
            self.at += 1
        out: list[HunkLine] = []
        blank = 0
        while self.at < len(self.lines) and not self.is_end(self.at):
            line = self.bare(self.at)
            if line[:1] == b"+":
                out += [HunkLine("+", b"\n")] * blank
                blank = 0
                out.append(HunkLine("+", line[1:] + b"\n"))
            elif not line.strip():
                # A blank line between two others has lost its `+`; at the end it parts the text only.
                blank += bool(out)
            else:
                raise self.fail(
                    self.at, f"each line of a new file begins with `+`; {show_bytes(line)} does not.", _HINT
                )
            self.at += 1
        if not out:
            return ()
        return (Hunk(0, 0, 1, len(out), "*** Add File", tuple(out), first),)

    def updates(self) -> list[Hunk]:
        hunks: list[Hunk] = []
        while self.at < len(self.lines) and not self.is_part_end(self.at):
            line = self.bare(self.at)
            if not hunks and self.is_plain_header(self.at):
                self.at += 2  # a unified diff's header below Codex's own says nothing new
                continue
            if line.startswith(b"@@"):
                hunk = self.hunk()
            elif not line.strip():
                self.at += 1
                continue
            elif not hunks and line[:1] in (b" ", b"+", b"-"):
                hunk = self.chunk(self.at, b"the first hunk", ())
            else:
                raise self.fail(self.at, f"{show_bytes(line)} begins with neither `@@`, a space, `+` nor `-`.", _HINT)
            if _END_OF_FILE.match(self.bare(self.at)):
                hunk = replace(hunk, at_end=True)
                self.at += 1
            if not hunk.old_count and not hunk.anchors:
                # Lines without any context go to the end, as Codex has them.
                hunk = replace(hunk, old_start=None, at_end=True)
            hunks.append(hunk)
        return hunks

    def is_part_end(self, index: int) -> bool:
        line = self.bare(index)
        return bool(_PART.match(line) or _ENVELOPE.match(line)) or line.startswith(b"```")

    def is_end(self, index: int) -> bool:
        line = self.bare(index)
        return line.startswith((b"@@", b"*** ", b"```"))


def _file_name(raw: bytes) -> str:
    """A file's name as it was meant: models put it in quotes at times."""
    for quote in (b"`", b'"', b"'"):
        if len(raw) > 2 and raw.startswith(quote) and raw.endswith(quote):
            return os.fsdecode(raw[1:-1])
    return os.fsdecode(raw)


def _unique(path: str) -> tuple[str, ...]:
    """The names to try for a file that is updated: as written, then without git's `a/` or `b/`."""
    return tuple(dict.fromkeys((path, strip_prefix(path))))
