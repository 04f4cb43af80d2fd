"""Masks secret values in whatever leaves a workspace: output, files, diffs, records. Pure.

A mask is as long as what it hides, so offsets into an output stay right. It guards against accidents; a
program that wants to can always spell a value in a way that nobody recognises.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

LINE_LENGTH = 8
"""Lines of a value of several lines that are at least this long are masked by themselves, too."""


def _forms(value: str) -> set[bytes]:
    """How a value is usually written: as it is, line by line, in a URL, in base64."""
    raw = value.encode("utf-8", "surrogateescape")
    forms = {raw, raw.strip(), quote(value, safe="").encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw)}
    forms |= {base64.b64encode(raw).rstrip(b"=")}
    if b"\n" in raw:
        forms |= {line.strip() for line in raw.split(b"\n") if len(line.strip()) >= LINE_LENGTH}
    return {form for form in forms if form}


class Redactor:
    """Knows the values of one workspace."""

    def __init__(self, values: Iterable[str]) -> None:
        found: set[bytes] = set()
        for value in values:
            found |= _forms(value)
        self.forms = sorted(found, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(re.escape(form) for form in self.forms)) if self.forms else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def data(self, data: bytes) -> bytes:
        """The bytes with every value masked; as long as before."""
        if self._pattern is None:
            return data
        return self._pattern.sub(lambda match: b"*" * len(match.group()), data)

    def text(self, text: str) -> str:
        if self._pattern is None:
            return text
        raw = text.encode("utf-8", "surrogateescape")
        masked = self.data(raw)
        return text if masked == raw else masked.decode("utf-8", "surrogateescape")

    def held(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a value."""
        most = 0
        for form in self.forms:
            position = data.find(form[:1], max(0, len(data) - len(form) + 1))
            while position >= 0:
                if form.startswith(data[position:]):
                    most = max(most, len(data) - position)
                    break
                position = data.find(form[:1], position + 1)
        return most


class StreamRedactor:
    """Masks values in a stream, also where one was cut in two."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._pending = b""

    @property
    def pending(self) -> bool:
        """Something is held back."""
        return bool(self._pending)

    def feed(self, data: bytes) -> bytes:
        """What can be said now; a possible beginning of a value is held back."""
        if not self._redactor:
            return data
        data = self._redactor.data(self._pending + data)
        held = self._redactor.held(data)
        self._pending = data[len(data) - held :]
        return data[: len(data) - held]

    def flush(self) -> bytes:
        """What was held back: it was no value after all."""
        data, self._pending = self._pending, b""
        return data
