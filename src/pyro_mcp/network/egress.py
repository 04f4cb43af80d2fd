"""The egress proxy: one guest connection in, one checked connection out.

Speaks an HTTP proxy's requests (absolute form and CONNECT) and SOCKS5, told apart by the first byte. A refusal
says in its body which host was refused, by which rule, and what the user may do; the guest cannot allow itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import h11

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.http1 import next_event
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.network.cached import CachedWay, Served
from pyro_mcp.network.connection import Ask, EgressEvent, Inside, Interception, refusal_text
from pyro_mcp.network.forwarding import HOP_BY_HOP, answer, send_body, send_response
from pyro_mcp.network.grants import Grants
from pyro_mcp.network.guest_tls import accept_tls
from pyro_mcp.network.intercept import serve_intercepted
from pyro_mcp.network.policy import EgressPolicy, IPAddress, Refused, guests_own, normalised
from pyro_mcp.network.relay import CHUNK, counter, join
from pyro_mcp.network.resolve import (
    AddressCheck,
    Resolver,
    Unreachable,
    checked_addresses,
    connect,
    own_addresses,
    proved,
    strict_check,
    system_resolver,
)
from pyro_mcp.network.rules import Rule, forbidden
from pyro_mcp.network.socks import asked_by_socks, socks_reply
from pyro_mcp.network.ssh_agent import SshAgent
from pyro_mcp.network.upstream import UpstreamProxy

FIRST_BYTES_SECONDS = 30.0
MAX_HEADER = 64 * 1024
TLS_HANDSHAKE = b"\x16"
"""The first byte of a client that begins with TLS (RFC 8446, 5.1)."""


class EgressProxy:
    """Serves guest connections by one policy; `on_event` gets each connection's end.

    `how_to_allow` tells, for a host, a port and the rule that refused them, what the user may do.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        on_event: Callable[[EgressEvent], None],
        resolver: Resolver = system_resolver,
        check: AddressCheck = strict_check,
        interception: Interception | None = None,
        how_to_allow: Callable[[str, int, str], str] | None = None,
        ask: Ask | None = None,
        grants: Grants = Grants(),  # noqa: B008 - frozen
        inside: Inside | None = None,
        ssh_agent: SshAgent | None = None,
        upstream_tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        cached: CachedWay | None = None,
    ) -> None:
        self._policy = policy
        self._on_event = on_event
        self._resolver = resolver
        self._check = check
        self._interception = interception
        self._how_to_allow = how_to_allow
        self._ask = ask
        self._grants = grants
        self._inside = inside
        self._ssh_agent = ssh_agent
        self._upstream_tls = upstream_tls
        self._cached = cached
        self._answered: set[str] = set()  # what the user allowed since: the policy is from before

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end. The caller closes `writer`."""
        try:
            async with asyncio.timeout(FIRST_BYTES_SECONDS):
                first = await reader.read(1)
        except TimeoutError:
            return
        if first == b"\x05":
            await self._socks(reader, writer)
        elif first:
            await self._http(first, reader, writer)

    async def _checked(self, host: str, port: int, scheme: str) -> tuple[str, list[IPAddress], UpstreamProxy | None]:
        """The host's name, its addresses, and this computer's proxy if that leads there."""
        if not self._policy.off:
            granted = self._grants.target(normalised(host), port, own_addresses())
            if granted is not None:
                return normalised(host), granted, None
        with contextlib.suppress(ValueError):
            # First: a list cannot open an address that nobody may reach, and no advice may say so.
            self._check(ipaddress.ip_address(normalised(host)))
        name = await self._permitted(host, port)
        through = UpstreamProxy.for_host(scheme, name, port)
        try:
            return name, await checked_addresses(name, port, self._resolver, self._check), through
        except Unreachable:
            if through is None:
                raise
            return name, [], through  # only the proxy may know the name; it resolves it for itself

    async def _permitted(self, host: str, port: int) -> str:
        """The host's name in one spelling, once the policy or the user lets it pass. Nothing is resolved before."""
        try:
            return self._policy.check_host(host)
        except Refused as refusal:
            if refusal.rule != "ask" or self._ask is None:
                raise
        name = normalised(host)
        if name not in self._answered:
            await self._ask(name, port)
            self._answered.add(name)
        return name

    async def _to_itself(self, host: str, port: int) -> Streams | None:
        """The guest's own service, asked for by a program that knows no exception of the proxy for its address."""
        if self._inside is None or (address := guests_own(normalised(host))) is None:
            return None
        return await self._inside(address, port)

    async def _open(self, host: str, port: int) -> Streams:
        own = await self._to_itself(host, port)
        if own is not None:
            return own
        name, addresses, through = await self._checked(host, port, "https")
        return await (through.tunnel(name, port) if through is not None else connect(name, port, addresses))

    def _refusal(self, host: str, port: int, refusal: Refused) -> str:
        how = self._how_to_allow(host, port, refusal.rule) if self._how_to_allow else ""
        return refusal_text(host, str(refusal), how)

    def _event(self, protocol: str, host: str, port: int, verdict: str, reason: str, rule: str = "") -> None:
        self._on_event(EgressEvent(protocol, host, port, verdict, reason, rule=rule))

    def _allowed(
        self, protocol: str, host: str, port: int, counts: dict[str, int], begun: float, how: str = ""
    ) -> None:
        with contextlib.suppress(Refused):
            if guests_own(normalised(host)) is not None:
                return  # it did not leave
        seconds = round(time.monotonic() - begun, 3)
        up, down = counts["bytes_up"], counts["bytes_down"]
        self._on_event(EgressEvent(protocol, host, port, "allowed", how, up, down, seconds))

    # -- HTTP

    async def _http(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER)
        guest.receive_data(first)
        while True:
            try:
                request = await next_event(guest, lambda: reader.read(CHUNK))
                if not isinstance(request, h11.Request):
                    return
                if request.method == b"RESOLVE":
                    await self._unresolved(request.target.decode("latin-1"), guest, writer)
                    return
                if request.method == b"SSH-AGENT":
                    await self._keys(guest, reader, writer)
                    return
                if request.method == b"CONNECT":
                    await self._tunnel(request, guest, reader, writer)
                    return
                if not await self._forward(request, guest, reader, writer):
                    return
                guest.start_next_cycle()
            except h11.RemoteProtocolError as error:
                await answer(guest, writer, error.error_status_hint or 400, f"pyro: {error}\n")
                return
            except h11.LocalProtocolError:
                return

    async def _unresolved(self, host: str, guest: h11.Connection, writer: asyncio.StreamWriter) -> None:
        """The machine's agent tells of a name that it gave no address for; the port is not known yet, and 0."""
        try:
            self._policy.check_host(host)
            raise Refused(f"{host} is not a public host name")
        except Refused as refusal:
            self._event("name", host, 0, "refused", str(refusal), refusal.rule)
            await answer(guest, writer, 403, self._refusal(host, 0, refusal))

    async def _keys(self, guest: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A program in the machine asks the ssh agent."""
        if self._ssh_agent is None or self._policy.off:
            await answer(guest, writer, 403, "pyro: the user lets no key log in anywhere for this workspace\n")
            return
        early, _ = guest.trailing_data
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with contextlib.suppress(TimeoutError):
            await self._ssh_agent.serve(reader, writer, early)

    async def _tunnel(
        self, request: h11.Request, guest: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port_text = request.target.decode("latin-1").rpartition(":")
        if not port_text.isdigit() or not 0 < int(port_text) < 65536:
            await answer(guest, writer, 400, "pyro: CONNECT takes HOST:PORT\n")
            return
        port = int(port_text)
        if self._looked_at(host, port, request):
            await self._registry_tunnel(host, port, guest, (reader, writer))
            return
        upstream = await self._open_or_answer("connect", host, port, guest, writer)
        if upstream is None:
            return
        early, _ = guest.trailing_data
        bound = self._substitution(host)
        if bound is not None and not await self._proves(host, port, guest, writer, upstream):
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._carry("connect", host, port, early, (reader, writer), upstream, bound)

    # -- the registries' cache

    def _looked_at(self, host: str, port: int, request: h11.Request | None = None) -> bool:
        """Whether what is asked of a host may be answered by the cache; `request` is the one for a tunnel."""
        if self._cached is None or self._substitution(host) is not None:
            return False
        with contextlib.suppress(Refused):
            if self._policy.rules(host) is None:
                return self._cached.takes(normalised(host), port, request)
        return False

    async def _lets(self, protocol: str, host: str, port: int, guest: h11.Connection, streams: Streams) -> bool:
        """Whether the policy or the user lets a request pass; the guest was told why not."""

        async def permitted() -> Streams:
            await self._permitted(host, port)
            return streams

        return await self._open_or_answer(protocol, host, port, guest, streams[1], permitted) is not None

    async def _registry_tunnel(self, host: str, port: int, guest: h11.Connection, streams: Streams) -> None:
        assert self._cached is not None
        if not await self._lets("cache", host, port, guest, streams):
            return
        streams[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.timeout(FIRST_BYTES_SECONDS):
            early = guest.trailing_data[0] or await streams[0].read(CHUNK)
        if early[:1] != TLS_HANDSHAKE:
            try:
                upstream = await self._open(host, port)
            except (Refused, Unreachable) as problem:  # it was told that it is connected: nothing can be said
                self._event("connect", host, port, "failed", str(problem))
                return
            await self._carry("connect", host, port, early, streams, upstream, None)
            return

        async def opened() -> Streams:
            return await proved(await self._open(host, port), normalised(host), self._upstream_tls)

        begun, served, trusted = time.monotonic(), Served(), True
        try:
            await self._cached.tunnel(normalised(host), streams, early, opened, served)
        except OSError as error:
            trusted = False
            why = f"the program does not trust this workspace's authority, or left: {error}"
            self._event("cache", host, port, "failed", why)
        finally:
            if trusted:
                self._allowed("cache", host, port, served.counts, begun, str(served))

    async def _from_cache(self, request: h11.Request, host: str, guest: h11.Connection, streams: Streams) -> bool:
        """Answer a plain request of a registry that is asked that way, too; False where it has to be passed on."""
        if self._cached is None or not self._looked_at(host, 80):
            return False
        if not await self._lets("http", host, 80, guest, streams):
            return True  # asked again where it is passed on, the user would be, too
        begun, served = time.monotonic(), Served()
        try:
            return await self._cached.plain(normalised(host), request, guest, streams, served)
        finally:
            if str(served):
                self._allowed("cache", host, 80, served.counts, begun, str(served))

    def _substitution(self, host: str) -> Substitution | None:
        if self._interception is None:
            return None
        try:
            name = normalised(host)
            return None if guests_own(name) else self._interception.substitutions.get(name)
        except Refused:
            return None

    async def _proves(
        self, host: str, port: int, guest: h11.Connection, writer: asyncio.StreamWriter, upstream: Streams
    ) -> bool:
        """Begin TLS with a host that gets a secret; where it does not prove who it is, the guest hears that."""
        try:
            await proved(upstream, normalised(host), self._upstream_tls)
        except OSError as error:
            self._event("connect", host, port, "failed", f"TLS: {error}")
            await answer(guest, writer, 502, f"pyro: {host} failed to prove its identity: {error}\n")
            return False
        return True

    async def _carry(
        self,
        protocol: str,
        host: str,
        port: int,
        early: bytes,
        guest: Streams,
        upstream: Streams,
        bound: Substitution | None,
    ) -> None:
        """A tunnel to its end: as it is, or request by request where the host gets secrets or has rules.

        With `bound`, `upstream` is TLS already.
        """
        rules = self._policy.rules(host)
        if bound is None and (rules is None or self._interception is None):
            if rules is not None:  # nobody could look into it
                upstream[1].close()
                return
            await self._join(protocol, host, port, early, guest, upstream)
            return
        assert self._interception is not None
        name = normalised(host)
        begun, counts = time.monotonic(), {"bytes_up": 0, "bytes_down": 0}
        try:
            async with asyncio.timeout(FIRST_BYTES_SECONDS):
                early = early or await guest[0].read(CHUNK)
            inside = guest
            if bound is not None or early[:1] == TLS_HANDSHAKE:
                inside = await accept_tls(guest, self._interception.authority.server_context(name), early)
                early = b""
                if bound is None:
                    await proved(upstream, name, self._upstream_tls)
            await serve_intercepted(
                inside,
                upstream,
                name,
                bound or Substitution({}),
                counts,
                lambda request: self._forbidden(protocol, host, port, request, rules),
                early,
            )
        finally:
            upstream[1].close()
            self._allowed("intercepted", host, port, counts, begun)

    def _forbidden(
        self, protocol: str, host: str, port: int, request: h11.Request, rules: list[Rule] | None
    ) -> str | None:
        if rules is None:
            return None
        target = urlsplit(request.target.decode("latin-1"))
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        found = forbidden(rules, request.method.decode("latin-1"), path, [name for name, _ in request.headers])
        if found is None:
            return None
        why, wanted = found
        self._event(protocol, host, port, "refused", why, f"rule {wanted}")
        return self._refusal(host, port, Refused(why, f"rule {wanted}"))

    async def _open_or_answer(
        self,
        protocol: str,
        host: str,
        port: int,
        guest: h11.Connection,
        writer: asyncio.StreamWriter,
        open_it: Callable[[], Awaitable[Streams]] | None = None,
    ) -> Streams | None:
        try:
            return await (open_it() if open_it is not None else self._open(host, port))
        except Refused as refusal:
            self._event(protocol, host, port, "refused", str(refusal), refusal.rule)
            await answer(guest, writer, 403, self._refusal(host, port, refusal), f"pyro refused it: {refusal}")
        except Unreachable as failure:
            self._event(protocol, host, port, "failed", str(failure))
            await answer(guest, writer, 502, f"pyro: {failure}\n", f"pyro: {failure}")
        return None

    async def _forward(
        self, request: h11.Request, guest: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """One plain request there and back; whether the guest's connection can be used again."""
        try:
            url = urlsplit(request.target.decode("latin-1"))
            host, port = url.hostname or "", url.port or 80
        except ValueError:
            host, port, url = "", 0, urlsplit("")
        if url.scheme != "http" or not host:
            await answer(guest, writer, 400, "pyro: this is a proxy; it accepts http:// addresses and CONNECT\n")
            return False
        through: UpstreamProxy | None = None

        async def open_plain() -> Streams:
            nonlocal through
            own = await self._to_itself(host, port)
            if own is not None:
                return own
            name, addresses, through = await self._checked(host, port, "http")
            return await (through.connect() if through is not None else connect(name, port, addresses))

        problem = None
        with contextlib.suppress(Refused):
            problem = self._forbidden("http", host, port, request, self._policy.rules(host))
        if problem is not None:
            await answer(guest, writer, 403, problem, "pyro refused it")
            return False
        if port == 80 and await self._from_cache(request, host, guest, (reader, writer)):
            return guest.our_state is h11.DONE and guest.their_state is h11.DONE
        upstream = await self._open_or_answer("http", host, port, guest, writer, open_plain)
        if upstream is None:
            return guest.our_state is h11.DONE and guest.their_state is h11.DONE
        up_reader, up_writer = upstream
        begun, counts = time.monotonic(), {"bytes_up": 0, "bytes_down": 0}
        broke = False
        try:
            server = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            headers = [(bytes(k), bytes(v)) for k, v in request.headers if k not in HOP_BY_HOP and k != b"host"]
            authority = url.netloc.rpartition("@")[2]
            if through is not None:
                target = f"http://{authority}{target}"
                if through.authorization is not None:
                    headers.append((b"Proxy-Authorization", through.authorization.encode()))
            out = h11.Request(
                method=request.method,
                target=target,
                headers=[(b"Host", authority.encode("latin-1")), *headers, (b"Connection", b"close")],
            )
            up_writer.write(server.send(out) or b"")
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(send_body(guest, reader, writer, server, up_writer, counts))
                await send_response(server, up_reader, guest, writer, counts)
                if not sending.done():
                    sending.cancel()
        except* (OSError, h11.ProtocolError):
            broke = True
        finally:
            up_writer.close()
            self._allowed("http", host, port, counts, begun)
        return not broke and guest.our_state is h11.DONE and guest.their_state is h11.DONE

    # -- SOCKS5 (RFC 1928), without authentication, CONNECT only

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await asked_by_socks(reader, writer)
        if asked is None:
            return
        host, port = asked
        try:
            upstream = await self._open(host, port)
        except Refused as refusal:
            self._event("socks5", host, port, "refused", str(refusal), refusal.rule)
            writer.write(socks_reply(2))
            return
        except Unreachable as failure:
            self._event("socks5", host, port, "failed", str(failure))
            writer.write(socks_reply(4))
            return
        writer.write(socks_reply(0))
        # No secret goes out this way: its host would not have been asked to prove itself yet.
        await self._carry("socks5", host, port, b"", (reader, writer), upstream, None)

    # -- tunnels

    async def _join(
        self,
        protocol: str,
        host: str,
        port: int,
        early: bytes,
        guest: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        begun = time.monotonic()
        counts = {"bytes_up": len(early), "bytes_down": 0}
        if early:
            upstream[1].write(early)
        try:
            await join(guest, upstream, up=counter(counts, "bytes_up"), down=counter(counts, "bytes_down"))
        finally:
            upstream[1].close()
            self._allowed(protocol, host, port, counts, begun)
