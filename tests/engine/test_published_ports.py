"""Published ports: a guest's server reached from this computer, byte for byte, and only as asked."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.models import NetworkPolicy, Service
from pyro_mcp.sdk import Pyro
from tests.conftest import ENVIRONMENT
from tests.support import Installation, wait_until

POLICY: NetworkPolicy = "egress+published-ports"
SIZE = 32 << 20
SERVER = r"""
import asyncio, hashlib, os, sys
BLOCK = bytes(range(256)) * 256
SIZE = 32 << 20
async def serve(reader, writer):
    line = (await reader.readline()).strip()
    if line == b"take":                     # read to the end, then tell what came
        digest, size = hashlib.sha256(), 0
        while data := await reader.read(65536):
            digest.update(data); size += len(data)
        writer.write(f"{size} {digest.hexdigest()}\n".encode())
    elif line == b"give":
        for _ in range(SIZE // len(BLOCK)):
            writer.write(BLOCK); await writer.drain()
    elif line == b"last":                   # a reply, and then the service ends
        for _ in range(64):
            writer.write(BLOCK); await writer.drain()
        writer.close(); await writer.wait_closed(); os._exit(0)
    elif line == b"die":
        os._exit(7)
    elif line == b"upgrade":                # both ways from then on
        writer.write(b"101\n")
        async def ticks():
            for n in range(3):
                await asyncio.sleep(0.05); writer.write(b"tick\n")
        task = asyncio.create_task(ticks())
        while message := await reader.readline():
            writer.write(b"echo " + message); await writer.drain()
        await task
    elif line.startswith(b"GET"):           # HTTP, connection kept
        while True:
            while (header := await reader.readline()).strip():
                pass
            body = line.split()[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            line = await reader.readline()
            if not line:
                break
    await writer.drain(); writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 7000)
    open("/run/ready", "w").close()
    await server.serve_forever()
asyncio.run(main())
"""


@pytest.fixture
def published(pyro: Pyro) -> str:
    """A workspace that may publish, with the server's text in it."""
    workspace = pyro.create_workspace(ENVIRONMENT, network_policy=POLICY).id
    pyro.write_workspace_file(workspace, "server.py", SERVER)
    return workspace


def serve(pyro: Pyro, workspace: str, *publish: str, name: str = "srv") -> Service:
    service = pyro.start_service(
        workspace, name, ["python3", "server.py"], ready_tcp=7000, publish=list(publish) or ["7000"]
    )
    assert service.state == "running", service.failure
    return service


def port_of(service: Service) -> int:
    return service.published_ports[0].host_port


@contextlib.contextmanager
def client(port: int, first: bytes = b"", host: str = "127.0.0.1") -> Iterator[socket.socket]:
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(first)
        yield connection


def refused(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=10).close()
    except ConnectionRefusedError:
        return True
    return False


def everything(connection: socket.socket) -> bytes:
    data = bytearray()
    while piece := connection.recv(65536):
        data += piece
    return bytes(data)


def other_address() -> str | None:
    """An address of this computer that is not the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def taken_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize("policy", ["off", "egress"])
def test_publishing_needs_its_policy(pyro: Pyro, policy: str) -> None:
    workspace = pyro.create_workspace(ENVIRONMENT, network_policy=policy).id  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"egress\+published-ports"):
        pyro.start_service(workspace, "srv", "touch started", publish=["7000"])
    assert pyro.list_services(workspace).services == []
    assert "started" not in pyro.exec_workspace(workspace, "ls").stdout


@pytest.mark.parametrize(
    "wrong", ["", "x", "0", "70000", "1:2:3:4", "nowhere:1:2", "-1", "80 ", "8_0", ":80", "\u0661"]
)
def test_what_is_no_port_is_refused(pyro: Pyro, published: str, wrong: str) -> None:
    with pytest.raises(InvalidInput):
        pyro.start_service(published, "srv", "touch started", publish=[wrong])
    assert pyro.list_services(published).services == []


def test_a_port_is_chosen_or_given_and_is_this_machines_alone(pyro: Pyro, published: str) -> None:
    with taken_port() as held:
        wanted = held.getsockname()[1]
    service = serve(pyro, published, "7000", f"{wanted}:7000", "0.0.0.0:0:7000")
    chosen, given, everywhere = service.published_ports
    assert (chosen.host, given.host, everywhere.host) == ("127.0.0.1", "127.0.0.1", "0.0.0.0")
    assert given.host_port == wanted
    for port in (chosen, given, everywhere):
        with client(port.host_port, b"take\nabc") as connection:
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection).startswith(b"3 ")
    address = other_address()
    if address is not None:
        assert refused(chosen.host_port, address)
        assert not refused(everywhere.host_port, address)


def test_a_taken_port_starts_nothing_and_leaks_nothing(pyro: Pyro, published: str) -> None:
    with taken_port() as held, taken_port() as free:
        taken, first = held.getsockname()[1], free.getsockname()[1]
        free.close()
        with pytest.raises(Conflict, match=str(taken)):
            pyro.start_service(published, "srv", "touch started", publish=[f"{first}:7000", f"{taken}:7000"])
        with pytest.raises(Conflict, match=str(first)):
            pyro.start_service(published, "srv", "touch started", publish=[f"{first}:7000", f"{first}:7001"])
        assert pyro.list_services(published).services == []
        assert "started" not in pyro.exec_workspace(published, "ls").stdout
        assert refused(first)
        with pytest.raises(Exception, match="no-such-program"):
            pyro.start_service(published, "srv", ["no-such-program"], publish=[f"{first}:7000"])
        assert refused(first)


def test_many_requests_use_one_connection(pyro: Pyro, published: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(serve(pyro, published)), timeout=30)
    connection.connect()
    local = connection.sock.getsockname()
    for number in range(300):
        connection.request("GET", f"/{number}")
        assert connection.getresponse().read() == f"/{number}".encode()
        assert connection.sock.getsockname() == local
    connection.close()


def test_32_mib_pass_both_ways_at_a_slow_readers_pace(pyro: Pyro, published: str) -> None:
    port = port_of(serve(pyro, published))
    data = os.urandom(SIZE)
    with client(port, b"take\n") as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).split() == [str(SIZE).encode(), hashlib.sha256(data).hexdigest().encode()]
    expected = hashlib.sha256(bytes(range(256)) * (SIZE // 256)).hexdigest()
    with client(port, b"give\n") as connection:
        digest, size, pauses = hashlib.sha256(), 0, threading.Event()
        while piece := connection.recv(1 << 20):
            digest.update(piece)
            size += len(piece)
            if size % 7 == 0:
                pauses.wait(0.005)
        assert (size, digest.hexdigest()) == (SIZE, expected)


def test_a_client_that_ends_its_side_still_gets_the_whole_reply(pyro: Pyro, published: str) -> None:
    with client(port_of(serve(pyro, published)), b"give\n") as connection:
        connection.shutdown(socket.SHUT_WR)
        assert len(everything(connection)) == SIZE


def test_an_upgraded_connection_speaks_both_ways_after_silence(pyro: Pyro, published: str) -> None:
    with client(port_of(serve(pyro, published)), b"upgrade\n") as connection, connection.makefile("rb") as lines:
        assert [lines.readline() for _ in range(4)] == [b"101\n", *[b"tick\n"] * 3]
        threading.Event().wait(1.2)  # nothing is said
        for number in range(3):
            connection.sendall(b"%d\n" % number)
            assert lines.readline() == b"echo %d\n" % number
        connection.shutdown(socket.SHUT_WR)
        assert lines.read() == b""


def test_fifty_connections_at_once(pyro: Pyro, published: str) -> None:
    port = port_of(serve(pyro, published))
    barrier = threading.Barrier(50)

    def one(number: int) -> bool:
        data = os.urandom(50_000 + number)
        with client(port, b"take\n") as connection:
            barrier.wait(30)
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return everything(connection).split()[1] == hashlib.sha256(data).hexdigest().encode()

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert all(pool.map(one, range(50)))


def test_a_closed_guest_port_drops_the_connection(pyro: Pyro, published: str) -> None:
    service = pyro.start_service(published, "deaf", "exec sleep 1000", publish=["7009"])
    with client(port_of(service)) as connection, contextlib.suppress(ConnectionResetError):
        assert connection.recv(1) == b""


@pytest.mark.parametrize("how", ["stop", "exit", "delete", "reset"])
def test_the_port_closes_with_its_service(pyro: Pyro, published: str, how: str) -> None:
    port = port_of(serve(pyro, published))
    with client(port, b"upgrade\n") as connection, client(port, b"give\n"):  # the second one reads nothing
        assert connection.recv(4) == b"101\n"
        if how == "stop":
            assert pyro.stop_service(published, "srv").published_ports == []
        elif how == "exit":
            with client(port, b"die\n"):
                wait_until(lambda: pyro.status_service(published, "srv").state == "exited")
            assert pyro.status_service(published, "srv").published_ports == []
        elif how == "delete":
            pyro.delete_workspace(published)
        else:
            pyro.reset_workspace(published)
        wait_until(lambda: refused(port))
        with contextlib.suppress(ConnectionResetError):
            everything(connection)  # it ends
    if how == "stop":
        assert port_of(serve(pyro, published, f"{port}:7000")) == port


def test_a_reply_that_a_service_ends_with_arrives_whole(pyro: Pyro, published: str) -> None:
    with client(port_of(serve(pyro, published)), b"last\n") as connection:
        assert everything(connection) == bytes(range(256)) * 256 * 64


def test_the_next_daemon_listens_on_the_same_port(fresh: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(ENVIRONMENT, network_policy=POLICY).id
        pyro.write_workspace_file(workspace, "server.py", SERVER)
        port = port_of(serve(pyro, workspace))
        fresh.kill_daemon()
        assert refused(port)
        assert port_of(pyro.status_service(workspace, "srv")) == port
        with client(port, b"take\nabc") as connection:
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection).startswith(b"3 ")
        fresh.kill_daemon()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
            status = pyro.status_service(workspace, "srv")
            assert status.state == "running"
            assert str(port) in status.published_ports[0].problem
            assert str(port) in status.hint
        fresh.kill_daemon()
        status = pyro.status_service(workspace, "srv")
        assert json.loads(status.model_dump_json())["published_ports"][0]["problem"] == ""
        assert not refused(port)
