"""The client's reading of HTTP: however an answer is cut, it says the same; what is none is refused in words."""

from __future__ import annotations

import itertools
import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.client.wire import Record, Wire
from pyro_mcp.errors import DaemonUnavailable
from pyro_mcp.plain import Plain

RECORDS = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=3), max_size=5)


def answer(lines: bytes, cuts: list[int], *, chunked: bool) -> bytes:
    """What a server that is built on h11, as the daemon is, sends."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(Wire().request("POST", "/v1/operations/x", {"a": 1}, {"Pyro-Face": "cli"}))
    while server.next_event() is not h11.NEED_DATA and server.their_state is not h11.DONE:
        pass
    framing = [("transfer-encoding", "chunked")] if chunked else [("content-length", str(len(lines)))]
    sent = server.send(h11.Response(status_code=200, headers=[("date", "now"), *framing])) or b""
    for part in pieces(lines, cuts):
        sent += server.send(h11.Data(data=part)) or b""
    return sent + (server.send(h11.EndOfMessage()) or b"")


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(RECORDS, st.lists(st.integers(0, 5000), max_size=6), st.lists(st.integers(0, 5000), max_size=6), st.booleans())
def test_an_answer_says_the_same_however_it_is_cut(
    records: list[Record], chunks: list[int], cuts: list[int], chunked: bool
) -> None:
    sent = answer(b"".join(json.dumps(record).encode() + b"\n" for record in records), chunks, chunked=chunked)
    wire = Wire()
    for _ in range(2):  # the second time on the same connection
        wire.request("GET", "/v1/health")
        found: list[Record] = []
        for part in pieces(sent, cuts):
            assert not wire.done
            found += wire.receive(part)
        assert wire.done and wire.reusable and found == records


@given(st.binary(max_size=300), st.booleans())
def test_what_is_no_answer_is_refused_or_waited_on(data: bytes, begins_well: bool) -> None:
    wire = Wire()
    wire.request("GET", "/v1/health")
    try:
        wire.receive((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if begins_well else b"") + data + b"x")
    except DaemonUnavailable as error:
        assert error.code in ("daemon_protocol", "daemon_went_away")


@pytest.mark.parametrize("cut", range(0, 150, 7))
def test_an_answer_that_breaks_off_is_said(cut: int) -> None:
    sent = answer(b'{"result": {}}\n', [3], chunked=True)
    wire = Wire()
    wire.request("GET", "/v1/health")
    if cut < len(sent):
        wire.receive(sent[:cut]) if cut else None
        with pytest.raises(DaemonUnavailable, match="went away"):
            wire.receive(b"")


class Point(Plain):
    x: int
    y: int = 2


def test_plain_classes_are_frozen_compared_and_shown() -> None:
    assert Point(1) == Point(x=1, y=2) != Point(1, 3)
    assert hash(Point(1)) == hash(Point(1)) and repr(Point(1)) == "Point(x=1, y=2)"
    given: list[tuple[list[int], dict[str, int]]] = [([], {}), ([1, 2, 3], {}), ([1], {"x": 1}), ([1], {"z": 1})]
    for values, named in given:
        with pytest.raises(TypeError):
            Point(*values, **named)
    with pytest.raises(AttributeError):
        Point(1).x = 3  # type: ignore[misc]
