"""The client against a server that speaks the wire: what arrives, what is never repeated, what is said."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.client.answers import Event, Output, Progress, Started
from pyro_mcp.client.excerpts import HeadTail
from pyro_mcp.client.sync import Transport
from pyro_mcp.client.wire import Wire
from pyro_mcp.errors import Conflict, DaemonUnavailable, InvalidInput, PatchMismatch
from pyro_mcp.locations import Locations
from pyro_mcp.sdk import Pyro
from pyro_mcp.version import PROTOCOL, VERSION
from tests.unit.wire_server import CLOSE, Script, WireServer

DELETED = {"id": "ws-1", "name": None, "deleted": True}
Serve = Callable[..., WireServer]


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(tmp_path / "run", tmp_path / "state", tmp_path / "cache")


@pytest.fixture
def serve(locations: Locations) -> Iterator[Serve]:
    servers: list[WireServer] = []

    def start(script: Script, **words: Any) -> WireServer:
        servers.append(WireServer(locations.socket, script, **words))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def client(locations: Locations, **words: Any) -> Pyro:
    return Pyro(transport=Transport(locations, start=None), **words)


def output(text: str, stream: str = "stdout") -> dict[str, Any]:
    return {"event": {"type": "output", "stream": stream, "data": base64.b64encode(text.encode()).decode()}}


def test_result_comes_typed_and_the_daemon_hears_who_calls(serve: Serve, locations: Locations) -> None:
    server = serve(lambda *_: [{"result": DELETED}])
    with client(locations, face="cli", client="me\r\nX: 1") as pyro:
        assert pyro.delete_workspace("w").id == "ws-1"
    name, arguments, headers = server.calls[0]
    assert (name, arguments) == ("delete_workspace", {"workspace": "w"})
    assert headers["pyro-face"] == "cli"
    assert headers["pyro-client"] == "me??X: 1"
    assert "pyro-events" not in headers


def test_events_come_in_order_before_the_result(serve: Serve, locations: Locations) -> None:
    serve(
        lambda *_: [
            {"event": {"type": "progress", "text": "half", "fraction": 0.5}},
            {"event": {"type": "started", "handle": "h"}},
            output("a\n"),
            {"event": {"type": "from the future"}},
            {"result": DELETED},
        ]
    )
    heard: list[Event] = []
    with client(locations, on_event=heard.append) as pyro:
        pyro.delete_workspace("w")
    assert heard == [Progress("half", 0.5), Started("h"), Output("stdout", b"a\n")]


def test_error_comes_out_as_the_class_it_went_in_as(serve: Serve, locations: Locations) -> None:
    record = PatchMismatch("no fit", hint="look", details={"file": "a"}).to_record()
    serve(lambda *_: [{"error": record}])
    with client(locations) as pyro, pytest.raises(PatchMismatch) as caught:
        pyro.delete_workspace("w")
    assert isinstance(caught.value, Conflict)
    assert (caught.value.hint, caught.value.details) == ("look", {"file": "a"})


@pytest.mark.parametrize(
    "script", [[], [CLOSE], [{"event": {"type": "progress", "text": "x"}}, CLOSE], [b'{"res', CLOSE]]
)
def test_broken_off_answer_is_told_and_never_repeated(serve: Serve, locations: Locations, script: list[Any]) -> None:
    server = serve(lambda *_: script)
    with client(locations) as pyro, pytest.raises(DaemonUnavailable, match="whether the call was carried out"):
        pyro.delete_workspace("w")
    assert len(server.calls) == 1


def test_what_is_no_protocol_is_said(serve: Serve, locations: Locations) -> None:
    serve(lambda *_: [b"[1]\n"])
    with client(locations) as pyro, pytest.raises(DaemonUnavailable, match="does not speak"):
        pyro.delete_workspace("w")


def test_daemon_is_started_once_when_nothing_listens(serve: Serve, locations: Locations) -> None:
    started: list[int] = []

    def start(where: Locations) -> None:
        assert where == locations
        started.append(1)
        serve(lambda *_: [{"result": DELETED}])

    with Pyro(transport=Transport(locations, start=start)) as pyro:
        pyro.delete_workspace("w")
        pyro.delete_workspace("w")
    assert started == [1]


def test_daemon_is_not_started_for_bad_input(locations: Locations) -> None:
    with Pyro(transport=Transport(locations, start=lambda _: pytest.fail("started"))) as pyro:
        with pytest.raises(InvalidInput, match=r"wait_seconds = 51.*less than or equal to 50"):
            pyro.exec_workspace("w", "ls", wait_seconds=51)
        with pytest.raises(InvalidInput, match="name"):
            pyro.create_workspace(name="../x")


def test_connection_is_kept_and_a_closed_one_replaced(serve: Serve, locations: Locations) -> None:
    server = serve(lambda *_: [{"result": DELETED}])
    with client(locations) as pyro:
        pyro.delete_workspace("w")
        pyro.delete_workspace("w")
        assert server.connections == 1
        server.drop()
        pyro.delete_workspace("w")
    assert server.connections == 2
    assert len(server.calls) == 3


def test_calls_at_once_have_connections_of_their_own(serve: Serve, locations: Locations) -> None:
    together = threading.Barrier(4, timeout=10)

    def script(*_: Any) -> list[Any]:
        together.wait()
        return [{"result": DELETED}]

    server = serve(script)
    with client(locations) as pyro:
        threads = [threading.Thread(target=pyro.delete_workspace, args=("w",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(server.calls) == 4


def test_a_newer_daemon_that_serves_us_no_more_is_refused(serve: Serve, locations: Locations) -> None:
    server = serve(lambda *_: [{"result": DELETED}], version="9.9", protocol=PROTOCOL + 1)
    with client(locations) as pyro, pytest.raises(DaemonUnavailable, match=r"9\.9") as caught:
        pyro.delete_workspace("w")
    assert "Restart or upgrade whatever uses the older pyro" in caught.value.hint
    assert server.calls == []


@pytest.mark.parametrize(("version", "protocol"), [("0.0.1", PROTOCOL), (VERSION, PROTOCOL - 1)])
def test_an_older_daemon_is_replaced_or_refused_with_the_way_out(
    serve: Serve, locations: Locations, version: str, protocol: int
) -> None:
    old = serve(lambda *_: [{"result": DELETED}], version=version, protocol=protocol)
    with client(locations) as pyro, pytest.raises(DaemonUnavailable) as caught:
        pyro.delete_workspace("w")
    assert "pyro daemon stop" in caught.value.hint

    def replace(where: Locations) -> None:
        old.close()
        serve(lambda *_: [{"result": DELETED}])

    with Pyro(transport=Transport(locations, replace=replace)) as pyro:
        assert pyro.delete_workspace("w").id == DELETED["id"]
    assert old.calls == []


def test_an_unknown_field_of_a_newer_daemon_is_passed_over(serve: Serve, locations: Locations) -> None:
    serve(lambda *_: [{"result": {**DELETED, "of_a_later_pyro": 1}}])
    with client(locations) as pyro:
        assert pyro.delete_workspace("w").id == DELETED["id"]


def test_a_heartbeat_is_no_record(serve: Serve, locations: Locations) -> None:
    serve(lambda *_: [b"\n", b"\n", {"result": DELETED}])
    with client(locations) as pyro:
        assert pyro.delete_workspace("w").id == DELETED["id"]


def test_host_paths_become_absolute_and_others_stay(
    serve: Serve, locations: Locations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {"workspace": "w", "path": "a", "output": "o", "kind": "file", "files": 1, "bytes": 1}
    server = serve(lambda *_: [{"result": written}])
    monkeypatch.chdir(tmp_path)
    with client(locations) as pyro:
        pyro.export_workspace("w", "a", output="sub/../out")
    assert server.calls[0][1] == {"workspace": "w", "path": "a", "output": str(tmp_path / "out")}


def ran(status: str, **more: Any) -> dict[str, Any]:
    return {"result": {"workspace": "ws-1", "handle": "h", "status": status, **more}}


def long_command(name: str, arguments: dict[str, Any], headers: dict[str, str]) -> list[Any]:
    """A command whose end comes in the second wait on its logs."""
    if name == "exec_workspace":
        return [{"event": {"type": "started", "handle": "h"}}, output("one\n"), ran("running", stdout="one\n")]
    if "handle" not in arguments:
        command = {"handle": "h", "command": ["x"], "status": "exited", "started_at": "", "duration_seconds": 99.5}
        return [{"result": {"workspace": "ws-1", "commands": [command]}}]
    if arguments["offset"] == 4:
        return [
            output("two\n"),
            {"result": {"workspace": "ws-1", "handle": "h", "status": "running", "exit_code": None}},
        ]
    assert arguments["offset"] == 8
    return [
        output("bad\n", "stderr"),
        {"result": {"workspace": "ws-1", "handle": "h", "status": "exited", "exit_code": 7}},
    ]


def test_long_command_is_followed_without_loss_or_repetition(serve: Serve, locations: Locations) -> None:
    server = serve(long_command)
    with client(locations) as pyro:
        stream = pyro.stream_exec_workspace("w", "make")
        assert [(piece.stream, piece.data) for piece in stream] == [
            ("stdout", b"one\n"),
            ("stdout", b"two\n"),
            ("stderr", b"bad\n"),
        ]
        result = stream.result
    assert (result.status, result.exit_code, result.duration_seconds) == ("exited", 7, 99.5)
    assert (result.stdout, result.stderr, result.stdout_bytes) == ("one\ntwo\n", "bad\n", 8)
    assert [name for name, _, _ in server.calls].count("exec_workspace") == 1


def test_asyncio_client_does_the_same(serve: Serve, locations: Locations) -> None:
    server = serve(lambda *_: [output("x"), {"result": DELETED}])
    heard: list[Event] = []

    async def main() -> None:
        transport = AsyncTransport(locations, start=None)
        async with AsyncPyro(transport=transport, on_event=heard.append) as pyro:
            assert (await pyro.delete_workspace("w")).id == "ws-1"
            server.drop()
            await asyncio.sleep(0)
            results = await asyncio.gather(*(pyro.delete_workspace("w") for _ in range(3)))
            assert [r.id for r in results] == ["ws-1"] * 3
            with pytest.raises(InvalidInput):
                await pyro.exec_workspace("w", "ls", wait_seconds=-1)

    asyncio.run(main())
    assert len(server.calls) == 4
    assert len(heard) == 4


def test_asyncio_client_never_repeats_a_broken_call(serve: Serve, locations: Locations) -> None:
    server = serve(lambda *_: [CLOSE])

    async def main() -> None:
        async with AsyncPyro(transport=AsyncTransport(locations, start=None)) as pyro:
            with pytest.raises(DaemonUnavailable, match="went away"):
                await pyro.delete_workspace("w")

    asyncio.run(main())
    assert len(server.calls) == 1


@given(st.lists(st.integers(1, 40), max_size=60))
def test_records_do_not_depend_on_where_the_bytes_are_cut(cuts: list[int]) -> None:
    wire = Wire()
    wire.request("GET", "/v1/health")
    answer = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b'b\r\n{"event":1}\r\n1\r\n\n\r\n7\r\n{"resul\r\n6\r\nt":2}\n\r\n0\r\n\r\n'
    )
    records = []
    for size in [*cuts, len(answer)]:
        if answer:
            records += wire.receive(answer[:size])
            answer = answer[size:]
    assert records == [{"event": 1}, {"result": 2}]
    assert wire.done
    assert wire.reusable


@given(st.lists(st.binary(max_size=50)), st.integers(1, 100))
def test_head_and_tail_are_those_of_the_whole_stream(pieces: list[bytes], bound: int) -> None:
    kept = HeadTail(bound)
    for piece in pieces:
        kept.feed(piece)
    whole = b"".join(pieces)
    found = kept.excerpt(bound)
    if len(whole) <= bound:
        assert found.text == whole.decode("utf-8", "replace")
        assert found.omitted_bytes == 0
    else:
        assert found.omitted_bytes == len(whole) - bound
        assert found.text.startswith(whole[: bound // 3].decode("utf-8", "ignore"))
        assert found.text.endswith(whole[-(bound - bound // 3) :].decode("utf-8", "ignore"))
