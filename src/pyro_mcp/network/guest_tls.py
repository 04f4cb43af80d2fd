"""TLS of a guest, ended on a pair of streams that exists."""

from __future__ import annotations

import asyncio
import ssl

from pyro_mcp.guest.duplex import CHUNK, Streams, deliver, unread

HANDSHAKE_SECONDS = 30.0
CLOSE_SECONDS = 5.0


class _Upgraded(asyncio.StreamReaderProtocol):
    """The stream protocol above TLS. Keeps the pair below alive, and tells it of the end it no longer hears of."""

    def __init__(self, reader: asyncio.StreamReader, below: Streams, protocol: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._below = below
        self._protocol_below = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._protocol_below.connection_lost(None)  # the reason is told once, above


async def accept_tls(guest: Streams, context: ssl.SSLContext, early: bytes = b"") -> Streams:
    """Become the TLS server on a pair of streams; `early` is what the caller already read of the handshake.

    Raises:
        OSError: the handshake failed (ssl.SSLError is one), took too long, or the guest left; the pair is useless.
    """
    below = guest[1].transport
    early += await unread(guest)
    loop = asyncio.get_running_loop()
    plain = asyncio.StreamReader(limit=CHUNK, loop=loop)
    former = below.get_protocol()
    protocol = _Upgraded(plain, guest, former)
    handshake = asyncio.ensure_future(
        loop.start_tls(
            below,
            protocol,
            context,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=CLOSE_SECONDS,
        )
    )
    try:
        if early:
            # start_tls sets its protocol in its first step and connects it in the next; reading resumes after that,
            # so these bytes come before any from the socket.
            await asyncio.sleep(0)
            loop.call_soon(lambda: deliver(below.get_protocol(), early))
        transport = await handshake
        if transport is None:
            raise ConnectionResetError("the guest left during the TLS handshake")
    except BaseException:
        handshake.cancel()
        below.close()
        former.connection_lost(None)  # it was unhooked: without this, whoever waits for its close waits for ever
        raise
    protocol.connection_made(transport)
    return plain, asyncio.StreamWriter(transport, protocol, plain, loop)
