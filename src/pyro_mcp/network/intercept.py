"""Between a guest's TLS and a host's: real secrets into request headers, none of them back out.

The guest holds placeholders. `masking.substitution` puts the values into the headers of requests that name the one
host, and stars them, with the spellings a server commonly echoes, out of what comes back. The host itself is trusted
with the value: one that returns it encrypted, or in pieces with other text between, is not caught. What is compressed
against our word is taken apart (`inflate`), or refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import h11

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.http1 import next_event
from pyro_mcp.masking.redaction import StreamRedactor
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.network.inflate import Broken, Inflater, known

IDLE_SECONDS = 900.0
GRACE_SECONDS = 2.0
"""How long a guest may still send a body whose answer is already complete."""
CLOSE_SECONDS = 5.0
RELEASE_SECONDS = 0.1
"""How long the possible beginning of a value at the end of what has come is held back."""
CHUNK = 64 * 1024
MAX_HEADER = 64 * 1024

FRAMING = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"})
"""Headers that h11 and the host check act on: passed as they are."""
LENGTHS = frozenset({b"content-length", b"transfer-encoding", b"connection"})
"""Response headers that stay as they are, whatever a value looks like: without them there is no message."""
UNSENT = frozenset({b"accept-encoding", b"sec-websocket-extensions", b"te", b"http2-settings", b"proxy-connection"})
"""Request headers not passed on: compressed answers and HTTP/2 could not be masked."""


async def serve_intercepted(
    guest: Streams,
    upstream: Streams,
    host: str,
    substitution: Substitution,
    counts: dict[str, int],
    forbidden: Callable[[h11.Request], str | None] = lambda _: None,
    early: bytes = b"",
) -> None:
    """Serve HTTP/1.1 requests of `guest` from `upstream`, which is `host`, to the end; then close both.

    `forbidden` gives the text of the refusal of a request that is not passed on; `early` is what was read of the
    guest's first one.
    """
    session = _Session(guest, upstream, host, substitution, counts, forbidden)
    session.begin_with(early)
    try:
        while await session.exchange():
            pass
    except (OSError, h11.ProtocolError):
        pass  # one side broke in the middle: nothing can be said to the other
    finally:
        upstream[1].close()
        guest[1].close()
    await asyncio.gather(_closed(guest[1]), _closed(upstream[1]))


async def serve_one(
    guest: Streams,
    upstream: Streams,
    host: str,
    substitution: Substitution,
    counts: dict[str, int],
    early: bytes,
    *,
    reused: bool,
) -> bytes | None:
    """One request of `guest`, which begins with `early`, there and back; closes neither side.

    Returns what has come of the guest's next request; None where there is none, or one side broke.
    `reused` says that the upstream connection served before.
    """
    session = _Session(guest, upstream, host, substitution, counts, lambda _: None, reused=reused)
    session.begin_with(early)
    try:
        return session.unread() if await session.exchange() else None
    except (OSError, h11.ProtocolError):
        return None


class _Unreadable(Exception):
    """An answer in which no value could be seen."""


class _UpstreamBroke(Exception):
    """The host's side failed."""


class _Session:
    """One guest connection beside one upstream connection."""

    def __init__(
        self,
        guest: Streams,
        upstream: Streams,
        host: str,
        substitution: Substitution,
        counts: dict[str, int],
        forbidden: Callable[[h11.Request], str | None],
        *,
        reused: bool = False,
    ) -> None:
        self._forbidden = forbidden
        self._reader, self._writer = guest
        self._up_reader, self._up_writer = upstream
        self._host = _spelled(host.encode())
        self._substitution = substitution
        self._counts = counts
        self._guest = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        self._server = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
        self._body_sent = asyncio.Event()
        self._up_broken = False
        self._reused = reused

    def begin_with(self, early: bytes) -> None:
        """Take what was read of the guest already."""
        if early:
            self._guest.receive_data(early)

    def unread(self) -> bytes:
        """What the guest sent of its next request."""
        return self._guest.trailing_data[0]

    async def exchange(self) -> bool:
        """One request there and back; whether there can be another."""
        try:
            request = await self._request()
            if request is None:
                return False
            problem = self._problem(request)
            if problem is not None:
                await self._refuse(*problem)
                return False
            onward = self._onward(request)
        except h11.LocalProtocolError:
            # The error's own text would name the header's value.
            await self._refuse(400, "pyro: the request cannot be forwarded: one of its headers is not valid\n")
            return False
        except h11.RemoteProtocolError as error:
            # Here, too: it quotes the line.
            await self._refuse(error.error_status_hint, "pyro: the request is not valid HTTP/1.1\n")
            return False
        self._body_sent.clear()
        self._up_writer.write(self._server.send(onward) or b"")
        sending = asyncio.ensure_future(self._send_body())
        answering = asyncio.ensure_future(self._relay_response(request.method))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                await sending  # ends before the answer by an error only
            switched = await answering
            if not switched and not self._body_sent.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GRACE_SECONDS):
                        await self._body_sent.wait()
        except (_UpstreamBroke, Broken):
            if self._reused and self._guest.our_state is h11.SEND_RESPONSE:
                return False  # the host ended an idle connection: a close without an answer is tried again
            await self._refuse(502, f"pyro: the connection to {self._host} broke\n")
            return False
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, "pyro: the request is not valid HTTP/1.1\n")
            return False
        except _Unreadable as error:
            await self._refuse(
                502, f"pyro: {self._host} answers in a form that cannot be searched for secrets: {error}\n"
            )
            return False
        finally:
            await _cancel(sending, answering)
        if switched:
            await self._splice()
            return False
        states = (self._guest.our_state, self._guest.their_state, self._server.our_state, self._server.their_state)
        if self._up_broken or any(state is not h11.DONE for state in states):
            return False
        self._guest.start_next_cycle()
        self._server.start_next_cycle()
        self._reused = True
        return True

    async def _request(self) -> h11.Request | None:
        """The guest's next request; None when either side ended the connection instead."""
        arriving = asyncio.ensure_future(_next_event(self._guest, self._reader))
        # Between requests the host says nothing: what comes is its end, and the guest should see that at once.
        ending = asyncio.ensure_future(self._up_reader.read(1))
        try:
            await asyncio.wait({arriving, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not arriving.done():
                return None
            event = await arriving
            return event if isinstance(event, h11.Request) and not ending.done() else None
        finally:
            await _cancel(arriving, ending)

    def _problem(self, request: h11.Request) -> tuple[int, str] | None:
        """Why a request is not passed on."""
        headers = dict(request.headers)
        if request.http_version not in (b"1.0", b"1.1"):
            return 400, "pyro: a request to a host with a secret must be HTTP/1.1\n"
        if b"content-length" in headers and b"transfer-encoding" in headers:
            return 400, "pyro: a request must not have both Content-Length and Transfer-Encoding\n"
        if request.method == b"CONNECT" or (request.target != b"*" and not request.target.startswith(b"/")):
            return 400, "pyro: a request must name a path\n"
        if _spelled(headers.get(b"host", b"")) != self._host:
            return 421, f"pyro: this connection is to {self._host}; the Host header must name it\n"
        refusal = self._forbidden(request)
        return None if refusal is None else (403, refusal)

    def _onward(self, request: h11.Request) -> h11.Request:
        """The request as the host gets it."""
        headers = []
        for (name, value), raw_name in zip(request.headers, _raw_names(request.headers), strict=True):
            if name == b"upgrade" and b"h2c" in value.lower():
                continue
            if name not in UNSENT:
                headers.append((raw_name, value if name in FRAMING else self._substitution.header(name, value)))
        headers.append((b"Accept-Encoding", b"identity"))
        return h11.Request(method=request.method, target=request.target, headers=headers)

    async def _send_body(self) -> None:
        """The request's body, then a watch on the guest. Ends by an error only: the guest broke or left."""
        while not self._body_sent.is_set():
            event = await _next_event(self._guest, self._reader)
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                raise ConnectionResetError("the guest left in the middle of a request")
            if isinstance(event, h11.Data):
                self._counts["bytes_up"] += len(event.data)
            out = self._server.send(event) or b""
            if not self._up_broken:  # else the guest's bytes go nowhere, so that it comes to read the answer
                self._up_writer.write(out)
                try:
                    await _drain(self._up_writer)
                except OSError:
                    self._up_broken = True
            if isinstance(event, h11.EndOfMessage):
                self._body_sent.set()
        early = 0
        while early < MAX_HEADER:
            data = await self._reader.read(CHUNK)
            if not data:
                raise ConnectionResetError("the guest left before the answer")
            early += len(data)
            self._guest.receive_data(data)
        await asyncio.get_running_loop().create_future()

    async def _relay_response(self, method: bytes) -> bool:
        """The response back to the guest; whether it switched protocols."""
        mask = self._substitution.mask()
        inflater: Inflater | None = None
        while True:
            event = await self._upstream_event(mask)
            if isinstance(event, h11.InformationalResponse):
                if self._guest.their_http_version != b"1.0":
                    await self._to_guest(
                        h11.InformationalResponse(
                            status_code=event.status_code,
                            headers=self._masked(event.headers),
                            reason=self._substitution.redact(event.reason),
                        )
                    )
                if event.status_code == 101:
                    return True
            elif isinstance(event, h11.Response):
                inflater = self._inflater(event, method)
                await self._to_guest(self._backward(event, method, inflated=inflater is not None))
            elif isinstance(event, h11.Data):
                self._counts["bytes_down"] += len(event.data)
                for piece in inflater.feed(bytes(event.data)) if inflater else (bytes(event.data),):
                    await self._body_to_guest(mask.feed(piece))
            elif isinstance(event, h11.EndOfMessage):
                if inflater is not None:
                    inflater.finish()
                await self._body_to_guest(mask.end())
                trailers = self._masked(event.headers) if self._guest.their_http_version != b"1.0" else []
                await self._to_guest(h11.EndOfMessage(headers=trailers))
                return False
            else:
                raise _UpstreamBroke

    def _inflater(self, response: h11.Response, method: bytes) -> Inflater | None:
        """What takes apart a body that the host compressed all the same; None where there is nothing to look for.

        Raises:
            _Unreadable: it is a part of a compressed body, or in a way that nothing here knows.
        """
        coding = b", ".join(value for name, value in response.headers if name == b"content-encoding").strip().lower()
        bodiless = method == b"HEAD" or response.status_code in (204, 304)
        if coding in (b"", b"identity") or bodiless or not self._substitution:
            return None
        if response.status_code == 206 or not known(coding):
            raise _Unreadable(f"compressed as {coding[:40].decode('latin-1')!r}")
        return Inflater(coding)

    def _backward(self, response: h11.Response, method: bytes, *, inflated: bool) -> h11.Response:
        """The response as the guest gets it."""
        headers = self._masked(response.headers)
        if inflated:
            gone = (b"content-encoding", b"content-length")  # h11 writes it in chunks, then
            headers = [(name, value) for name, value in headers if name.lower() not in gone]
        names = {name for name, _ in response.headers}
        bodiless = method == b"HEAD" or response.status_code in (204, 304)
        until_close = not bodiless and not names & {b"content-length", b"transfer-encoding"}
        if until_close or response.http_version < b"1.1":
            headers = [(name, value) for name, value in headers if name.lower() != b"connection"]
            headers.append((b"Connection", b"close"))
        reason = self._substitution.redact(response.reason)
        return h11.Response(status_code=response.status_code, headers=headers, reason=reason)

    def _masked(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return [
            (self._substitution.redact(raw_name), value if name in LENGTHS else self._substitution.redact(value))
            for (name, value), raw_name in zip(headers, _raw_names(headers), strict=True)
        ]

    async def _upstream_event(self, mask: StreamRedactor) -> Any:
        try:
            return await next_event(self._server, lambda: self._read_upstream(mask, self._body_to_guest))
        except h11.RemoteProtocolError as error:
            raise _UpstreamBroke from error

    async def _read_upstream(self, mask: StreamRedactor, to_guest: Callable[[bytes], Awaitable[None]]) -> bytes:
        """More bytes of the host; when none come for a moment, what the mask holds goes on its way first."""
        try:
            if mask.pending:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RELEASE_SECONDS):
                        return await self._up_reader.read(CHUNK)
        except OSError as error:
            raise _UpstreamBroke from error
        await to_guest(mask.release())
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await self._up_reader.read(CHUNK)
        except OSError as error:
            raise _UpstreamBroke from error

    async def _body_to_guest(self, data: bytes) -> None:
        if data:
            await self._to_guest(h11.Data(data=data))

    async def _to_guest(self, event: h11.Event) -> None:
        await self._raw_to_guest(self._guest.send(event) or b"")

    async def _raw_to_guest(self, data: bytes) -> None:
        if data:
            self._writer.write(data)
            await _drain(self._writer)

    async def _splice(self) -> None:
        """Bytes both ways after a 101, until one side ends; TLS has no half that stays open."""
        up, down = asyncio.ensure_future(self._splice_up()), asyncio.ensure_future(self._splice_down())
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(up, down)

    async def _splice_up(self) -> None:
        data, _ = self._guest.trailing_data
        while True:
            self._counts["bytes_up"] += len(data)
            self._up_writer.write(data)
            await _drain(self._up_writer)
            async with asyncio.timeout(IDLE_SECONDS):
                data = await self._reader.read(CHUNK)
            if not data:
                return

    async def _splice_down(self) -> None:
        mask = self._substitution.mask()
        data, _ = self._server.trailing_data
        while True:
            self._counts["bytes_down"] += len(data)
            await self._raw_to_guest(mask.feed(data))
            data = await self._read_upstream(mask, self._raw_to_guest)
            if not data:
                await self._raw_to_guest(mask.end())
                return

    async def _refuse(self, status: int, text: str) -> None:
        """Answer in the host's place, if no answer has begun, and end."""
        if self._guest.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # An answer that was cut must not look whole to a guest that reads to the close.
            _abort(self._writer)
            return
        body = text.encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        head = self._guest.send(h11.Response(status_code=status, headers=headers)) or b""
        await self._raw_to_guest(head + (self._guest.send(h11.Data(data=body)) or b""))
        if self._guest.their_state is h11.SEND_BODY:
            # A close on bytes that nobody read would take the answer with it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GRACE_SECONDS):
                    while isinstance(await _next_event(self._guest, self._reader), h11.Data):
                        pass


def _spelled(authority: bytes) -> str:
    """A host, with or without a port, in one spelling; empty when it is none."""
    text = authority.decode("latin-1").lower()
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(text))
    match = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]*)?", text)
    if match is None:
        return ""
    name = (match[1] or match[2]).removesuffix(".")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(name))
    return name


def _raw_names(headers: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """Header names as they came: h11 gives them in lower case, and some servers care."""
    raw_items = getattr(headers, "raw_items", None)
    return [name for name, _ in (raw_items() if raw_items is not None else headers)]


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> Any:
    async def read() -> bytes:
        async with asyncio.timeout(IDLE_SECONDS):
            return await reader.read(CHUNK)

    return await next_event(connection, read)


async def _drain(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(IDLE_SECONDS):
        await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    # A TLS transport that was closed twice has let go of what it would abort (CPython 3.11, sslproto.py).
    with contextlib.suppress(AttributeError):
        writer.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait until what was written is out and the connection is closed; not for long."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await writer.wait_closed()
    except OSError:
        _abort(writer)


async def _cancel(*futures: asyncio.Future[Any]) -> None:
    """End tasks that are of no more use, and hear their errors."""
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
