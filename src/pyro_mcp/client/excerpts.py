"""Head and tail of a stream whose length is not known beforehand, in bounded memory."""

from __future__ import annotations

from collections import deque

from pyro_mcp.processes.output import SEEN_BYTES, Excerpt, excerpt, seen_excerpt


class HeadTail:
    """Keeps the first and the last `bound` bytes of what is fed to it."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.total_bytes = 0

    def feed(self, data: bytes) -> None:
        self.total_bytes += len(data)
        room = self._bound - len(self._head)
        self._head += data[:room]
        data = data[room:] if room > 0 else data
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._bound:
            self._tail_bytes -= len(self._tail.popleft())

    def excerpt(self, bound: int) -> Excerpt:
        """All of it when it fits, else a third from the head and two thirds from the tail."""
        kept = bytes(self._head) + b"".join(self._tail)
        if self.total_bytes <= bound:
            return excerpt(self.total_bytes, kept, b"")
        head, tail = bound // 3, bound - bound // 3
        return excerpt(self.total_bytes, bytes(self._head[:head]), kept[-tail:])


class Watched(HeadTail):
    """As a person would have seen it; enough is kept to tell what was drawn over."""

    def __init__(self) -> None:
        super().__init__(SEEN_BYTES)

    def excerpt(self, bound: int) -> Excerpt:
        return seen_excerpt(self.total_bytes, bytes(self._head), b"".join(self._tail), bound)


def shares(stdout_bytes: int, stderr_bytes: int, bound: int) -> tuple[int, int]:
    """How two streams share a bound: errors have half of it at least, and what output leaves."""
    errors = min(stderr_bytes, max(bound // 2, bound - stdout_bytes))
    return bound - errors, errors
