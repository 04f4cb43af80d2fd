"""How a secret value may be written, and where such a writing stands in some bytes. Pure.

One rule for all values, of 4 bytes or of 4,000: each is known as it is; with any of its characters escaped, as URLs,
JSON, HTML, shells and C do, each character in its own way; in Base64, by itself and within a longer text; in hex; and,
of several lines, line by line.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable
from html import escape
from urllib.parse import quote, quote_plus

SHORTEST = 4
"""No shorter writing is ever masked: it stands everywhere by chance."""
LINE_LENGTH = 8
"""Lines of a value of several lines that are at least this long are masked by themselves, too."""
MIXED_LENGTH = 512
"""Characters of a value up to which each may be escaped in its own way; a longer one is known in the usual ways."""
GOES_ON, IS_WHOLE = 1, 2
"""What some bytes are of a place: the beginning of an alternative, all of one, or both."""
HEAD = 4
"""Bytes of a whole writing by which it is looked for."""
_AMBIGUOUS = re.compile(r"""[\\'"%&]{9}""")
"""A run of characters that are part of escapes: too many ways to read it."""
_NAMED = {"&": ("&amp;",), "<": ("&lt;",), ">": ("&gt;",), '"': ("&quot;",), "'": ("&apos;", "'\\''", "'\"'\"'")}
_CONTROLS = {"\n": ("\\n", "\r\n", "\\r\\n"), "\r": ("\\r",), "\t": ("\\t",), "\b": ("\\b",), "\f": ("\\f",)}


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class Spelling:
    """One writing: at each place one of some alternatives."""

    def __init__(self, places: Iterable[tuple[bytes, ...]]) -> None:
        self.places = tuple(places)
        self.shortest = sum(min(map(len, place)) for place in self.places)
        self.longest = sum(max(map(len, place)) for place in self.places)
        self.first = frozenset(alternative[0] for alternative in self.places[0])

    @functools.cached_property
    def ways(self) -> tuple[dict[bytes, int], ...]:
        """Of each place every beginning of its alternatives: `GOES_ON`, `IS_WHOLE` or both."""
        return tuple(map(_ways, self.places))

    def heads(self) -> Iterable[tuple[bytes, frozenset[int]]]:
        """How it may begin: by its first two places, and the bytes that may follow; none where anything does."""
        if len(self.places) < 3:
            yield from ((alternative[:HEAD], frozenset()) for alternative in self.places[0])
            return
        then = frozenset(alternative[0] for alternative in self.places[2])
        for one, two in itertools.product(*self.places[:2]):
            yield one + two, then

    def reversed(self) -> Spelling:
        return Spelling(tuple(each[::-1] for each in place) for place in reversed(self.places))

    def ends(self, data: bytes, at: int) -> tuple[int, bool]:
        """Where the longest one that begins at `at` ends, -1 for none; and whether `data` ends within a longer one."""
        end, open_ended, size = -1, False, len(data)
        todo, seen = [(at, 0)], set()
        while todo:
            state = todo.pop()
            if state in seen:
                continue
            seen.add(state)
            position, number = state
            if number == len(self.places):
                end = max(end, position)
                continue
            for alternative in self.places[number]:
                if data.startswith(alternative, position):
                    todo.append((position + len(alternative), number + 1))
                elif position + len(alternative) > size and alternative.startswith(data[position:]):
                    open_ended = True
        return end, open_ended


class Places:
    """Finds where some writings stand or begin: by their first characters, in one regular expression."""

    def __init__(self, forms: list[Spelling]) -> None:
        self._forms = forms
        self._longest = max((form.longest for form in forms), default=0)

    @functools.cached_property
    def _root(self) -> _Node:
        root = _Node()
        for form in self._forms:
            for head, then in form.heads():
                node = root
                for byte in head:
                    node = node.children.setdefault(byte, _Node())
                node.then |= then
                node.ends |= not then
        return root

    @functools.cached_property
    def _whole(self) -> re.Pattern[bytes]:
        return re.compile(b"(?=" + self._root.pattern(b"") + b")")

    @functools.cached_property
    def _begun(self) -> re.Pattern[bytes]:
        return re.compile(b"(?=" + self._root.pattern(b"\\Z") + b")")

    def each(self, data: bytes) -> Iterable[tuple[int, int]]:
        """Begin and end of the longest writing at each place that has one."""
        for match in self._whole.finditer(data) if self._forms else ():
            begin = match.start()
            end = max(form.ends(data, begin)[0] for form in self._forms if data[begin] in form.first)
            if end >= 0:
                yield begin, end

    @functools.cached_property
    def _by_first(self) -> dict[int, tuple[Spelling, ...]]:
        found: dict[int, list[Spelling]] = {}
        for form in self._forms:
            for byte in form.first:
                found.setdefault(byte, []).append(form)
        return {byte: tuple(forms) for byte, forms in found.items()}

    def by_first(self, byte: int) -> tuple[Spelling, ...]:
        """The writings that may begin with a byte."""
        return self._by_first.get(byte, ())

    def next_beginning(self, data: bytes, at: int) -> int:
        """Where a writing may next begin in `data`, at `at` or later; the end of `data` for nowhere."""
        match = self._begun.search(data, at) if self._forms else None
        return match.start() if match else len(data)

    def begun(self, data: bytes, enough: Callable[[Spelling], int] = lambda _: 0) -> int:
        """How many bytes at the end of `data` begin a writing and may go on as one: more than `enough` of it."""
        data = data[max(0, len(data) - self._longest + 1) :]
        for match in self._begun.finditer(data) if self._forms else ():
            begin, size = match.start(), len(data) - match.start()
            for form in self._forms:
                fits = data[begin] in form.first and enough(form) < size < form.longest
                if fits and form.ends(data, begin)[1]:
                    return size
        return 0


class _Node:
    """A place in the tree of all heads."""

    def __init__(self) -> None:
        self.children: dict[int, _Node] = {}
        self.then: frozenset[int] = frozenset()
        self.ends = False

    def pattern(self, cut: bytes, *, root: bool = True) -> bytes:
        """The heads from here on; `cut` is what may stand instead of each of their later bytes."""
        if self.ends:
            return b""
        ways = [] if root or not cut else [cut]
        if self.then:
            ways.append(b"[" + re.escape(bytes(sorted(self.then))) + b"]")
        ways += [re.escape(bytes([b])) + node.pattern(cut, root=False) for b, node in sorted(self.children.items())]
        return ways[0] if len(ways) == 1 else b"(?:" + b"|".join(ways) + b")"


@functools.lru_cache(maxsize=4096)
def _ways(place: tuple[bytes, ...]) -> dict[bytes, int]:
    ways: dict[bytes, int] = {}
    for alternative in place:
        for size in range(1, len(alternative)):
            ways[alternative[:size]] = ways.get(alternative[:size], 0) | GOES_ON
        ways[alternative] = ways.get(alternative, 0) | IS_WHOLE
    return ways


def spellings(value: str) -> list[Spelling]:
    """Every way in which a value is recognised."""
    parts = {value, value.strip()}
    if "\n" in value:
        parts |= {line.strip() for line in value.split("\n") if len(_raw(line.strip())) >= LINE_LENGTH}
    found: dict[tuple[tuple[bytes, ...], ...], Spelling] = {}
    for part in sorted(parts):
        if len(_raw(part)) < SHORTEST:
            continue
        ways = [_mixed(part)] if _mixable(part) else [((form,),) for form in _usual(part)]
        for way in ways:
            found.setdefault(way, Spelling(way))
    for part in {value, value.strip(), value + "\n"}:
        if len(_raw(part.strip())) < SHORTEST:
            continue
        for form in _base64(_raw(part)) | {_raw(part).hex().encode(), _raw(part).hex().upper().encode()}:
            if len(form) >= SHORTEST:
                way = tuple(_in_base64(byte) for byte in form) if len(form) <= MIXED_LENGTH else ((form,),)
                found.setdefault(way, Spelling(way))
    return list(found.values())


def _mixable(text: str) -> bool:
    return len(text) <= MIXED_LENGTH and not _AMBIGUOUS.search(text)


def _mixed(text: str) -> tuple[tuple[bytes, ...], ...]:
    return tuple(_alternatives(character) for character in text)


def _alternatives(character: str) -> tuple[bytes, ...]:
    """One character as it is and in each of its escapes, the longest first."""
    raw, code = _raw(character), ord(character)
    units = character.encode("utf-16-be", "surrogatepass")
    pairs = [units[at : at + 2].hex() for at in range(0, len(units), 2)]
    ways = {
        raw,
        *map(b"".join, itertools.product(*((b"%%%02x" % byte, b"%%%02X" % byte) for byte in raw))),
        b"".join(b"\\x%02x" % byte for byte in raw),
        b"".join(b"\\x%02X" % byte for byte in raw),
        b"".join(b"\\%03o" % byte for byte in raw),
        "".join(f"\\u{pair}" for pair in pairs).encode(),
        "".join(f"\\u{pair.upper()}" for pair in pairs).encode(),
        *(f"&#{text};".encode() for text in (code, f"{code:03}", f"x{code:x}", f"x{code:X}", f"x{code:04x}")),
        *map(_raw, _NAMED.get(character, ())),
        *map(_raw, _CONTROLS.get(character, ())),
    }
    if character == " ":
        ways.add(b"+")
    if character.isascii() and not character.isalnum() and character.isprintable():
        ways.add(b"\\" + raw)
        ways |= {b"%%25%02X" % code, b"%%25%02x" % code}  # an URL within an URL
    return tuple(sorted(ways, key=lambda way: (-len(way), way)))


def _in_base64(byte: int) -> tuple[bytes, ...]:
    """A character of Base64, which a URL may have escaped."""
    raw = bytes([byte])
    return (b"%%%02X" % byte, b"%%%02x" % byte, raw) if raw in b"+/=" else (raw,)


def _usual(text: str) -> set[bytes]:
    """The whole of a long value by the usual encoders."""
    raw = _raw(text)
    forms = {raw, raw.replace(b"\n", b"\r\n")}
    for quoted in (quote(raw, safe=""), quote(raw, safe="/"), quote_plus(raw), quote(raw, safe="!'()*")):
        forms |= {quoted.encode(), re.sub("%..", lambda found: found[0].lower(), quoted).encode()}
    forms |= {_raw(json.dumps(text, ensure_ascii=plain)[1:-1]) for plain in (True, False)}
    forms |= {form.replace(b"/", b"\\/") for form in tuple(forms)}
    forms |= {_raw(escape(text)), _raw(escape(text, quote=False)), _raw(text.replace("'", "'\"'\"'"))}
    return forms


def _base64(raw: bytes) -> set[bytes]:
    """By itself, on lines of 76 and of 64 characters, and as a part of a longer text, as in `user:token`."""
    whole = base64.b64encode(raw)
    forms = {whole, whole.rstrip(b"=")}
    for width in (76, 64):
        if len(whole) > width:
            lines = [whole[at : at + width] for at in range(0, len(whole), width)]
            forms |= {line for line in lines if len(line) >= LINE_LENGTH}
    for before in range(3):
        # Only the characters that this value alone decides.
        encoded = base64.b64encode(b"\0" * before + raw)
        forms.add(encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6])
    return forms | {form.translate(bytes.maketrans(b"+/", b"-_")) for form in forms}
