"""Explains why a hunk fits nowhere in a file, or where it fits. Pure; lines are bytes."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence

from pyro_mcp.paths import show

_ENDS = b"\r\n"
_MOST_CANDIDATES = 8
_NEAREST_LINES = 8
_COMMON = 64
"""Lines that stand more often than this in a file say nothing about a place."""


def split_lines(data: bytes) -> list[bytes]:
    """Lines with their newlines; only `\\n` ends a line. The last one may lack it."""
    parts = data.split(b"\n")
    last = parts.pop()
    lines = [part + b"\n" for part in parts]
    if last:
        lines.append(last)
    return lines


def is_utf8(content: bytes) -> bool:
    """Whether all of it is UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def candidates(lines: Sequence[bytes], places: Sequence[int]) -> str:
    """The places that a hunk fits, each with its line number and the line under which it stands."""
    rows = []
    for at in places[:_MOST_CANDIDATES]:
        above = _heading(lines, at)
        below = f", below line {above + 1}: {_plain(lines[above])}" if above is not None else ""
        rows.append(f"{at + 1:6d}  {_plain(lines[at])}{below}")
    if len(places) > _MOST_CANDIDATES:
        rows.append(f"        and {len(places) - _MOST_CANDIDATES} more")
    return "\n".join(rows)


def _heading(lines: Sequence[bytes], at: int) -> int | None:
    """The nearest line above that is less indented: the function or block that line `at` belongs to."""
    depth = len(lines[at]) - len(lines[at].lstrip()) if at < len(lines) else 0
    for above in range(min(at, len(lines)) - 1, max(-1, at - 400), -1):
        line = lines[above]
        if line.strip() and (len(line) - len(line.lstrip()) < depth or depth == 0):
            return above
    return None


def explain(lines: Sequence[bytes], want: Sequence[bytes], floor: int) -> str:
    """What was expected and the nearest lines that are there, with their line numbers."""
    if not lines:
        return "The file is empty."
    if not want:
        return f"The file has {len(lines)} lines."
    if len(lines) == 1 and lines[0].count(b"\r") > 1:
        return "The file's lines end in carriage returns; convert them to newlines first (tr '\\r' '\\n')."
    start, score = _nearest(lines, want)
    if score == 0:
        return f"It expected {show_line(want[0])}, and nothing like it is in the file ({len(lines)} lines)."
    wrong = next(
        (i for i, line in enumerate(want) if start + i < 0 or start + i >= len(lines) or lines[start + i] != line), None
    )
    text = ""
    if wrong is None:
        text = f"Its lines are at line {start + 1}, before the place of an earlier hunk. " if start < floor else ""
    elif 0 <= start + wrong < len(lines):
        expected, there = _pair(want[wrong], lines[start + wrong])
        text = f"It expected {expected}; line {start + wrong + 1} is {there}"
        text += _why_alike(want[wrong], lines[start + wrong]) + ". "
    elif start + wrong >= len(lines):
        text = f"It expected {show_line(want[wrong])} after line {len(lines)}, where the file ends. "
    else:
        text = f"It expected {show_line(want[wrong])} before line 1. "
    first = max(0, min(start + max(0, (wrong or 0) - 2), len(lines) - 1))
    near = lines[first : first + min(_NEAREST_LINES, max(len(want), 3))]
    rows = "\n".join(f"{first + 1 + i:6d}  {_plain(line)}" for i, line in enumerate(near))
    return f"{text}Nearest lines in the file:\n{rows}"


def _nearest(lines: Sequence[bytes], want: Sequence[bytes]) -> tuple[int, int]:
    """The start index at which most of `want` stands, ignoring whitespace, and how many lines that are."""
    places: dict[bytes, list[int]] = {}
    for i, line in enumerate(lines):
        key = line.strip()
        if key:
            places.setdefault(key, []).append(i)
    votes: dict[int, int] = {}
    for i, line in enumerate(want):
        found = places.get(line.strip(), ())
        if len(found) <= _COMMON:
            for place in found:
                votes[place - i] = votes.get(place - i, 0) + 1
    if votes:
        start = max(votes, key=lambda start: (votes[start], -start))
        return start, votes[start]
    keys = [key.decode("utf-8", "replace") for key in list(places)[:2000]]
    for i, line in enumerate(want[:8]):
        text = line.strip().decode("utf-8", "replace")[:400]
        close = difflib.get_close_matches(text, [key for key in keys if len(key) < 400], n=1, cutoff=0.6)
        if close:
            return places[list(places)[keys.index(close[0])]][0] - i, 1
    return 0, 0


def _why_alike(want: bytes, found: bytes) -> str:
    if want.rstrip(b"\r\n") == found.rstrip(b"\r\n") and want != found:
        if found.endswith(b"\r\n") and not want.endswith(b"\r\n"):
            return " (the file's lines end in CRLF, the patch's do not)"
        if want.endswith(b"\r\n"):
            return " (the patch's lines end in CRLF, the file's do not)"
        return " (they differ in the newline at the end)"
    if b"".join(want.split()) == b"".join(found.split()):
        return " (they differ only in whitespace; · is a space, → a tab)"
    return ""


def _pair(want: bytes, found: bytes) -> tuple[str, str]:
    """Both lines, so that they look different: whitespace is made visible where only that differs."""
    if b"".join(want.split()) == b"".join(found.split()) and want.rstrip(b"\r\n") != found.rstrip(b"\r\n"):
        return _visible(want), _visible(found)
    left, right = show_line(want), show_line(found)
    plain = (unicodedata.normalize("NFKC", line.decode("utf-8", "replace")).rstrip() for line in (want, found))
    alike = len(set(plain)) == 1
    if alike and want.rstrip(b"\r\n") != found.rstrip(b"\r\n"):
        # Letters of the same look, or bytes that are not UTF-8.
        return f"`{ascii(want.rstrip(_ENDS))[2:-1]}`", f"`{ascii(found.rstrip(_ENDS))[2:-1]}`"
    return left, right


def _visible(line: bytes) -> str:
    return show(line.rstrip(b"\r\n").decode("utf-8", "replace").replace("\t", "→").replace(" ", "·"), 160)


def show_line(line: bytes) -> str:
    """A line of the patch or of a file in backquotes, for a message."""
    return show(line.rstrip(b"\r\n").decode("utf-8", "replace").expandtabs(4), 160)


def _plain(line: bytes) -> str:
    return show_line(line)[1:-1]
