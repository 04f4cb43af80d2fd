"""SOCKS5 (RFC 1928), without authentication, CONNECT only: what a program asks for, and how it is told."""

from __future__ import annotations

import asyncio
import ipaddress


async def asked_by_socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
    """The host and port of a request whose first byte was read; None where it is none, which was said."""
    try:
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x00")
        version, command, _, kind = await reader.readexactly(4)
        if kind == 1:
            host = str(ipaddress.IPv4Address(await reader.readexactly(4)))
        elif kind == 4:
            host = str(ipaddress.IPv6Address(await reader.readexactly(16)))
        elif kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode("latin-1")
        else:
            writer.write(socks_reply(8))
            return None
        port = int.from_bytes(await reader.readexactly(2), "big")
    except (asyncio.IncompleteReadError, ValueError):
        return None
    if (version, command) != (5, 1):
        writer.write(socks_reply(7))
        return None
    return host, port


def socks_reply(code: int) -> bytes:
    """The answer to a request, without an address."""
    return bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0])
