"""The egress policy and proxy. Origin servers are real, on loopback, which the strict check refuses; tests of the
proxy inject a check that lets them pass, and the strict one is tested by itself."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.network.connection import EgressEvent
from pyro_mcp.network.egress import EgressProxy
from pyro_mcp.network.policy import EgressPolicy, IPAddress, Refused, check_address
from pyro_mcp.network.resolve import strict_check


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "168.63.129.16", "224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1",
        "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::",
        "2002:a00:1::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "fec0::1", "100::1",
        "::ffff:0:10.0.0.1", "::ffff:0:8.8.8.8", "::8.8.8.8", "2001:2::1", "2001:10::1", "2001:20::1", "2001:30::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:808:808::1", "192.88.99.1", "5f00::1", "100:0:0:1::1",
        "3fff::1", "2001:db8::1", "0.1.2.3", "240.0.0.1", "239.1.1.1", "4000::1", "8000::1", "fe80::1%lo",
        "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "2a00:1:2:3:100:5efe:169.254.169.254",
        "fe80::5efe:8.8.8.8", "64:ff9b::10.0.0.1", "ffff::1", "200::1", "400::1",
    ],
)  # fmt: skip
def test_addresses_that_lead_inside_are_refused(address: str) -> None:
    with pytest.raises(Refused):
        check_address(ipaddress.ip_address(address))


_REGISTRY = [ipaddress.ip_network(n) for n in (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)]  # fmt: skip


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.sampled_from([
    "::ffff:0:0", "::ffff:0:0:0", "::", "64:ff9b::", "2a00:1:2:3:0:5efe::", "2606:4700::200:5efe:0:0", "fe80::5efe:0:0",
]))  # fmt: skip
def test_an_address_that_is_refused_stays_so_however_it_is_wrapped(inner: ipaddress.IPv4Address, prefix: str) -> None:
    wrapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | int(inner))
    try:
        check_address(inner)
    except Refused:
        with pytest.raises(Refused):
            check_address(wrapped)
    else:
        assert not any(inner in network for network in _REGISTRY)


@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_no_address_outside_global_unicast_is_reached(address: ipaddress.IPv6Address) -> None:
    try:
        check_address(address)
    except Refused:
        return
    mapped = address.ipv4_mapped is not None or address in ipaddress.ip_network("64:ff9b::/96")
    assert mapped or address in ipaddress.ip_network("2000::/3")


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "151.101.0.223",
        "2606:4700:4700::1111",
        "64:ff9b::101:101",
        "::ffff:8.8.8.8",
        "2a00:1450:4001::5efe:8.8.8.8",
        "203.0.113.80",
        "198.51.100.4",
    ],
)
def test_public_addresses_are_allowed(address: str) -> None:
    check_address(ipaddress.ip_address(address))


def test_this_machines_own_addresses_are_refused() -> None:
    own = frozenset({ipaddress.ip_address("203.0.113.7")})
    with pytest.raises(Refused, match="this computer"):
        check_address(ipaddress.ip_address("203.0.113.7"), own)
    with pytest.raises(Refused):
        strict_check(ipaddress.ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Example.COM.", "example.com"), ("2130706433", "127.0.0.1"), ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"), ("127.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"), ("127\u30020\u30020\u30021", "127.0.0.1"),
        ("\u2460\u2461\u2466.1", "127.0.0.1"),
        ("127.0.0.1\uff0e", "127.0.0.1"), ("\uff1a\uff1a1", "::1"),
        ("0X7F000001", "127.0.0.1"), ("017700000001", "127.0.0.1"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)  # fmt: skip
def test_hosts_have_one_spelling(spelling: str, name: str) -> None:
    assert EgressPolicy().check_host(spelling) == name


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
        "\u2100.test",
        "fe80::1%eth0",
        "a%00b",
        "a.localhost",
        "printer.local",
        "",
        "a b",
        "a/b",
        "x@y",
    ],
)
def test_local_names_and_no_names_are_refused(host: str) -> None:
    with pytest.raises(Refused):
        EgressPolicy().check_host(host)


def test_a_list_of_domains_is_exact_or_by_suffix() -> None:
    policy = EgressPolicy(("example.com", "*.pypi.test"))
    for host in ("example.com", "EXAMPLE.com.", "files.pypi.test"):
        policy.check_host(host)
    for host in ("www.example.com", "pypi.test", "notexample.com", "evilpypi.test"):
        with pytest.raises(Refused):
            policy.check_host(host)


# -- the proxy, with real sockets

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _loopback(host: str, port: int) -> list[IPAddress]:
    if host == "missing.test":
        from pyro_mcp.network.resolve import Unreachable

        raise Unreachable("missing.test could not be resolved")
    return [ipaddress.ip_address("10.0.0.1" if host == "inside.test" else "127.0.0.1")]


def _check(address: IPAddress) -> None:
    if str(address) != "127.0.0.1":
        raise Refused(f"{address} is private")


@contextlib.asynccontextmanager
async def proxied(events: list[EgressEvent]) -> AsyncIterator[int]:
    proxy = EgressProxy(EgressPolicy(), on_event=events.append, resolver=_loopback, check=_check)
    async with listening(proxy.serve) as port:
        yield port


async def _until_eof(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        return await reader.read()


async def _origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP server that says what it was asked."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    body = await reader.readexactly(length)
    answer = head.split(b"\r\n")[0] + b"|" + body
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(answer), answer))
    await writer.drain()


def test_plain_requests_share_a_connection() -> None:
    async def scenario() -> None:
        events: list[EgressEvent] = []
        async with listening(_origin) as origin, proxied(events) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for n in range(2):
                body = f"body{n}".encode()
                writer.write(
                    f"POST http://origin.test:{origin}/p{n}?q HTTP/1.1\r\nHost: lie.test\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                async with asyncio.timeout(10):
                    assert b"200" in await reader.readuntil(b"\r\n\r\n")
                    size = int(await reader.readuntil(b"\r\n"), 16)
                    assert await reader.readexactly(size) == f"POST /p{n}?q HTTP/1.1|body{n}".encode()
                    await reader.readuntil(b"0\r\n\r\n")
            writer.close()
        assert [(e.host, e.verdict) for e in events] == [("origin.test", "allowed")] * 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_line", "status", "words"),
    [
        ("GET http://inside.test/ HTTP/1.1", b"403", b"inside.test"),
        ("GET http://localhost/ HTTP/1.1", b"403", b"local network"),
        ("CONNECT inside.test:443 HTTP/1.1", b"403", b"cannot allow it itself"),
        ("GET http://missing.test/ HTTP/1.1", b"502", b"could not be resolved"),
        ("GET /relative HTTP/1.1", b"400", b"proxy"),
        ("CONNECT nowhere HTTP/1.1", b"400", b"HOST:PORT"),
    ],
)
def test_what_is_refused_says_why_in_the_body(request_line: str, status: bytes, words: bytes) -> None:
    async def scenario() -> None:
        events: list[EgressEvent] = []
        async with proxied(events) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{request_line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = await _until_eof(reader)
            writer.close()
            assert status in answer.split(b"\r\n")[0]
            assert words in answer

    asyncio.run(scenario())


def test_a_header_beyond_the_bound_is_refused() -> None:
    async def scenario() -> None:
        async with proxied([]) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n")
            assert b"431" in (await _until_eof(reader)).split(b"\r\n")[0]
            writer.close()

    asyncio.run(scenario())


def test_a_tunnel_loses_nothing_for_a_slow_reader_and_passes_on_the_end() -> None:
    size = 64 * 1024 * 1024
    block = bytes(range(256)) * 256

    async def source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read()  # to the end: the other half stays open for the answer
        assert asked == b"send"
        for _ in range(size // len(block)):
            writer.write(block)
            await writer.drain()

    async def scenario() -> None:
        events: list[EgressEvent] = []
        async with listening(source) as origin, proxied(events) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
            writer.write(f"CONNECT origin.test:{origin} HTTP/1.1\r\nHost: x\r\n\r\nsend".encode())
            await reader.readuntil(b"\r\n\r\n")
            writer.write_eof()
            digest, got = hashlib.sha256(), 0
            async with asyncio.timeout(60):
                while data := await reader.read(65536):
                    digest.update(data)
                    got += len(data)
                    await asyncio.sleep(0)
            writer.close()
            assert got == size
            assert digest.digest() == hashlib.sha256(block * (size // len(block))).digest()
        assert (events[0].bytes_up, events[0].bytes_down) == (4, size)

    asyncio.run(scenario())


def test_socks5_by_name_and_refused() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        await writer.drain()

    async def scenario() -> None:
        async with listening(echo) as origin, proxied([]) as port:
            for host, reply in ((b"origin.test", 0), (b"inside.test", 2), (b"missing.test", 4)):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"\x05\x01\x00\x05\x01\x00\x03" + bytes([len(host)]) + host + origin.to_bytes(2, "big"))
                async with asyncio.timeout(10):
                    assert await reader.readexactly(2) == b"\x05\x00"
                    assert (await reader.readexactly(10))[1] == reply
                if reply == 0:
                    writer.write(b"hello")
                    writer.write_eof()
                    assert await _until_eof(reader) == b"hello"
                writer.close()

    asyncio.run(scenario())


def test_a_guest_that_vanishes_leaves_no_task() -> None:
    async def forever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scenario() -> None:
        async with listening(forever) as origin, proxied([]) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"CONNECT origin.test:{origin} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
            async with asyncio.timeout(10):
                while len([t for t in asyncio.all_tasks() if "_copy" in repr(t)]):
                    await asyncio.sleep(0.01)

    asyncio.run(scenario())


DOCUMENTATION = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))
"""Nobody's networks, which transparent proxies answer with for public names (`policy`)."""
_NETWORKS = st.sampled_from(
    [
        *map(ipaddress.IPv4Network, ("0.0.0.0/0", "10.0.0.0/8", "100.0.0.0/9", "169.254.0.0/15", "172.0.0.0/10")),
        *map(ipaddress.IPv4Network, ("192.0.0.0/22", "192.168.0.0/15", "198.16.0.0/13", "224.0.0.0/3")),
        *map(
            ipaddress.IPv6Network, ("::/0", "::/90", "64:ff9b::/32", "100::/32", "2000::/8", "2001::/20", "2002::/15")
        ),
        *map(ipaddress.IPv6Network, ("3ff0::/12", "5f00::/8", "fc00::/6", "fe00::/7")),
    ]
)


@given(st.data(), _NETWORKS)
def test_what_python_knows_not_to_be_global_is_refused(
    data: st.DataObject, network: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> None:
    """The reverse does not hold: Python knows fewer special ranges, and embedded addresses not at all."""
    number = data.draw(st.integers(int(network.network_address), int(network.broadcast_address)))
    address = type(network.network_address)(number)
    if address.is_global and not address.is_multicast:
        return
    if any(address in each for each in DOCUMENTATION) or getattr(address, "ipv4_mapped", None) is not None:
        return
    with pytest.raises(Refused):
        check_address(address)


@pytest.mark.parametrize(
    "host",
    [
        *("\uff11\uff12\uff17.\uff10.\uff10.\uff11", "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021", "0177.1"),
        *("0x7f.1", "017700000001", "127.0.0.1..", "\u217cocalhost", "loc\u00adalhost", "localhost\u3002", "::1%lo"),
        *("fe80::1%25eth0", "127.0.0.1\0", "x@127.0.0.1", "127.0.0.1#x", "%3127.0.0.1", "[::ffff:0x7f.1]", "[::1]:80"),
    ],
)
def test_no_spelling_of_an_inside_address_is_a_public_name(host: str) -> None:
    with pytest.raises(Refused):
        check_address(ipaddress.ip_address(EgressPolicy().check_host(host)))
