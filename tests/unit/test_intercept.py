"""Interception: a workspace's authority, and secrets into one host's request headers and never back. The TLS is real,
over loopback; the guest is Python's http.client or curl in the test's own thread, the proxy's loop runs in another."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import http.client
import http.server
import json
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.network.authority import MAX_CONTEXTS, Authority
from pyro_mcp.network.guest_tls import accept_tls
from pyro_mcp.network.intercept import serve_intercepted

HOST = "api.example.test"
PLACEHOLDER = "pyro-secret-API_KEY-3f9a7c"
SECRET = 's3cr3t/"value"+Zz~9'
BLOCK = hashlib.sha512(b"block").digest() * 1024


class Origin(http.server.BaseHTTPRequestHandler):
    """The real host: echoes, counts, streams, upgrades."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, dict[str, str]]]

    def log_message(self, format: str, *args: object) -> None:
        pass

    def reply(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> Iterator[bytes]:
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        left = int(self.headers["Content-Length"] or 0)
        while left:
            data = self.rfile.read(min(left, 65536))
            if not data:
                return
            left -= len(data)
            yield data

    def handle_any(self) -> None:
        self.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        path = self.path.partition("?")[0]
        if path == "/upload":
            digest = hashlib.sha256()
            for data in self.body():
                digest.update(data)
            self.reply(digest.hexdigest().encode())
        elif path == "/download":
            count = int(self.path.partition("?")[2])
            self.send_response(200)
            self.send_header("Content-Length", str(count * len(BLOCK)))
            self.end_headers()
            for _ in range(count):
                self.wfile.write(BLOCK)
        elif path == "/chunked":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            authorization = self.headers["Authorization"].encode()
            for piece in (b"one ", authorization[:12], authorization[12:], b" two"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        elif path.startswith("/compressed/"):
            kind = path.rpartition("/")[2]
            said = b"one " * 10_000 + self.headers["Authorization"].encode() + b" two" * 10_000
            packed = gzip.compress(said) if kind == "gzip" else zlib.compress(said) if kind == "deflate" else said
            packed = packed + gzip.compress(b" three") if kind == "gzip" else packed
            self.send_response(206 if kind == "part" else 200)
            self.send_header("Content-Encoding", {"part": "gzip", "cut": "gzip", "lie": "gzip"}.get(kind, kind))
            packed = gzip.compress(said)[:-30] if kind == "cut" else packed
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(packed)
        elif path == "/until-close":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"to the end")
            self.close_connection = True
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"not all")
            self.close_connection = True
        elif path == "/vanish":
            self.close_connection = True
        elif path == "/upgrade":
            self.send_response(101)
            self.send_header("Upgrade", "echo")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            while data := self.connection.recv(65536):
                self.connection.sendall(data)
            self.close_connection = True
        elif path == "/nothing":
            self.send_response(204)
            self.end_headers()
        elif path == "/leave":
            self.reply(b"left")
            self.close_connection = True
        elif path == "/early":
            self.reply(b"early")
            assert sum(map(len, self.body())) == 8
        elif path == "/last":
            self.reply(b"last", Connection="close")
        else:
            echo = {f"X_Echo_{at}": f"{name}={value}" for at, (name, value) in enumerate(self.headers.items())}
            self.reply(json.dumps([self.path, dict(self.headers.items())]).encode(), **echo)

    do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = handle_any


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Guests that break off in the middle are what some tests are about."""


class Scene:
    """An origin, an intercepting proxy before it, and what each has seen."""

    def __init__(self, origin_port: int, seen: list[tuple[str, dict[str, str]]], ca_file: Path) -> None:
        self.seen = seen
        self.ca_file = ca_file
        self.counts = {"bytes_up": 0, "bytes_down": 0}
        self.served = threading.Semaphore(0)
        self.errors: list[dict[str, Any]] = []
        self.loop = asyncio.new_event_loop()
        self.workspace = Authority.create("test")
        self.trust = ssl.create_default_context(cadata=self.workspace.certificate_pem)
        self._origin_port = origin_port
        self._substitution = Substitution({PLACEHOLDER: SECRET})
        self.port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Scene]:
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        thread = threading.Thread(target=self.loop.run_forever)
        thread.start()
        try:
            server = asyncio.run_coroutine_threadsafe(
                asyncio.start_server(self._serve, "127.0.0.1", 0), self.loop
            ).result(10)
            self.port = server.sockets[0].getsockname()[1]
            yield self
            self.loop.call_soon_threadsafe(server.close)
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join()
            self.loop.close()
        assert not self.errors

    async def _end(self) -> None:
        """Every guest has left: so has everything that served it, or soon will."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=8)
            assert not pending

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # What has come before the TLS begins, in the caller's hands and in the reader's, counts.
            early = await reader.read(1)
            guest = await accept_tls((reader, writer), self.workspace.server_context(HOST), early)
            trust = ssl.create_default_context(cafile=str(self.ca_file))
            upstream = await asyncio.open_connection("127.0.0.1", self._origin_port, ssl=trust, server_hostname=HOST)
            await serve_intercepted(guest, upstream, HOST, self._substitution, self.counts)
        except OSError:
            pass
        finally:
            writer.close()
            await writer.wait_closed()
            self.served.release()

    def raw(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.trust.wrap_socket(plain, server_hostname=HOST)

    def connection(self) -> Guest:
        return Guest(self)

    def get(self, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.closing(self.connection()) as connection:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            response = connection.getresponse()
            return response, response.read()


class Guest(http.client.HTTPConnection):
    """An HTTP client that trusts the workspace's authority."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(HOST, timeout=20)
        self._scene = scene
        self.connects = 0

    def connect(self) -> None:
        self.connects += 1
        self.sock = self._scene.raw()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    authority = Authority.create("the world")
    ca_file = tmp_path / "world.pem"
    ca_file.write_text(authority.certificate_pem)
    handler = type("Handler", (Origin,), {"seen": []})
    origin = Server(("127.0.0.1", 0), handler)
    origin.socket = authority.server_context(HOST).wrap_socket(origin.socket, server_side=True)
    thread = threading.Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with Scene(origin.server_address[1], handler.seen, ca_file).running() as scene:  # type: ignore[attr-defined]
            yield scene
    finally:
        origin.shutdown()
        thread.join()
        origin.server_close()


# -- substitution


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("name", "sent", "arrives"),
    [
        ("X-Api-Key", PLACEHOLDER, SECRET),
        ("Authorization", f"Bearer {PLACEHOLDER}", f"Bearer {SECRET}"),
        ("Authorization", basic(f"user:{PLACEHOLDER}"), basic(f"user:{SECRET}")),
        ("Proxy-Authorization", basic(f"{PLACEHOLDER}:"), basic(f"{SECRET}:")),
        ("Authorization", f"Basic {PLACEHOLDER}", f"Basic {SECRET}"),
        ("Authorization", basic("user:other"), basic("user:other")),
        ("Cookie", f"a={PLACEHOLDER}; b={PLACEHOLDER}", f"a={SECRET}; b={SECRET}"),
    ],
)
def test_the_host_gets_the_value_in_a_header(scene: Scene, name: str, sent: str, arrives: str) -> None:
    response, _ = scene.get("/echo", **{name: sent})
    assert response.status == 200
    [(_, headers)] = scene.seen
    assert headers[name.lower()] == arrives
    assert headers["accept-encoding"] == "identity"


def test_a_path_keeps_the_placeholder(scene: Scene) -> None:
    path = f"/echo/{PLACEHOLDER}?key={PLACEHOLDER}"
    scene.get(path)
    assert scene.seen[0][0] == path


@pytest.mark.parametrize("host", ["other.test", f"{HOST}.other.test", f"other.test:443@{HOST}", "", f"x{HOST}"])
def test_a_request_that_names_another_host_is_misdirected(scene: Scene, host: str) -> None:
    response, body = scene.get("/echo", Host=host, Authorization=f"Bearer {PLACEHOLDER}")
    assert response.status == 421
    assert HOST.encode() in body
    assert scene.seen == []


@pytest.mark.parametrize("host", [HOST, f"{HOST}:443", HOST.upper(), f"{HOST}."])
def test_other_spellings_of_the_host_are_the_host(scene: Scene, host: str) -> None:
    assert scene.get("/echo", Host=host)[0].status == 200


def test_the_value_does_not_come_back(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        lines = [
            "GET /echo HTTP/1.1", f"Host: {HOST}", f"Authorization: {basic(f'user:{PLACEHOLDER}')}",
            f"X-Key: {PLACEHOLDER}", "Connection: close", "", "",
        ]  # fmt: skip
        connection.sendall("\r\n".join(lines).encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    [(_, headers)] = scene.seen
    assert headers["x-key"] == SECRET
    assert b"X-Key=" + b"*" * len(SECRET) in received
    assert SECRET.encode() not in received
    assert json.dumps(SECRET)[1:-1].encode() not in received
    assert basic(f"user:{SECRET}").encode()[12:] not in received


def test_a_value_split_over_chunks_does_not_come_back(scene: Scene) -> None:
    _, body = scene.get("/chunked", Authorization=f"Bearer {PLACEHOLDER}")
    assert body == b"one Bearer " + b"*" * len(SECRET) + b" two"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_value_in_an_answer_that_was_compressed_all_the_same_does_not_come_back(scene: Scene, coding: str) -> None:
    response, body = scene.get(f"/compressed/{coding}", Authorization=f"Bearer {PLACEHOLDER}")
    end = b" three" if coding == "gzip" else b""
    assert response.status == 200
    assert body == b"one " * 10_000 + b"Bearer " + b"*" * len(SECRET) + b" two" * 10_000 + end


@pytest.mark.parametrize("coding", ["br", "part", "zstd"])
def test_an_answer_in_which_no_value_can_be_looked_for_is_refused(scene: Scene, coding: str) -> None:
    response, body = scene.get(f"/compressed/{coding}", Authorization=f"Bearer {PLACEHOLDER}")
    assert response.status == 502 and b"cannot be searched for secrets" in body


@pytest.mark.parametrize("coding", ["cut", "lie"])
def test_an_answer_that_is_not_the_compressed_one_it_says_is_not_taken_for_a_whole_one(
    scene: Scene, coding: str
) -> None:
    try:
        response, body = scene.get(f"/compressed/{coding}", Authorization=f"Bearer {PLACEHOLDER}")
    except (http.client.HTTPException, OSError):
        return
    assert response.status == 502 and SECRET.encode() not in body


def test_a_refusal_of_what_is_no_http_does_not_repeat_it(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n: {SECRET}\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400 ") and SECRET.encode() not in received


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\0b", "", " a", "a\x7f"])
def test_values_that_cannot_stand_in_a_header_are_refused(value: str) -> None:
    with pytest.raises(ValueError):
        Substitution({PLACEHOLDER: value})


def test_a_value_is_not_searched_for_placeholders_and_the_longest_placeholder_wins() -> None:
    substitution = Substitution({"key-1": "key-12", "key-12": "other"})
    assert substitution.header(b"X", b"key-1 key-12") == b"key-12 other"


# -- HTTP


def test_one_connection_serves_many_requests(scene: Scene) -> None:
    with contextlib.closing(scene.connection()) as connection:
        for path in ("/echo/1", "/echo/2", "/nothing", "/echo/3"):
            connection.request("GET", path)
            connection.getresponse().read()
        connection.request("HEAD", "/echo/4")
        response = connection.getresponse()
        assert response.read() == b"" and int(response.headers["Content-Length"]) > 0
        connection.request("POST", "/upload", body=iter([b"in ", b"chunks"]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        assert connection.getresponse().read().decode() == hashlib.sha256(b"in chunks").hexdigest()
        assert connection.connects == 1
    assert [path for path, _ in scene.seen] == ["/echo/1", "/echo/2", "/nothing", "/echo/3", "/echo/4", "/upload"]


def test_pipelined_requests_are_answered_in_order(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        one = f"GET /download?1 HTTP/1.1\r\nHost: {HOST}\r\n"
        connection.sendall(f"{one}\r\n{one}\r\n{one}Connection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200") == 3 and received.count(BLOCK) == 3


def test_large_bodies_come_through_whole_and_are_counted(scene: Scene) -> None:
    body = BLOCK * (5 * 1024 * 1024 // len(BLOCK))
    with contextlib.closing(scene.connection()) as connection:
        connection.request("POST", "/upload", body=body)
        assert connection.getresponse().read().decode() == hashlib.sha256(body).hexdigest()
        count = 20 * 1024 * 1024 // len(BLOCK)
        connection.request("GET", f"/download?{count}")
        received = connection.getresponse().read()
    assert hashlib.sha256(received).digest() == hashlib.sha256(BLOCK * count).digest()
    assert scene.counts == {"bytes_up": len(body), "bytes_down": 64 + len(received)}


def test_a_body_that_ends_with_the_connection_ends_the_guests(scene: Scene) -> None:
    response, body = scene.get("/until-close")
    assert body == b"to the end" and response.headers["Connection"] == "close"
    response, body = scene.get("/last")
    assert body == b"last" and response.headers["Connection"] == "close"


def test_a_body_that_is_cut_off_is_not_taken_for_a_whole_one(scene: Scene) -> None:
    with pytest.raises((http.client.IncompleteRead, OSError)):
        scene.get("/cut")


def test_a_host_that_leaves_without_an_answer_is_a_bad_gateway(scene: Scene) -> None:
    response, body = scene.get("/vanish")
    assert response.status == 502 and HOST.encode() in body


def test_a_host_that_leaves_between_requests_takes_the_guests_connection_along(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        connection.sendall(f"GET /leave HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.endswith(b"left")


def test_an_answer_may_come_before_the_request_is_complete(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        head = f"POST /early HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 8\r\n\r\n"
        for _ in range(2):
            connection.sendall(head.encode() + b"four")
            until(connection, b"\r\n\r\nearly")
            connection.sendall(b"more")
    assert [path for path, _ in scene.seen] == ["/early", "/early"]


def test_a_refusal_reaches_a_guest_that_is_still_sending(scene: Scene) -> None:
    with contextlib.closing(scene.connection()) as connection:
        connection.request("POST", "/upload", body=BLOCK * 80, headers={"Host": "other.test"})
        assert connection.getresponse().status == 421


def test_an_expectation_is_passed_on_and_answered_by_the_host(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        head = f"PUT /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"body")
        assert hashlib.sha256(b"body").hexdigest().encode() in until(connection, b"\r\n\r\n", 64)
    assert scene.seen[0][1]["expect"] == "100-continue"


def test_after_an_upgrade_bytes_go_both_ways_and_values_still_do_not_come_back(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        head = f"GET /upgrade HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nearly"
        connection.sendall(head.encode())
        assert b" 101 " in until(connection, b"\r\n\r\n", 5)
        for line in (b"ends as the value begins: s", b"\0\xff binary"):
            connection.sendall(line)
            assert until(connection, line) == line
        connection.sendall(SECRET.encode() + b".")
        assert until(connection, b".") == b"*" * len(SECRET) + b"."
        connection.sendall(PLACEHOLDER.encode())
        assert until(connection, PLACEHOLDER.encode()) == PLACEHOLDER.encode()


def until(connection: ssl.SSLSocket, end: bytes, more: int = 0) -> bytes:
    """Read up to `end` and `more` bytes."""
    received = b""
    while end not in received or len(received) < received.index(end) + len(end) + more:
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0\1\2\3\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n", b"CONNECT HOST:443 HTTP/1.1\r\nHost: HOST\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\nnot hexadecimal\r\n",
        b"GET / HTTP/1.1\r\nHost: HOST\r\nX: a\0b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: HOST\r\nX : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)  # fmt: skip
def test_hostile_bytes_are_a_bad_request_and_a_close(scene: Scene, request_bytes: bytes) -> None:
    with contextlib.closing(scene.raw()) as connection:
        connection.sendall(request_bytes.replace(b"HOST", HOST.encode()))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert all(path == "/upload" for path, _ in scene.seen)


def test_headers_without_end_are_too_large(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX: ".encode() + b"x" * 66_000)
        assert connection.recv(1024).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("sent", [b"", b"not TLS at all, " * 8, b"\x16\x03\x01\x02\x00\x01"])
def test_a_guest_that_speaks_no_tls_is_let_go(scene: Scene, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", scene.port), timeout=20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert scene.served.acquire(timeout=20)


def test_a_guest_that_leaves_before_the_answer_frees_both_sides(scene: Scene) -> None:
    with contextlib.closing(scene.raw()) as connection:
        head = f"GET /upgrade HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
        connection.sendall(head.encode())
        until(connection, b"\r\n\r\n")
    assert scene.served.acquire(timeout=20)
    with contextlib.closing(scene.raw()) as connection:
        connection.sendall(f"POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9\r\n\r\nfour".encode())
    assert scene.served.acquire(timeout=20)


# -- the authority


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> ssl.SSLObject:
    """A TLS handshake in memory; the client's side of it."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    far = server.wrap_bio(one, other, server_side=True)
    near = client.wrap_bio(other, one, server_hostname=host)
    steps: list[Callable[[], None]] = [near.do_handshake, far.do_handshake, near.do_handshake, far.do_handshake]
    for step in steps:
        with contextlib.suppress(ssl.SSLWantReadError):
            step()
    return near


@pytest.mark.parametrize(
    "host", [HOST, "EXAMPLE.test.", "bücher.example", "192.0.2.7", "2001:db8::7", "x" * 63 + ".test"]
)
@pytest.mark.parametrize("reloaded", [False, True])
def test_a_leaf_proves_to_be_its_host_and_no_other(host: str, reloaded: bool) -> None:
    authority = Authority.create("w" * 80)
    if reloaded:
        authority = Authority.load(authority.dump())
    client = ssl.create_default_context(cadata=authority.certificate_pem)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.set_alpn_protocols(["h2", "http/1.1"])
    near = handshake(authority.server_context(host), client, host.rstrip("."))
    assert near.version() == "TLSv1.3" and near.selected_alpn_protocol() == "http/1.1"
    for other in ("other.test", "192.0.2.8", f"sub.{HOST}"):
        with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid"):
            handshake(authority.server_context(host), client, other)
    stranger = ssl.create_default_context(cadata=Authority.create("w" * 80).certificate_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authority.server_context(host), stranger, host.rstrip("."))


def test_contexts_are_kept_by_host_and_not_without_bound() -> None:
    authority = Authority.create("w")
    first = authority.server_context(HOST)
    assert authority.server_context(HOST.upper() + ".") is first
    for at in range(MAX_CONTEXTS):
        authority.server_context(f"h{at}.test")
    assert authority.server_context(HOST) is not first


def test_a_dump_of_two_authorities_is_refused() -> None:
    one, other = Authority.create("w"), Authority.create("w")
    with pytest.raises(ValueError):
        Authority.load(one.dump().partition(b"-----BEGIN CERT")[0] + other.certificate_pem.encode())
    with pytest.raises(ValueError):
        Authority.load(b"nothing")
