"""The page's HTTP: a few files, the feed, a command's output, and operations. A plain ASGI application.

Nothing is rendered here. All that a guest chose goes out as JSON, and the page puts it into text nodes; its policy
(`POLICY`) lets no script run but ours, and none make markup of text.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.errors import InternalError, InvalidInput, PyroError
from pyro_mcp.operations.validation import validated
from pyro_mcp.serving import Receive, Scope, Send, body_of
from pyro_mcp.ui.allowed import asked_for
from pyro_mcp.ui.door import Door
from pyro_mcp.ui.feed import Feed
from pyro_mcp.ui.following import output, screens

log = logging.getLogger(__name__)
MAX_BODY = 4 * 1024 * 1024
BODY_SECONDS = 60.0
BEAT_SECONDS = 15.0
"""Of silence on a stream, until the page hears that it is still there."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), usb=()"),
    (b"cache-control", b"no-store"),
)
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
VIEWS = ("", "ask", "compare", "new", "w")
"""First words of the page's own addresses, which all lead to the one page."""
AGAIN = "In the terminal where `pyro ui` runs, press Enter for another link."


def files() -> dict[str, bytes]:
    """The files of the page by their names: what is asked for is looked up, never opened."""
    folder = resources.files("pyro_mcp.ui") / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.rpartition(".")[2] in TYPES}


class Application:
    """`pyro` carries out what a person asks; `feed` tells what goes on."""

    def __init__(self, door: Door, pyro: AsyncPyro, feed: Feed) -> None:
        self._door = door
        self._pyro = pyro
        self._feed = feed
        self._files = files()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers, path, method = list(scope["headers"]), scope["path"], scope["method"]
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0] if path == "/" else ""
        refusal = self._door.stranger(headers, entering=bool(token))
        if refusal is not None:
            await _page(send, refusal.status, refusal.message)
        elif method not in ("GET", "POST"):
            await _page(send, 405, "Only GET and POST are taken.", [(b"allow", b"GET, POST")])
        elif token and method == "GET":
            await self._enter(send, token, headers)
        elif not self._door.knows(headers):
            await _page(send, 401, f"This page opens by a link that is used once. {AGAIN}")
        elif path.startswith("/api/"):
            if self._door.opens(headers):
                await self._api(method, path.removeprefix("/api/"), scope, receive, send)
            else:
                await _json(send, 401, _said("unknown_page", f"This page is not the one that a link opened. {AGAIN}"))
        elif method != "GET":
            await _page(send, 405, "Pages are read by GET.", [(b"allow", b"GET")])
        elif path.startswith("/static/"):
            await self._file(send, path.removeprefix("/static/"))
        elif path.startswith("/") and path.split("/")[1] in VIEWS:
            await self._file(send, "index.html")
        else:
            await _page(send, 404, "There is nothing here.")

    async def _enter(self, send: Send, token: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if any(name in (b"sec-purpose", b"purpose", b"x-moz") for name, _ in headers):
            await _page(send, 503, "A link that opens once is not fetched ahead.")
            return
        entry = self._door.enter(token)
        if entry is None:
            await _page(send, 403, f"This link was used, or is too old; a link opens once. {AGAIN}")
            return
        cookie = f"{self._door.cookie_name}={entry.cookie}; HttpOnly; SameSite=Strict; Path=/"
        body = self._files["enter.html"].replace(b"{{key}}", entry.key.encode())  # letters, digits, - and _
        await _answer(send, 200, "html", body, [(b"set-cookie", cookie.encode())])

    async def _file(self, send: Send, name: str) -> None:
        body = self._files.get(name)
        if body is None or name == "enter.html":
            await _page(send, 404, "There is nothing here.")
        else:
            await _answer(send, 200, name.rpartition(".")[2], body)

    async def _api(self, method: str, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode("latin-1")).items()}
        if (method, path) == ("GET", "feed"):
            async with aclosing(self._feed.listen()) as messages:
                await _stream(messages, receive, send)
        elif (method, path) == ("GET", "output"):
            async with aclosing(output(self._pyro, query)) as messages:
                await _stream(messages, receive, send)
        elif (method, path) == ("GET", "terminal"):
            async with aclosing(screens(self._pyro, query)) as messages:
                await _stream(messages, receive, send)
        elif method == "POST" and path.startswith("do/"):
            await self._do(path.removeprefix("do/"), scope, receive, send)
        else:
            await _json(send, 404, _said("unknown_route", "There is nothing here."))

    async def _do(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        kinds = [value for header, value in scope["headers"] if header == b"content-type"]
        if len(kinds) != 1 or kinds[0].split(b";")[0].strip().lower() != b"application/json":
            await _json(send, 415, _said("bad_request", "Arguments come as application/json."))
            return
        body = await body_of(receive, MAX_BODY, BODY_SECONDS)
        if body is None:
            return
        try:
            if len(body) > MAX_BODY:
                raise InvalidInput(f"The request is larger than {MAX_BODY} bytes.", code="request_too_large")
            operation, arguments = asked_for(name, _parsed(body))
            validated(operation, arguments)
            result = await self._pyro.call(operation, arguments)
            await _json(send, 200, {"result": result})
        except PyroError as error:
            await _json(send, 400, {"error": error.to_record()})
        except Exception as error:
            log.exception("%s failed", name)
            defect = InternalError(f"{name} failed because of a bug in pyro ({type(error).__name__}).")
            await _json(send, 500, {"error": defect.to_record()})


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError):  # the latter of what is nested without end
        raise InvalidInput("The request body is not JSON.", code="bad_request") from None


def _said(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": ""}}


async def _answer(send: Send, status: int, kind: str, body: bytes, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    fields = [
        (b"content-type", f"{TYPES.get(kind, 'application/json')}; charset=utf-8".encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fields, *HEADERS, *more]})
    await send({"type": "http.response.body", "body": body})


async def _page(send: Send, status: int, text: str, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """A page that says one thing of ours: nothing of the request is in it."""
    body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>pyro</title><p>{text}</p></html>\n'
    await _answer(send, status, "html", body.encode(), more)


async def _json(send: Send, status: int, record: dict[str, Any]) -> None:
    await _answer(send, status, "json", json.dumps(record).encode())


async def _stream(messages: AsyncGenerator[dict[str, Any], None], receive: Receive, send: Send) -> None:
    """Server-sent events, until there are no more or the page goes."""
    fields = [(b"content-type", b"text/event-stream"), *HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    gone = asyncio.ensure_future(_disconnected(receive))
    upcoming = _next(messages)
    try:
        while True:
            done, _ = await asyncio.wait({gone, upcoming}, timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if gone in done:
                return
            body = b":\n\n"
            if upcoming in done:
                try:
                    body = b"data: " + json.dumps(upcoming.result(), separators=(",", ":")).encode() + b"\n\n"
                except StopAsyncIteration:
                    break
                upcoming = _next(messages)
            await send({"type": "http.response.body", "body": body, "more_body": True})
    finally:
        gone.cancel()
        upcoming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
            await upcoming
    await send({"type": "http.response.body", "body": b""})


def _next(messages: AsyncGenerator[dict[str, Any], None]) -> asyncio.Task[dict[str, Any]]:
    async def following() -> dict[str, Any]:
        return await anext(messages)

    return asyncio.create_task(following())


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
