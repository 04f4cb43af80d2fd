"""Tells pictures from other files by their first bytes, and whether a chat host can show one. Pure.

A picture that the model's provider refuses spoils the whole conversation, for it is sent again with every turn: so one
that is cut, too wide or too large is not handed on. A guest chose the bytes; nothing here decodes them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_BYTES = 3_700_000
"""In base64 it stays below the 5 MB that Anthropic's interface takes, the smallest of the bounds known."""
MAX_SIDE = 8000
"""Pixels; Anthropic's interface refuses more."""
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""JPEG's markers of a frame, which holds the size (ITU T.81, table B.1)."""


@dataclass(frozen=True)
class Picture:
    media_type: str
    width: int
    height: int
    whole: bool
    """It has the end that its kind must have."""

    @property
    def trouble(self) -> str:
        """Why no host can show it; empty when one can."""
        if not self.whole or not self.width or not self.height:
            return "it is damaged or cut off"
        if max(self.width, self.height) > MAX_SIDE:
            return f"it is {self.width} by {self.height} pixels, and {MAX_SIDE} a side is the most"
        return ""


def recognised(data: bytes) -> Picture | None:
    """The picture in a file's bytes: PNG, JPEG, GIF or WebP; None for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        wide, high = struct.unpack(">II", data[16:24]) if data[12:16] == b"IHDR" and len(data) >= 24 else (0, 0)
        return Picture("image/png", wide, high, data.endswith(b"IEND\xaeB\x60\x82"))
    if data.startswith(b"\xff\xd8\xff"):
        wide, high = _jpeg(data)
        return Picture("image/jpeg", wide, high, b"\xff\xd9" in data[-64:])
    if data[:6] in (b"GIF87a", b"GIF89a"):
        wide, high = struct.unpack("<HH", data[6:10]) if len(data) >= 10 else (0, 0)
        return Picture("image/gif", wide, high, data.rstrip(b"\0").endswith(b";"))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        wide, high = _webp(data)
        return Picture(
            "image/webp", wide, high, len(data) >= 30 and int.from_bytes(data[4:8], "little") + 8 <= len(data)
        )
    return None


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            high, wide = struct.unpack(">HH", data[at + 5 : at + 9])
            return wide, high
        if marker == 0xFF:  # a filler before a marker
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers that stand alone
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0, 0


def _webp(data: bytes) -> tuple[int, int]:
    """As RFC 9649 has it, in its three forms."""
    form = data[12:16]
    if len(data) < 30:
        return 0, 0
    if form == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if form == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 ":
        wide, high = struct.unpack("<HH", data[26:30])
        return wide & 0x3FFF, high & 0x3FFF
    return 0, 0
