"""The parsers behind sockets: real ones, with the other side's bytes written to them, then the end of the stream."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import json
import logging
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pyro_mcp.daemon.app import App
from pyro_mcp.daemon.call import Call
from pyro_mcp.guest import frames
from pyro_mcp.guest.duplex import Streams, duplex
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.models import WorkspaceList
from pyro_mcp.network.authority import Authority
from pyro_mcp.network.connection import EgressEvent
from pyro_mcp.network.egress import EgressProxy
from pyro_mcp.network.guest_tls import accept_tls
from pyro_mcp.network.intercept import serve_intercepted
from pyro_mcp.network.policy import EgressPolicy, IPAddress
from pyro_mcp.network.ssh_agent import SshAgent, SshHost
from pyro_mcp.network.ssh_wire import SESSION_BIND, public_of, sign, string
from pyro_mcp.operations import Operation
from tests.fuzz.engine import Target

SECONDS = 60.0
"""Until an input that nothing comes of counts as one that hangs."""
SPLIT = b"\0\xfe\0"
"""Between what the guest says and what the host answers."""


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for the process; what a task leaves unhandled is a finding."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: _unhandled.append(context))
    asyncio.set_event_loop(loop)
    return loop


_unhandled: list[dict[str, Any]] = []


def _in_loop(run: Callable[[bytes], Coroutine[Any, Any, None]]) -> Callable[[bytes], None]:
    def target(data: bytes) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(SECONDS):
                await run(data)
            await asyncio.sleep(0)

        _unhandled.clear()
        try:
            _loop().run_until_complete(bounded())
        except TimeoutError:
            raise AssertionError(f"nothing came of it in {SECONDS:g} s") from None
        assert not _unhandled, _unhandled

    return target


async def _pair() -> tuple[Streams, Streams]:
    import socket

    one, other = socket.socketpair()
    return await asyncio.open_unix_connection(sock=one), await asyncio.open_unix_connection(sock=other)


async def _say(streams: Streams, data: bytes) -> bytes:
    """Say all, then the end, reading meanwhile; what came."""

    async def say() -> None:
        try:
            streams[1].write(data)
            await streams[1].drain()
            streams[1].write_eof()
        except (OSError, RuntimeError):
            pass

    async def hear() -> bytes:
        heard = b""
        try:
            while piece := await streams[0].read(65536):
                heard += piece
        except OSError:
            pass
        return heard

    _, heard = await asyncio.gather(say(), hear())
    streams[1].close()
    return heard


# -- a guest's stream with two ends


async def _duplex(data: bytes) -> None:
    ours, theirs = await _pair()

    async def read() -> None:
        try:
            reader, writer = await duplex(ours)
            try:
                while await reader.read(65536):
                    pass
            finally:
                writer.close()
        except OSError:
            ours[1].close()

    await asyncio.gather(read(), _say(theirs, data))


def _duplex_seeds() -> Iterator[bytes]:
    yield frames.encode(frames.DATA, b"hello") + frames.encode(frames.END)
    yield frames.encode(frames.END) + frames.encode(frames.DATA, b"after")
    yield frames.encode(frames.DATA, b"") + frames.encode(frames.STDIN, b"x")


# -- the egress proxy


async def _egress(data: bytes) -> None:
    said, _, answered = data.partition(SPLIT)

    async def origin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _say((reader, writer), answered)

    server = await asyncio.start_server(origin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def here(host: str, wanted: int) -> list[IPAddress]:
        return [ipaddress.ip_address("127.0.0.1")]

    events: list[EgressEvent] = []
    proxy = EgressProxy(EgressPolicy(), on_event=events.append, resolver=here, check=lambda address: None)
    ours, theirs = await _pair()

    async def serve() -> None:
        try:
            await proxy.serve(*ours)
        except OSError:
            pass  # as whoever serves takes it: the connection is over
        finally:
            ours[1].close()

    try:
        said = said.replace(b"PORT", str(port).encode()).replace(b"\xf0\x0d", port.to_bytes(2, "big"))
        await asyncio.gather(serve(), _say(theirs, said))
    finally:
        server.close()
    assert all(event.verdict in ("allowed", "refused", "failed") for event in events)


def _egress_seeds() -> Iterator[bytes]:
    answer = SPLIT + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    yield b"GET http://a.test:PORT/x?y HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n" + answer
    chunked = b"POST http://a.test:PORT/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    yield (
        chunked
        + SPLIT
        + b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    )
    yield b"CONNECT a.test:PORT HTTP/1.1\r\nHost: a\r\n\r\nhello" + SPLIT + b"raw"
    yield b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\xf0\x0dhello" + SPLIT + b"raw"
    yield b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\xf0\x0d" + SPLIT
    yield b"\x05\x01\x00\x05\x01\x00\x04" + b"\x20" * 16 + b"\xf0\x0d" + SPLIT


# -- the TLS that is taken apart


@functools.cache
def _authority() -> Authority:
    return Authority.create("fuzz")


async def _tls(data: bytes) -> None:
    ours, theirs = await _pair()

    async def accept() -> None:
        try:
            early, rest = data[:1], data[1:]
            telling = asyncio.ensure_future(_say(theirs, rest))
            try:
                _, writer = await accept_tls(ours, _authority().server_context("a.test"), early)
                writer.close()
            except OSError:
                pass
            await telling
        finally:
            ours[1].close()

    await accept()


def _hello() -> bytes:
    import ssl

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    talk = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
    try:
        talk.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def _tls_seeds() -> Iterator[bytes]:
    yield _hello()
    yield b"\x16\x03\x01\xff\xff\x01"
    yield b"GET / HTTP/1.1\r\n\r\n"


async def _inside(data: bytes) -> None:
    """What a guest says within that TLS, and what the host answers."""
    said, _, answered = data.partition(SPLIT)
    guest, guests_end = await _pair()
    upstream, hosts_end = await _pair()
    secret = Substitution({"pyro-secret-K-1": "v4lue-of-it"})

    async def serve() -> None:
        try:
            await serve_intercepted(guest, upstream, "a.test", secret, {"bytes_up": 0, "bytes_down": 0})
        except OSError:
            pass

    _, heard, _ = await asyncio.gather(serve(), _say(guests_end, said), _say(hosts_end, answered))
    assert b"v4lue-of-it" not in heard, heard


def _inside_seeds() -> Iterator[bytes]:
    ask = b"GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: pyro-secret-K-1\r\n\r\n" + SPLIT
    yield ask + b"HTTP/1.1 200 OK\r\nX: v4lue-of-it\r\nContent-Length: 11\r\n\r\nv4lue-of-it"
    yield ask + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nv4lue\r\n6\r\n-of-it\r\n0\r\n\r\n"
    yield (
        b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw"
        + SPLIT
        + (b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nv4lue-of-it")
    )


# -- the daemon's door


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(self.format(record))


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        import contextlib

        return contextlib.nullcontext()


class _Daemon:
    """The real application and server, on a unix socket; its operations answer at once."""

    def __init__(self) -> None:
        self.place = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.socket = str(Path(self.place.name, "s"))
        self.errors = _Errors()
        logging.getLogger().addHandler(self.errors)
        app = App(_answer_at_once, lambda: None, Path(self.place.name))
        config = uvicorn.Config(
            app,
            uds=self.socket,
            http="h11",
            loop="asyncio",
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
        )
        self.server = _Server(config)
        self.serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self.serving is None:
            self.serving = asyncio.ensure_future(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.01)


async def _answer_at_once(operation: Operation, call: Call, arguments: dict[str, Any]) -> WorkspaceList:
    json.dumps(arguments)  # what an operation gets, it can hand on
    return WorkspaceList(workspaces=[])


@functools.cache
def _daemon() -> _Daemon:
    return _Daemon()


async def _door(data: bytes) -> None:
    daemon = _daemon()
    await daemon.start()
    daemon.errors.seen.clear()
    heard = await _say(await asyncio.open_unix_connection(daemon.socket), data)
    assert b"bug in pyro" not in heard and b"Traceback" not in heard and b" 500 " not in heard, heard
    # uvicorn says 400 to a body that breaks off, and then logs that the answer of the application comes too late.
    seen = [text for text in daemon.errors.seen if "LocalProtocolError" not in text or b" 400 " not in heard]
    assert not seen, seen[0][-3000:]
    health = b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    heard = await _say(await asyncio.open_unix_connection(daemon.socket), health)
    assert b" 200 " in heard, heard


def _post(operation: str, body: bytes, more: bytes = b"") -> bytes:
    head = b"POST /v1/operations/%b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n"
    return head % (operation.encode(), more, len(body)) + body


def _door_seeds() -> Iterator[bytes]:
    yield b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n"
    yield _post("list_workspaces", b"{}", b"pyro-events: yes\r\npyro-project: %ff%2f\r\n")
    yield _post("exec_workspace", b'{"workspace":"a","command":["x"],"env":{"A":"b"},"timeout_seconds":1e3}')
    yield _post("write_workspace_file", b'{"workspace":"a","path":"\\ud800","text":"\\u0000"}')
    yield _post("create_workspace", b'{"environment":' + b"9" * 5000 + b"}")
    yield _post("create_workspace", b"[" * 60000)
    yield _post("create_workspace", b'{"labels":' + b'{"a":' * 20000)
    yield _post("x", b"\xff\xfe")
    yield b"POST /v1/operations/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"


# -- the ssh agent


class _Ring:
    """One key, and one server that is known."""

    def __init__(self) -> None:
        self.key, self.server = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.public, self.known = public_of(self.key), public_of(self.server)

    async def host_keys(self, host: SshHost) -> frozenset[bytes]:
        return frozenset({self.known})

    async def identities(self, hosts: tuple[SshHost, ...]) -> Mapping[bytes, str]:
        return {self.public: "key"}

    async def sign(self, key: bytes, data: bytes, flags: int, bind: bytes) -> bytes:
        assert key == self.public and data.startswith(string(b"S") + b"\x32"), "it signs what is not a login"
        return sign(self.key, data, flags)


_ring = functools.cache(_Ring)


async def _ssh(data: bytes) -> None:
    """A connection: messages one after the other, some of them cut."""
    agent = SshAgent((SshHost("git.example", 22, "git"),), _ring(), lambda *_: None)
    for message in data.split(SPLIT)[:16]:
        assert (await agent.answer(message))[0] in (5, 6, 12, 14)


def _ssh_seeds() -> Iterator[bytes]:
    ring = _ring()
    bind = string(SESSION_BIND) + string(ring.known) + string(b"S") + string(sign(ring.server, b"S", 0))
    login = string(b"S") + b"\x32" + string(b"git") + string(b"ssh-connection") + string(b"publickey") + b"\x01"
    login += string(b"ssh-ed25519") + string(ring.public)
    request = b"\x0d" + string(ring.public) + string(login) + bytes(4)
    yield SPLIT.join([b"\x1b" + bind + b"\0", b"\x0b", request])
    yield SPLIT.join([b"\x1b" + bind + b"\1", request])
    yield b"\x1b" + string(SESSION_BIND) + b"\xff" * 40


TARGETS = (
    Target("guest-duplex", _in_loop(_duplex), _duplex_seeds, ()),
    Target("egress", _in_loop(_egress), _egress_seeds, ()),
    Target("tls-hello", _in_loop(_tls), _tls_seeds, ()),
    Target("tls-inside", _in_loop(_inside), _inside_seeds, ()),
    Target("daemon-http", _in_loop(_door), _door_seeds, ()),
    Target("ssh-agent", _in_loop(_ssh), _ssh_seeds, ()),
)
