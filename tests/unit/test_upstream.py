"""This computer's own proxy: egress goes through it, credentials and exceptions included, after pyro's own checks."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

import pytest

from pyro_mcp.network.connection import EgressEvent
from pyro_mcp.network.egress import EgressProxy
from pyro_mcp.network.policy import EgressPolicy
from pyro_mcp.network.relay import join
from pyro_mcp.network.resolve import Unreachable
from pyro_mcp.network.upstream import UpstreamProxy
from tests.unit.test_network import _check, _loopback, _origin, _until_eof, listening

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD")
CREDENTIALS = "Basic " + base64.b64encode(b"me:pa ss@").decode()


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("settings", "scheme", "host", "found"),
    [
        ({}, "https", "a.test", None),
        ({"HTTPS_PROXY": "http://p.test:3128"}, "https", "a.test", ("p.test", 3128, False)),
        ({"https_proxy": "http://p.test:3128"}, "https", "a.test", ("p.test", 3128, False)),
        ({"HTTPS_PROXY": "http://p.test:3128"}, "http", "a.test", None),
        ({"HTTP_PROXY": "p.test:8080"}, "http", "a.test", ("p.test", 8080, False)),
        ({"ALL_PROXY": "https://p.test"}, "http", "a.test", ("p.test", 443, True)),
        ({"ALL_PROXY": "http://p.test", "HTTPS_PROXY": "http://q.test"}, "https", "a.test", ("q.test", 80, False)),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": "a.test"}, "https", "a.test", None),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": ".corp.test"}, "https", "a.corp.test", None),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": "*"}, "https", "a.test", None),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": "a.test:8443"}, "https", "a.test", ("p.test", 80, False)),
        ({"ALL_PROXY": "http://p.test", "NO_PROXY": "other.test, x"}, "https", "a.test", ("p.test", 80, False)),
    ],
)
def test_settings_are_the_customary_ones(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    scheme: str,
    host: str,
    found: tuple[str, int, bool] | None,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    through = UpstreamProxy.for_host(scheme, host, 443)
    assert (None if through is None else (through.host, through.port, through.tls)) == found


@pytest.mark.parametrize("address", ["socks5://p.test:1080", "http://", "http://p.test:port", "ftp://p.test"])
def test_what_is_no_http_proxy_is_said_and_not_passed_by(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    with pytest.raises(Unreachable, match="HTTP proxies"):
        UpstreamProxy.for_host("https", "a.test", 443)


class _Corporate:
    """A proxy as companies have them: asks for credentials, connects, keeps what it was asked."""

    def __init__(self, answer: bytes = b"") -> None:
        self.asked: list[tuple[bytes, str]] = []
        self.port = 0
        self._answer = answer

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[_Corporate]:
        async with listening(self._serve) as self.port:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines[1:]}
        self.asked.append((lines[0].encode(), headers.get("proxy-authorization", "")))
        if self._answer:
            writer.write(self._answer)
            return
        if lines[0].startswith("CONNECT "):
            port = int(lines[0].split()[1].rpartition(":")[2])
            upstream = await asyncio.open_connection("127.0.0.1", port)
            # In one write with the first bytes of the tunnel: none may get lost.
            writer.write(b"HTTP/1.1 200 OK\r\nX-Proxy: yes\r\n\r\n")
            await join((reader, writer), upstream)
            upstream[1].close()
            return
        body = lines[0].encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@contextlib.asynccontextmanager
async def egress(events: list[EgressEvent]) -> AsyncIterator[int]:
    proxy = EgressProxy(EgressPolicy(), on_event=events.append, resolver=_loopback, check=_check)
    async with listening(proxy.serve) as port:
        yield port


async def ask(port: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = await _until_eof(reader)
    writer.close()
    return answer


def test_tunnels_and_plain_requests_go_through_it_with_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        events: list[EgressEvent] = []
        async with _Corporate().running() as corporate, listening(_origin) as origin, egress(events) as port:
            address = f"http://me:pa%20ss%40@127.0.0.1:{corporate.port}"
            monkeypatch.setenv("HTTPS_PROXY", address)
            monkeypatch.setenv("HTTP_PROXY", address)
            inner = "GET /in HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n"
            answer = await ask(port, f"CONNECT origin.test:{origin} HTTP/1.1\r\nHost: x\r\n\r\n{inner}")
            assert b"GET /in HTTP/1.1|" in answer
            assert b"X-Proxy" not in answer
            # A name that this computer cannot resolve: its proxy may.
            answer = await ask(port, "GET http://missing.test/a?b HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n")
            assert b"GET http://missing.test/a?b HTTP/1.1" in answer
            assert corporate.asked == [
                (f"CONNECT origin.test:{origin} HTTP/1.1".encode(), CREDENTIALS),
                (b"GET http://missing.test/a?b HTTP/1.1", CREDENTIALS),
            ]
        assert [(e.host, e.verdict) for e in events] == [("origin.test", "allowed"), ("missing.test", "allowed")]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "request_line",
    ["CONNECT inside.test:443 HTTP/1.1", "GET http://inside.test/ HTTP/1.1", "CONNECT localhost:22 HTTP/1.1",
     "CONNECT 169.254.169.254:80 HTTP/1.1"],
)  # fmt: skip
def test_what_is_refused_is_refused_before_it_is_asked(monkeypatch: pytest.MonkeyPatch, request_line: str) -> None:
    async def resolver_and_all() -> None:
        events: list[EgressEvent] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            from pyro_mcp.network.resolve import system_resolver

            resolver = system_resolver if "169.254" in request_line else _loopback
            await EgressProxy(EgressPolicy(), on_event=events.append, resolver=resolver, check=_check).serve(
                reader, writer
            )

        async with _Corporate().running() as corporate, listening(serve) as port:
            monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{corporate.port}")
            answer = await ask(port, f"{request_line}\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b" 403 " in answer.split(b"\r\n")[0]
            assert corporate.asked == []
        assert [event.verdict for event in events] == ["refused"]

    asyncio.run(resolver_and_all())


def test_hosts_that_go_past_it_are_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with _Corporate().running() as corporate, listening(_origin) as origin, egress([]) as port:
            monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{corporate.port}")
            monkeypatch.setenv("NO_PROXY", "origin.test")
            answer = await ask(
                port, f"GET http://origin.test:{origin}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            assert b"GET / HTTP/1.1|" in answer
            assert corporate.asked == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", b"answered 407"),
        (b"SSH-2.0-nonsense\r\n\r\n", b"broke off"),
        (b"HTTP/1.1 200", b"broke off"),
    ],
)
def test_one_that_will_not_connect_is_named_in_the_answer(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: bytes
) -> None:
    async def scenario() -> None:
        events: list[EgressEvent] = []
        async with _Corporate(answer).running() as corporate, egress(events) as port:
            monkeypatch.setenv("ALL_PROXY", f"http://me:hidden-pass@127.0.0.1:{corporate.port}")
            got = await ask(port, "CONNECT origin.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 502 " in got.split(b"\r\n")[0]
            assert said in got
            assert b"hidden-pass" not in got
        assert [(event.verdict, "hidden-pass" in event.reason) for event in events] == [("failed", False)]

    asyncio.run(scenario())


def test_one_that_does_not_run_is_named_in_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with _Corporate().running() as corporate:
            closed = corporate.port
        async with egress([]) as port:
            monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed}")
            got = await ask(port, "CONNECT origin.test:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 502 " in got.split(b"\r\n")[0]
            assert b"does not answer" in got

    asyncio.run(scenario())
