"""Masks secret values in whatever leaves a workspace: output, files, diffs, records. Pure.

A mask is as long as what it hides, so offsets into an output stay right. It guards against accidents; a
program that wants to can always spell a value in a way that nobody recognises.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from pyro_mcp import models
from pyro_mcp.masking.progress import Progress
from pyro_mcp.masking.spellings import Places, Spelling, spellings

F = TypeVar("F", bound=models.FileRead)
TELLING = 8
"""So many bytes of a value, or a quarter of a shorter one, may be shown where one is cut off; more is masked."""
RELEASED = 1
"""Bytes that may be the beginning of a value and are let go all the same, where somebody waits for them."""


class Redactor:
    """Knows the values of one workspace."""

    def __init__(self, values: Iterable[str]) -> None:
        found = {spelling.places: spelling for value in values for spelling in spellings(value)}
        self.forms = sorted(found.values(), key=lambda form: form.shortest, reverse=True)
        self._places = Places(self.forms)
        self._backward = Places([form.reversed() for form in self.forms])

    def __bool__(self) -> bool:
        return bool(self.forms)

    def data(self, data: bytes) -> bytes:
        """The bytes with every value masked, also where values overlap; as long as before."""
        masked = bytearray(data)
        return bytes(masked) if self.mark(data, masked) else data

    def mark(self, data: bytes, masked: bytearray) -> bool:
        """Put stars into `masked` where `data` has values; whether there were any."""
        any_found = False
        for begin, end in self._places.each(data):
            masked[begin:end] = b"*" * (end - begin)
            any_found = True
        return any_found

    def text(self, text: str) -> str:
        if not self.forms:
            return text
        raw = text.encode("utf-8", "surrogateescape")
        masked = self.data(raw)
        return text if masked == raw else masked.decode("utf-8", "surrogateescape")

    def part(self, text: str) -> str:
        """A part of a longer text, which may begin and end in the middle of a value."""
        masked = bytearray(self.text(text).encode("utf-8", "surrogateescape"))
        end = self.telling(bytes(masked))
        masked[len(masked) - end :] = b"*" * end
        begin = self._backward.begun(bytes(masked[::-1]), _telling)
        masked[:begin] = b"*" * begin
        return masked.decode("utf-8", "surrogateescape")

    def result(self, result: Any) -> Any:
        """An operation's result with names of files masked, and with what is a part of a file or patch."""
        if not self:
            return result
        if isinstance(result, models.FileContent):  # by lines, it was masked before it was cut
            several = [self._file(file) for file in result.files]
            return self._file(result).model_copy(update={"files": several})
        if isinstance(result, models.ExecResult):
            # What was masked as it came may be a value again once escapes between its letters are gone.
            masked = {"stdout": self.text(result.stdout), "stderr": self.text(result.stderr)}
            return result.model_copy(update=masked)
        if isinstance(result, models.Logs | models.ServiceLogs):
            return result.model_copy(update={"output": self.text(result.output)})
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

    def _file(self, file: F) -> F:
        return file.model_copy(update={"content": self.part(file.content)}) if file.byte_offset is not None else file

    def record(self, value: Any) -> Any:
        """A JSON-compatible value with every text in it masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.record(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.record(item) for item in value]
        return value

    def progress(self) -> Progress:
        """Follows values through bytes that arrive piece by piece."""
        return Progress(self._places)

    def telling(self, data: bytes) -> int:
        """How many bytes at the end of `data` begin a value, all of it excluded, and would tell too much of it."""
        return self._places.begun(data, _telling)


def _telling(form: Spelling) -> int:
    return min(TELLING, form.shortest // 4)


class StreamRedactor:
    """Masks values in a stream, also where one was cut in two.

    The end of what has come is held back while it may be the beginning of a value, for as long as nothing decides it.
    Where it cannot wait, `flush` gives it with stars, and what follows is still recognised as the value's rest.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._progress = redactor.progress()
        self._begin = 0  # where `_raw` begins in the stream
        self._raw = b""
        self._masked = b""
        self._given = 0

    @property
    def pending(self) -> bool:
        """Something is held back."""
        return self.holding > 0

    @property
    def holding(self) -> int:
        """How many bytes are held back."""
        return len(self._raw) - self._given

    def feed(self, data: bytes) -> bytes:
        """What can be said now; a possible beginning of a value is held back."""
        if not self._redactor:
            return data
        raw = self._raw + data
        masked = bytearray(self._masked + data)
        for begin, end in self._progress.feed(data):
            masked[begin - self._begin : end - self._begin] = b"*" * (end - begin)
        decided = self._progress.earliest - self._begin
        self._begin += decided
        out = bytes(masked[self._given : max(decided, self._given)])
        self._given = max(0, self._given - decided)
        self._raw, self._masked = raw[decided:], bytes(masked[decided:])
        return out

    def flush(self) -> bytes:
        """What was held back and cannot wait: stars, for nobody knows yet what it is."""
        return self._give(len(self._raw))

    def release(self) -> bytes:
        """What is held, where somebody waits for it and it is too little to tell anything; nothing otherwise."""
        return self._give(0) if len(self._raw) <= RELEASED else b""

    def _give(self, starred: int) -> bytes:
        masked = bytearray(self._masked)
        masked[len(masked) - starred :] = b"*" * starred
        out = bytes(masked[self._given :])
        self._given = len(self._raw)
        return out

    def end(self) -> bytes:
        """What was held back, after the last byte of the stream: it was not a value after all."""
        out = self._give(0)
        self._progress = self._redactor.progress()
        self._raw = self._masked = b""
        self._begin = self._given = 0
        return out

    def cut_off(self) -> bytes:
        """As `end`, of a stream that something else may go on with: stars if it is much of a value."""
        out = self._give(self._redactor.telling(self._raw))
        self.end()
        return out
