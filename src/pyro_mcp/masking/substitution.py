"""Real secrets into the headers of requests to one host, and none of them back out. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from pyro_mcp.masking.redaction import Redactor, StreamRedactor

CREDENTIALS = frozenset({b"authorization", b"proxy-authorization"})


class Substitution:
    """Placeholders and the values that stand for them in the headers of requests to one host."""

    def __init__(self, values: Mapping[str, str]) -> None:
        for placeholder, value in values.items():
            if not placeholder or not value:
                raise ValueError("a placeholder and its value cannot be empty")
            if value != value.strip() or any(ord(character) < 32 or ord(character) == 127 for character in value):
                raise ValueError(f"the value for {placeholder} cannot stand in a header: it has a line break, a "
                                 "control character, or whitespace around it")  # fmt: skip
        self._values = {placeholder.encode(): value.encode() for placeholder, value in values.items()}
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if longest_first else None
        self._redactor = Redactor(values.values())

    def header(self, name: bytes, value: bytes) -> bytes:
        """A request header's value with the real values in it."""
        if name.lower() in CREDENTIALS:
            scheme, _, credentials = value.partition(b" ")
            if scheme.lower() == b"basic":
                return self._basic(scheme, credentials.strip()) or self._replace(value)
        return self._replace(value)

    def __bool__(self) -> bool:
        """Whether there is any value."""
        return bool(self._values)

    def mask(self) -> StreamRedactor:
        """A mask for one stream of bytes back to the guest."""
        return StreamRedactor(self._redactor)

    def redact(self, data: bytes) -> bytes:
        """`data`, whole, with the real values starred."""
        return self._redactor.data(data)

    def _replace(self, value: bytes) -> bytes:
        return self._pattern.sub(lambda match: self._values[match[0]], value) if self._pattern else value

    def _basic(self, scheme: bytes, credentials: bytes) -> bytes | None:
        try:
            decoded = base64.b64decode(credentials + b"=" * (-len(credentials) % 4), validate=True)
        except binascii.Error:
            return None
        replaced = self._replace(decoded)
        return None if replaced == decoded else scheme + b" " + base64.b64encode(replaced)
