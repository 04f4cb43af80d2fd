"""The output of one command, kept whole on disk within a cap and read back in parts.

Two files: `HANDLE.out` holds standard output and error as they came, `HANDLE.idx` says which stretch belongs
to which (9 bytes each: stream, offset where the stretch begins). Beyond the cap bytes are counted and left.
"""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.processes.seen import seen

log = logging.getLogger(__name__)
OUTPUT_CAP = 64 * 1024 * 1024
"""Bytes of output kept for each command."""
_INDEX = struct.Struct(">BQ")
STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class Excerpt:
    """Text of a stream that fits a bound: head and tail, with what was left out between them."""

    text: str
    omitted_bytes: int


def excerpt(data_bytes: int, head: bytes, tail: bytes) -> Excerpt:
    """Head and tail of a stream of `data_bytes` bytes, with a line between that counts what is missing."""
    omitted = data_bytes - len(head) - len(tail)
    if omitted <= 0:
        return Excerpt((head + tail).decode("utf-8", "replace"), 0)
    head_text = head.decode("utf-8", "ignore")
    tail_text = tail.decode("utf-8", "ignore")
    return Excerpt(f"{head_text}\n[… {omitted} bytes left out …]\n{tail_text}", omitted)


SEEN_BYTES = 1024 * 1024
"""Of a longer stream only its beginning, and three times as much of its end, is looked at; what lies between is left
out as it came. Drawing costs some microseconds a step."""


def seen_excerpt(data_bytes: int, head: bytes, tail: bytes, bound: int) -> Excerpt:
    """Head and tail of a stream as a person would have seen it, within `bound` bytes.

    Bytes that are left out are counted as they would be shown; those of the stream that are in neither `head` nor
    `tail`, as they came.
    """
    missing = max(0, data_bytes - len(head) - len(tail))
    if not missing:
        whole = seen(head + tail)
        first = last = whole.encode()
        total = len(first)
        if total <= bound:
            return Excerpt(whole, 0)
    else:
        first, last = seen(head).encode(), seen(tail).encode()
        total = len(first) + missing + len(last)
    start = first[: bound // 3].decode("utf-8", "ignore")
    end = last[max(0, len(last) - (bound - bound // 3)) :].decode("utf-8", "ignore")
    omitted = total - len(start.encode()) - len(end.encode())
    return Excerpt(f"{start}\n[… {omitted} bytes left out …]\n{end}", omitted)


def _whole_characters(data: bytes) -> int:
    """The length without the beginning of a character at the end (RFC 3629: at most three bytes)."""
    for back in range(1, min(4, len(data))):
        if data[-back] & 0xC0 == 0xC0:
            return len(data) - back if back < len(data) else len(data)
        if data[-back] & 0xC0 != 0x80:
            break
    return len(data)


class OutputLog:
    """Append from one task; read from any number."""

    def __init__(self, directory: Path, handle: str) -> None:
        self._out = directory / f"{handle}.out"
        self._idx = directory / f"{handle}.idx"
        self.stretches: list[tuple[int, int]] = []
        self.kept_bytes = 0
        self.stdout_bytes = 0
        self.stderr_bytes = 0
        self._file: int | None = None
        self._index: int | None = None
        self._failed = False

    @classmethod
    def load(
        cls, directory: Path, handle: str, stdout_bytes: int | None = None, stderr_bytes: int | None = None
    ) -> OutputLog:
        """The log of a command that an earlier daemon kept; counts are taken from the files when not given."""
        log = cls(directory, handle)
        try:
            log.kept_bytes = log._out.stat().st_size
            raw = log._idx.read_bytes()
        except OSError:
            raw = b""
        whole = len(raw) - len(raw) % _INDEX.size
        log.stretches = [
            (stream, begin) for stream, begin in _INDEX.iter_unpack(raw[:whole]) if begin < max(log.kept_bytes, 1)
        ]
        for stream, begin, end in log._spans():
            if stream == STDOUT:
                log.stdout_bytes += end - begin
            else:
                log.stderr_bytes += end - begin
        log.stdout_bytes = log.stdout_bytes if stdout_bytes is None else stdout_bytes
        log.stderr_bytes = log.stderr_bytes if stderr_bytes is None else stderr_bytes
        return log

    @property
    def total_bytes(self) -> int:
        """All that the command printed, also what was beyond the cap."""
        return self.stdout_bytes + self.stderr_bytes

    def skip(self, stream: int, size: int) -> None:
        """Count bytes that were lost before they reached us."""
        if stream == STDOUT:
            self.stdout_bytes += size
        else:
            self.stderr_bytes += size

    def append(self, stream: int, data: bytes) -> None:
        if stream == STDOUT:
            self.stdout_bytes += len(data)
        else:
            self.stderr_bytes += len(data)
        data = data[: max(0, OUTPUT_CAP - self.kept_bytes)]
        if not data or self._failed:
            return
        try:
            self._keep(stream, data)
        except OSError as error:
            # The disk is full, say. The command goes on; what it prints from here on is counted as beyond the cap.
            self._failed = True
            log.warning("%s: output is kept no further: %s", self._out.name, error)

    def _keep(self, stream: int, data: bytes) -> None:
        if self._file is None:
            self._out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(self._out, flags, 0o600)
            self._index = os.open(self._idx, flags, 0o600)
        if not self.stretches or self.stretches[-1][0] != stream:
            assert self._index is not None
            os.write(self._index, _INDEX.pack(stream, self.kept_bytes))
            self.stretches.append((stream, self.kept_bytes))
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            view = view[written:]
            self.kept_bytes += written

    def close(self) -> None:
        for fd in (self._file, self._index):
            if fd is not None:
                os.close(fd)
        self._file = self._index = None

    def _spans(self, begin: int = 0, end: int | None = None) -> list[tuple[int, int, int]]:
        stop = self.kept_bytes if end is None else min(end, self.kept_bytes)
        spans = []
        for number, (stream, start) in enumerate(self.stretches):
            finish = self.stretches[number + 1][1] if number + 1 < len(self.stretches) else self.kept_bytes
            low, high = max(start, begin), min(finish, stop)
            if low < high:
                spans.append((stream, low, high))
        return spans

    def read(self, begin: int, size: int) -> bytes:
        """Kept bytes from `begin` on, both streams as they came."""
        if begin >= self.kept_bytes or size <= 0:
            return b""
        with open(self._out, "rb") as file:
            file.seek(begin)
            return file.read(min(size, self.kept_bytes - begin))

    def pieces(self, begin: int, size: int) -> list[tuple[int, bytes]]:
        """Kept bytes from `begin` on, cut where the stream changes."""
        data = self.read(begin, size)
        return [
            (stream, data[low - begin : high - begin]) for stream, low, high in self._spans(begin, begin + len(data))
        ]

    def seen_piece(self, begin: int, bound: int) -> tuple[str, int]:
        """What a person would have seen from `begin` on within about `bound` bytes, and the offset to go on from.

        It ends at the end of a line where it can, so that no sequence is cut in two.
        """
        data = self.read(begin, SEEN_BYTES)
        size = min(len(data), bound)
        while size < len(data) and len(seen(data[: min(size * 2, len(data))]).encode()) <= bound:
            size = min(size * 2, len(data))
        if begin + size < self.kept_bytes:
            cut = max(data.rfind(b"\n", 0, size), data.rfind(b"\r", 0, size)) + 1
            size = cut or _whole_characters(data[:size])
        return seen(data[:size]), begin + size

    def excerpt(self, stream: int, bound: int, *, raw: bool = False) -> Excerpt:
        """A stream's text within `bound` bytes: all of it, or its head and its tail (two thirds).

        As a person would have seen it, or `raw`.
        """
        spans = [(low, high) for kind, low, high in self._spans() if kind == stream]
        kept = sum(high - low for low, high in spans)
        total = self.stdout_bytes if stream == STDOUT else self.stderr_bytes
        if total == 0:
            return Excerpt("", 0)
        if not raw:
            if kept <= 4 * SEEN_BYTES:
                return seen_excerpt(total, self._collect(spans, kept), b"", bound)
            first, last = self._collect(spans, SEEN_BYTES), self._collect(spans, 3 * SEEN_BYTES, from_end=True)
            return seen_excerpt(total, first, last, bound)
        if total <= bound:
            return excerpt(total, self._collect(spans, total), b"")
        head = self._collect(spans, min(bound // 3, kept))
        tail_spans = [(low, high) for low, high in spans]
        tail = self._collect(tail_spans, min(bound - bound // 3, kept - len(head)), from_end=True)
        return excerpt(total, head, tail)

    def _collect(self, spans: list[tuple[int, int]], size: int, from_end: bool = False) -> bytes:
        parts: list[bytes] = []
        missing = size
        for low, high in reversed(spans) if from_end else spans:
            take = min(missing, high - low)
            if take <= 0:
                break
            parts.append(self.read(high - take if from_end else low, take))
            missing -= take
        return b"".join(reversed(parts) if from_end else parts)

    def remove(self) -> None:
        self.close()
        self._out.unlink(missing_ok=True)
        self._idx.unlink(missing_ok=True)
