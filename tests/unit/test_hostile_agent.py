"""Whatever an agent answers, it costs an error that says so: never a defect, never a wait without end."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import GuestError, PyroError
from pyro_mcp.exports.backups import Backups
from pyro_mcp.files import changes, listing, reading
from pyro_mcp.guest import frames
from pyro_mcp.guest.client import FORGET_LATER_BYTES, FORGET_TOGETHER, Guest
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.workspaces import exporting

Work = Callable[[Guest], Awaitable[Any]]
SECONDS = 30


def against(answer: Callable[[bytes], bytes], work: Work) -> Any:
    """What `work` comes to when an agent answers each request with these bytes, and then closes."""

    async def serve(end: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=end)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(head))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def story() -> Any:
        serving: list[asyncio.Task[None]] = []

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            ours, theirs = socket.socketpair()
            serving.append(asyncio.create_task(serve(theirs)))
            return await asyncio.open_connection(sock=ours)

        try:
            async with asyncio.timeout(SECONDS):
                return await work(Guest(connect))
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    return asyncio.run(story())


def response(body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> bytes:
    fields = {"Content-Length": str(len(body)), **(headers or {})}
    head = f"HTTP/1.1 {status} x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    return head.encode() + body


def read(guest: Guest, **given: Any) -> Awaitable[Any]:
    return reading.read(guest, "ws", Redactor(()), "a", None, reading.Wanted(**{"max_bytes": 100, **given}))


def export(guest: Guest, place: Path) -> Awaitable[Any]:
    to = exporting.Destination(place / "out", True, Backups(place.parent / "backups"))
    return exporting.export_path(guest, "ws", "a", to, Redactor(()))


WORKS: dict[str, Work] = {
    "list": lambda guest: listing.list_files(guest, "ws", ".", True, 10),
    "read": read,
    "grep": lambda guest: read(guest, grep="x"),
    "write": lambda guest: listing.write_file(guest, "ws", "a", "text", True),
    "diff": lambda guest: changes.diff(guest, "ws", None, None, summary=False, max_bytes=1000, include_ignored=False),
    "states": lambda guest: changes.read_states(guest, ["a", "b"]),
    "patch": lambda guest: changes.apply_patch(guest, "ws", "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n"),
    "process": lambda guest: guest.run_process({"argv": ["true"]}),
}

SCALARS: Any = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["file", "dir", "symlink", "a", "b", "../../etc/passwd", base64.b64encode(b"x").decode()])
)
WORDS = st.sampled_from(
    [
        "entries",
        "path",
        "kind",
        "size",
        "mode",
        "mtime_ns",
        "link",
        "truncated",
        "changes",
        "old",
        "new",
        "files",
        "content",
        "sha256",
        "id",
        "exit_code",
        "signal",
        "error",
        "code",
        "message",
        "processes",
        "label",
    ]
)
JSON: Any = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=7), max_leaves=30
)
HEADERS = st.dictionaries(
    st.sampled_from(["Pyro-Size", "Pyro-Mode", "Content-Length", "Transfer-Encoding", "Connection"]),
    st.sampled_from(["", "0", "3", "-1", "x", "1" * 5000, "١", "chunked", "close", "1e3"]),
    max_size=3,
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(WORKS)), JSON, HEADERS, st.sampled_from([200, 200, 200, 101, 204, 404, 409, 500]))
def test_any_json_and_any_headers_are_read_or_refused(
    work: str, value: Any, headers: dict[str, str], status: int
) -> None:
    answer = response(json.dumps(value).encode("utf-8", "surrogatepass"), headers, status)
    try:
        against(lambda _: answer, WORKS[work])
    except PyroError:
        pass


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(WORKS)), st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused(work: str, data: bytes, begun: bool) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + data if begun else data
    try:
        against(lambda _: answer, WORKS[work])
    except PyroError:
        pass


@pytest.mark.parametrize("work", sorted(set(WORKS) - {"process"}))
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"[" * 1_000_000,
        b'{"entries":[{}]}',
        b'{"files":[{"path":"a","truncated":true}]}',
        b'{"files":[{"path":"a","truncated":true,"size":1},{"path":"b","truncated":true,"size":1}]}',
    ],
)
def test_what_is_missing_is_the_agents_fault(work: str, body: bytes) -> None:
    with pytest.raises(GuestError) as refused:
        against(lambda _: response(body), WORKS[work])
    assert refused.value.code in ("bad_answer", "guest_failed")


def test_an_answer_without_a_size_is_refused() -> None:
    with pytest.raises(GuestError, match="pyro-size"):
        against(lambda _: response(b"text", {"Pyro-Mode": "420"}), read)


@pytest.mark.parametrize("identity", ["a b", "x\r\nHost: y", "../health", "a" * 100, 7, None])
def test_a_handle_that_could_be_something_else_in_a_request_is_refused(identity: Any) -> None:
    begun = frames.encode(frames.STARTED, json.dumps({"id": identity}).encode())
    with pytest.raises(GuestError):
        against(lambda _: b"HTTP/1.1 101 x\r\nUpgrade: pyro-stream\r\n\r\n" + begun, WORKS["process"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=6))
def test_frames_cut_anywhere_are_frames_or_refused(pieces: list[bytes]) -> None:
    whole, cut = frames.Decoder(), frames.Decoder()

    def taken(decoder: frames.Decoder, parts: list[bytes]) -> list[frames.Frame]:
        found: list[frames.Frame] = []
        try:
            for part in parts:
                found += list(decoder.feed(part))
        except GuestError:
            found.append(frames.Frame(-1, 0, b""))
        return found

    together = taken(whole, [b"".join(pieces)])
    assert taken(cut, pieces)[: len(together)] == together[: len(taken(frames.Decoder(), pieces))]


def test_an_export_of_lies_leaves_nothing_behind(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    for body in (b"{}", b'{"kind":"dir","mode":"x"}', b'{"kind":"file","mode":420,"size":1}'):

        def answer(head: bytes, body: bytes = body) -> bytes:
            return response(body if b"/stat" in head else b"junk")

        with pytest.raises(PyroError):
            against(answer, lambda guest: export(guest, place))
        assert [p for p in place.rglob("*") if not p.is_dir()] == []


def test_no_other_code_reads_an_answer_unchecked() -> None:
    """`Answer.json` is for those who catch damage as a whole; all others go through `Answer.record`."""
    rooms = [p for p in Path(listing.__file__).parents[1].rglob("*.py") if "guest" not in p.parts]
    raw = [p.name for p in rooms if "answer.json()" in p.read_text() or ")).json()" in p.read_text()]
    assert set(raw) <= {"searching.py", "watchdog.py"}


def test_ended_processes_are_forgotten_with_the_next_start_or_where_they_hold_much_at_once() -> None:
    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        if head.startswith(b"DELETE"):
            return response(b"{}")
        return b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: pyro-stream\r\n\r\n"

    async def work(guest: Guest) -> None:
        async def start() -> None:
            await (await guest.start_process({"argv": ["true"]})).close()

        await guest.forget_process("p1", 0)
        await guest.forget_process("p2", FORGET_LATER_BYTES)
        assert heads == [], "no request of its own"
        await guest.forget_process("p3", FORGET_LATER_BYTES + 1)
        await start()
        await start()
        for number in range(FORGET_TOGETHER + 1):
            await guest.forget_process(f"q{number}", 0)

    against(answer, work)
    assert heads[0].startswith(b"DELETE /v1/processes/p3 ")
    assert b"\r\nPyro-Forget: p1,p2\r\n" in heads[1]
    assert b"Pyro-Forget" not in heads[2], "once"
    assert heads[3].startswith(f"DELETE /v1/processes/q{FORGET_TOGETHER} ".encode())
    assert len(heads) == 4
