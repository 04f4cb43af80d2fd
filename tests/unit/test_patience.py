"""A hostile agent on a real socket: at each byte of its answer it stalls, trickles, floods or leaves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import GuestUnreachable, PyroError
from pyro_mcp.guest import client, frames, patience
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.workspaces.locks import SharedLock
from tests.support import slowness

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"ok": true}'
KINDS = ("shared", "alone", "urgent")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: pyro-stream\r\n\r\n"
Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, in a hundredth of the time."""
    for module, names in (
        (client, ("ANSWER_SECONDS", "WORK_SECONDS", "REFUSAL_SECONDS", "CLOSE_SECONDS")),
        (patience, ("CONNECT_SECONDS", "BEAT_SECONDS", "ANSWER_SECONDS", "SLOW_SECONDS", "DOUBTED_BEAT_SECONDS")),
        (patience, ("DOUBTED_ANSWER_SECONDS",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name) / 100)


@contextlib.asynccontextmanager
async def agent(serve: Serve) -> AsyncIterator[Guest]:
    """A guest whose agent answers by `serve`, which hears the head of the request."""
    tasks: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(await reader.readuntil(b"\r\n\r\n"), writer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def connect() -> Streams:
        return await asyncio.open_connection("127.0.0.1", port)

    try:
        yield Guest(connect)
    finally:
        for task in tasks:
            task.cancel()
        server.close()


async def _for_ever() -> None:
    await asyncio.Event().wait()


def _run(serve: Serve, use: Callable[[Guest], Awaitable[object]], seconds: float = 5.0) -> None:
    async def main() -> None:
        async with agent(serve) as guest:
            begun = time.monotonic()
            with pytest.raises(PyroError):
                await use(guest)
            assert time.monotonic() - begun < seconds * slowness()

    asyncio.run(main())


def _call(guest: Guest) -> Awaitable[object]:
    return guest.call("GET", "/v1/thing", seconds=client.ANSWER_SECONDS)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(ANSWER) - 1), st.booleans())
def test_an_agent_that_stalls_at_any_byte_is_given_up(position: int, answers_questions: bool) -> None:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/v1/health" in head and answers_questions:
            writer.write(ANSWER)
            return
        writer.write(ANSWER[:position])
        await writer.drain()
        await _for_ever()

    _run(serve, _call)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, len(ANSWER)))
def test_garbage_is_an_error_and_never_a_defect(garbage: bytes, position: int) -> None:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER[:position] + garbage)
        await writer.drain()

    async def main() -> None:
        async with agent(serve) as guest:
            for use in (_call, lambda g: g.start_process({}), lambda g: g.run_process({})):
                with contextlib.suppress(PyroError):
                    await use(guest)

    asyncio.run(main())


@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"X: y\r\n", b"HTTP/1.1 200 OK\r\nX: y\r\n", b"\0"]
)
def test_an_answer_without_an_end_is_given_up(part: bytes) -> None:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(part * 1000)
            await writer.drain()

    _run(serve, _call)


def test_a_body_without_an_end_is_bounded() -> None:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()

    _run(serve, lambda guest: guest.call("GET", "/v1/thing", bound=1_000_000))


@pytest.mark.parametrize("head", [b"", ANSWER.split(b"{")[0].replace(b"12", b"999999"), b"HTTP/1.1 200 OK\r\nX: "])
def test_a_trickle_is_given_up(head: bytes) -> None:
    async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/v1/health" in request:
            writer.write(ANSWER)
            return
        writer.write(head)
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.005)

    _run(serve, _call)


def test_an_agent_that_takes_nothing_of_an_upload_is_given_up() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/v1/health" in head:
            writer.write(ANSWER)
            return
        await _for_ever()

    _run(serve, lambda guest: guest.call("PUT", "/v1/tar", body=endless(), seconds=client.ANSWER_SECONDS))


def test_a_refusal_in_the_middle_of_an_upload_is_heard() -> None:
    refusal = b'{"error": {"code": "bad_archive", "message": "no archive"}}'

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(refusal) + refusal)
        await writer.drain()
        await _for_ever()

    async def main() -> None:
        async with agent(serve) as guest:
            with pytest.raises(PyroError, match="no archive"):
                await guest.call("PUT", "/v1/tar", body=endless())

    asyncio.run(main())


def test_a_silent_command_is_followed_as_long_as_its_agent_answers_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It does answer, but a busy computer, or a long suite's garbage, takes longer than a hundredth of the limits.
    for name in ("CONNECT_SECONDS", "ANSWER_SECONDS", "DOUBTED_ANSWER_SECONDS"):
        monkeypatch.setattr(patience, name, 3.0)
    dead = asyncio.Event()

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/v1/health" in head:
            if dead.is_set():
                await _for_ever()
            writer.write(ANSWER)
            return
        writer.write(SWITCH)
        await writer.drain()
        await asyncio.sleep(30 * patience.BEAT_SECONDS)
        writer.write(frames.encode(frames.STDOUT, b"late"))
        await writer.drain()
        dead.set()
        await _for_ever()

    async def main() -> None:
        async with agent(serve) as guest:
            stream = await guest.start_process({})
            async with asyncio.timeout(20):
                assert [frame.payload async for frame in stream.frames()] == [b"late"]
            await stream.close()
            assert dead.is_set()

    asyncio.run(main())


def test_a_gate_that_is_shut_ends_every_wait_at_once() -> None:
    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        await _for_ever()

    async def main() -> None:
        async with agent(serve) as guest:
            waiting = [asyncio.ensure_future(guest.call("GET", "/v1/thing", seconds=100)) for _ in range(5)]
            await asyncio.sleep(0.01)
            with guest.barred("it is being reset"):
                results = await asyncio.gather(*waiting, return_exceptions=True)
                with pytest.raises(GuestUnreachable):
                    await guest.call("GET", "/v1/thing")
            assert all("being reset" in str(result) for result in results), results

    asyncio.run(main())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["shared", "alone", "urgent"]), st.integers(0, 6), st.booleans()), max_size=14)
)
def test_a_lock_is_never_kept_by_who_was_cancelled(users: list[tuple[str, int, bool]]) -> None:
    async def main() -> None:
        lock, inside = SharedLock(), set[str]()

        async def use(number: int, kind: str, turns: int) -> None:
            me = f"{kind} {number}"
            async with lock.shared() if kind == "shared" else lock.exclusive(urgent=kind == "urgent"):
                assert not inside or (kind == "shared" and all(who.startswith("shared") for who in inside))
                inside.add(me)
                try:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                finally:
                    inside.discard(me)

        tasks = []
        for number, (kind, turns, cancelled) in enumerate(users):
            tasks.append(asyncio.ensure_future(use(number, kind, turns)))
            await asyncio.sleep(0)
            if cancelled:
                tasks[number // 2].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(r is None or isinstance(r, asyncio.CancelledError) for r in results), results
        async with asyncio.timeout(1), lock.exclusive():
            pass

    asyncio.run(main())
