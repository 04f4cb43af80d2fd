"""What every HTTP server of pyro shares: uvicorn without its signal handlers, a listener, a bounded body."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from pyro_mcp.errors import InvalidInput

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: who runs it has its own."""

    @classmethod
    def of(cls, application: Any, **more: Any) -> Server:
        """One for a plain ASGI application that writes no log of its own; `more` as for `uvicorn.Config`."""
        return cls(
            uvicorn.Config(
                application,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                **more,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


def listening(host: str, port: int) -> socket.socket:
    """A listener; port 0 takes a free one.

    Raises:
        InvalidInput: it cannot be listened on there.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        raise InvalidInput(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.", code="cannot_listen"
        ) from None
    return listener


async def body_of(receive: Receive, most: int, seconds: float) -> bytes | None:
    """The body of a request, or a little more than `most` bytes of it; None when its sender has gone or is too slow."""
    parts: list[bytes] = []
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while size <= most:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if not message.get("more_body"):
                    break
            return b"".join(parts)
    return None
