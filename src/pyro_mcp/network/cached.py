"""A workspace's way to the registries' cache: its requests to them are looked at, and answered from what is kept.

The guest's TLS to these hosts alone is ended here, with the workspace's own authority, and only where its program came
by the proxy's variables: such a program has the variables that name the authority, too. All others, and what the cache
does not know, go to the host as they would without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h11

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.http1 import next_event
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.network.authority import Authority
from pyro_mcp.network.cache.registries import Wanted, wanted
from pyro_mcp.network.cache.registry_cache import HTTPS, Given, RegistryCache
from pyro_mcp.network.guest_tls import accept_tls
from pyro_mcp.network.intercept import serve_one
from pyro_mcp.network.policy import Refused
from pyro_mcp.network.resolve import Unreachable

LED = b"pyro-led"
"""The agent's word for a connection of a program that did not ask the proxy (`agent/redirect.go`)."""
PLAIN = frozenset({"deb.debian.org", "security.debian.org"})
"""Hosts that are asked by plain HTTP, too: what they serve is signed, and the daemon fetches it by HTTPS."""
IDLE_SECONDS = 900.0
REUSE_SECONDS = 5.0
"""A connection to the host that was idle for longer is not used again."""
MAX_HEADER = 64 * 1024
CHUNK = 64 * 1024
NO_SECRETS = Substitution({})
Open = Callable[[], Awaitable[Streams]]


@dataclass
class Served:
    """What one connection of a guest got."""

    kept: int = 0
    fetched: int = 0
    passed: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"bytes_up": 0, "bytes_down": 0})

    def __str__(self) -> str:
        said = [f"{self.kept} from the cache"] if self.kept else []
        said += [f"{self.fetched} fetched for it"] if self.fetched else []
        said += [f"{self.passed} passed on"] if self.passed else []
        return ", ".join(said)


@dataclass(frozen=True)
class CachedWay:
    """One workspace's."""

    cache: RegistryCache
    workspace: str
    authority: Authority

    def takes(self, name: str, port: int, tunnel: h11.Request | None) -> bool:
        """Whether what is asked of a host is looked at: plain requests, or those in a tunnel that `tunnel` asks for."""
        led = tunnel is not None and any(key == LED for key, _ in tunnel.headers)
        meant = name in PLAIN if tunnel is None else port == HTTPS and not led
        return meant and self.cache.serves(self.workspace, name)

    async def tunnel(self, name: str, guest: Streams, early: bytes, open_upstream: Open, served: Served) -> None:
        """Serve the requests of a guest's TLS connection to `name`, to its end. `early` is how it begins.

        Raises:
            OSError: the guest does not take this computer's word for the host (ssl.SSLError is one), or left.
        """
        context = self.authority.server_context(name)
        try:
            inside = await accept_tls(guest, context, early)
        except OSError as error:
            said = isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")
            self.cache.distrust(self.workspace, name, said=said)
            raise
        self.cache.trust(self.workspace, name)
        session = _Session(self, name, inside, open_upstream, served)
        try:
            await session.run()
        except (OSError, h11.ProtocolError, Unreachable):
            inside[1].transport.abort()  # what was cut must not look whole
        finally:
            session.close()

    async def plain(self, name: str, request: h11.Request, guest: h11.Connection, streams: Streams, s: Served) -> bool:
        """Answer a plain request to a host of which they are looked at; False where it has to be passed on."""
        target = b"/" + request.target.split(b"://", 1)[-1].partition(b"/")[2]
        asked = wanted(name, request.method, target, request.headers)
        if asked is None:
            return False
        with contextlib.suppress(Unreachable, Refused):
            return await self.answer(asked, request, guest, streams, s)
        return False

    async def answer(
        self, asked: Wanted, request: h11.Request, guest: h11.Connection, streams: Streams, served: Served
    ) -> bool:
        """Give what is asked for, if the cache has or gets it.

        Raises:
            Unreachable, Refused: it does not; nothing was said to the guest.
            ConnectionError: it broke off in the middle; the guest must see its connection break.
        """
        begun = False
        async with self.cache.answer(self.workspace, asked) as given:
            if given is None:
                return False
            served.kept += given.kept
            served.fetched += not given.kept
            try:
                async for data in _answered(request, given, guest):
                    begun = True
                    served.counts["bytes_down"] += len(data)
                    streams[1].write(data)
                    async with asyncio.timeout(IDLE_SECONDS):
                        await streams[1].drain()
            except Unreachable as error:
                if not begun:
                    raise
                raise ConnectionResetError(str(error)) from None
        async with asyncio.timeout(IDLE_SECONDS):
            while guest.their_state is h11.SEND_BODY:  # it has none: only its end
                await next_event(guest, lambda: streams[0].read(CHUNK))
        return True


class _Session:
    """One TLS connection of a guest."""

    def __init__(self, way: CachedWay, name: str, guest: Streams, open_upstream: Open, served: Served) -> None:
        self._way = way
        self._name = name
        self._guest = guest
        self._open = open_upstream
        self._served = served
        self._upstream: Streams | None = None
        self._used_at = 0.0

    async def run(self) -> None:
        early: bytes | None = b""
        while early is not None:
            early = await self._one(early)

    def close(self) -> None:
        for streams in (self._guest, self._upstream):
            if streams is not None:
                streams[1].close()

    async def _one(self, early: bytes) -> bytes | None:
        """One request; what came of the next one, None where there is none."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        if early:
            http.receive_data(early)
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                request = await next_event(http, lambda: self._guest[0].read(CHUNK))
        except h11.RemoteProtocolError as error:
            await self._refuse(http, error.error_status_hint, "pyro: the request is not valid HTTP/1.1\n")
            return None
        if not isinstance(request, h11.Request):
            return None
        self._served.counts["bytes_up"] += len(_head(request))
        asked = wanted(self._name, request.method, request.target, request.headers)
        if asked is not None and request.http_version == b"1.1" and _names(request, self._name):
            with contextlib.suppress(Unreachable, Refused):  # whoever passes it on tells why
                if await self._way.answer(asked, request, http, self._guest, self._served):
                    again = http.our_state is h11.DONE and http.their_state is h11.DONE
                    return http.trailing_data[0] if again else None
        return await self._pass_on(request, http)

    async def _pass_on(self, request: h11.Request, http: h11.Connection) -> bytes | None:
        self._served.passed += 1
        reused = self._upstream is not None
        if self._upstream is not None and (
            self._upstream[0].at_eof() or time.monotonic() - self._used_at > REUSE_SECONDS
        ):
            self._upstream[1].close()
            self._upstream, reused = None, False
        if self._upstream is None:
            try:
                self._upstream = await self._open()
            except (Unreachable, Refused, OSError) as error:
                await self._refuse(http, 502, f"pyro: {error}\n")
                return None
        begin = _head(request) + http.trailing_data[0]
        left = await serve_one(
            self._guest, self._upstream, self._name, NO_SECRETS, self._served.counts, begin, reused=reused
        )
        self._used_at = time.monotonic()
        return left

    async def _refuse(self, http: h11.Connection, status: int, text: str) -> None:
        body = text.encode()
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        said = http.send(h11.Response(status_code=status, headers=headers)) or b""
        self._guest[1].write(said + (http.send(h11.Data(data=body)) or b""))
        await self._guest[1].drain()


async def _answered(request: h11.Request, given: Given, guest: h11.Connection) -> AsyncIterator[bytes]:
    """The bytes of an answer on the guest's connection. Says nothing to `guest` before there is something to give."""
    headers = list(given.headers)
    etag = next((value for name, value in headers if name == "etag"), "")
    changed = next((value for name, value in headers if name == "last-modified"), "")
    asked = {name: value.decode("latin-1") for name, value in request.headers}
    condition = asked.get(b"if-none-match")
    same = condition == etag if condition is not None else asked.get(b"if-modified-since") == changed
    if given.status == 200 and same and (etag or changed):
        yield _sent(guest, h11.Response(status_code=304, headers=headers)) + _sent(guest, h11.EndOfMessage())
        return
    headers.append(
        ("content-length", str(given.length)) if given.length is not None else ("transfer-encoding", "chunked")
    )
    head = h11.Response(status_code=given.status, headers=headers)
    begun = False
    async for piece in given.pieces:
        yield (b"" if begun else _sent(guest, head)) + _sent(guest, h11.Data(data=piece))
        begun = True
    yield (b"" if begun else _sent(guest, head)) + _sent(guest, h11.EndOfMessage())


def _sent(guest: h11.Connection, event: h11.Event) -> bytes:
    return guest.send(event) or b""


def _names(request: h11.Request, host: str) -> bool:
    said = [value.lower() for name, value in request.headers if name == b"host"]
    return said in ([host.encode()], [f"{host}:{HTTPS}".encode()])


def _head(request: h11.Request) -> bytes:
    """A request's head, once more."""
    lines = [request.method + b" " + request.target + b" HTTP/" + request.http_version]
    lines += [name + b": " + value for name, value in request.headers.raw_items()]
    return b"\r\n".join(lines) + b"\r\n\r\n"
