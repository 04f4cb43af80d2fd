"""A relay on loopback that adds the bearer token: the suite cannot send one. All else goes through as it is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import uvicorn

from pyro_mcp.serving import listening

HOP_BY_HOP = {b"connection", b"transfer-encoding", b"keep-alive", b"content-length"}


class Relay:
    """The ASGI application."""

    def __init__(self, target: str, token: str) -> None:
        self._target = target
        self._token = token
        self._client = httpx2.AsyncClient(timeout=None)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        passing = asyncio.create_task(self._pass(scope, body, send))
        gone = asyncio.create_task(_gone(receive))
        await asyncio.wait({passing, gone}, return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        passing.cancel()
        with contextlib.suppress(asyncio.CancelledError, httpx2.HTTPError):
            await passing

    async def _pass(self, scope: dict[str, Any], body: bytes, send: Any) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        headers.append((b"authorization", f"Bearer {self._token}".encode()))
        url = self._target + scope["path"]
        async with self._client.stream(scope["method"], url, headers=headers, content=body) as answer:
            kept = [(k, v) for k, v in answer.headers.raw if k.lower() not in HOP_BY_HOP]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@contextlib.contextmanager
def relayed(url: str, token: str) -> Iterator[str]:
    """The address of a relay to the server at `url`, while the context lasts."""
    listener = listening("127.0.0.1", 0)
    origin, _, path = url.removeprefix("http://").partition("/")
    config = uvicorn.Config(
        Relay(f"http://{origin}", token),
        lifespan="off",
        log_config=None,
        access_log=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{path}"
    finally:
        server.should_exit = True
        thread.join(10)
