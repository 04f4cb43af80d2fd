"""Finds where a hunk fits in a file, and explains when it fits nowhere. Pure; lines are bytes.

Like patch(1): first the stated place, then the nearest other one, then with one and two lines of context
less at each end. White space counts. A missing final newline in the file does not.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from pyro_mcp.patches.model import Hunk
from pyro_mcp.workspaces.paths import show

MAX_FUZZ = 2
"""As patch(1) by default."""
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hunk fits: file lines `start` to `start + len(before)` become `after`."""

    start: int
    before: list[bytes]
    after: list[bytes]
    keep_head: int
    """Context lines at the head of `after`, for which the file's own lines are kept."""
    fuzz: int
    lead: int = 0
    """Context lines dropped at the head for fuzz."""


def find_place(lines: Sequence[bytes], hunk: Hunk, floor: int, guess: int) -> Place | None:
    """The best place at or after line index `floor`, near index `guess`; None when there is none."""
    tags = [line.tag for line in hunk.lines]
    head = next((i for i, tag in enumerate(tags) if tag != " "), len(tags))
    tail = next((i for i, tag in enumerate(reversed(tags)) if tag != " "), len(tags))
    before, after = hunk.before(), hunk.after()
    if not before:
        start = max(floor, min(guess, len(lines)))
        return Place(start, before, after, 0, 0)
    context = max(head, tail)
    for fuzz in range(min(MAX_FUZZ, context) + 1):
        # The longer side gives way first, so that what is left is as even as can be.
        cut_head = max(0, head - (context - fuzz))
        cut_tail = max(0, tail - (context - fuzz))
        want = before[cut_head : len(before) - cut_tail]
        if not any(line.strip() for line in want) and fuzz:
            return None
        found = _search(lines, want, floor, guess + cut_head)
        if found is not None:
            return Place(found, want, after[cut_head : len(after) - cut_tail], head - cut_head, fuzz, cut_head)
    return None


def _search(lines: Sequence[bytes], want: Sequence[bytes], floor: int, guess: int) -> int | None:
    last = len(lines) - len(want)
    if last < floor:
        return None
    guess = max(floor, min(guess, last))
    if fits(lines, want, guess):
        return guess
    # `index` jumps at the speed of C to lines equal to the first wanted one; only the file's last line
    # may differ from it by the newline.
    best: int | None = None
    at = floor
    while True:
        try:
            at = lines.index(want[0], at, last + 1)
        except ValueError:
            break
        if best is not None and at - guess >= abs(best - guess):
            break
        if fits(lines, want, at) and (best is None or abs(at - guess) <= abs(best - guess)):
            best = at
        at += 1
    if best is None and fits(lines, want, last):
        best = last
    return best


def fits(lines: Sequence[bytes], want: Sequence[bytes], start: int) -> bool:
    """Whether `want` stands at `start`; a missing newline at the file's end, on either side, is overlooked."""
    end = start + len(want)
    if start < 0 or end > len(lines):
        return False
    found = lines[start:end]
    if found == want:
        return True
    return (
        end == len(lines) and found[:-1] == want[:-1] and found[-1].removesuffix(b"\n") == want[-1].removesuffix(b"\n")
    )


def explain(lines: Sequence[bytes], hunk: Hunk, floor: int) -> str:
    """What the hunk expected and the nearest lines that are there, with their line numbers."""
    want = hunk.before()
    if not lines:
        return "The file is empty."
    if not want:
        return f"The file has {len(lines)} lines."
    start, score = _nearest(lines, want)
    if score == 0:
        return f"It expected {_shown(want[0])} and nothing like it is in the file of {len(lines)} lines."
    wrong = next(
        (i for i, line in enumerate(want) if start + i < 0 or start + i >= len(lines) or lines[start + i] != line), None
    )
    text = ""
    if wrong is None:
        text = f"Its lines are at line {start + 1}, which an earlier hunk has passed. " if start < floor else ""
    elif 0 <= start + wrong < len(lines):
        text = f"It expected {_shown(want[wrong])}; line {start + wrong + 1} is {_shown(lines[start + wrong])}"
        text += _why_alike(want[wrong], lines[start + wrong]) + ". "
    elif start + wrong >= len(lines):
        text = f"It expected {_shown(want[wrong])} after line {len(lines)}, where the file ends. "
    else:
        text = f"It expected {_shown(want[wrong])} before line 1. "
    first = max(0, min(start + max(0, (wrong or 0) - 2), len(lines) - 1))
    near = lines[first : first + min(_NEAREST_LINES, max(len(want), 3))]
    rows = "\n".join(f"{first + 1 + i:6d}  {_plain(line)}" for i, line in enumerate(near))
    return f"{text}Nearest lines in the file:\n{rows}"


def _nearest(lines: Sequence[bytes], want: Sequence[bytes]) -> tuple[int, int]:
    """The start index at which most of `want` stands, ignoring white space, and how many lines that are."""
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
    if want.strip() == found.strip():
        return " (they differ in white space only)"
    return ""


def _shown(line: bytes) -> str:
    return show(line.rstrip(b"\r\n").decode("utf-8", "replace").expandtabs(4), 160)


def _plain(line: bytes) -> str:
    return _shown(line)[1:-1]
