"""Attempts by an agent that was replaced: it answers garbage, lies about sizes, never ends, breaks off, says nothing.

Most are made against the client of the agent's protocol, over a real socket; those in `IMPOSTOR` by a program of the
guest that dials the daemon as the agent does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from pyro_mcp.errors import GuestError, GuestUnreachable, PyroError
from pyro_mcp.guest import frames
from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.duplex import Streams
from tests.isolation.attempts import Arena, attempt
from tests.support import SLOWNESS

Answer = bytes | Iterator[bytes]
Ask = Callable[[Guest], Awaitable[object]]
PROMPTLY = 3.0 * SLOWNESS
STALL = 0.15


async def _list(guest: Guest) -> object:
    return (await guest.call("GET", "/v1/files/list", query={"path": "."})).json()


async def _bounded(guest: Guest) -> object:
    return await guest.call("GET", "/v1/files/read", query={"path": "x"}, bound=1 << 20)


async def _download(guest: Guest) -> object:
    size = 0
    async with guest.download("/v1/tar", {"path": "."}) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            if size > 8 << 20:
                raise GuestError("it would go on for ever")  # as whoever unpacks an archive has a bound
    return size


async def _process(guest: Guest) -> object:
    return await guest.run_process({"argv": ["true"]})


async def _stream(guest: Guest) -> object:
    reader, writer = await guest.open_stream("/v1/connect", {"port": 80})
    try:
        return await reader.read(1 << 20)
    finally:
        writer.transport.abort()


async def against(answer: Answer, ask: Ask, *, hold: bool = False) -> str:
    """What the client makes of an answer; afterwards the connection is closed, or held open in silence."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for chunk in [answer] if isinstance(answer, bytes) else answer:
                writer.write(chunk)
                await writer.drain()
            if hold:
                await reader.read()
        writer.close()

    left, right = socket.socketpair()
    server = await asyncio.open_unix_connection(sock=right)
    serving = asyncio.create_task(serve(*server))

    async def connect() -> Streams:
        return await asyncio.open_unix_connection(sock=left)

    begun = time.monotonic()
    try:
        async with asyncio.timeout(STALL if hold else PROMPTLY):
            given = await ask(Guest(connect))
        told = f"taken for {str(given)[:40]!r}"
    except TimeoutError:
        assert hold, "it was still waited for"
        told = "given up in time"
    except (PyroError, OSError) as error:
        told = f"{type(error).__name__}: {error}"[:110]
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert time.monotonic() - begun < PROMPTLY + STALL
    return told


def _answer(body: bytes, *, status: str = "200 OK", length: object = None, more: str = "") -> bytes:
    said = len(body) if length is None else length
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {said}\r\n{more}\r\n".encode() + body
    )


UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: pyro-stream\r\n\r\n"


def _frame(kind: int, length: int, payload: bytes = b"") -> bytes:
    return struct.pack(">BIQ", kind, length, 0) + payload


def _endless(start: bytes, again: bytes) -> Iterator[bytes]:
    return itertools.chain([start], itertools.repeat(again))


LIES: dict[str, tuple[Callable[[], Answer], Ask]] = {
    "garbage instead of HTTP": (lambda: b"\x00\xff\x16\x03\x01" * 400, _list),
    "another protocol's greeting": (lambda: b"SSH-2.0-OpenSSH_9.6\r\n", _list),
    "nothing at all, then the end": (lambda: b"", _list),
    "a head that never ends": (lambda: _endless(b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"a" * 4000 + b"\r\n"), _list),
    "a line that never ends": (lambda: _endless(b"HTTP/1.1 200 ", b"a" * 65536), _list),
    "a body shorter than was said": (lambda: _answer(b"{}", length=999), _list),
    "a body longer than was said": (lambda: _answer(b'{"a":1}{"b":2}', length=7), _list),
    "a negative length": (lambda: _answer(b"{}", length=-1), _list),
    "a length that is not a number": (lambda: _answer(b"{}", length="0x2"), _list),
    "two lengths": (lambda: _answer(b"{}", more="Content-Length: 9\r\n"), _list),
    "an absurd length": (lambda: _answer(b"{}", length=10**30), _list),
    "a body without end": (lambda: _endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), _bounded),
    "chunks without end": (
        lambda: _endless(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"
        ),
        _bounded,
    ),
    "a chunk of an absurd size": (
        lambda: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
        _list,
    ),
    "an archive without end": (lambda: _endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), _download),
    "interim answers without end": (lambda: _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), _list),
    "an upgrade that nobody asked for": (lambda: UPGRADED + b"x" * 99, _list),
    "JSON nested without end": (lambda: _answer(b"[" * 200_000), _list),
    "a number of a million digits": (lambda: _answer(b'{"entries": ' + b"9" * 1_000_000 + b"}"), _list),
    "JSON that is not UTF-8": (lambda: _answer(b'{"a": "\xff\xfe"}'), _list),
    "an error record of the wrong shape": (lambda: _answer(b'{"error": [1]}', status="500 No"), _list),
    "an error of a million bytes": (lambda: _answer(b"x" * 2_000_000, status="404 No"), _list),
    "a frame beyond its bound": (lambda: UPGRADED + _frame(frames.STDOUT, 0xFFFFFFFF), _process),
    "frames of unknown kinds": (lambda: UPGRADED + b"".join(_frame(k, 0) for k in range(256)), _process),
    "an exit without a record": (lambda: UPGRADED + _frame(frames.EXIT, 4, b"null"), _process),
    "an exit that is not JSON": (lambda: UPGRADED + _frame(frames.EXIT, 1, b"{"), _process),
    "a stream of the wrong frames": (lambda: UPGRADED + _frame(frames.STDOUT, 1, b"x"), _stream),
    "a stream after its end": (lambda: UPGRADED + _frame(frames.END, 0) + _frame(frames.DATA, 1, b"x"), _stream),
}


def _lie(what: str, answer: Callable[[], Answer], ask: Ask) -> None:
    @attempt("hostile agent", what)
    def lie(arena: Arena) -> str:
        told = asyncio.run(against(answer(), ask))
        assert "RecursionError" not in told and "MemoryError" not in told, told
        return told


for _what, (_make, _ask) in LIES.items():
    _lie(_what, _make, _ask)


WHOLE: dict[str, tuple[bytes, Ask]] = {
    "an answer": (_answer(json.dumps({"entries": [{"path": "a"}]}).encode()), _list),
    "a chunked answer": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", _list),
    "an error": (_answer(b'{"error":{"code":"x","message":"y"}}', status="404 No"), _list),
    "a process's frames": (
        UPGRADED + frames.encode(frames.STARTED, b'{"id":"p1"}') + frames.encode(frames.EXIT, b'{"exit_code":0}'),
        _process,
    ),
    "a stream's frames": (UPGRADED + frames.encode(frames.DATA, b"abc") + frames.encode(frames.END), _stream),
}


def _positions(what: str, whole: bytes, ask: Ask) -> None:
    @attempt("hostile agent", f"{what} that breaks off, at each byte")
    def breaks_off(arena: Arena) -> str:
        async def all_of_them() -> str:
            told = [await against(whole[:end], ask) for end in range(len(whole))]
            return f"{len(told)} positions, the last: {told[-1]}"

        return asyncio.run(all_of_them())[:110]

    @attempt("hostile agent", f"{what} that stalls, at each byte")
    def stalls(arena: Arena) -> str:
        async def all_of_them() -> str:
            told = await asyncio.gather(*(against(whole[:end], ask, hold=True) for end in range(len(whole))))
            return f"{len(told)} positions, the last: {told[-1]}"

        return asyncio.run(all_of_them())[:110]

    @attempt("hostile agent", f"{what} with each byte changed", short=False)
    def changed(arena: Arena) -> str:
        async def all_of_them() -> str:
            told = []
            for place in range(len(whole)):
                for value in (0x00, 0x0A, 0xFF, whole[place] ^ 1):
                    mangled = bytearray(whole)
                    mangled[place] = value
                    told.append(await against(bytes(mangled), ask))
            return f"{len(told)} answers, the last: {told[-1]}"

        return asyncio.run(all_of_them())[:110]


for _what, (_whole, _ask) in WHOLE.items():
    _positions(_what, _whole, _ask)


IMPOSTOR = """
import socket, threading, time
def pose():
    while True:
        try:
            s = socket.socket(socket.AF_UNIX); s.connect("/pyro/run/agent.sock"); s.settimeout(30)
            s.recv(65536)
            {act}
            s.close()
        except OSError: time.sleep(0.01)
for _ in range(40): threading.Thread(target=pose, daemon=True).start()
print("posing", flush=True); time.sleep(20)
"""


def _pose(what: str, act: str, *, short: bool = False) -> None:
    @attempt("hostile agent", f"a program that poses as the agent and {what}", short=short, engines=("gvisor",))
    def pose(arena: Arena) -> str:
        workspace = arena.pyro.create_workspace(seed_path=str(arena.seed)).id
        arena.pyro.write_workspace_file(workspace, "pose.py", IMPOSTOR.format(act=act))
        arena.pyro.exec_workspace(workspace, "python3 pose.py", wait_seconds=1, timeout_seconds=30)
        told = ""
        for _ in range(6):
            with contextlib.suppress(GuestUnreachable):
                try:
                    said: Any = arena.pyro.exec_workspace(workspace, "echo $((6*7))", timeout_seconds=5, wait_seconds=1)
                    told = f"an answer of its own: {said.stdout[:20]!r}"
                except PyroError as error:
                    assert error.code != "internal_error", error
                    told = f"{error.code}: {error.message}"[:110]
        arena.holds(told)
        arena.lives()  # the others hear nothing of it
        begun = time.monotonic()
        arena.pyro.delete_workspace(workspace)
        assert time.monotonic() - begun < 15 * SLOWNESS
        return told


_pose("answers garbage", 's.sendall(b"\\x00\\xff" * 5000)', short=True)
_pose("answers other things than were asked", 's.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")')
_pose("hangs up", "pass")
_pose("speaks out of turn", 's.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n" * 100)')


@attempt("hostile agent", "a thousand connections that say nothing", engines=("gvisor",))
def flood(arena: Arena) -> str:
    script = """
import socket, time
held = []
for _ in range(1000):
    s = socket.socket(socket.AF_UNIX); s.setblocking(False)
    try: s.connect("/pyro/run/agent.sock"); held.append(s)
    except OSError as e: last = e; break
print(len(held), "held", flush=True); time.sleep(2)
"""
    workspace = arena.pyro.create_workspace(seed_path=str(arena.seed)).id
    arena.pyro.write_workspace_file(workspace, "flood.py", script)
    begun = arena.pyro.exec_workspace(workspace, "python3 flood.py", wait_seconds=1.5, timeout_seconds=30)
    arena.lives()
    arena.pyro.delete_workspace(workspace)
    held = begun.stdout.strip() or "none"
    assert not held.split()[0].isdigit() or int(held.split()[0]) < 100, held
    return held
