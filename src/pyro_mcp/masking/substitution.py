"""Real secrets into the headers of requests to one host, and none of them back out. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

RELEASE_MAX = 8
MIN_SPELLED = 8
"""Values shorter than this are masked as they are, not in other spellings: those would hit by chance."""
CREDENTIALS = frozenset({b"authorization", b"proxy-authorization"})


class Substitution:
    """Placeholders and the values that stand for them in the headers of requests to one host."""

    def __init__(self, values: Mapping[str, str]) -> None:
        for placeholder, value in values.items():
            if not placeholder or not value:
                raise ValueError("a placeholder and its value cannot be empty")
            if value != value.strip() or any(ord(character) < 32 or ord(character) == 127 for character in value):
                raise ValueError(f"the value for {placeholder} cannot stand in a header: it has a line break, a "
                                 "control character, or white space around it")  # fmt: skip
        self._values = {placeholder.encode(): value.encode() for placeholder, value in values.items()}
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None
        self._spellings = frozenset(spelling for value in self._values.values() for spelling in _spellings(value))

    def header(self, name: bytes, value: bytes) -> bytes:
        """A request header's value with the real values in it."""
        if name.lower() in CREDENTIALS:
            scheme, _, credentials = value.partition(b" ")
            if scheme.lower() == b"basic":
                return self._basic(scheme, credentials.strip()) or self._replace(value)
        return self._replace(value)

    def mask(self) -> Mask:
        """A mask for one stream of bytes back to the guest."""
        return Mask(self._spellings)

    def redact(self, data: bytes) -> bytes:
        """`data`, whole, with the real values starred."""
        mask = self.mask()
        return mask.feed(data) + mask.flush()

    def _replace(self, value: bytes) -> bytes:
        return self._pattern.sub(lambda match: self._values[match[0]], value) if self._pattern else value

    def _basic(self, scheme: bytes, credentials: bytes) -> bytes | None:
        try:
            decoded = base64.b64decode(credentials + b"=" * (-len(credentials) % 4), validate=True)
        except binascii.Error:
            return None
        replaced = self._replace(decoded)
        return None if replaced == decoded else scheme + b" " + base64.b64encode(replaced)


def _spellings(value: bytes) -> set[bytes]:
    """A value as servers commonly echo it: as it is, in JSON, percent-encoded, and within Base64 text."""
    spellings = {value}
    if len(value) < MIN_SPELLED:
        return spellings
    spellings |= {quote(value, safe=safe).encode() for safe in ("", "/")}
    spellings |= {json.dumps(value.decode(), ensure_ascii=ascii_only)[1:-1].encode() for ascii_only in (True, False)}
    for before in range(3):
        # Base64 of a longer text: only the characters that this value alone decides.
        encoded = base64.b64encode(b"\0" * before + value)
        core = encoded[(before * 8 + 5) // 6 : (before + len(value)) * 8 // 6]
        spellings |= {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
    return spellings


class Mask:
    """Stars every byte of every occurrence of some values in a stream, which keeps its length.

    The end of what has come is held back while it may be the beginning of a value. So that a live stream is not
    stopped by a byte that looks like one, `release` lets a short beginning go; the rest is starred if it follows.
    """

    def __init__(self, values: Iterable[bytes]) -> None:
        self._values = tuple(values)
        self._raw = b""
        self._masked = b""
        self._released = 0

    @property
    def holding(self) -> bool:
        """Whether there is something that `release` has not considered or `flush` would return."""
        return len(self._raw) > self._released

    def feed(self, data: bytes) -> bytes:
        """Take more of the stream, return what is decided."""
        raw = self._raw + data
        masked = bytearray(self._masked + data)
        for value in self._values:
            at = raw.find(value)
            while at >= 0:
                masked[at : at + len(value)] = b"*" * len(value)
                at = raw.find(value, at + 1)
        hold = len(raw) - max((_overlap(raw, value) for value in self._values), default=0)
        out = bytes(masked[self._released : max(hold, self._released)])
        self._released = max(0, self._released - hold)
        self._raw, self._masked = raw[hold:], bytes(masked[hold:])
        return out

    def release(self) -> bytes:
        """What is held, if it is too little of any value to tell it."""
        if any(_overlap(self._raw, value) > min(RELEASE_MAX, len(value) // 4) for value in self._values):
            return b""
        out = self._masked[self._released :]
        self._released = len(self._raw)
        return out

    def flush(self) -> bytes:
        """The stream has ended: all that is held."""
        out = self._masked[self._released :]
        self._raw = self._masked = b""
        self._released = 0
        return out


def _overlap(data: bytes, value: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of `value`."""
    first = value[:1]
    at = data.find(first, max(0, len(data) - len(value) + 1))
    while at >= 0:
        if value.startswith(data[at:]):
            return len(data) - at
        at = data.find(first, at + 1)
    return 0
