"""Exact-string edits, as Claude Code and OpenCode make them: text in, text out, all of them or none. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.patches.match import candidates, explain, is_utf8, split_lines
from pyro_mcp.paths import show

_READ_AGAIN = "Read the file again and copy the text exactly, including whitespace; nothing was changed."


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement. An empty `old` stands for a file that does not exist yet."""

    old: str
    new: str
    replace_all: bool = False


def apply_edits(content: bytes | None, edits: list[Edit], path: str) -> tuple[bytes, int]:
    """The content after the edits, each made on what the one before it left, and how many replacements that were.

    `content` is None where there is no file. In a file whose lines end in CRLF, text with LF alone stands for CRLF.

    Raises:
        PatchMismatch: `edit_not_found`, or `edit_ambiguous` where it stands more than once.
        InvalidInput: nothing would change, or the file is not UTF-8 text and the new text would mix encodings.
    """
    count = 0
    for number, edit in enumerate(edits, 1):
        content, made = _apply(content, edit, path, f"Edit {number}: " if len(edits) > 1 else "")
        count += made
    assert content is not None
    return content, count


def _apply(content: bytes | None, edit: Edit, path: str, which: str) -> tuple[bytes, int]:
    old, new = (text.encode("utf-8", "surrogateescape") for text in (edit.old, edit.new))
    if not old:
        if content:
            raise PatchMismatch(
                f"{which}old_string is empty, which creates a new file, but {show(path)} exists.",
                hint="Give the text to replace, or write the whole file.",
                code="file_exists",
                details={"path": path},
            )
        return new, 1
    if content is None:
        raise PatchMismatch(
            f"{which}{show(path)} does not exist.",
            hint="Check the path; an empty old_string creates a new file.",
            code="edit_not_found",
            details={"path": path},
        )
    if b"\0" in content[:8000]:
        raise InvalidInput(f"{show(path)} is a binary file.", hint="Change it with a command.", code="binary_file")
    if _crlf(content) and b"\r\n" not in old:
        old, new = old.replace(b"\n", b"\r\n"), new.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if old == new:
        raise InvalidInput(
            f"{which}old_string and new_string are the same.", hint="Nothing was changed.", code="edit_changes_nothing"
        )
    if not new.isascii() and not is_utf8(content):
        raise InvalidInput(
            f"{show(path)} is not UTF-8, and the new text would mix two encodings in it.",
            hint="Convert the file first (iconv), or change it with a command.",
            code="not_utf8",
        )
    places = _places(content, old)
    if not places:
        raise _not_found(content, old, path, which)
    if len(places) > 1 and not edit.replace_all:
        lines = [content.count(b"\n", 0, at) for at in places]
        raise PatchMismatch(
            f"{which}old_string occurs {len(places)} times in {show(path)}:\n"
            + candidates(split_lines(content), lines),
            hint="Include more lines around it to make it unique, or use replace_all; nothing was changed.",
            code="edit_ambiguous",
            details={"path": path, "candidates": [line + 1 for line in lines[:20]]},
        )
    return content.replace(old, new), len(places)


def _places(content: bytes, old: bytes) -> list[int]:
    found: list[int] = []
    at = content.find(old)
    while at >= 0:
        found.append(at)
        at = content.find(old, at + len(old))
    return found


def _not_found(content: bytes, old: bytes, path: str, which: str) -> PatchMismatch:
    return PatchMismatch(
        f"{which}old_string is not in {show(path)}. {explain(split_lines(content), split_lines(old), 0)}",
        hint=_READ_AGAIN,
        code="edit_not_found",
        details={"path": path},
    )


def _crlf(content: bytes) -> bool:
    """Whether every line of the file ends in CRLF."""
    lines = content.count(b"\n")
    return lines > 0 and content.count(b"\r\n") == lines
