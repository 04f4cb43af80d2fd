"""A compressed answer as the bytes that it means, so that a value in it can be seen. Pure.

A host that holds a secret is asked not to compress; some do all the same, and some keep their files compressed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_PIECE = 256 * 1024
_KNOWN = {b"gzip": 31, b"x-gzip": 31, b"deflate": 47}
"""Codings of HTTP (RFC 9110, 8.4.1), with zlib's window bits: gzip alone, or what the first bytes say."""


class Broken(Exception):
    """It is not what it says, or was cut off."""


def known(coding: bytes) -> bool:
    return coding.strip().lower() in _KNOWN


class Inflater:
    """One body; `coding` must be a known one."""

    def __init__(self, coding: bytes) -> None:
        self._bits = _KNOWN[coding.strip().lower()]
        self._open = zlib.decompressobj(self._bits)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What more is known, in pieces of bounded size, however small it was compressed.

        Raises:
            Broken: it is not what it says.
        """
        try:
            while data:
                self._begun = True
                if self._open.eof:  # gzip may have several members in a row
                    self._open = zlib.decompressobj(self._bits)
                piece = self._open.decompress(data, _PIECE)
                data = self._open.unconsumed_tail or self._open.unused_data
                if piece:
                    yield piece
        except zlib.error as error:
            raise Broken(str(error)) from None

    def finish(self) -> None:
        """Raises Broken where the end is missing."""
        if self._begun and not self._open.eof:
            raise Broken("it was cut off")
