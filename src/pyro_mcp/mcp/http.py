"""`pyro mcp serve --http`: the same tools for hosts on another machine, over streamable HTTP.

The official library speaks both revisions here: with the handshake and sessions (2025-11-25 and before), and
stateless (2026-07-28). No state of ours hangs on either: workspace ids are the only handles, so a session that is
lost loses nothing. `door` decides who comes in. Nothing of this is imported when tools are served over stdio.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Any

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.errors import InvalidInput
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.mcp.door import Door, Refusal, is_loopback
from pyro_mcp.mcp.gate import INVALID_REQUEST, MAX_BYTES, PARSE_ERROR, TOO_LONG, Message, judged
from pyro_mcp.mcp.gate import Refusal as Refused
from pyro_mcp.mcp.server import close_subscriptions, server_of
from pyro_mcp.mcp.toolbox import Toolbox
from pyro_mcp.operations import Profile
from pyro_mcp.serving import Receive, Scope, Send, Server, body_of, listening

PATH = "/mcp"
BODY_SECONDS = 60.0
"""How long the body of a request may take to come."""
DRAIN_SECONDS = 4.0
"""How long calls under way may take to answer after SIGTERM; they are told to hurry."""
LINGER_SECONDS = 1
SESSION = b"mcp-session-id"


class Application:
    """The ASGI application: one path, behind the door. Use it within `running`."""

    def __init__(self, toolbox: Toolbox, catalogue: Catalogue, door: Door) -> None:
        self._toolbox = toolbox
        self._door = door
        self._server = server_of(toolbox, catalogue, interrupted=self._interrupted)
        self._manager = StreamableHTTPSessionManager(self._server, max_request_body_size=MAX_BYTES)
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._closing = False
        self._posts = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """On the way out calls answer with what they know, and sessions and subscriptions end."""
        async with self._manager.run():
            try:
                yield
            finally:
                self._closing = True
                self._toolbox.leave()
                close_subscriptions(self._server)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_SECONDS):
                        await self._quiet.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(refusal, send)
            return
        if scope["method"] == "DELETE":
            self._note_end(scope)
        if scope["method"] != "POST":
            await self._manager.handle_request(scope, receive, send)  # type: ignore[arg-type]
            return
        self._posts += 1
        self._quiet.clear()
        try:
            body = await body_of(receive, MAX_BYTES, BODY_SECONDS)
            if body is None:
                return
            found = TOO_LONG if len(body) > MAX_BYTES else judged(body) or (None if body.strip() else _EMPTY)
            if isinstance(found, Refused):
                await _say(send, 413 if found is TOO_LONG else 400, found.answer())
                return
            if found is not None:
                body = json.dumps(found).encode()  # as it was read here: arguments that came as text are an object now
            await self._manager.handle_request(scope, _again(body, receive), send)  # type: ignore[arg-type]
        finally:
            self._posts -= 1
            if not self._posts:
                self._quiet.set()

    def _refusal(self, scope: Scope) -> Refusal | None:
        if scope["path"] != PATH:
            return Refusal(404, f"There is nothing here; the server is at {PATH}.")
        address = scope["server"][0] if scope.get("server") else None
        refusal = self._door.refusal(scope["headers"], address)
        if refusal is None and self._closing:
            return Refusal(503, "The server is shutting down.")
        return refusal

    def _note_end(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == SESSION:
                self._ended[value.decode("latin-1")] = None
                while len(self._ended) > 1000:
                    self._ended.popitem(last=False)

    def _interrupted(self, context: Any) -> bool:
        """A host that ends its session leaves, as one does that closes standard input: its commands run on."""
        request = context.request
        return request is not None and request.headers.get(SESSION.decode()) in self._ended


_EMPTY = Refused(PARSE_ERROR, "The request has no body.")


def _again(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before the body was read."""
    told = False

    async def once_more() -> dict[str, Any]:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once_more


async def _refuse(refusal: Refusal, send: Send) -> None:
    challenge = [(b"www-authenticate", b"Bearer")] if refusal.challenge else []
    await _say(send, refusal.status, Refused(INVALID_REQUEST, refusal.message).answer(), challenge)


async def _say(send: Send, status: int, record: Message, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    fields = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": json.dumps(record).encode()})


def address_of(text: str) -> tuple[str, int]:
    """The host and port of `[HOST:]PORT`; loopback unless told.

    Raises:
        InvalidInput: it is neither.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise InvalidInput(
            f"--http {text}: give HOST:PORT or PORT, such as 127.0.0.1:8765; port 0 picks a free port.",
            code="bad_usage",
        )
    return host, int(port)


def serve_http(*, profile: Profile, access: Access, address: str, token: str, names: list[str]) -> int:
    """Serve until SIGTERM or SIGINT. Gives the exit status."""
    host, port = address_of(address)
    listener = listening(host, port)
    door = Door.with_token(token, [*names, *([] if host in ("0.0.0.0", "::") else [host])])
    asyncio.run(_serve(profile, access, listener, door, host))
    return 0


async def _serve(profile: Profile, access: Access, listener: socket.socket, door: Door, host: str) -> None:
    pyro = AsyncPyro(face="mcp", client=os.environ.get("PYRO_MCP_CLIENT", "http"), project=access.scope)
    toolbox = Toolbox(profile, access, pyro)
    fetching = asyncio.ensure_future(toolbox.begin_to_fetch())
    application = Application(toolbox, Catalogue.of(profile, access), door)
    server = Server.of(application, timeout_graceful_shutdown=LINGER_SECONDS)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def leave(number: int) -> None:
        loop.remove_signal_handler(number)  # the second time it ends us at once
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave, number)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    asked = asyncio.create_task(stop.wait())
    async with application.running():
        _announce(listener, host)
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    asked.cancel()
    fetching.cancel()
    await serving
    await pyro.close()


def _announce(listener: socket.socket, host: str) -> None:
    address = listener.getsockname()
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    said = f"Serving the tools at http://{shown}:{address[1]}{PATH}; a bearer token is required.\n"
    if not is_loopback(address[0]):
        said += (
            f"Warning: other computers can reach {host}, and the token travels unencrypted. Prefer an SSH "
            "tunnel to loopback, or a proxy that speaks TLS.\n"
        )
    sys.stderr.write(said)
    sys.stderr.flush()
