"""A stream with an end of its own in each direction, over a connection that can only end as a whole.

Firecracker's vsock passes no half-close on, in either direction. So the bytes of a guest's port, and of a guest's
connection to the outside, go in frames (docs/agent-protocol.md): DATA, and END for one direction's end of file. A
connection that ends without END broke, and whoever reads from it hears so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from pyro_mcp.errors import GuestError
from pyro_mcp.guest import frames

CHUNK = 64 * 1024
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def duplex(below: Streams) -> Streams:
    """A pair of streams on a connection that carries frames from here on.

    Raises:
        OSError: the connection has ended already.
    """
    held = await unread(below)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CHUNK, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport = _Duplex(below, protocol)
    protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    transport.begin(held)
    return reader, writer


async def unread(streams: Streams) -> bytes:
    """What the reader holds already; reading from the transport is paused afterwards.

    Raises:
        ConnectionResetError: the connection has ended.
    """
    reader, writer = streams
    held = b""
    while True:
        _transport(writer).pause_reading()
        try:
            async with asyncio.timeout(0):
                data = await reader.read(CHUNK)
        except TimeoutError:
            return held
        if not data:
            raise ConnectionResetError("the other end is gone")
        held += data


def _transport(writer: asyncio.StreamWriter) -> asyncio.Transport:
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport), "streams of a socket go both ways"
    return transport


def deliver(protocol: asyncio.BaseProtocol, data: bytes) -> None:
    """Give a transport's protocol bytes as if they had just been received."""
    if isinstance(protocol, asyncio.Protocol):
        protocol.data_received(data)
        return
    while data and isinstance(protocol, asyncio.BufferedProtocol):
        buffer = memoryview(protocol.get_buffer(len(data)))
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]


class _Duplex(asyncio.Transport):
    """What the streams stand on. Pace, buffers and addresses are those of the transport below."""

    _start_tls_compatible = True
    """`loop.start_tls` asks for it."""

    def __init__(self, below: Streams, protocol: asyncio.Protocol) -> None:
        super().__init__()
        # Both streams are kept: whoever ends all connections of a machine knows them by their writers.
        self._streams = below
        self._below = _transport(below[1])
        self._protocol: asyncio.BaseProtocol = protocol
        self._decoder = frames.Decoder()
        self._said_end = self._heard_end = self._closing = False
        self._failure: Exception | None = None

    def begin(self, held: bytes) -> None:
        """Take the place of the protocol below; `held` was read before."""
        self._below.set_protocol(_Below(self))
        if held:
            self.received(held)
        if not self._closing:
            self._below.resume_reading()

    # -- from below

    def received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                if self._heard_end or frame.type not in (frames.DATA, frames.END):
                    raise GuestError(f"a frame of type {frame.type} where none can be")
                if frame.type == frames.DATA:
                    deliver(self._protocol, frame.payload)
                else:
                    self._hear_end()
        except GuestError as error:
            self._failure = ConnectionResetError(f"the machine's end sent {error.message}")
            self._below.abort()

    def _hear_end(self) -> None:
        self._heard_end = True
        protocol = self._protocol
        if isinstance(protocol, asyncio.Protocol | asyncio.BufferedProtocol) and not protocol.eof_received():
            self.close()

    def lost(self, error: Exception | None) -> None:
        if error is None and not (self._heard_end or self._closing):
            error = ConnectionResetError("the machine's end of the connection broke off")
        self._protocol.connection_lost(self._failure or error)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    # -- asyncio.Transport

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._said_end:
            raise RuntimeError("Cannot write after the end was said.")
        content, largest = bytes(data), frames.MAX_PAYLOAD
        pieces = (content[start : start + largest] for start in range(0, len(content), largest))
        if content:  # in one write, which wakes the other side once
            self._below.write(b"".join(frames.encode(frames.DATA, piece) for piece in pieces))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._said_end and not self._closing:
            self._said_end = True
            self._below.write(frames.encode(frames.END))

    def close(self) -> None:
        if not self._closing:
            self.write_eof()
            self._closing = True
            self._below.close()

    def abort(self) -> None:
        self._closing = True
        self._below.abort()

    def _force_close(self, exc: Exception | None) -> None:
        """What asyncio's TLS calls when it gives up."""
        self.abort()

    def is_closing(self) -> bool:
        return self._closing or self._below.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def pause_reading(self) -> None:
        self._below.pause_reading()

    def resume_reading(self) -> None:
        self._below.resume_reading()

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)


class _Below(asyncio.Protocol):
    """The protocol of the transport below: passes everything up."""

    def __init__(self, above: _Duplex) -> None:
        self._above = above

    def data_received(self, data: bytes) -> None:
        self._above.received(data)

    def eof_received(self) -> None:
        return  # None: the transport closes itself, and `connection_lost` tells

    def connection_lost(self, exc: Exception | None) -> None:
        self._above.lost(exc)

    def pause_writing(self) -> None:
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._above.resume_writing()
