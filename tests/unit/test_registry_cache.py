"""The registries' cache against a registry of the test's own, over TLS: what is kept, and that no guest poisons it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.network.authority import Authority
from pyro_mcp.network.cache import fetching
from pyro_mcp.network.cache import store as stores
from pyro_mcp.network.cache.fetching import Connections
from pyro_mcp.network.cache.registries import REGISTRIES, wanted
from pyro_mcp.network.cache.registry_cache import RegistryCache
from pyro_mcp.network.cached import CachedWay
from pyro_mcp.network.connection import Ask, EgressEvent
from pyro_mcp.network.egress import EgressProxy
from pyro_mcp.network.policy import EgressPolicy, IPAddress, Refused
from pyro_mcp.network.resolve import Unreachable

WHEEL = b"a wheel" * 30_000
DIGEST = hashlib.blake2b(WHEEL, digest_size=32).hexdigest()
PLACE = f"/packages/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST[4:]}/six-1.0-py3-none-any.whl"
AUTHORITY = Authority.create("test")
REGISTRY = Authority.create("registry")


@dataclass
class Registry:
    """A registry that speaks TLS on loopback; `answers` are by path."""

    answers: dict[str, bytes] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    port: int = 0
    gone: bool = False
    cut: bool = False
    more: bytes = b""
    """Further header lines."""
    until_close: bool = False
    writer: asyncio.StreamWriter | None = None
    """Of the last connection."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                path = head.split(b" ")[1].decode()
                self.seen.append(path)
                body = self.answers.get(path)
                etag = hashlib.sha256(body or b"").hexdigest()[:8]
                if body is not None and f'if-none-match: "{etag}"'.encode() in head.lower():
                    writer.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")
                    continue
                status = b"200 OK" if body is not None else b"404 Not Found"
                body = b"nothing" if body is None else body
                writer.write(b'HTTP/1.1 %s\r\nETag: "%s"\r\n' % (status, etag.encode()))
                length = b"" if self.until_close else b"Content-Length: %d\r\n" % len(body)
                writer.write(b"Set-Cookie: a=b\r\n" + self.more + length + b"\r\n")
                writer.write(body[: len(body) // 2] if self.cut else body)
                await writer.drain()
                if self.cut or self.until_close:
                    break
        writer.close()

    async def open(self, host: str) -> Streams:
        if self.gone:
            raise Unreachable(f"{host} does not answer")
        return await asyncio.open_connection("127.0.0.1", self.port)


@dataclass
class World:
    registry: Registry
    cache: RegistryCache
    events: list[EgressEvent]
    policy: EgressPolicy = field(default_factory=EgressPolicy)
    ask: Ask | None = None

    def _proxy(self, workspace: str) -> EgressProxy:
        return EgressProxy(
            self.policy,
            on_event=self.events.append,
            resolver=_nowhere,
            cached=CachedWay(self.cache, workspace, AUTHORITY),
            ask=self.ask,
        )

    async def plain(self, request: bytes) -> tuple[int, bytes]:
        """What a guest gets for a plain request through the proxy."""

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await self._proxy("ws-1").serve(reader, writer)
            writer.close()

        async with await asyncio.start_server(one, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(request)
            try:
                return await _answer(reader)
            finally:
                writer.close()

    async def get(
        self, host: str, *requests: bytes, workspace: str = "ws-1", port: int = 443
    ) -> list[tuple[int, bytes]]:
        """What a guest gets that asks through the proxy, by TLS that it ends at the workspace's authority."""

        async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                await self._proxy(workspace).serve(reader, writer)
            writer.close()
            ended.set()

        ended = asyncio.Event()
        async with await asyncio.start_server(one, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n" % (host.encode(), port))
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                writer.close()
                return [(int(head.split(b" ")[1]), head)]
            context = ssl.create_default_context(cadata=AUTHORITY.certificate_pem)
            await writer.start_tls(context, server_hostname=host)
            answers = []
            try:
                for request in requests:
                    writer.write(request)
                    answers.append(await _answer(reader))
            finally:
                writer.close()
                async with asyncio.timeout(30):
                    await ended.wait()
        return answers


async def _nowhere(host: str, port: int) -> list[IPAddress]:
    raise Unreachable(f"{host} is not asked past the cache")


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    http.send(h11.EndOfMessage())
    status, body = 0, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
            assert b"set-cookie" not in dict(event.headers)
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            return status, body


def get(host: str, path: str, *more: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *more, "", ""]).encode()


@contextlib.asynccontextmanager
async def world(tmp_path: Path) -> AsyncIterator[World]:
    registry = Registry({PLACE: WHEEL, "/simple/six/": b"<a>six</a>"})
    contexts = {host: REGISTRY.server_context(host) for host in REGISTRIES}
    server_context = contexts["pypi.org"]
    server_context.sni_callback = lambda sock, name, _: setattr(sock, "context", contexts[name])
    server = await asyncio.start_server(registry.serve, "127.0.0.1", 0, ssl=server_context)
    registry.port = server.sockets[0].getsockname()[1]
    trusted = Connections(registry.open, lambda: ssl.create_default_context(cadata=REGISTRY.certificate_pem))
    made = World(registry, RegistryCache(tmp_path / "registries", tmp_path / "settings", connections=trusted), [])
    try:
        yield made
    finally:
        await made.cache.close()
        server.close()


FILES = "files.pythonhosted.org"


def test_what_one_workspace_fetched_another_gets_without_a_connection(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            assert await w.get(FILES, get(FILES, PLACE)) == [(200, WHEEL)]
            assert await w.get("pypi.org", get("pypi.org", "/simple/six/")) == [(200, b"<a>six</a>")]
            before = w.cache.connections.opened
            w.registry.gone = True
            assert await w.get(FILES, get(FILES, PLACE), get(FILES, PLACE), workspace="ws-2") == [(200, WHEEL)] * 2
            assert await w.get("pypi.org", get("pypi.org", "/simple/six/"), workspace="ws-2") == [(200, b"<a>six</a>")]
            assert w.cache.connections.opened == before and w.registry.seen == [PLACE, "/simple/six/"]
            assert [(e.protocol, e.reason) for e in w.events][-2:] == [
                ("cache", "2 from the cache"),
                ("cache", "1 from the cache"),
            ]

    asyncio.run(go())


def test_an_index_is_asked_for_again_and_an_old_one_serves_where_this_computer_is_offline(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            index = get("pypi.org", "/simple/six/")
            await w.get("pypi.org", index)
            [listed] = w.cache.store.all()
            w.cache.store.confirm(replace(listed.answer, fetched_at=time.time() - 600))
            assert await w.get("pypi.org", index) == [(200, b"<a>six</a>")]
            assert b"If-None-Match" in w.registry.heads[-1] and len(w.registry.heads) == 2
            assert await w.get("pypi.org", index) == [(200, b"<a>six</a>")] and len(w.registry.heads) == 2
            w.registry.answers["/simple/six/"] = b"<a>new</a>"
            assert await w.get("pypi.org", get("pypi.org", "/simple/six/", "Cache-Control: no-cache")) == [
                (200, b"<a>new</a>")
            ]
            [listed] = w.cache.store.all()
            w.cache.store.confirm(replace(listed.answer, fetched_at=time.time() - 600))
            w.registry.gone = True
            w.cache.connections.close()
            assert await w.get("pypi.org", index) == [(200, b"<a>new</a>")]

    asyncio.run(go())


@pytest.mark.parametrize("wrong", ["other content", "cut off"])
def test_what_a_registry_gives_wrongly_is_neither_kept_nor_given_out_whole(tmp_path: Path, wrong: str) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            if wrong == "cut off":
                w.registry.cut = True
            else:
                w.registry.answers[PLACE] = WHEEL[:-1] + b"!"
            with contextlib.suppress(h11.RemoteProtocolError, OSError):  # broken off, or told
                assert (await w.get(FILES, get(FILES, PLACE)))[0][0] == 502
            assert not w.cache.store.all() and not w.cache.store.size()
            w.registry.answers[PLACE], w.registry.cut = WHEEL, False
            assert await w.get(FILES, get(FILES, PLACE)) == [(200, WHEEL)]

    asyncio.run(go())


@pytest.mark.parametrize("damage", [b"", WHEEL[:-1], WHEEL[:-1] + b"!", WHEEL + b"!"])
def test_content_that_was_damaged_on_disk_is_fetched_again(tmp_path: Path, damage: bytes) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            await w.get(FILES, get(FILES, PLACE))
            [content] = (tmp_path / "registries" / "objects").glob("*/*")
            content.write_bytes(damage)
            assert await w.get(FILES, get(FILES, PLACE)) == [(200, WHEEL)]
            assert content.read_bytes() == WHEEL and len(w.registry.seen) == 2

    asyncio.run(go())


TARBALL = "/is-odd/-/is-odd-3.0.1.tgz"


@pytest.mark.parametrize("wrong", ["a page", "ends with the connection", "a long header", "no text in a header"])
def test_what_cannot_be_the_file_or_be_given_out_again_is_not_kept(tmp_path: Path, wrong: str) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            w.registry.answers[TARBALL] = b"please wait"
            w.registry.until_close = wrong == "ends with the connection"
            w.registry.more = {
                "a page": b"Content-Type: Text/HTML; charset=utf-8\r\n",
                "a long header": b"Location: /%s\r\n" % (b"a" * 2000),
                "no text in a header": b"Cache-Control: \xe9\r\n",
            }.get(wrong, b"")
            npm = "registry.npmjs.org"
            assert (await w.get(npm, get(npm, TARBALL)))[0][0] == 502, "it is passed on, which leads nowhere here"
            assert not w.cache.store.all()

    asyncio.run(go())


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            w.registry.answers[TARBALL] = b"the tarball"
            npm = "registry.npmjs.org"
            assert await w.get(npm, get(npm, "/is-odd")) == [(404, b"nothing")]
            assert w.registry.writer is not None and w.cache.connections.opened == 1
            w.registry.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            await w.registry.writer.drain()
            assert await w.get(npm, get(npm, TARBALL)) == [(200, b"the tarball")]
            assert w.cache.connections.opened == 2
            assert await w.get(npm, get(npm, "/is-odd")) == [(404, b"nothing")] and w.cache.connections.opened == 2

    asyncio.run(go())


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_no_fetch_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    if when == "meanwhile":  # as when others fill it
        looks = iter([True, True])
        monkeypatch.setattr(stores.Store, "room", lambda self, size=0: next(looks, False))
        monkeypatch.setattr(fetching, "LOOK_BYTES", 1000)
    else:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=stores.SPARE_BYTES + 1000))

    async def go() -> None:
        async with world(tmp_path) as w:
            w.cache.store.set(stores.Settings(limit_bytes=1 << 30))
            with contextlib.suppress(h11.RemoteProtocolError, OSError):  # broken off, where it had begun
                assert (await w.get(FILES, get(FILES, PLACE)))[0][0] == 502
            assert not w.cache.store.all() and not list((tmp_path / "registries" / "partial").iterdir())
            assert (await w.get(FILES, get(FILES, PLACE)))[0][0] == 502, "passed on from then on"

    asyncio.run(go())


def test_a_content_is_compared_once_and_again_when_its_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            await w.get(FILES, get(FILES, PLACE), get(FILES, PLACE))
            [content] = (tmp_path / "registries" / "objects").glob("*/*")
            with monkeypatch.context() as patched:
                patched.setattr(stores, "CHUNK", 0)  # nothing can be read to be compared
                assert await w.get(FILES, get(FILES, PLACE)) == [(200, WHEEL)]
            content.write_bytes(WHEEL[:-1] + b"!")
            assert await w.get(FILES, get(FILES, PLACE)) == [(200, WHEEL)] and len(w.registry.seen) == 2

    asyncio.run(go())


def test_the_user_is_asked_once_for_a_connection(tmp_path: Path) -> None:
    asked: list[str] = []

    async def yes(host: str, port: int) -> None:
        asked.append(host)

    async def no(host: str, port: int) -> None:
        asked.append(host)
        raise Refused("no", "not_allowed")

    async def go() -> None:
        async with world(tmp_path) as w:
            w.policy, w.ask = EgressPolicy(ask=True), yes
            assert (await w.get("pypi.org", get("pypi.org", "/pypi/six/json")))[0][0] == 502  # passed on
            assert asked == ["pypi.org"]
            w.ask = no
            plain = get("deb.debian.org", "http://deb.debian.org/debian/dists/stable/InRelease")
            assert (await w.plain(plain))[0] == 403 and asked == ["pypi.org", "deb.debian.org"]
            assert [(e.verdict, e.protocol) for e in w.events[1:]] == [("refused", "http")]

    asyncio.run(go())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("says", [True, False])
def test_a_program_that_does_not_trust_the_authority_reaches_the_host_itself_soon(
    tmp_path: Path, version: ssl.TLSVersion, says: bool
) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:

            async def fails() -> None:
                context = ssl.create_default_context()
                context.maximum_version = version
                coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = context.wrap_bio(coming, going, server_hostname="pypi.org")
                async with await asyncio.start_server(one, "127.0.0.1", 0) as server:
                    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                    writer.write(b"CONNECT pypi.org:443 HTTP/1.1\r\nHost: x\r\n\r\n")
                    await reader.readuntil(b"\r\n\r\n")
                    with pytest.raises(ssl.SSLCertVerificationError):
                        while True:
                            try:
                                tls.do_handshake()
                            except ssl.SSLWantReadError:
                                writer.write(going.read())
                                coming.write(await reader.read(65536))
                    if says:
                        writer.write(going.read())
                    writer.close()
                    async with asyncio.timeout(30):
                        await ended.wait()

            async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                with contextlib.suppress(OSError):
                    await w._proxy("ws-1").serve(reader, writer)
                writer.close()
                ended.set()

            for _ in range(1 if says else 2):
                assert w.cache.serves("ws-1", "pypi.org")
                ended = asyncio.Event()
                await fails()
            assert not w.cache.serves("ws-1", "pypi.org") and w.cache.serves("ws-2", "pypi.org")
            assert {e.verdict for e in w.events} == {"failed"} and len(w.events) == (1 if says else 2)

    asyncio.run(go())


def test_what_a_guest_says_reaches_neither_the_registry_nor_what_is_kept(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            smuggled = get(
                FILES,
                PLACE,
                "X-Evil: 1",
                "User-Agent: guest",
                "X-Forwarded-Host: evil.example",
                "If-None-Match: nothing",
            )
            assert await w.get(FILES, smuggled) == [(200, WHEEL)]
            [head] = w.registry.heads
            assert b"evil" not in head.lower() and b"guest" not in head and b"nothing" not in head
            # A Host that lies, and a tunnel to another host than the request names, are refused as such.
            w.registry.answers["/simple/evil/"] = b"evil"
            assert (await w.get(FILES, get("pypi.org", "/simple/evil/")))[0][0] in (421, 502)
            assert [each.answer.path for each in w.cache.store.all()] == [PLACE]

    asyncio.run(go())


def test_a_host_that_is_not_allowed_stays_so_though_it_is_kept(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            await w.get(FILES, get(FILES, PLACE))
            for policy in (EgressPolicy(("example.org",)), EgressPolicy(off=True), EgressPolicy(ask=True)):
                w.policy = policy
                assert (await w.get(FILES, get(FILES, PLACE), workspace="ws-2"))[0][0] == 403
            assert [e.verdict for e in w.events[-3:]] == ["refused"] * 3

    asyncio.run(go())


def test_one_fetch_serves_all_and_goes_when_nobody_waits(tmp_path: Path) -> None:
    async def go() -> None:
        async with world(tmp_path) as w:
            got = await asyncio.gather(*(w.get(FILES, get(FILES, PLACE), workspace=f"ws-{n}") for n in range(10)))
            assert got == [[(200, WHEEL)]] * 10
            assert len(w.registry.seen) < 10
            assert not list((tmp_path / "registries" / "partial").iterdir())
            assert not w.cache._fetches and not w.cache._busy

    asyncio.run(go())


def test_the_cache_stays_within_its_size_and_lets_the_oldest_go(tmp_path: Path) -> None:
    store = stores.Store(tmp_path, tmp_path / "settings")
    store.set(stores.Settings(limit_bytes=1000))
    for number in range(20):
        partial = store.partial()
        assert partial is not None
        with partial:
            content = bytes([number]) * 100
            partial.write(content)
            partial.flush()
            digest = hashlib.sha256(content).hexdigest()
            store.keep(
                stores.Answer("pypi.org", f"/simple/{number}/", "text/html", True, digest, 100, (), time.time()),
                partial,
            )
        for age, listed in enumerate(store.all()):
            os.utime(listed.name, (time.time() - age, time.time() - age))
    kept = sorted(int(listed.answer.path.split("/")[2]) for listed in store.all())
    assert kept == list(range(10, 20)) and store.size() == 1000
    assert store.shrink(0)[0] == 10 and store.size() == 0 and not store.all()


def test_small_answers_are_counted_and_a_full_cache_is_not_walked_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "MOST_ANSWERS", 32)
    walks = itertools.count()
    walk = stores.Store._walk
    monkeypatch.setattr(stores.Store, "_walk", lambda self: (next(walks), walk(self))[1])
    store = stores.Store(tmp_path, tmp_path / "settings")
    store.set(stores.Settings(limit_bytes=1 << 30))
    digest = hashlib.sha256(b"").hexdigest()  # as of the versions of a Go module that has none
    for number in range(64):
        partial = store.partial()
        assert partial is not None
        with partial:
            path = f"/example.org/{number}/@v/list"
            store.keep(stores.Answer("proxy.golang.org", path, "*/*", False, digest, 0, (), time.time()), partial)
    assert next(walks) <= 64 / 3 and 30 <= len(store.all()) <= 32


def test_what_a_killed_daemon_left_is_let_go(tmp_path: Path) -> None:
    store = stores.Store(tmp_path, tmp_path / "settings")
    partial = store.partial()
    assert partial is not None
    partial.close()
    (tmp_path / "answers" / "ab").mkdir(parents=True)
    (tmp_path / "answers" / "ab" / "abcd.json").write_text('{"host": "pypi')
    store.begin()
    assert not (tmp_path / "partial").exists() and not store.all() and not store.shrink(0)[0]


WAYS = [
    "Authorization: Basic eDp5",
    "Cookie: a=b",
    "Range: bytes=0-1",
    "Content-Length: 3",
    "Transfer-Encoding: chunked",
]


@pytest.mark.parametrize("line", WAYS)
def test_what_only_one_guest_may_have_is_never_kept(line: str) -> None:
    name, _, value = line.partition(": ")
    header = (name.lower().encode(), value.encode())
    assert wanted(FILES, b"GET", PLACE.encode(), []) is not None
    assert wanted(FILES, b"GET", PLACE.encode(), [header]) is None


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"PUT", b"get"])
def test_only_what_is_read_is_kept(method: bytes) -> None:
    assert wanted(FILES, method, PLACE.encode(), []) is None


@pytest.mark.parametrize(
    ("host", "path", "lasting"),
    [
        ("pypi.org", "/simple/six/", False),
        (FILES, PLACE + ".metadata", True),
        ("registry.npmjs.org", "/is-odd", False),
        ("registry.npmjs.org", "/@types%2fnode", False),
        ("registry.npmjs.org", "/@types/node/-/node-22.0.0.tgz", True),
        ("registry.yarnpkg.com", "/is-odd/-/is-odd-3.0.1.tgz", True),
        ("index.crates.io", "/config.json", False),
        ("index.crates.io", "/se/rd/serde", False),
        ("index.crates.io", "/3/l/log", False),
        ("static.crates.io", "/crates/serde/1.0.0/download", True),
        ("proxy.golang.org", "/github.com/!burnt!sushi/toml/@v/v1.0.0.zip", True),
        ("proxy.golang.org", "/golang.org/x/net/@v/v2.0.0-!r!c1+incompatible.mod", True),
        ("proxy.golang.org", "/golang.org/x/net/@v/list", False),
        ("deb.debian.org", "/debian/dists/bookworm/InRelease", False),
        ("deb.debian.org", "/debian/pool/main/g/g++/g++_12.2-1_amd64.deb", True),
        ("security.debian.org", "/debian-security/dists/bookworm-security/InRelease", False),
    ],
)
def test_what_registries_serve(host: str, path: str, lasting: bool) -> None:
    found = wanted(host, b"GET", path.encode(), [])
    assert found is not None and found.lasting is lasting


@pytest.mark.parametrize(
    "path",
    [
        "/simple/six/?a=1",
        "/simple/six",
        "/simple//",
        "/simple/../x/",
        "/simple/six/\r\n",
        "/simple/%2e%2e/",
        "/-/ping",
        "*",
    ],
)
def test_garbage_is_not_kept(path: str) -> None:
    assert wanted("pypi.org", b"GET", path.encode(), []) is None


@pytest.mark.parametrize("version", ["v2", "v2.1", "v2-dev", "vendored", "v1.2.x"])
def test_a_branch_of_a_go_module_is_not_taken_for_a_version(version: str) -> None:
    assert wanted("proxy.golang.org", b"GET", f"/example.org/m/@v/{version}.info".encode(), []) is None


@given(st.sampled_from(sorted(REGISTRIES)), st.binary(max_size=600), st.lists(st.tuples(st.binary(), st.binary())))
def test_any_request_means_a_plain_path_or_nothing(
    host: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    found = wanted(host, b"GET", target, headers)
    if found is not None:
        assert found.path.encode() == target and found.path.startswith("/") and found.path.isprintable()
        assert not set(found.path) & set(" ?#\\\r\n") and "/../" not in found.path
