"""The daemon's HTTP face on its unix socket: one route per operation, answers as lines of JSON.

Only the socket's owner can connect (mode 0600 in a 0700 directory), so there is no further authentication.
A plain ASGI application: three routes do not need a router, and each exec passes through here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pyro_mcp.daemon.call import Call
from pyro_mcp.errors import InternalError, InvalidInput, NotFound, PyroError
from pyro_mcp.host_errors import blamed_rightly, of_this_machine
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.relayed import RELAYED
from pyro_mcp.operations.validation import validated
from pyro_mcp.spans import collect
from pyro_mcp.version import PROTOCOL, SERVES, VERSION

log = logging.getLogger(__name__)
MAX_REQUEST = 24 * 1024 * 1024
"""Bytes of one request, as the agent takes at most: the largest is a command line of 16 MiB."""
BEAT_SECONDS = 5.0
"""Of work on a call without a word, until the caller hears that it goes on; clients wait nine times as long."""
_FIRST = asyncio.FIRST_COMPLETED
TRACE = "pyro-trace"
"""The header of a caller that wants to know where the time went."""
PROJECT = "pyro-project"
"""The header with the project, percent-encoded, to which an MCP server keeps."""
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Dispatch = Callable[[Operation, Call, dict[str, Any]], Awaitable[Any]]


class App:
    """The ASGI application. `dispatch` runs a validated operation and gives its result record."""

    def __init__(self, dispatch: Dispatch, stop: Callable[[], None], state: Path) -> None:
        self._dispatch = dispatch
        self._stop = stop
        self._state = state
        self.active = 0
        """Calls under way; the daemon does not go idle meanwhile."""
        self._quiet = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.active += 1
        try:
            await self._route(scope, receive, send)
        finally:
            self.active -= 1
            if not self.active:
                self._quiet.set()

    async def stop_when_unused(self, seconds: float, owns: Callable[[], Awaitable[object]]) -> None:
        """Stop when for a while nobody called and there is nothing to own.

        PYRO_DAEMON_IDLE_SECONDS overrides how long.
        """
        patience = float(os.environ.get("PYRO_DAEMON_IDLE_SECONDS", seconds))
        while True:
            self._quiet.clear()
            try:
                # Not wait_for: before Python 3.12 it may swallow a cancellation that comes with the event.
                async with asyncio.timeout(patience):
                    await self._quiet.wait()
            except TimeoutError:
                if not self.active and not await owns() and not self.active:  # somebody may have called meanwhile
                    self._stop()
                    return

    async def _route(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if (method, path) == ("GET", "/v1/health"):
            await _answer(send, 200, {"pid": os.getpid(), "version": VERSION, "protocol": PROTOCOL, "serves": SERVES})
        elif (method, path) == ("POST", "/v1/stop"):
            await _answer(send, 200, {"stopping": True})
            self._stop()
        elif method == "POST" and path.startswith("/v1/operations/"):
            await self._operate(path.rpartition("/")[2], scope, receive, send)
        else:
            error = NotFound(f"The daemon has no {method} {path}.", code="unknown_route")
            await _answer(send, 404, {"error": error.to_record()})

    async def _operate(self, name: str, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        answer = _Lines(send)
        listens = headers.get("pyro-events", "")
        call = Call(
            face=headers.get("pyro-face", "sdk"),
            client=headers.get("pyro-client", ""),
            scope=unquote(headers[PROJECT], errors="surrogateescape") if PROJECT in headers else None,
            emit=answer.event if listens else None,
            tell=answer.event,
            wants_output=listens != "no-output",
        )
        begun, spans = time.perf_counter(), collect() if TRACE in headers else None
        try:
            operation = REGISTRY.get(name) or RELAYED.get(name)
            if operation is None:
                raise NotFound(f"This daemon has no operation {name!r}.", code="unknown_operation")
            arguments = validated(operation, await _body(receive))
            work = asyncio.ensure_future(self._dispatch(operation, call, arguments))
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                while not (await asyncio.wait({work, gone}, timeout=BEAT_SECONDS, return_when=_FIRST))[0]:
                    await answer.beat()
                if not work.done():
                    work.cancel()  # what must be finished shields itself
                result = await work
            finally:
                gone.cancel()
            record: dict[str, Any] = {"result": result.model_dump(mode="json")}
        except PyroError as error:
            record = {"error": blamed_rightly(error, self._state).to_record()}
        except asyncio.CancelledError:
            return
        except Exception as problem:
            log.exception("operation %s failed", name)
            found = of_this_machine(problem, self._state)
            internal = InternalError(
                f"{name} failed inside the daemon; this is a bug in pyro.",
                hint="The daemon's log has the traceback; `pyro daemon status` shows where it is.",
            )
            record = {"error": (found or internal).to_record()}
        if spans is not None:
            spent = {**spans, "whole": time.perf_counter() - begun}
            record["trace"] = {name: round(seconds * 1000, 3) for name, seconds in spent.items()}
        await answer.last(record)


class _Lines:
    """A streamed answer, begun with its first line."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False
        self._turn = asyncio.Lock()

    async def _line(self, record: dict[str, Any], more: bool) -> None:
        await self._put(json.dumps(record, separators=(",", ":")).encode() + b"\n", more)

    async def _put(self, body: bytes, more: bool) -> None:
        async with self._turn:
            if not self._begun:
                self._begun = True
                headers = [(b"content-type", b"application/x-ndjson")]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def beat(self) -> None:
        """Say that the daemon is at it: slow is not dead. An empty line, which every client passes over."""
        await self._put(b"\n", True)

    async def event(self, record: dict[str, Any]) -> None:
        await self._line({"event": record}, True)

    async def last(self, record: dict[str, Any]) -> None:
        await self._line(record, False)


async def _body(receive: Receive) -> Any:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_REQUEST:
            raise InvalidInput(
                f"The request is larger than {MAX_REQUEST} bytes.",
                hint="Write large data to files in pieces of up to 1 MiB, and have the command read them.",
                code="request_too_large",
            )
        if not message.get("more_body"):
            break
    try:
        return json.loads(b"".join(parts) or b"{}")
    except (ValueError, RecursionError):  # the latter of what is nested without end
        raise InvalidInput("The request body is not JSON.", code="bad_request") from None


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, record: dict[str, Any]) -> None:
    body = json.dumps(record).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
