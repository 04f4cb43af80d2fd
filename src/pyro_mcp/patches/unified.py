"""Reads patches: what `git diff`, `git diff --binary`, `git format-patch`, `diff -u` and `diff -ru` print.

Pure: bytes in, records out. Lines inside a hunk are counted by the hunk's header and never judged by
their looks, so a deleted line that begins with `-- ` is safe.

Models often miscount. When the counts do not fit, the hunk is taken to reach up to the next line that
can only be its end: another `@@ -`, `diff `, `Index: `, a `---`/`+++`/`@@` triple, a mail signature,
a closing code fence or the end of the text; blank lines before that end are not part of it. A line in
between that is neither context, added nor removed makes the patch invalid.
"""

from __future__ import annotations

import re
import zlib
from base64 import b85decode
from dataclasses import dataclass, field
from typing import Literal

from pyro_mcp.errors import InvalidInput
from pyro_mcp.patches.model import BinaryData, FilePatch, Hunk, HunkLine, PatchKind
from pyro_mcp.patches.names import git_header_names, header_name, plain_candidates, plain_name, strip_prefix
from pyro_mcp.paths import show

MAX_BINARY_BYTES = 64 * 1024 * 1024
"""The most that one binary part may inflate to."""

_HUNK = re.compile(rb"^@@ *- ?(\d{1,9})(?:,(\d{1,9}))?,? +\+ ?(\d{1,9})(?:,(\d{1,9}))?(?: *@@(.*)| *)$", re.S)
_NO_NUMBERS = re.compile(rb"^@@(?:\s+(.*?))?\s*(?:@@\s*)?$", re.S)
_ELLIPSIS = (b"", b"...", "…".encode())
_VERSION = re.compile(rb"^\d+\.\d+")
_PROSE = (b"From ", b"commit ", b"Subject: ")
_HINT = "Make the patch with `git diff` or `diff -u`, or correct that line."
_FORMS = (
    "Give a unified diff (`--- a/PATH`, `+++ b/PATH`, `@@`, then lines with space, - or +), "
    "or `*** Begin Patch`, `*** Update File: PATH`, `@@`, the same lines, `*** End Patch`."
)
_EDIT = "These are search-and-replace blocks, not hunks: use an edit with old_string and new_string."


@dataclass
class _Draft:
    """A file's part while it is read."""

    line_number: int
    git: bool = False
    names: tuple[str, str, bool] | None = None
    old_name: str | None = None
    new_name: str | None = None
    has_plain: bool = False
    null_old: bool = False
    null_new: bool = False
    stamped: bool = False
    epoch_old: bool = False
    epoch_new: bool = False
    crlf: bool = False
    fields: dict[str, str] = field(default_factory=dict)
    old_mode: int | None = None
    new_mode: int | None = None
    old_id: str | None = None
    new_id: str | None = None
    hunks: list[Hunk] = field(default_factory=list)
    binary: BinaryData | None = None
    binary_without_data: bool = False


class UnifiedParser:
    """A patch in unified format, with or without git's headers."""

    def __init__(self, raw: bytes) -> None:
        lines = raw.split(b"\n")
        if lines and not lines[-1]:
            lines.pop()
        self.lines = lines
        self.at = 0

    def bare(self, index: int) -> bytes:
        """Line `index` without its line end; empty past the end."""
        return self.lines[index].rstrip(b"\r") if index < len(self.lines) else b""

    def fail(self, index: int, what: str, hint: str = _HINT) -> InvalidInput:
        return InvalidInput(
            f"Line {index + 1} of the patch: {what}", hint=hint, code="bad_patch", details={"line": index + 1}
        )

    def parse(self) -> list[FilePatch]:
        files: list[FilePatch] = []
        watch = False
        while self.at < len(self.lines):
            line = self.bare(self.at)
            if line.startswith(b"diff --git "):
                files.append(self.finish(self.git_part()))
                watch = True
            elif line.startswith((b"diff --cc ", b"diff --combined ")):
                raise self.fail(self.at, "a combined diff of a merge cannot be applied.", "Use `git diff A B`.")
            elif self.is_plain_header(self.at):
                draft = _Draft(self.at)
                self.plain_header(draft)
                self.hunks(draft)
                files.append(self.finish(draft))
                watch = True
            elif line.startswith(b"@@ "):
                raise self.fail(
                    self.at,
                    f"the hunk {show_bytes(line)} does not belong to any file.",
                    "Add `--- a/PATH` and `+++ b/PATH` before it.",
                )
            elif line.startswith((*_PROSE, b"```")) or self.is_signature(self.at):
                watch = False
                self.at += 1
            elif watch and line[:1] in (b"+", b"-") and line.strip() not in (b"--", b"---"):
                raise self.fail(self.at, f"{show_bytes(line)} is outside any hunk.")
            else:
                self.at += 1
        if not files:
            raise InvalidInput(
                "The text contains no patch: there is no `diff --git` line and no `---`, `+++`, `@@` header.",
                hint=_FORMS if b"<<<<<<<" not in b"".join(self.lines[:50]) else _EDIT,
                code="bad_patch",
            )
        return files

    # -- headers

    def is_plain_header(self, index: int) -> bool:
        return (
            self.bare(index).startswith(b"--- ")
            and self.bare(index + 1).startswith(b"+++ ")
            and self.bare(index + 2).startswith(b"@@")
        )

    def is_signature(self, index: int) -> bool:
        """format-patch ends with `-- ` and git's version."""
        line = self.lines[index].rstrip(b"\r") if index < len(self.lines) else b""
        if line not in (b"-- ", b"--"):
            return False
        return bool(_VERSION.match(self.bare(index + 1))) or (line == b"-- " and index + 1 >= len(self.lines))

    def plain_header(self, draft: _Draft) -> None:
        old, stamped_old, draft.epoch_old = header_name(self.bare(self.at)[4:])
        new, stamped_new, draft.epoch_new = header_name(self.bare(self.at + 1)[4:])
        draft.crlf = self.lines[self.at].endswith(b"\r") and self.lines[self.at + 1].endswith(b"\r")
        draft.has_plain = True
        draft.stamped = stamped_old or stamped_new
        draft.null_old, draft.null_new = old == "/dev/null", new == "/dev/null"
        draft.old_name = None if draft.null_old else old
        draft.new_name = None if draft.null_new else new
        if draft.null_old and draft.null_new:
            raise self.fail(self.at, "both names are /dev/null.")
        self.at += 2

    def git_part(self) -> _Draft:
        draft = _Draft(self.at, git=True, names=git_header_names(self.bare(self.at)[11:]))
        self.at += 1
        while self.at < len(self.lines):
            line = self.bare(self.at)
            if line.startswith(b"--- ") and self.bare(self.at + 1).startswith(b"+++ "):
                self.plain_header(draft)
                self.hunks(draft)
                return draft
            if line == b"GIT binary patch":
                self.at += 1
                draft.binary = self.binary_part()
                return draft
            if line.startswith(b"Binary files ") and line.endswith(b" differ"):
                draft.binary_without_data = True
                self.at += 1
                return draft
            if line.startswith(b"@@"):
                if draft.names is None:
                    raise self.fail(self.at, "a hunk without `---` and `+++` lines before it.")
                self.hunks(draft)
                return draft
            if not self.extended_header(draft, line):
                return draft
            self.at += 1
        return draft

    def extended_header(self, draft: _Draft, line: bytes) -> bool:
        """Take one of git's header lines; False when `line` is none."""
        if line.startswith(b"index "):
            match = re.match(rb"^index ([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})(?: (\d{6}))?", line)
            if match:
                draft.old_id, draft.new_id = match[1].decode(), match[2].decode()
                if match[3] and draft.old_mode is None and draft.new_mode is None:
                    draft.old_mode = draft.new_mode = self.mode(match[3])
            return True
        for name in ("old mode", "new mode", "deleted file mode", "new file mode"):
            if line.startswith(name.encode() + b" "):
                mode = self.mode(line[len(name) + 1 :].strip())
                draft.fields[name] = oct(mode)
                if name in ("old mode", "deleted file mode"):
                    draft.old_mode = mode
                else:
                    draft.new_mode = mode
                return True
        for name in ("rename from", "rename to", "copy from", "copy to"):
            if line.startswith(name.encode() + b" "):
                draft.fields[name] = plain_name(line[len(name) + 1 :])
                return True
        return line.startswith((b"similarity index ", b"dissimilarity index "))

    def mode(self, text: bytes) -> int:
        try:
            mode = int(text, 8)
        except ValueError:
            raise self.fail(self.at, f"{show_bytes(text)} is not a file mode.") from None
        if mode == 0o160000:
            raise self.fail(self.at, "it changes a submodule, which a workspace cannot do.", "Remove that part.")
        if mode & 0o170000 not in (0o100000, 0o120000):
            raise self.fail(self.at, f"{show_bytes(text)} is not a mode of a file or symbolic link.")
        return mode

    def finish(self, draft: _Draft) -> FilePatch:
        """Settle kind and names, once a file's part is read."""
        fields = draft.fields
        old: str | None
        new: str | None
        old, new, candidates = self.names(draft)
        kind: PatchKind = "modify"
        if "rename from" in fields and "rename to" in fields:
            kind, old, new = "rename", fields["rename from"], fields["rename to"]
        elif "copy from" in fields and "copy to" in fields:
            kind, old, new = "copy", fields["copy from"], fields["copy to"]
        elif "new file mode" in fields or draft.null_old:
            kind, old = "create", None
        elif "deleted file mode" in fields or draft.null_new:
            kind, new = "delete", None
        elif not draft.git and len(draft.hunks) == 1:
            # GNU diff -N has no /dev/null: a missing file has the epoch as its time.
            hunk = draft.hunks[0]
            if draft.epoch_old and hunk.old_count == 0:
                kind, old = "create", None
            elif draft.epoch_new and hunk.new_count == 0:
                kind, new = "delete", None
        return FilePatch(
            kind=kind,
            old_path=old,
            new_path=new,
            old_mode=draft.old_mode,
            new_mode=draft.new_mode,
            old_id=draft.old_id,
            new_id=draft.new_id,
            hunks=tuple(draft.hunks),
            binary=draft.binary,
            binary_without_data=draft.binary_without_data,
            candidates=candidates if kind == "modify" else (),
            line_number=draft.line_number + 1,
            git=draft.git,
            stamped=draft.stamped,
            crlf=draft.crlf,
        )

    def names(self, draft: _Draft) -> tuple[str, str, tuple[str, ...]]:
        if draft.git and draft.names and draft.names[0] == draft.names[1]:
            name, prefixed = draft.names[0], draft.names[2]
            for plain in (draft.old_name, draft.new_name):
                if plain is not None and name not in (plain, strip_prefix(plain) if prefixed else plain):
                    raise self.fail(
                        draft.line_number, f"`diff --git` names {show(name)} but the lines below it {show(plain)}."
                    )
            return name, name, ()
        if draft.git and draft.names and not draft.null_old | draft.null_new and not draft.fields:
            raise self.fail(
                draft.line_number,
                "the two names differ, without `rename` or `copy` lines to say why.",
                "Add `rename from OLD` and `rename to NEW` below it, or give the file's one name on both sides.",
            )
        if draft.has_plain:
            names = plain_candidates(draft.old_name, draft.new_name)
            if not names:
                raise self.fail(draft.line_number, "the file name cannot be read from this header.")
            return names[0], names[0], names
        if draft.names:
            if "rename from" not in draft.fields and "copy from" not in draft.fields:
                raise self.fail(draft.line_number, "the two names differ, without `rename` or `copy` lines to say why.")
            return draft.names[0], draft.names[1], ()
        if "rename to" in draft.fields or "copy to" in draft.fields:
            return "", "", ()
        raise self.fail(draft.line_number, "the file name cannot be read from this header.")

    # -- hunks

    def hunks(self, draft: _Draft) -> None:
        while self.bare(self.at).startswith(b"@@"):
            draft.hunks.append(self.hunk())
        if not draft.hunks and draft.has_plain:
            raise self.fail(
                self.at, "after `---` and `+++` a hunk must come: `@@ -START,COUNT +START,COUNT @@` or `@@`."
            )

    def hunk(self) -> Hunk:
        start = self.at
        header = self.bare(start)
        match = _HUNK.match(header)
        if not match:
            return self.unnumbered()
        old_count = 1 if match[2] is None else int(match[2])
        new_count = 1 if match[4] is None else int(match[4])
        lines = self.strict_lines(start + 1, old_count, new_count)
        recovered = lines is None
        if lines is None:
            lines = self.recovered_lines(start + 1)
        heading = (match[5] or b"").strip()
        return self.made(
            start,
            header,
            lines,
            old_start=int(match[1]),
            new_start=int(match[3]),
            recovered=recovered,
            anchors=(heading,) if heading else (),
        )

    def unnumbered(self) -> Hunk:
        """A hunk below `@@`, `@@ … @@` or `@@ def add(a, b):`; several such lines name an outer and an inner one."""
        header = self.bare(self.at)
        anchors: list[bytes] = []
        while (match := _NO_NUMBERS.match(self.bare(self.at))) and not _HUNK.match(self.bare(self.at)):
            named = (match[1] or b"").strip()
            if re.match(rb"^-\d+(,\d+)?\b", named):
                raise self.fail(
                    self.at,
                    f"{show_bytes(self.bare(self.at))} is not a hunk header.",
                    "Write `@@ -START,COUNT +START,COUNT @@`, or `@@` alone.",
                )
            anchors += [part for part in re.split(rb"\s+@@\s+", named) if part not in _ELLIPSIS]
            self.at += 1
            if not self.bare(self.at).startswith(b"@@"):
                break
        return self.chunk(self.at, header, tuple(anchors))

    def chunk(self, first: int, header: bytes, anchors: tuple[bytes, ...]) -> Hunk:
        """A hunk without numbers, whose lines begin at index `first`."""
        lines = self.recovered_lines(first)
        return self.made(max(0, first - 1), header, lines, old_start=None, new_start=None, anchors=anchors)

    def made(
        self,
        start: int,
        header: bytes,
        lines: list[HunkLine],
        *,
        old_start: int | None,
        new_start: int | None,
        anchors: tuple[bytes, ...],
        recovered: bool = False,
    ) -> Hunk:
        if not any(line.tag != " " for line in lines):
            raise self.fail(
                start, f"the hunk {show_bytes(header)} changes nothing.", "Remove it, or mark lines with + or -."
            )
        return Hunk(
            old_start=old_start,
            old_count=sum(line.tag != "+" for line in lines),
            new_start=new_start,
            new_count=sum(line.tag != "-" for line in lines),
            header=header.decode("utf-8", "replace"),
            lines=tuple(lines),
            line_number=start + 1,
            recovered=recovered,
            anchors=anchors,
        )

    def strict_lines(self, index: int, old_left: int, new_left: int) -> list[HunkLine] | None:
        """The hunk by its counts, or None when they do not fit. Moves on only when they do."""
        out: list[HunkLine] = []
        while old_left > 0 or new_left > 0:
            line = self.hunk_line(index)
            if line is None:
                return None
            if line == "no newline":
                if not out:
                    return None
                out[-1] = _without_newline(out[-1])
            else:
                old_left -= line.tag != "+"
                new_left -= line.tag != "-"
                if old_left < 0 or new_left < 0:
                    return None
                out.append(line)
            index += 1
        if out and index < len(self.lines) and self.lines[index].startswith(b"\\"):
            out[-1] = _without_newline(out[-1])
            index += 1
        # The counts are used up; does it look as if the hunk went on? `-- ` opens a mail signature.
        goes_on = index < len(self.lines) and self.lines[index][:1] in (b" ", b"+", b"-")
        if goes_on and self.bare(index) != b"-- " and not self.is_end(index):
            return None
        self.at = index
        return out

    def recovered_lines(self, index: int) -> list[HunkLine]:
        first = index
        out: list[HunkLine] = []
        blank = 0
        while index < len(self.lines) and not self.is_end(index):
            line = self.hunk_line(index)
            if line is None:
                raise self.fail(
                    index,
                    f"{show_bytes(self.lines[index])} begins with neither a space, `+` nor `-`, "
                    f"and the header on line {first} does not say where the hunk ends.",
                )
            if line == "no newline":
                if out:
                    out[-1] = _without_newline(out[-1])
            else:
                blank = blank + 1 if not self.bare(index) else 0
                out.append(line)
            index += 1
        if blank:
            del out[-blank:]
        if not out:
            raise self.fail(first - 1, "the hunk has no lines.")
        self.at = index
        return out

    def is_end(self, index: int) -> bool:
        """Whether line `index` can only be what follows a hunk."""
        line = self.bare(index)
        if line.startswith((b"@@", b"diff ", b"Index: ", b"```", b"Only in ", b"Binary files ", b"From ")):
            return True
        return self.is_plain_header(index) or self.is_signature(index)

    def hunk_line(self, index: int) -> HunkLine | Literal["no newline"] | None:
        if index >= len(self.lines):
            return None
        raw = self.lines[index]
        tag = raw[:1]
        if tag == b"\\":
            return "no newline"
        if raw in (b"", b"\r"):
            # Editors and models strip the space of an empty context line.
            return HunkLine(" ", raw + b"\n")
        if tag == b" ":
            return HunkLine(" ", raw[1:] + b"\n")
        if tag == b"-":
            return HunkLine("-", raw[1:] + b"\n")
        if tag == b"+":
            return HunkLine("+", raw[1:] + b"\n")
        return None

    # -- binary

    def binary_part(self) -> BinaryData:
        forward = self.binary_hunk()
        if forward is None:
            raise self.fail(self.at, "`literal SIZE` or `delta SIZE` must follow `GIT binary patch`.")
        self.binary_hunk()
        return forward

    def binary_hunk(self) -> BinaryData | None:
        match = re.match(rb"^(literal|delta) (\d{1,12})$", self.bare(self.at))
        if not match:
            return None
        start, size = self.at, int(match[2])
        if size > MAX_BINARY_BYTES:
            raise self.fail(start, f"{size} bytes; the limit for one binary file in a patch is {MAX_BINARY_BYTES}.")
        self.at += 1
        packed = bytearray()
        while self.bare(self.at):
            line = self.bare(self.at)
            head = line[0]
            if 0x41 <= head <= 0x5A:
                count = head - 0x40
            elif 0x61 <= head <= 0x7A:
                count = head - 0x60 + 26
            else:
                raise self.fail(self.at, "this is not a line of a binary patch.")
            try:
                data = b85decode(line[1:])
            except ValueError:
                raise self.fail(self.at, "this line of a binary patch is damaged.") from None
            if not 0 <= len(data) - count < 4 or (len(line) - 1) % 5:
                raise self.fail(self.at, "this line of a binary patch has the wrong length.")
            packed += data[:count]
            self.at += 1
        self.at += 1
        inflate = zlib.decompressobj()
        try:
            data = inflate.decompress(bytes(packed), size + 1)
        except zlib.error:
            raise self.fail(start, "the binary data cannot be decompressed.") from None
        if len(data) != size:
            raise self.fail(start, f"the binary data does not decompress to {size} bytes.")
        return BinaryData("literal" if match[1] == b"literal" else "delta", data)


def show_bytes(line: bytes) -> str:
    """A line of the patch or of a file, for a message."""
    return show(line.decode("utf-8", "replace"), 100)


def _without_newline(line: HunkLine) -> HunkLine:
    return HunkLine(line.tag, line.text.removesuffix(b"\n"))
