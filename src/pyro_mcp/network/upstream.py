"""This computer's own proxy, when it has one: egress goes through it, after pyro's own checks.

Settings are the customary variables (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), read as urllib reads them.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import h11

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.network.resolve import CONNECT_SECONDS, Unreachable

MAX_HEAD = 64 * 1024


@dataclass(frozen=True)
class UpstreamProxy:
    """An HTTP proxy that this computer is told to use."""

    host: str
    port: int
    tls: bool = False
    authorization: str | None = None
    """The value of a Proxy-Authorization header."""

    @classmethod
    def for_host(cls, scheme: str, host: str, port: int) -> UpstreamProxy | None:
        """The proxy for a host, by scheme `http` or `https`; None where none is set, or the host goes past it.

        Raises:
            Unreachable: what is set is not an HTTP proxy.
        """
        proxies = getproxies()
        address = proxies.get(scheme) or proxies.get("all")
        if not address or proxy_bypass(f"{host}:{port}"):
            return None
        url = urlsplit(address if "://" in address else f"http://{address}")
        try:
            number = url.port or (443 if url.scheme == "https" else 80)
        except ValueError:
            number = 0
        if url.scheme not in ("http", "https") or not url.hostname or not number:
            raise Unreachable(
                f"this computer's proxy for {scheme} is {url.scheme}, but pyro supports only HTTP proxies"
            )
        authorization = None
        if url.username is not None:
            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(url.hostname, number, url.scheme == "https", authorization)

    async def connect(self) -> Streams:
        """A connection to the proxy itself.

        Raises:
            Unreachable: it does not answer.
        """
        context = ssl.create_default_context() if self.tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(self.host, self.port, ssl=context)
        except (OSError, TimeoutError) as error:
            raise Unreachable(
                f"this computer's proxy {self.host}:{self.port} does not answer: {error or 'timeout'}"
            ) from None

    async def tunnel(self, host: str, port: int) -> Streams:
        """A connection through the proxy to a host.

        Raises:
            Unreachable: the proxy does not answer, or will not connect.
        """
        reader, writer = await self.connect()
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        headers = [("Host", target)]
        if self.authorization is not None:
            headers.append(("Proxy-Authorization", self.authorization))
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                writer.write(http.send(h11.Request(method="CONNECT", target=target, headers=headers)) or b"")
                writer.write(http.send(h11.EndOfMessage()) or b"")
                # Only the head: what follows belongs to the tunnel and must stay in the reader.
                http.receive_data(await reader.readuntil(b"\r\n\r\n"))
            answer = http.next_event()
            if isinstance(answer, h11.Response) and 200 <= answer.status_code < 300:
                return reader, writer
            status = answer.status_code if isinstance(answer, h11.Response) else "nothing"
            raise Unreachable(f"this computer's proxy {self.host}:{self.port} answered {status} for {target}")
        except (
            OSError,
            TimeoutError,
            h11.ProtocolError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ) as bad:
            writer.close()
            raise Unreachable(f"this computer's proxy {self.host}:{self.port} broke off for {target}: {bad}") from None
        except BaseException:
            writer.close()
            raise
