"""Decides where each hunk of a file belongs: only ever where exactly one place can be meant. Pure; lines are bytes.

Full context at the stated line is the place, as in git; unless the header names another function in which the same
lines stand. Otherwise all places are looked for, first with full context, then with
one and two lines of context less at each end ("fuzz"); what the header names (`@@ … @@ def area(r):`) and the order
of the hunks choose among several. If more than one is left, the hunk is refused and the candidates are named: a wrong
function changed in silence is worse than a question.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyro_mcp.patches.model import Hunk

MAX_FUZZ = 2
"""As patch(1) by default."""
MAX_CANDIDATES = 10_000
"""More places than this are as good as too many."""
_DEFINITION = re.compile(
    rb"^\s*(?:(?:export|default|pub(?:\([^)]*\))?|public|private|protected|internal|static|final|abstract|async|unsafe"
    rb"|override|virtual|inline|const|extern)\s+)*"
    rb"(?:def|class|func|fn|function|struct|enum|interface|trait|impl|module|namespace|type|sub|proc|object)\b"
    rb"\s*(?:\((?:\w+\s+)?([^)]*)\)\s*)?([\w.$:<>-]*)"
)
"""A line that opens a definition, and the name it defines, in the languages that models write most."""
_OPENERS = (b"{", b"(", b"[", b":", b">")
_SECTION = re.compile(rb"^\s*(?:\[|#{1,6} |<\w)")
"""A section of an INI or TOML file, a Markdown heading, an element."""
_CALLED = re.compile(rb"([A-Za-z_$][\w$]*)\s*\(")
_STATEMENTS = {b"if", b"elif", b"for", b"while", b"switch", b"catch", b"with", b"when", b"match", b"return", b"except"}
_BARE_NAME = re.compile(rb"^([A-Za-z_$][\w$]*(?:(?:\.|::|#)[\w$]+)*)\s*(?:\(.*)?[:{]?$", re.S)
"""`run`, `run()`, `Runner.run`, `Runner::run`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hunk fits: file lines `start` to `start + len(before)` become the hunk's new lines."""

    start: int
    before: list[bytes]
    fuzz: int
    lead: int
    """Context lines dropped at the head for fuzz."""
    offset: int = 0
    """How many lines further down than stated; 0 where nothing was stated."""

    @property
    def end(self) -> int:
        return self.start + len(self.before)

    def changed(self, hunk: Hunk) -> tuple[int, int]:
        """The lines that it changes, without the context around them: from, and up to but not with."""
        tags = [line.tag for line in hunk.lines]
        first = next(i for i, tag in enumerate(tags) if tag != " ")
        last = max(i for i, tag in enumerate(tags) if tag != " ")
        return self.head + first, self.head + sum(tag != "+" for tag in tags[: last + 1])

    @property
    def head(self) -> int:
        """Where the whole hunk would begin, dropped context included."""
        return self.start - self.lead


class Unplaced(Exception):
    """Hunk `index` belongs nowhere, or to one of `candidates` (line indexes) and nobody can say which."""

    def __init__(self, index: int, floor: int = 0, candidates: Sequence[int] = (), why: str = "") -> None:
        self.index = index
        self.floor = floor
        self.candidates = list(candidates)
        self.why = why


class Text:
    """A file's lines, and an index of them that is made when first needed.

    Args:
        lines: with their line ends; only `\\n` ends a line.
        ignore_cr: overlook a carriage return at the ends of lines.
        ignore_trailing: overlook whitespace at the ends of lines.
        ignore_blank: overlook whitespace in lines that have nothing else.
    """

    def __init__(
        self,
        lines: Sequence[bytes],
        *,
        ignore_cr: bool = False,
        ignore_trailing: bool = False,
        ignore_blank: bool = False,
    ) -> None:
        self.ignores_cr = ignore_cr
        self._trailing = ignore_trailing
        self._blank = ignore_blank
        self.keys = [self.key(line) for line in lines]
        self._index: dict[bytes, list[int]] | None = None

    def key(self, line: bytes) -> bytes:
        """What of a line is compared. The final newline, on either side, is overlooked."""
        line = line.removesuffix(b"\n")
        if self._trailing or (self._blank and line.isspace()):
            return line.rstrip()
        return line.removesuffix(b"\r") if self.ignores_cr else line

    def fits(self, want: Sequence[bytes], start: int) -> bool:
        return 0 <= start <= len(self.keys) - len(want) and self.keys[start : start + len(want)] == want

    def places(self, want: Sequence[bytes]) -> list[int]:
        """Every line index at which `want`, a list of keys, stands."""
        if self._index is None:
            self._index = {}
            for number, key in enumerate(self.keys):
                self._index.setdefault(key, []).append(number)
        index = self._index
        rarest = min(range(len(want)), key=lambda i: len(index.get(want[i], ())))
        found: list[int] = []
        for at in index.get(want[rarest], ()):
            if self.fits(want, at - rarest):
                found.append(at - rarest)
                if len(found) > MAX_CANDIDATES:
                    break
        return found


def place_all(text: Text, hunks: Sequence[Hunk], most_fuzz: int = MAX_FUZZ) -> list[Place]:
    """The one place of each hunk, in their order.

    Raises:
        Unplaced: for the first hunk that has none, or more than one.
    """
    options: list[list[Place]] = []
    shift: int | None = None
    floor = 0
    for index, hunk in enumerate(hunks):
        found = _options(text, hunk, shift, floor, index, most_fuzz)
        options.append(found)
        if len(found) == 1:
            floor = max(floor, found[0].end)
            if hunk.old_start is not None and found[0].before:
                shift = found[0].head - (hunk.old_start - 1)
    try:
        return _in_order(options)
    except Unplaced as error:
        if error.candidates or len(hunks) == 1:
            raise
        return _in_any_order(text, hunks, most_fuzz, error)


def _in_any_order(text: Text, hunks: Sequence[Hunk], most_fuzz: int, refusal: Unplaced) -> list[Place]:
    """Hunks that stand in another order than their places, or share lines of context: each must have one place only.

    What they change must lie apart; context of one may be what another changes, as each is made from the same file.
    """
    places: list[Place] = []
    for index, hunk in enumerate(hunks):
        found = _options(text, hunk, None, 0, index, most_fuzz)
        if len(found) != 1:
            raise Unplaced(index, 0, [place.head for place in found])
        places.append(found[0])
    spans = sorted(place.changed(hunk) for place, hunk in zip(places, hunks, strict=True))
    for (start, end), (after, _) in itertools.pairwise(spans):
        if after < end or after == start:
            raise refusal
    return places


def _in_order(options: list[list[Place]]) -> list[Place]:
    """The only way to choose one place of each hunk so that they follow one another."""
    earliest: list[Place] = []
    end = 0
    for index, found in enumerate(options):
        fitting = [place for place in found if place.start >= end]
        if not fitting:
            raise Unplaced(index, end)
        earliest.append(min(fitting, key=lambda place: place.start))
        end = earliest[-1].end
    limit: int | None = None
    for index in range(len(options) - 1, -1, -1):
        fitting = [place for place in options[index] if limit is None or place.end <= limit]
        latest = max(fitting, key=lambda place: place.start)
        if latest.start != earliest[index].start:
            end = earliest[index - 1].end if index else 0
            at = [p.head for p in options[index] if p.start >= end and (limit is None or p.end <= limit)]
            raise Unplaced(index, 0, sorted(at))
        limit = latest.start
    return earliest


def _options(text: Text, hunk: Hunk, shift: int | None, floor: int, index: int, most_fuzz: int) -> list[Place]:
    before = hunk.before()
    want = [text.key(line) for line in before]
    if not want:
        return [_insertion(text, hunk, shift, floor, index)]
    if hunk.old_start is not None:
        stated = hunk.old_start - 1 + (shift or 0)
        if text.fits(want, stated):
            _same_as_heading(text, hunk, before, want, stated, index)
            return [Place(stated, before, 0, 0, stated - (hunk.old_start - 1))]
        if _stands_already(text, hunk, stated):
            raise Unplaced(index, floor, why="applied")
    elif hunk.at_end and text.fits(want, len(text.keys) - len(want)):
        return [Place(len(text.keys) - len(want), before, 0, 0)]
    for fuzz in range(min(most_fuzz, _context(hunk)) + 1):
        found = _with_fuzz(text, hunk, before, want, fuzz)
        if found:
            return [_moved(hunk, place) for place in _anchored(text, hunk, found, index, floor)]
    raise Unplaced(index, floor)


def _same_as_heading(text: Text, hunk: Hunk, before: list[bytes], want: list[bytes], stated: int, index: int) -> None:
    """A number that is exactly right decides, as in git; unless the header names another function that fits as well."""
    if not hunk.anchors or _name(hunk.anchors[-1]) is None:
        return
    here = Place(stated, before, 0, 0)
    others = [Place(at, before, 0, 0) for at in text.places(want) if at != stated]
    below = _below_anchors(text, hunk.anchors) if others else []
    if any(_in_scope(text, at, here) for at in below):
        return
    named = [place.head for place in others if any(_in_scope(text, at, place) for at in below)]
    if named:
        raise Unplaced(index, 0, sorted([stated, *named]))


def _insertion(text: Text, hunk: Hunk, shift: int | None, floor: int, index: int) -> Place:
    """Lines without any context: only a number, an anchor or the file's end can say where."""
    count = len(text.keys)
    if hunk.old_start is not None:
        at = hunk.old_start + (shift or 0)
        if not floor <= at <= count:
            raise Unplaced(index, floor, why="beyond")
        return Place(at, [], 0, 0, shift or 0)
    if hunk.anchors:
        below = _below_anchors(text, hunk.anchors)
        if not below:
            raise Unplaced(index, floor, why="anchor")
        if len(below) > 1:
            raise Unplaced(index, floor, below)
        return Place(below[0] + 1, [], 0, 0)
    if hunk.at_end or not count:
        return Place(count, [], 0, 0)
    raise Unplaced(index, floor, why="nowhere")


def _stands_already(text: Text, hunk: Hunk, stated: int) -> bool:
    """Whether the outcome stands at the stated line: then another place that fits is not the one that is meant."""
    after = [text.key(line) for line in hunk.after()]
    added = any(line.tag == "+" and line.text.strip() for line in hunk.lines)
    return added and len(after) > 1 and text.fits(after, stated)


def _context(hunk: Hunk) -> int:
    """Lines of context at the longer end."""
    tags = [line.tag for line in hunk.lines]
    head = next((i for i, tag in enumerate(tags) if tag != " "), len(tags))
    tail = next((i for i, tag in enumerate(reversed(tags)) if tag != " "), len(tags))
    return max(head, tail)


def _with_fuzz(text: Text, hunk: Hunk, before: list[bytes], want: list[bytes], fuzz: int) -> list[Place]:
    tags = [line.tag for line in hunk.lines]
    head = next((i for i, tag in enumerate(tags) if tag != " "), len(tags))
    tail = next((i for i, tag in enumerate(reversed(tags)) if tag != " "), len(tags))
    context = max(head, tail)
    # The longer side gives way first, so that what is left is as even as can be.
    cut_head = max(0, head - (context - fuzz))
    cut_tail = max(0, tail - (context - fuzz))
    kept = want[cut_head : len(want) - cut_tail]
    if not any(key.strip() for key in kept):
        return [] if fuzz or not kept else [Place(at, before, 0, 0) for at in text.places(kept)]
    wanted = before[cut_head : len(before) - cut_tail]
    places = [Place(at, wanted, fuzz, cut_head) for at in text.places(kept)]
    return [place for place in places if not fuzz or _same_surroundings(text, hunk, want, place)]


def _same_surroundings(text: Text, hunk: Hunk, want: list[bytes], place: Place) -> bool:
    """Whether none of the context that was dropped names another function, section or block than stands there."""
    depth = min((_depth(line.text) for line in hunk.lines if line.tag != " " and line.text.strip()), default=0)
    for number, key in enumerate(want):
        at = place.head + number
        if place.start <= at < place.end:
            continue
        there = text.keys[at] if 0 <= at < len(text.keys) else b""
        if key == there:
            continue
        if _name(key) != _name(there):
            return False
        opens = at < place.start and any(
            line.strip() and (_depth(line) < depth or line.rstrip().endswith(_OPENERS) or _SECTION.match(line))
            for line in (key, there)
        )
        if opens and _label(key) != _label(there):
            return False
    return True


def _label(key: bytes) -> bytes:
    """What a line that opens a block is known by: a function's name, else the whole line."""
    called = _CALLED.search(key)
    return _name(key) or (called[1] if called and called[1] not in _STATEMENTS else b"".join(key.split()))


def _name(key: bytes) -> bytes | None:
    found = _DEFINITION.match(key)
    if not found:
        return None
    name = found[2].rstrip(b":")
    return found[1].strip(b" *") + b"." + name if found[1] else name  # Go's receiver belongs to the name


def _moved(hunk: Hunk, place: Place) -> Place:
    return place if hunk.old_start is None else replace(place, offset=place.head - (hunk.old_start - 1))


# -- what a header names


def _anchored(text: Text, hunk: Hunk, found: list[Place], index: int, floor: int) -> list[Place]:
    """Of these places, those below the lines that the header names."""
    if not hunk.anchors:
        return found
    below = _below_anchors(text, hunk.anchors)
    numbered = hunk.old_start is not None
    if not below:
        # A program's heading may be cut or of another kind; a definition that is not there is another matter.
        if numbered and _name(hunk.anchors[-1]) is None:
            return found
        raise Unplaced(index, floor, why="anchor")
    inside = [place for place in found if any(_in_scope(text, at, place) for at in below)]
    if not inside and not numbered:
        after = [place for place in found if place.start > min(below)]
        inside = after if len(after) == 1 and _name(hunk.anchors[-1]) is None else []
    if not inside:
        raise Unplaced(index, floor, [place.head for place in found] if len(found) > 1 else (), why="scope")
    return inside


def _below_anchors(text: Text, anchors: Sequence[bytes]) -> list[int]:
    """The lines at which the last anchor stands, each below the one before it."""
    at = [-1]
    for anchor in anchors:
        wanted = anchor.strip()
        found = [i for i, key in enumerate(text.keys) if key.strip() == wanted]
        if not found:
            # git cuts a heading at 80 bytes, and models leave a line's end away.
            found = [i for i, key in enumerate(text.keys) if key.strip().startswith(wanted)]
        if not found:
            found = _defined(text, wanted)
        if at != [-1]:
            found = [i for i in found if any(above < i and _within(text, above, i) for above in at)]
        at = found
    return at


def _defined(text: Text, anchor: bytes) -> list[int]:
    """The lines that define what an anchor names in short (`Runner.run`), or with other arguments than the file has."""
    bare = _BARE_NAME.match(anchor)
    defined = _name(anchor)
    names = re.split(rb"\.|::|#", bare[1]) if bare and defined is None else [defined] if defined else []
    at: list[int] = []
    for number, name in enumerate(names):
        found = [i for i, key in enumerate(text.keys) if name in _both(_name(key))]
        at = [i for i in found if not number or any(above < i and _within(text, above, i) for above in at)]
    return at


def _both(name: bytes | None) -> tuple[bytes, ...]:
    return (name, name.rsplit(b".", 1)[-1]) if name else ()


def _in_scope(text: Text, anchor: int, place: Place) -> bool:
    if place.head <= anchor < place.end:
        return True  # the anchor is among the hunk's own lines
    return anchor < place.start and _within(text, anchor, place.start)


def _within(text: Text, anchor: int, at: int) -> bool:
    """Whether line `at` belongs to what begins at line `anchor`: no other definition of that depth is between."""
    depth = _depth(text.keys[anchor])
    return not any(
        key.strip() and _depth(key) <= depth and _name(key) is not None for key in text.keys[anchor + 1 : at]
    )


def _depth(key: bytes) -> int:
    return len(key) - len(key.lstrip())
