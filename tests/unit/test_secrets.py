"""Secrets: what is taken, how it is kept, and how one that is bound to a host gets there, through the egress proxy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pyro_mcp.errors import InvalidInput, NotFound, NotPermitted
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.mcp.access import Access
from pyro_mcp.network.authority import Authority
from pyro_mcp.network.connection import EgressEvent, Interception
from pyro_mcp.network.egress import EgressProxy
from pyro_mcp.network.policy import EgressPolicy
from pyro_mcp.operations import REGISTRY
from pyro_mcp.workspaces.secrets import NONE, Secrets, Vault, collect
from tests.unit.test_network import Handler, _check, _loopback, listening

VALUE = "v4lue-of-the-token"


@pytest.mark.parametrize("name", ["", "1A", "a-b", "A B", "A\n", "é", "x" * 65, "A=B", "A\0"])
def test_names_are_those_of_variables(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not a valid name for a secret"):
        collect({name: VALUE}, None, None)
    with pytest.raises(InvalidInput, match="environment variable"):
        Secrets(collect({"TOKEN": VALUE}, None, None)).variables({name: "TOKEN"})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("abc", "3 bytes"),
        ("", "0 bytes"),
        ("x" * 65537, "65537 bytes"),
        ("ab\0cd", "NUL"),
        (" \t\n    ", "whitespace"),
        ("a\udcffbcd", "UTF-8"),
    ],
)
def test_values_that_cannot_be_kept_secret_or_passed_on_are_refused(value: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        collect({"TOKEN": value}, None, None)
    assert "TOKEN" in caught.value.message
    assert value.strip() == "" or value not in str(caught.value)


def test_the_longest_value_is_taken_and_one_too_many_is_not() -> None:
    assert len(collect({"TOKEN": "x" * 65536}, None, None)["TOKEN"].value) == 65536
    with pytest.raises(InvalidInput, match="64"):
        collect({f"S{n}": VALUE for n in range(65)}, None, None)


def test_files_are_read_without_their_line_end_and_as_they_are_with_several(tmp_path: Path) -> None:
    for text, value in (("abcd\n", "abcd"), ("abcd\r\n", "abcd"), ("ab\ncd\n", "ab\ncd\n"), ("abcd", "abcd")):
        (tmp_path / "s").write_bytes(text.encode())
        assert collect(None, {"TOKEN": str(tmp_path / "s")}, None)["TOKEN"].value == value


def test_files_that_cannot_be_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "big").write_bytes(b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xfd\xfc")
    for name, said in (
        ("missing", "No such file"),
        ("fifo", "regular"),
        (".", "regular"),
        ("big", "65536"),
        ("binary", "UTF-8"),
    ):
        with pytest.raises(InvalidInput, match=said) as caught:
            collect(None, {"TOKEN": str(tmp_path / name)}, None)
        assert "TOKEN" in caught.value.message
    with pytest.raises(InvalidInput, match="twice"):
        collect({"TOKEN": VALUE}, {"TOKEN": str(tmp_path / "big")}, None)


def test_a_bound_secret_is_a_placeholder_inside_and_its_value_is_masked_all_the_same() -> None:
    kept = Secrets(collect({"TOKEN": f" {VALUE} "}, None, {"TOKEN": "API.Example.com."}))
    secret = kept.by_name["TOKEN"]
    assert (secret.host, secret.value) == ("api.example.com", VALUE)
    seen = kept.variables({"T": "TOKEN"})["T"]
    assert seen == secret.placeholder != VALUE
    assert kept.redactor.text(f"{VALUE} {seen}") == f"{'*' * len(VALUE)} {seen}"
    again = collect({"TOKEN": VALUE}, None, {"TOKEN": "api.example.com"})["TOKEN"]
    assert again.placeholder != secret.placeholder


@pytest.mark.parametrize(
    ("value", "hosts", "said"),
    [
        (VALUE, {"OTHER": "a.test"}, "OTHER"),
        (VALUE, {"TOKEN": "a b"}, "host name"),
        (VALUE, {"TOKEN": ""}, "host name"),
        ("ab\ncdefg", {"TOKEN": "a.test"}, "several lines"),
        ("abc   ", {"TOKEN": "a.test"}, "whitespace"),
    ],
)
def test_what_cannot_be_bound_says_why(value: str, hosts: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        collect({"TOKEN": value}, None, hosts)


def test_an_unknown_secret_names_those_there_are() -> None:
    kept = Secrets(collect({"ONE": VALUE, "TWO": VALUE}, None, None))
    with pytest.raises(NotFound, match="it has: ONE, TWO"):
        kept.variables({"X": "THREE"})
    with pytest.raises(NotFound, match="it has: none"):
        NONE.variables({"X": "THREE"})


def test_the_vault_is_private_and_sweeps(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "secrets")
    kept = Secrets(collect({"TOKEN": VALUE}, None, {"TOKEN": "a.test"}), Authority.create("w").dump())
    vault.write("ws-1", kept)
    vault.write("ws-2", kept)
    vault.write("ws-3", NONE)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    files = sorted((tmp_path / "secrets").iterdir())
    assert [file.name for file in files] == ["ws-1.json", "ws-2.json"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert vault.read("ws-1") == kept
    assert vault.read("ws-3") == NONE
    vault.remove("ws-1")
    vault.remove("ws-1")
    vault.sweep(set())
    assert list((tmp_path / "secrets").iterdir()) == []


# -- what the user imposes at `mcp serve`


def test_a_list_of_hosts_holds_for_machines_of_one_command_too() -> None:
    access = Access(None, allow_domains=("example.com",))
    run = REGISTRY["run_in_vm"]
    with pytest.raises(NotPermitted, match="only certain hosts"):
        access.granted(run, {"network_policy": "egress", "command": "true"})
    assert access.granted(run, {"command": "true"}) == {"command": "true"}
    assert Access(None).granted(run, {"network_policy": "egress"}) == {"network_policy": "egress"}
    assert access.granted(REGISTRY["create_workspace"], {"network_policy": "egress"})
    assert access.imposed("egress") == {"allow_domains": ["example.com"]}
    assert access.imposed("off") == {}


# -- end to end: the guest's side of the proxy, and a TLS origin behind it

HOST, OTHER = "api.example.test", "other.example.test"
PLACEHOLDER = "pyro-secret-TOKEN-0123456789"


async def _origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    _origin_saw.append(head)
    body = b"you sent " + head
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()


_origin_saw: list[bytes] = []


class _World:
    """A TLS origin that is every host, and a proxy that intercepts one of them."""

    def __init__(self) -> None:
        _origin_saw.clear()
        self.saw = _origin_saw
        self.events: list[EgressEvent] = []
        self.authority = Authority.create("workspace")
        self.public = Authority.create("the world")
        self.trusted = self.public
        self.proxy = 0
        self.origin = 0

    @contextlib.asynccontextmanager
    async def running(self, handler: Handler = _origin) -> AsyncIterator[_World]:
        async def tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await handler(reader, writer)
            writer.close()

        def certificate(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            connection.context = self.public.server_context(name or HOST)

        context = self.public.server_context(HOST)
        context.sni_callback = certificate
        server = await asyncio.start_server(tls, "127.0.0.1", 0, ssl=context)
        egress = EgressProxy(
            EgressPolicy(),
            on_event=self.events.append,
            resolver=_loopback,
            check=_check,
            interception=Interception(self.authority, {HOST: Substitution({PLACEHOLDER: VALUE})}),
            upstream_tls=lambda: ssl.create_default_context(cadata=self.trusted.certificate_pem),
        )
        async with server, listening(egress.serve) as self.proxy:
            self.origin = server.sockets[0].getsockname()[1]
            yield self

    async def ended(self, count: int) -> list[EgressEvent]:
        """The events of so many connections: each comes at its connection's end."""
        async with asyncio.timeout(20):
            while len(self.events) < count:
                await asyncio.sleep(0.01)
        return self.events

    async def ask(self, host: str, request: str, trust: Authority) -> tuple[bytes, bytes]:
        """The proxy's answer to CONNECT, and what came through the tunnel to a guest that trusts one authority."""
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy)
            try:
                writer.write(f"CONNECT {host}:{self.origin} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                answer = await reader.readuntil(b"\r\n\r\n")
                if b" 200 " not in answer.split(b"\r\n")[0]:
                    return answer + await reader.read(), b""
                client = ssl.create_default_context(cadata=trust.certificate_pem)
                await writer.start_tls(client, server_hostname=host.rstrip("."))
                writer.write(request.encode())
                return answer, await reader.read()
            finally:
                writer.close()


def request(host: str) -> str:
    return (
        f"GET /{PLACEHOLDER} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {PLACEHOLDER}\r\n"
        "Connection: close\r\n\r\n"
    )


@pytest.mark.parametrize("host", [HOST, HOST.upper(), f"{HOST}."])
def test_the_value_goes_to_its_host_and_does_not_come_back(host: str) -> None:
    async def scenario() -> None:
        async with _World().running() as world:
            _, answer = await world.ask(host, request(HOST), world.authority)
            [head] = world.saw
            assert f"bearer {VALUE}".encode() in head.lower()
            assert f"GET /{PLACEHOLDER} ".encode() in head
            assert VALUE.encode() not in answer
            assert b"*" * len(VALUE) in answer
        [event] = await world.ended(1)
        assert (event.protocol, event.verdict, event.bytes_down > 0) == ("intercepted", "allowed", True)
        assert VALUE not in repr(event)

    asyncio.run(scenario())


def test_another_host_is_not_intercepted_and_gets_the_placeholder() -> None:
    async def scenario() -> None:
        async with _World().running() as world:
            _, answer = await world.ask(OTHER, request(OTHER), world.public)
            [head] = world.saw
            assert f"Bearer {PLACEHOLDER}".encode() in head
            assert VALUE.encode() not in head + answer
            # Its certificate is its own: the workspace's authority has signed none for it.
            with pytest.raises(ssl.SSLError):
                await world.ask(OTHER, request(OTHER), world.authority)
        assert {event.protocol for event in await world.ended(2)} == {"connect"}

    asyncio.run(scenario())


def test_another_host_by_the_bound_hosts_tunnel_gets_nothing() -> None:
    async def scenario() -> None:
        async with _World().running() as world:
            _, answer = await world.ask(HOST, request(OTHER), world.authority)
            assert b" 421 " in answer.split(b"\r\n")[0]
            assert world.saw == []

    asyncio.run(scenario())


def test_an_origin_that_does_not_prove_who_it_is_gets_no_secret() -> None:
    async def scenario() -> None:
        world = _World()
        world.trusted = Authority.create("another world")
        async with world.running():
            answer, _ = await world.ask(HOST, request(HOST), world.authority)
            assert b" 502 " in answer.split(b"\r\n")[0]
            assert f"{HOST} failed to prove its identity".encode() in answer
            assert world.saw == []
        [event] = await world.ended(1)
        assert event.verdict == "failed"
        assert "TLS" in event.reason

    asyncio.run(scenario())


def test_a_plain_request_to_the_bound_host_keeps_the_placeholder() -> None:
    async def scenario() -> None:
        world = _World()
        async with world.running(), listening(_origin) as plain:
            reader, writer = await asyncio.open_connection("127.0.0.1", world.proxy)
            writer.write(
                f"GET http://{HOST}:{plain}/ HTTP/1.1\r\nHost: {HOST}\r\nX-Key: {PLACEHOLDER}\r\n\r\n".encode()
            )
            async with asyncio.timeout(10):
                await reader.readuntil(b"you sent")
            writer.close()
            assert PLACEHOLDER.encode() in world.saw[0]
            assert VALUE.encode() not in world.saw[0]

    asyncio.run(scenario())
