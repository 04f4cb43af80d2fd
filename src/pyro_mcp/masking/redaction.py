"""Masks secret values in whatever leaves a workspace: output, files, diffs, records. Pure.

A mask is as long as what it hides, so offsets into an output stay right. It guards against accidents; a
program that wants to can always spell a value in a way that nobody recognises.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from pyro_mcp import models

SHORTEST = 4
"""No shorter text is ever masked: it stands everywhere by chance."""
LINE_LENGTH = 8
"""Lines of a value of several lines that are at least this long are masked by themselves, too."""
TELLING = 8
"""So many bytes of a value, or a quarter of a shorter one, may be shown when it comes in pieces; the rest is masked."""


def _forms(value: str) -> set[bytes]:
    """How a value is usually written: as it is, line by line, in JSON, in a URL, in base64."""
    raw = value.encode("utf-8", "surrogateescape")
    forms = {raw, raw.strip()}
    for safe in ("", "/"):
        quoted = quote(raw, safe=safe)
        forms |= {quoted.encode(), re.sub("%..", lambda found: found[0].lower(), quoted).encode()}
    forms |= {json.dumps(value, ensure_ascii=plain)[1:-1].encode("utf-8", "surrogateescape") for plain in (True, False)}
    for spelled in {raw, raw.strip(), raw + b"\n"}:
        forms |= _base64_forms(spelled)
    if b"\n" in raw:
        forms |= {line.strip() for line in raw.split(b"\n") if len(line.strip()) >= LINE_LENGTH}
    return {form for form in forms if len(form) >= SHORTEST}


def _base64_forms(raw: bytes) -> set[bytes]:
    """By itself, on lines of 76 and of 64 characters, and as a part of a longer text, as in `user:token`."""
    whole = base64.b64encode(raw)
    forms = {whole, whole.rstrip(b"=")}
    for width in (76, 64):
        if len(whole) > width:
            lines = [whole[at : at + width] for at in range(0, len(whole), width)]
            forms |= {line for line in lines if len(line) >= LINE_LENGTH}
    if len(raw) >= LINE_LENGTH:
        for before in range(3):
            # Only the characters that this value alone decides.
            encoded = base64.b64encode(b"\0" * before + raw)
            forms.add(encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6])
    return forms | {form.translate(bytes.maketrans(b"+/", b"-_")) for form in forms}


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
        """The bytes with every value masked, also where values overlap; as long as before."""
        masked = bytearray(data)
        return bytes(masked) if self.mark(data, masked) else data

    def mark(self, data: bytes, masked: bytearray) -> bool:
        """Put stars into `masked` where `data` has values; whether there were any."""
        match = self._pattern.search(data) if self._pattern is not None else None
        if match is None or self._pattern is None:
            return False
        while match is not None:
            # The longest form that begins here; the next one may begin inside of it.
            masked[match.start() : match.end()] = b"*" * len(match.group())
            match = self._pattern.search(data, match.start() + 1)
        return True

    def text(self, text: str) -> str:
        if self._pattern is None:
            return text
        raw = text.encode("utf-8", "surrogateescape")
        masked = self.data(raw)
        return text if masked == raw else masked.decode("utf-8", "surrogateescape")

    def part(self, text: str) -> str:
        """A part of a longer text, which may begin and end in the middle of a value."""
        masked = bytearray(self.text(text).encode("utf-8", "surrogateescape"))
        end = self.telling(bytes(masked))
        masked[len(masked) - end :] = b"*" * end
        reversed_head = bytes(masked[: len(self.forms[0]) if self.forms else 0][::-1])
        found = ((overlap(reversed_head, form[::-1]), len(form)) for form in self.forms)
        begin = max((size for size, whole in found if size > min(TELLING, whole // 4)), default=0)
        masked[:begin] = b"*" * begin
        return masked.decode("utf-8", "surrogateescape")

    def result(self, result: Any) -> Any:
        """An operation's result with names of files masked, and with what is a part of a file or patch."""
        if not self:
            return result
        if isinstance(result, models.FileContent) and (result.truncated or result.offset or result.first_line):
            return result.model_copy(update={"content": self.part(result.content)})
        if isinstance(result, models.FileList):
            entries = [
                entry.model_copy(update={"path": self.text(entry.path), "link": entry.link and self.text(entry.link)})
                for entry in result.entries
            ]
            return result.model_copy(update={"entries": entries})
        if isinstance(result, models.Diff):
            files = [
                file.model_copy(
                    update={"path": self.text(file.path), "old_path": file.old_path and self.text(file.old_path)}
                )
                for file in result.files
            ]
            patch = self.part(result.patch) if result.truncated else result.patch
            empty = [self.text(path) for path in result.empty_directories]
            return result.model_copy(update={"files": files, "patch": patch, "empty_directories": empty})
        return result

    def record(self, value: Any) -> Any:
        """A JSON-compatible value with every text in it masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.record(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.record(item) for item in value]
        return value

    def held(self, data: bytes) -> int:
        """How many bytes at the end of `data` may be the beginning of a value."""
        return max((overlap(data, form) for form in self.forms), default=0)

    def telling(self, data: bytes) -> int:
        """As `held`, of values of which the end of `data` would tell too much."""
        found = ((overlap(data, form), len(form)) for form in self.forms)
        return max((size for size, whole in found if size > min(TELLING, whole // 4)), default=0)


def overlap(data: bytes, form: bytes) -> int:
    """How many bytes at the end of `data` may be the beginning of `form`, all of it excluded."""
    first = form[:1]
    position = data.find(first, max(0, len(data) - len(form) + 1))
    while position >= 0:
        if form.startswith(data[position:]):
            return len(data) - position
        position = data.find(first, position + 1)
    return 0


class StreamRedactor:
    """Masks values in a stream, also where one was cut in two.

    The end of what has come is held back while it may be the beginning of a value. When it cannot be held any longer,
    `flush` gives it, masked if it tells much of a value; what follows is still recognised as the value's rest.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._raw = b""
        self._masked = b""
        self._given = 0

    @property
    def pending(self) -> bool:
        """Something is held back."""
        return len(self._raw) > self._given

    def feed(self, data: bytes) -> bytes:
        """What can be said now; a possible beginning of a value is held back."""
        if not self._redactor:
            return data
        raw = self._raw + data
        masked = bytearray(self._masked + data)
        self._redactor.mark(raw, masked)
        decided = len(raw) - self._redactor.held(raw)
        out = bytes(masked[self._given : max(decided, self._given)])
        self._given = max(0, self._given - decided)
        self._raw, self._masked = raw[decided:], bytes(masked[decided:])
        return out

    def flush(self) -> bytes:
        """What was held back and cannot wait: the beginning of a value may be shown, but not much of it."""
        masked = bytearray(self._masked)
        telling = self._redactor.telling(self._raw)
        if telling:
            masked[len(masked) - telling :] = b"*" * telling
        out = bytes(masked[self._given :])
        self._given = len(self._raw)
        return out

    def end(self) -> bytes:
        """What was held back, after the last byte of the stream: it was no value after all."""
        out = self._masked[self._given :]
        self._raw = self._masked = b""
        self._given = 0
        return out
