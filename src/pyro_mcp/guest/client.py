"""The client of the agent's protocol (docs/agent-protocol.md): HTTP/1.1, one connection per operation.

Bytes that come from a guest are hostile: every answer has a bound, and JSON from it is checked where it is
used. Nothing that may have run is ever sent twice.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import h11

from pyro_mcp.errors import Conflict, GuestError, GuestUnreachable, InvalidInput, NotFound, PyroError
from pyro_mcp.guest import frames
from pyro_mcp.guest.duplex import Streams, duplex
from pyro_mcp.guest.patience import Gate, Pace, Patience
from pyro_mcp.guest.said import Said, parsed, whole_header
from pyro_mcp.http1 import next_event
from pyro_mcp.spans import span
from pyro_mcp.visible import visible_lines

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of one answer that is held in memory; larger things are streamed."""
READ_SIZE = 256 * 1024
ANSWER_SECONDS = 30.0
"""Until an answer that is owed has begun. All calls of chat hosts are through within 50 s."""
WORK_SECONDS = 300.0
"""The same, where the agent reads or writes a whole tree and shows meanwhile that it lives."""
REFUSAL_SECONDS = 3.0
"""Until an agent that takes no more of what it is sent has said why."""
CLOSE_SECONDS = 1.0
FORGET_LATER_BYTES = 64 * 1024
FORGET_TOGETHER = 64
MAX_INTERIM = 16
"""Interim answers (1xx) before the one that counts."""
Connect = Callable[[], Awaitable[Streams]]

MAX_MESSAGE = 4096
"""Characters of an error that an agent reports."""
_CODE = re.compile("[a-z][a-z0-9_]{0,63}")
_INVALID = {
    "outside_workspace",
    "bad_path",
    "bad_request",
    "cwd_missing",
    "bad_archive",
    "bad_pattern",
    "too_large",
    "no_such_user",
    "no_such_group",
    "cwd_closed",
}
_CONFLICT = {"expectation_failed", "exists", "conflict", "not_empty", "is_directory", "not_directory"}


def agent_error(status: int, body: bytes) -> Exception:
    """The error that an answer of the agent stands for."""
    try:
        record = json.loads(body)["error"]
        code, message = str(record["code"]), str(record["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return GuestError(f"The agent answered {status} with no error record.")
    if not _CODE.fullmatch(code):
        code = "guest_failed"
    message = visible_lines(message[:MAX_MESSAGE], line_ends=True)  # a name in it may be the guest's choice
    if status == 404 or code == "not_found":
        return NotFound(message, code=code)
    if code in _INVALID:
        return InvalidInput(message, code=code)
    if code in _CONFLICT or status in (409, 412):
        return Conflict(message, code=code)
    return GuestError(message, code=code)


@dataclass(frozen=True)
class Answer:
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The answer as it came, unchecked; prefer `record`."""
        return parsed(self.body)

    def record(self) -> Said:
        """The object that the answer is, its fields read with checks."""
        return Said.of(self.json())

    def whole(self, header: str) -> int:
        """A header that is a number; its name in lower case."""
        return whole_header(self.headers, header)


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, patience: Patience, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.http = h11.Connection(h11.CLIENT, max_incomplete_event_size=64 * 1024)
        self._patience = patience
        self._pace = Pace()

    def send_head(self, method: str, target: str, headers: list[tuple[str, str]]) -> None:
        self._send(h11.Request(method=method, target=target, headers=[("Host", "agent"), *headers]))

    def _send(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        data = self.http.send(event)
        if data:
            self.writer.write(data)

    async def send_body(self, body: bytes | AsyncIterator[bytes] | None) -> None:
        if isinstance(body, bytes):
            self._send(h11.Data(data=body))
        elif body is not None:
            async for chunk in body:
                self._send(h11.Data(data=chunk))
                await self._patience.wait(self.writer.drain)
        self._send(h11.EndOfMessage())
        await self._patience.wait(self.writer.drain)

    async def _next_event(self, until: float | None = None) -> Any:
        async def read() -> bytes:
            begun = time.monotonic()
            data = await self._patience.wait(lambda: self.reader.read(READ_SIZE), until)
            self._pace.count(len(data), time.monotonic() - begun)
            return data

        return await next_event(self.http, read)

    async def response(
        self, *, upgrade: bool = False, patient: bool = False
    ) -> h11.Response | h11.InformationalResponse:
        until = math.inf if patient else self._patience.deadline()
        if upgrade:
            # Only the head: what follows a 101 belongs to the stream and must stay in the reader.
            self.http.receive_data(await self._patience.wait(lambda: self.reader.readuntil(b"\r\n\r\n"), until))
        for _ in range(MAX_INTERIM):
            event = await self._next_event(until)
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise GuestUnreachable("The agent closed the connection before answering.")
        raise GuestError("The agent's answer does not end.")

    async def body(self) -> AsyncIterator[bytes]:
        while True:
            with _broken():
                event = await self._next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            else:
                raise GuestUnreachable("The agent closed the connection in the middle of an answer.")

    async def whole_body(self, bound: int = MAX_ANSWER) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for chunk in self.body():
            size += len(chunk)
            if size > bound:
                raise GuestError(f"The agent's answer is larger than {bound} bytes.")
            parts.append(chunk)
        return b"".join(parts)


@contextmanager
def _broken() -> Iterator[None]:
    """What a connection may break with, as the one error that says so."""
    try:
        yield
    except (OSError, h11.RemoteProtocolError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise GuestUnreachable(f"The connection to the agent broke: {error}.") from error


def _headers(response: Any) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


class ProcessStream:
    """The frames of one process. Closing it leaves the process alone."""

    def __init__(self, patience: Patience, streams: Streams) -> None:
        self._patience = patience
        self._reader, self._writer = streams
        self._decoder = frames.Decoder()

    async def frames(self) -> AsyncIterator[frames.Frame]:
        """Frames until the process ended (the last is EXIT) or the connection broke (no EXIT).

        A process may be silent for as long as it likes, an agent may not: it is asked now and then.
        """
        while True:
            try:
                data = await self._patience.wait(lambda: self._reader.read(READ_SIZE))
            except (OSError, GuestUnreachable):
                return
            if not data:
                return
            for frame in self._decoder.feed(data):
                yield frame
                if frame.type in (frames.EXIT, frames.ERROR):
                    return

    async def send(self, type_: int, payload: bytes = b"") -> None:
        for start in range(0, len(payload) or 1, frames.MAX_PAYLOAD):
            self._writer.write(frames.encode(type_, payload[start : start + frames.MAX_PAYLOAD]))
            await self._patience.wait(self._writer.drain)

    async def send_stdin(self, data: bytes) -> None:
        """Give the process its whole standard input, then end of file."""
        await self.send(frames.STDIN, data)
        await self.send(frames.STDIN_EOF)

    async def close(self) -> None:
        await _close(self._writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    """End the connection. What the agent has not read a moment later it never will."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await writer.wait_closed()
    except TimeoutError:
        writer.transport.abort()
    except OSError:
        pass


class Guest:
    """The agent of one machine."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._gate = Gate(self._ask)
        self._forgotten: list[str] = []
        self.staging = asyncio.Lock()
        """Of who has contents in the agent's stage (`files.staging`)."""

    @contextmanager
    def barred(self, why: str) -> Iterator[None]:
        """Meanwhile nobody waits for this guest: what waits is given up at once, and what comes is refused."""
        with self._gate.closed(why):
            yield

    async def _ask(self) -> None:
        """Have the agent say that it is there, on a connection of its own."""
        with _broken():
            reader, writer = await self._connect()
            try:
                exchange = _Exchange(Patience(None, ANSWER_SECONDS), reader, writer)
                exchange.send_head("GET", "/v1/health", [("Connection", "close")])
                await exchange.send_body(None)
                await exchange.response()
            finally:
                writer.transport.abort()

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: list[tuple[str, str]] | None = None,
        keep: bool = False,
        seconds: float | None = ANSWER_SECONDS,
        connection: Streams | None = None,
    ) -> AsyncIterator[tuple[_Exchange, Any]]:
        # What may rightly never come is no reason to ask: the question would keep an idle machine awake.
        patience = Patience(self._gate, seconds, asks=connection is None and seconds is not None)
        with _broken():
            if connection is None:
                connection = await patience.connected(self._connect)
        reader, writer = connection
        kept = False
        try:
            exchange = _Exchange(patience, reader, writer)
            target = path + ("?" + urlencode({k: str(v) for k, v in query.items()}, quote_via=quote) if query else "")
            head = list(headers or [])
            if isinstance(body, bytes):
                head.append(("Content-Length", str(len(body))))
            elif body is not None:
                head.append(("Transfer-Encoding", "chunked"))
            if not keep:
                head.append(("Connection", "close"))
            with _broken():
                exchange.send_head(method, target, head)
                sender = None
                if body is None or isinstance(body, bytes):
                    await exchange.send_body(body)
                else:
                    # The agent may refuse in the middle of a long upload; its answer tells why.
                    sender = asyncio.ensure_future(exchange.send_body(body))
                try:
                    if sender is None:
                        response = await exchange.response(upgrade=keep)
                    else:
                        response = await self._answer_to(sender, exchange, patience)
                    if sender is not None and response.status_code < 300:
                        await sender
                finally:
                    if sender is not None and not sender.done():
                        sender.cancel()
                    if sender is not None:
                        await asyncio.gather(sender, return_exceptions=True)
                if response.status_code >= 300:
                    raise agent_error(response.status_code, await exchange.whole_body(1024 * 1024))
            yield exchange, response
            kept = keep
        finally:
            if not kept:
                await _close(writer)

    async def _answer_to(self, sender: asyncio.Future[None], exchange: _Exchange, patience: Patience) -> Any:
        """The answer to what is being sent. None is owed before all of it is; it may come all the same."""
        answer = asyncio.ensure_future(exchange.response(patient=True))
        try:
            both: set[asyncio.Future[Any]] = {sender, answer}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            taken = sender.done() and sender.exception() is None
            return await patience.within(lambda: asyncio.shield(answer), None if taken else REFUSAL_SECONDS)
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json_body: Any = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        bound: int = MAX_ANSWER,
        seconds: float = ANSWER_SECONDS,
        connection: Streams | None = None,
    ) -> Answer:
        """One request with an answer of at most `bound` bytes, which begins within `seconds`.

        With a `connection` that was taken before, no other is made, not even to ask whether the agent lives.

        Raises:
            GuestUnreachable: the machine is gone, or its agent stopped, silent or slow beyond all measure.
        """
        headers: list[tuple[str, str]] = []
        if json_body is not None:
            body = json.dumps(json_body, separators=(",", ":")).encode()
            headers.append(("Content-Type", "application/json"))
        asked = self._exchange(
            method, path, query=query, body=body, headers=headers, seconds=seconds, connection=connection
        )
        with span("agent"):
            async with asked as (exchange, response):
                return Answer(_headers(response), await exchange.whole_body(bound))

    @asynccontextmanager
    async def download(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[AsyncIterator[bytes]]:
        """A streamed answer, such as a tar."""
        async with self._exchange("GET", path, query=query, seconds=WORK_SECONDS) as (exchange, _):
            yield exchange.body()

    async def _upgrade(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        json_body: Any = None,
        *,
        owed: bool = True,
        more: Sequence[tuple[str, str]] = (),
    ) -> Streams:
        headers = [("Connection", "Upgrade"), ("Upgrade", "pyro-stream"), *more]
        body = None
        if json_body is not None:
            body = json.dumps(json_body, separators=(",", ":")).encode()
            headers.append(("Content-Type", "application/json"))
        seconds = ANSWER_SECONDS if owed else None
        asked = self._exchange(method, path, query=query, body=body, headers=headers, keep=True, seconds=seconds)
        with span("agent"):
            async with asked as (exchange, r):
                if r.status_code != 101:
                    raise GuestError(f"The agent answered {r.status_code} where a stream was asked for.")
                return exchange.reader, exchange.writer

    async def start_process(self, request: dict[str, Any], *, keeps: bool = False) -> ProcessStream:
        """Start a process and follow it in one round trip. With `keeps` its end says what files have become."""
        forgotten, self._forgotten = self._forgotten, []
        more = [("Pyro-Forget", ",".join(forgotten))] if forgotten else []
        more += [("Pyro-Keeps", "1")] if keeps else []
        return self._stream(await self._upgrade("POST", "/v1/processes", json_body=request, more=more))

    async def forget_process(self, process_id: str, held_bytes: int) -> None:
        """Let the agent forget one that has ended and of which all is kept: with the next start, as that costs no
        request of its own, or now, where it holds much output or many wait."""
        if held_bytes <= FORGET_LATER_BYTES and len(self._forgotten) < FORGET_TOGETHER:
            self._forgotten.append(process_id)
            return
        with suppress(PyroError):  # the agent forgets old processes by itself
            await self.call("DELETE", f"/v1/processes/{process_id}")

    async def run_process(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Run a process to its end; gives its id and its exit record. What it prints is not kept."""
        stream = await self.start_process(request)
        process_id = ""
        try:
            async for frame in stream.frames():
                if frame.type in (frames.STARTED, frames.EXIT):
                    record = Said.of(parsed(frame.payload), "the record of a process")
                    if frame.type == frames.EXIT:
                        return process_id, dict(record.fields)
                    process_id = record.handle("id")
        finally:
            await stream.close()
        raise GuestUnreachable("The connection to the agent broke before the process ended.")

    async def follow_process(self, process_id: str, offset: int) -> ProcessStream:
        """Follow a process from an absolute offset of its output on."""
        return self._stream(await self._upgrade("GET", f"/v1/processes/{process_id}/stream", {"offset": offset}))

    def _stream(self, streams: Streams) -> ProcessStream:
        return ProcessStream(Patience(self._gate, None), streams)

    async def open_stream(self, path: str, query: Mapping[str, Any] | None = None, *, owed: bool = True) -> Streams:
        """An upgraded connection that carries bytes both ways: a guest's port, or a guest's egress connection.

        The latter is not owed: it is there when the guest connects.
        """
        below = await self._upgrade("GET", path, query, owed=owed)
        try:
            return await duplex(below)
        except BaseException as error:
            below[1].transport.abort()
            if isinstance(error, OSError):
                raise GuestUnreachable(f"The connection to the agent broke: {error}.") from error
            raise
