"""The frames of an upgraded stream, as bytes in and out; no sockets here.

Layout (docs/agent-protocol.md): 1 byte type, 4 byte big-endian length, 8 byte big-endian offset, payload
of at most 64 KiB. The offset is the absolute position in a process's combined output.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pyro_mcp.errors import GuestError

STDOUT, STDERR, EXIT, ERROR, STARTED = 1, 2, 3, 4, 5
STDIN, STDIN_EOF, RESIZE, SIGNAL = 16, 17, 18, 19
DATA, END = 32, 33
MAX_PAYLOAD = 64 * 1024
_HEADER = struct.Struct(">BIQ")
HEADER_SIZE = _HEADER.size


@dataclass(frozen=True)
class Frame:
    type: int
    offset: int
    payload: bytes


def encode(type_: int, payload: bytes = b"", offset: int = 0) -> bytes:
    """One frame; `payload` must not be longer than `MAX_PAYLOAD`."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame holds at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    return _HEADER.pack(type_, len(payload), offset) + payload


class Decoder:
    """Turns received bytes into frames, however they were cut on the way."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add bytes; give every frame that is whole now.

        Raises:
            GuestError: a length beyond the bound. The stream cannot be used any further.
        """
        self._buffer += data
        position = 0
        try:
            while len(self._buffer) - position >= HEADER_SIZE:
                type_, length, offset = _HEADER.unpack_from(self._buffer, position)
                if length > MAX_PAYLOAD:
                    raise GuestError(
                        f"The guest sent a frame of {length} bytes; {MAX_PAYLOAD} is the bound.", code="bad_frame"
                    )
                end = position + HEADER_SIZE + length
                if len(self._buffer) < end:
                    break
                payload = bytes(self._buffer[position + HEADER_SIZE : end])
                position = end
                yield Frame(type_, offset, payload)
        finally:
            del self._buffer[:position]
