"""Applies parsed patches: text to text, and a whole patch to a list of changes that is all or nothing.

Pure: the caller reads files (`read`) and carries the changes out. `plan` raises before anything is
changed, whatever in the patch does not fit.
"""

from __future__ import annotations

import hashlib

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.patches.delta import apply_delta
from pyro_mcp.patches.match import explain, find_place, fits, split_lines
from pyro_mcp.patches.model import FilePatch, Hunk, HunkLine
from pyro_mcp.workspaces.paths import show

_READ_AGAIN = "Read the file again and make the patch against what it holds now; nothing was changed."


def apply_to_text(old: bytes | None, file_patch: FilePatch) -> bytes:
    """The content after the patch. `old` is None when there is no file.

    A deletion must account for the whole content, and gives `b""`.

    Raises:
        PatchMismatch: a hunk does not fit (`patch_does_not_fit`), or all is there already
            (`patch_already_applied`).
        InvalidInput: git's `Binary files differ` without data.
    """
    if file_patch.binary is not None:
        return _apply_binary(old, file_patch)
    if file_patch.binary_without_data:
        return _without_data(old, file_patch)
    if not file_patch.hunks:
        return old or b""
    if not file_patch.crlf:
        return _apply_hunks(old, file_patch, file_patch.hunks)
    # The whole patch went through something that makes CRLF; which one the file has only the file knows.
    stripped = tuple(_strip_cr(hunk) for hunk in file_patch.hunks)
    try:
        return _apply_hunks(old, file_patch, stripped)
    except PatchMismatch:
        if not old:
            raise
    return _apply_hunks(old, file_patch, file_patch.hunks)


def blob_id(content: bytes) -> str:
    """git's name for the content (SHA-1 of `blob SIZE NUL content`)."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def already_applied(path: str) -> PatchMismatch:
    """The error for a patch whose outcome is there already."""
    return PatchMismatch(
        f"{show(path)} already has what the patch would make of it: the patch is applied already.",
        hint="Nothing is left to do for this file; leave its part out if other files need theirs.",
        code="patch_already_applied",
        details={"path": path},
    )


def _apply_hunks(old: bytes | None, file_patch: FilePatch, hunks: tuple[Hunk, ...]) -> bytes:
    path = file_patch.path
    lines = split_lines(old or b"")
    if old is None and any(hunk.old_count for hunk in hunks):
        raise PatchMismatch(
            f"{show(path)} does not exist, so there is nothing for hunk 1 ({hunks[0].header}) to change.",
            hint="Check the path, or use `--- /dev/null` to create the file.",
            details={"path": path},
        )
    if file_patch.kind == "delete":
        return _apply_deletion(lines, file_patch, hunks)
    first = hunks[0]
    if lines and first.old_count == 0 and first.old_start == 0 and not (file_patch.old_id or file_patch.stamped):
        raise PatchMismatch(
            f"{show(path)} exists with {len(lines)} lines, but {first.header} says that it is new or empty.",
            hint="Give context lines, or write the whole file with file write.",
            details={"path": path, "hunk": 1},
        )
    out: list[bytes] = []
    at = shift = 0
    for number, hunk in enumerate(hunks, 1):
        guess = (hunk.old_start - 1 if hunk.before() else hunk.old_start) + shift
        place = find_place(lines, hunk, at, guess)
        if place is not None and _is_repeat(lines, hunk, place.start - place.lead, place.fuzz):
            raise already_applied(path)
        if place is None:
            if _reverse_fits(lines, hunks):
                raise already_applied(path)
            raise _mismatch(path, number, hunk, lines, at)
        shift += place.start - place.lead - guess if place.before else 0
        out += lines[at : place.start]
        out += _merged(lines, hunk, place.start, place.lead, len(place.before), len(place.after))
        at = place.start + len(place.before)
    out += lines[at:]
    # Only the last line may lack its newline; what was appended after one that did gives it one.
    return b"".join([line if line.endswith(b"\n") else line + b"\n" for line in out[:-1]] + out[-1:])


def _merged(lines: list[bytes], hunk: Hunk, start: int, lead: int, old_count: int, new_count: int) -> list[bytes]:
    """The hunk's new lines, with context taken from the file itself."""
    out: list[bytes] = []
    at, skip_old = start, lead
    for line in hunk.lines:
        if line.tag != "+":
            if skip_old:
                skip_old -= 1
                continue
            if at - start == old_count:
                break
            if line.tag == " ":
                out.append(lines[at])
            at += 1
        else:
            out.append(line.text)
    assert len(out) == new_count
    return out


def _apply_deletion(lines: list[bytes], file_patch: FilePatch, hunks: tuple[Hunk, ...]) -> bytes:
    want = [text for hunk in hunks for text in hunk.before()]
    if len(want) == len(lines) and fits(lines, want, 0) and not any(hunk.after() for hunk in hunks):
        return b""
    if len(want) < len(lines) and fits(lines[: len(want)], want, 0):
        raise PatchMismatch(
            f"The patch deletes {show(file_patch.path)} with {len(want)} lines, but the file has {len(lines)}.",
            hint=_READ_AGAIN,
            details={"path": file_patch.path, "hunk": 1},
        )
    raise _mismatch(file_patch.path, 1, hunks[0], lines, 0)


def _is_repeat(lines: list[bytes], hunk: Hunk, start: int, fuzz: int) -> bool:
    """Whether a pure insertion at a file's very begin or end stands there already.

    Such a hunk has context on one side only; after it was applied it still finds its context, and would be
    applied once more.
    """
    tags = [line.tag for line in hunk.lines]
    if fuzz or "-" in tags or (tags[0] == " ") == (tags[-1] == " "):
        return False
    if tags[0] == " ":
        return start + hunk.old_count < len(lines) and fits(lines, hunk.after(), start)
    added = hunk.new_count - hunk.old_count
    return start >= added and fits(lines, hunk.after(), start - added)


def _reverse_fits(lines: list[bytes], hunks: tuple[Hunk, ...]) -> bool:
    at = 0
    for hunk in hunks:
        back = Hunk(
            hunk.new_start,
            hunk.new_count,
            hunk.old_start,
            hunk.old_count,
            hunk.header,
            tuple(HunkLine(_SWAP[line.tag], line.text) for line in hunk.lines),  # type: ignore[arg-type]
            hunk.line_number,
        )
        if not back.before():
            return False
        place = find_place(lines, back, at, hunk.new_start - 1)
        if place is None or place.fuzz:
            return False
        at = place.start + len(place.before)
    return True


_SWAP = {" ": " ", "+": "-", "-": "+"}


def _mismatch(path: str, number: int, hunk: Hunk, lines: list[bytes], floor: int) -> PatchMismatch:
    return PatchMismatch(
        f"Hunk {number} of {show(path)} ({hunk.header}, line {hunk.line_number} of the patch) does not fit. "
        + explain(lines, hunk, floor),
        hint=_READ_AGAIN,
        details={"path": path, "hunk": number, "header": hunk.header, "line": hunk.line_number},
    )


def _strip_cr(hunk: Hunk) -> Hunk:
    lines = tuple(
        HunkLine(line.tag, line.text[:-2] + b"\n" if line.text.endswith(b"\r\n") else line.text.removesuffix(b"\r"))
        for line in hunk.lines
    )
    return Hunk(
        hunk.old_start,
        hunk.old_count,
        hunk.new_start,
        hunk.new_count,
        hunk.header,
        lines,
        hunk.line_number,
        hunk.recovered,
    )


def _apply_binary(old: bytes | None, file_patch: FilePatch) -> bytes:
    assert file_patch.binary is not None
    path, old_id, new_id = file_patch.path, file_patch.old_id, file_patch.new_id
    if old is not None and file_patch.kind != "create" and old_id and len(old_id) == 40 and blob_id(old) != old_id:
        if blob_id(old) == new_id:
            raise already_applied(path)
        raise PatchMismatch(
            f"{show(path)} is not the binary file that the patch was made from ({old_id[:10]}).",
            hint="Make the patch from the file as it is, or write the file as a whole.",
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
        hint="Make the patch with `git diff --binary`, or leave that file out.",
        code="patch_without_data",
        details={"path": file_patch.path},
    )
