"""Applies parsed patches: text to text, and a whole patch to a list of changes that is all or nothing.

Pure: the caller reads files (`read`) and carries the changes out. `plan` raises before anything is
changed, whatever in the patch does not fit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.patches.delta import apply_delta
from pyro_mcp.patches.match import candidates, explain, is_utf8, show_line, split_lines
from pyro_mcp.patches.model import FilePatch, Hunk, HunkLine
from pyro_mcp.patches.place import MAX_FUZZ, Place, Text, Unplaced, place_all
from pyro_mcp.paths import show

_BOM = b"\xef\xbb\xbf"
_READ_AGAIN = "Read the file again and make the patch against its current content; nothing was changed."


@dataclass(frozen=True, slots=True)
class Placed:
    """A hunk that stands elsewhere than its header says, or in spite of context that differs."""

    hunk: int
    line: int
    """Where it begins, from 1 on."""
    offset: int
    """Lines further down than the header said."""
    fuzz: int
    """Lines of context at each end that did not fit, at most 2."""


def apply_to_text(old: bytes | None, file_patch: FilePatch) -> bytes:
    """The content after the patch; see `apply`."""
    return apply(old, file_patch)[0]


def apply(old: bytes | None, file_patch: FilePatch) -> tuple[bytes, list[Placed]]:
    """The content after the patch, and the hunks that are not where they were said to be.

    `old` is None when there is no file. A deletion must account for the whole content, and gives `b""`. The file
    keeps its line ends and its byte order mark where the patch says nothing of them.

    Raises:
        PatchMismatch: a hunk does not fit (`patch_does_not_fit`), fits at several places (`patch_ambiguous`), or
            all is there already (`patch_already_applied`).
        InvalidInput: git's `Binary files differ` without data.
    """
    if file_patch.binary is not None:
        return _apply_binary(old, file_patch), []
    if file_patch.binary_without_data:
        return _without_data(old, file_patch), []
    if not file_patch.hunks:
        return b"" if file_patch.kind == "delete" and file_patch.codex else old or b"", []
    hunks = file_patch.hunks
    if file_patch.crlf:
        # The whole patch went through something that makes CRLF; the file's own line ends are kept.
        hunks = tuple(_strip_cr(hunk) for hunk in hunks)
    mark = _BOM if old and old.startswith(_BOM) and not _knows_mark(hunks) else b""
    content, placed = _apply_hunks(None if old is None else old[len(mark) :], file_patch, hunks)
    return (mark + content if content or not mark else content), placed


def _knows_mark(hunks: tuple[Hunk, ...]) -> bool:
    return any(line.text.startswith(_BOM) for hunk in hunks for line in hunk.lines)


def blob_id(content: bytes) -> str:
    """git's name for the content (SHA-1 of `blob SIZE NUL content`)."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def already_applied(path: str) -> PatchMismatch:
    """The error for a patch whose outcome is there already."""
    return PatchMismatch(
        f"{show(path)} already has the content that the patch would give it: the patch is already applied.",
        hint="This file needs no change; remove it from the patch if other files still need theirs.",
        code="patch_already_applied",
        details={"path": path},
    )


def _apply_hunks(old: bytes | None, file_patch: FilePatch, hunks: tuple[Hunk, ...]) -> tuple[bytes, list[Placed]]:
    path = file_patch.path
    lines = split_lines(old or b"")
    if old is None and any(hunk.old_count for hunk in hunks):
        raise PatchMismatch(
            f"{show(path)} does not exist, so there is nothing for hunk 1 ({hunks[0].header}) to change.",
            hint="Check the path, or use `--- /dev/null` to create the file.",
            details={"path": path},
        )
    texts = _texts(lines, file_patch, hunks)
    _check_encoding(old or b"", hunks, path)
    if file_patch.kind == "delete":
        return _apply_deletion(texts[-1], lines, file_patch, hunks), []
    first = hunks[0]
    if lines and first.old_count == 0 and first.old_start == 0 and not (file_patch.old_id or file_patch.stamped):
        raise PatchMismatch(
            f"{show(path)} exists with {len(lines)} lines, but {first.header} says it is new or empty.",
            hint="Add context lines, or write the whole file with file write.",
            details={"path": path, "hunk": 1},
        )
    for text in texts:
        try:
            # A file with CRLF is looked at without them before any context is given up.
            places = place_all(text, hunks, MAX_FUZZ if text is texts[-1] else 0)
            break
        except Unplaced as error:
            refusal = error
            if not error.candidates and _reverse_fits(text, hunks):
                raise already_applied(path) from None
    else:
        raise _refused(refusal, path, hunks, lines)
    out: list[bytes] = []
    at = 0
    for hunk, place in sorted(zip(hunks, places, strict=True), key=lambda pair: pair[1].changed(pair[0])):
        if _is_repeat(text, hunk, place):
            raise already_applied(path)
        start, end = place.changed(hunk)
        out += lines[at:start]
        out += _merged(lines, hunk, place, text.ignores_cr)
        at = end
    out += lines[at:]
    # Only the last line may lack its newline; what was appended after one that did gives it one.
    ended = [line if line.endswith(b"\n") else line + _line_end(lines, 0, text.ignores_cr) for line in out[:-1]]
    placed = [
        Placed(number, place.head + 1, place.offset, place.fuzz)
        for number, place in enumerate(places, 1)
        if place.offset or place.fuzz
    ]
    return b"".join(ended + out[-1:]), placed


def _check_encoding(content: bytes, hunks: tuple[Hunk, ...], path: str) -> None:
    """Refuse what no hunk can be right for: UTF-16, and new text that would mix two encodings in one file."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidInput(
            f"{show(path)} is UTF-16 text, whose lines a patch cannot address.",
            hint="Convert it first (iconv -f UTF-16 -t UTF-8), or edit it with a command; nothing was changed.",
            code="not_utf8",
            details={"path": path},
        )
    added = [line.text for hunk in hunks for line in hunk.lines if line.tag == "+" and not line.text.isascii()]
    if any(map(is_utf8, added)) and not is_utf8(content) and b"\0" not in content[:8000]:
        raise InvalidInput(
            f"{show(path)} is not UTF-8, and the new lines would mix two encodings in it.",
            hint="Convert the file first (iconv), or change it with a command; nothing was changed.",
            code="not_utf8",
            details={"path": path},
        )


def _texts(lines: list[bytes], file_patch: FilePatch, hunks: tuple[Hunk, ...]) -> list[Text]:
    """How to look at the file, in order: as it is; then without CR where only one side has them, and without the
    whitespace of blank lines, which editors and models strip.

    Lines without any context say nothing about line ends; then a file of CRLF alone keeps to it, unless a program
    made the patch from that very file.
    """
    exact = Text(lines, ignore_trailing=file_patch.codex)
    crlf = any(line.endswith(b"\r\n") for line in lines)
    with_cr = any(line.text.endswith((b"\r\n", b"\r")) for hunk in hunks for line in hunk.lines)
    loose = Text(lines, ignore_cr=crlf or with_cr, ignore_trailing=file_patch.codex, ignore_blank=True)
    if not any(hunk.old_count for hunk in hunks):
        keeps = crlf and not with_cr and not file_patch.old_id and all(line.endswith(b"\r\n") for line in lines[:-1])
        return [loose if keeps else exact]
    return [loose] if file_patch.codex and crlf and not with_cr else [exact, loose]


def _merged(lines: list[bytes], hunk: Hunk, place: Place, keep_cr: bool) -> list[bytes]:
    """What stands where the hunk changes lines, afterwards, with context between taken from the file itself."""
    out: list[bytes] = []
    at = place.head
    start, end = place.changed(hunk)
    for line in hunk.lines:
        if line.tag != "+":
            if line.tag == " " and start <= at < end:
                out.append(lines[at])
            at += 1
        elif keep_cr and line.text.endswith(b"\n"):
            bare = line.text[:-1].removesuffix(b"\r")
            out.append(bare + _line_end(lines, max(place.start, at - 1), True))
        else:
            out.append(line.text)
    if out and end == len(lines) and _keeps_ending(hunk):
        # The patch says nothing new of the file's last newline, which models forget: it stays as it is.
        last, ends = out[-1].removesuffix(b"\n"), lines[-1].endswith(b"\n")
        if ends != out[-1].endswith(b"\n"):
            out[-1] = (
                last + _line_end(lines, end - 1, keep_cr) if ends else last.removesuffix(b"\r" if keep_cr else b"")
            )
    return out


def _keeps_ending(hunk: Hunk) -> bool:
    """Whether the hunk replaces a last line by one that ends alike."""
    tail = [line for line in hunk.lines if line.tag != " "]
    old = next((line for line in reversed(tail) if line.tag == "-"), None)
    if old is None or tail[-1].tag != "+" or hunk.lines[-1].tag == " ":
        return False
    before = hunk.before()[-1]
    return before is old.text and before.endswith(b"\n") == tail[-1].text.endswith(b"\n")


def _line_end(lines: list[bytes], near: int, keep_cr: bool) -> bytes:
    """The line end that a new line gets at index `near`: that of the line there, else of the line before."""
    if not keep_cr:
        return b"\n"
    for at in (near, near - 1):
        if 0 <= at < len(lines) and lines[at].endswith(b"\n"):
            return b"\r\n" if lines[at].endswith(b"\r\n") else b"\n"
    return b"\r\n"


def _apply_deletion(text: Text, lines: list[bytes], file_patch: FilePatch, hunks: tuple[Hunk, ...]) -> bytes:
    want = [text.key(line) for hunk in hunks for line in hunk.before()]
    if len(want) == len(lines) and text.fits(want, 0) and not any(hunk.after() for hunk in hunks):
        return b""
    if len(want) < len(lines) and text.fits(want, 0):
        raise PatchMismatch(
            f"The patch deletes {show(file_patch.path)} with {len(want)} lines, but the file has {len(lines)}.",
            hint=_READ_AGAIN,
            details={"path": file_patch.path, "hunk": 1},
        )
    raise _refused(Unplaced(0), file_patch.path, hunks, lines)


def _is_repeat(text: Text, hunk: Hunk, place: Place) -> bool:
    """Whether a pure insertion at a file's very begin or end stands there already.

    Such a hunk has context on one side only; after it was applied it still finds its context, and would be
    applied once more.
    """
    tags = [line.tag for line in hunk.lines]
    if place.fuzz or "-" in tags or (tags[0] == " ") == (tags[-1] == " "):
        return False
    after = [text.key(line) for line in hunk.after()]
    if tags[0] == " ":
        return text.fits(after, place.start)
    return text.fits(after, place.start - (hunk.new_count - hunk.old_count))


def _reverse_fits(text: Text, hunks: tuple[Hunk, ...]) -> bool:
    """Whether every hunk's outcome is there, at exactly one place, where it has one that can be found."""
    back = [
        replace(
            hunk,
            old_start=hunk.new_start,
            old_count=hunk.new_count,
            new_start=hunk.old_start,
            new_count=hunk.old_count,
            lines=tuple(HunkLine(_SWAP[line.tag], line.text) for line in hunk.lines),
        )
        for hunk in hunks
    ]
    if not all(hunk.before() for hunk in back):
        return False
    try:
        place_all(text, back, 0)
    except Unplaced:
        return False
    return True


_SWAP: dict[str, Literal[" ", "-", "+"]] = {" ": " ", "+": "-", "-": "+"}


def _refused(error: Unplaced, path: str, hunks: tuple[Hunk, ...], lines: list[bytes]) -> PatchMismatch:
    number, hunk = error.index + 1, hunks[error.index]
    which = f"Hunk {number} of {show(path)} ({hunk.header}, line {hunk.line_number} of the patch)"
    details: dict[str, object] = {"path": path, "hunk": number, "header": hunk.header, "line": hunk.line_number}
    if error.candidates:
        return PatchMismatch(
            f"{which} fits in {len(error.candidates)} places and does not say which one is meant:\n"
            + candidates(lines, error.candidates),
            hint="Add context lines, or put the function's own line after `@@`; nothing was changed.",
            code="patch_ambiguous",
            details=details | {"candidates": [at + 1 for at in error.candidates[:20]]},
        )
    anchor = show_line(hunk.anchors[-1]) if hunk.anchors else ""
    reason = {
        "applied": "Its result is already where its header points, and it is not applied again elsewhere.",
        "beyond": f"It has no context, and its header points past the file's {len(lines)} lines.",
        "nowhere": "It has no context and no line number, so there is no way to tell where its lines belong.",
        "anchor": f"The line named in its header, {anchor}, is not in the file. ",
        "scope": f"Its lines are in the file, but not below {anchor}, the line named in its header. ",
    }.get(error.why, "")
    if error.why in ("", "anchor", "scope"):
        reason += explain(lines, hunk.before(), error.floor)
    return PatchMismatch(f"{which} does not fit. {reason}", hint=_READ_AGAIN, details=details)


def _strip_cr(hunk: Hunk) -> Hunk:
    lines = tuple(
        HunkLine(line.tag, line.text[:-2] + b"\n" if line.text.endswith(b"\r\n") else line.text.removesuffix(b"\r"))
        for line in hunk.lines
    )
    return replace(hunk, lines=lines)


def _apply_binary(old: bytes | None, file_patch: FilePatch) -> bytes:
    assert file_patch.binary is not None
    path, old_id, new_id = file_patch.path, file_patch.old_id, file_patch.new_id
    if old is not None and file_patch.kind != "create" and old_id and len(old_id) == 40 and blob_id(old) != old_id:
        if blob_id(old) == new_id:
            raise already_applied(path)
        raise PatchMismatch(
            f"{show(path)} is not the binary file the patch was made from ({old_id[:10]}).",
            hint="Make the patch from the current file, or write the whole file.",
            details={"path": path},
        )
    if file_patch.binary.method == "literal":
        return file_patch.binary.data
    return apply_delta(old or b"", file_patch.binary.data, path)


def _without_data(old: bytes | None, file_patch: FilePatch) -> bytes:
    # A deletion needs no data, if git's short name for the content proves that it is the same.
    if file_patch.kind == "delete" and old is not None and file_patch.old_id:
        if blob_id(old).startswith(file_patch.old_id):
            return b""
        raise PatchMismatch(
            f"{show(file_patch.path)} is not the binary file that the patch deletes ({file_patch.old_id}).",
            hint=_READ_AGAIN,
            details={"path": file_patch.path},
        )
    raise InvalidInput(
        f"{show(file_patch.path)} is binary and the patch carries no data for it (`Binary files differ`).",
        hint="Make the patch with `git diff --binary`, or leave this file out.",
        code="patch_without_data",
        details={"path": file_patch.path},
    )
