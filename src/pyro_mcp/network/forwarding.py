"""One HTTP/1.1 message from one side to the other, and answers in a server's place."""

from __future__ import annotations

import asyncio
import contextlib
import re

import h11

from pyro_mcp.http1 import next_event
from pyro_mcp.network.relay import CHUNK

MAX_PHRASE = 200
HOP_BY_HOP = frozenset({b"proxy-connection", b"proxy-authorization", b"connection", b"keep-alive", b"te", b"upgrade"})
"""Headers that concern one connection only (RFC 9110, 7.6.1)."""


async def send_body(
    guest: h11.Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    server: h11.Connection,
    up_writer: asyncio.StreamWriter,
    counts: dict[str, int],
) -> None:
    if guest.they_are_waiting_for_100_continue:
        writer.write(guest.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
    while True:
        event = await next_event(guest, lambda: reader.read(CHUNK))
        if isinstance(event, h11.Data):
            counts["bytes_up"] += len(event.data)
            up_writer.write(server.send(event) or b"")
            await up_writer.drain()
        elif isinstance(event, h11.EndOfMessage):
            up_writer.write(server.send(event) or b"")
            await up_writer.drain()
            return
        else:
            raise ConnectionResetError("the guest went away in the middle of a request")


async def send_response(
    server: h11.Connection,
    up_reader: asyncio.StreamReader,
    guest: h11.Connection,
    writer: asyncio.StreamWriter,
    counts: dict[str, int],
) -> None:
    while True:
        event = await next_event(server, lambda: up_reader.read(CHUNK))
        if isinstance(event, h11.InformationalResponse):
            continue
        if isinstance(event, h11.Response):
            headers = [(k, v) for k, v in event.headers if k not in HOP_BY_HOP]
            writer.write(
                guest.send(h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)) or b""
            )
        elif isinstance(event, h11.Data):
            counts["bytes_down"] += len(event.data)
            writer.write(guest.send(event) or b"")
        elif isinstance(event, h11.EndOfMessage):
            writer.write(guest.send(event) or b"")
            await writer.drain()
            return
        else:
            raise ConnectionResetError("the server went away in the middle of a response")
        await writer.drain()


def _phrase(text: str) -> bytes:
    """A reason phrase: for a refused CONNECT, what many programs show of the answer (RFC 9112, 4)."""
    return re.sub(r"[^ -~]+", "?", text)[:MAX_PHRASE].encode()


async def answer(guest: h11.Connection, writer: asyncio.StreamWriter, status: int, text: str, reason: str = "") -> None:
    if guest.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    body = text.encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    ]
    response = guest.send(h11.Response(status_code=status, headers=headers, reason=_phrase(reason))) or b""
    writer.write(response + (guest.send(h11.Data(data=body)) or b"") + (guest.send(h11.EndOfMessage()) or b""))
    with contextlib.suppress(OSError):
        await writer.drain()
