"""`pyro mcp serve`: takes the standard streams, answers the opening at once, and hands over to the library.

The library loads in a thread meanwhile. Standard output belongs to the protocol alone: what anything else
prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, cast

from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.mcp.gate import INVALID_REQUEST, MAX_BYTES, Message, Refusal, judged
from pyro_mcp.mcp.opening import Opening, said
from pyro_mcp.operations import Profile

if TYPE_CHECKING:
    from pyro_mcp.mcp.toolbox import Toolbox


def serve(*, profile: Profile, access: Access) -> int:
    """Serve until the host closes standard input. Gives the exit status."""
    # The host's wish to end us is obeyed at once: the daemon keeps all that matters.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    wire_in, wire_out = _claim_standard_streams()
    catalogue = Catalogue.of(profile, access)
    opening = Opening(catalogue, _nothing_runs)
    loaded = _load()
    lines = _Lines(wire_in)
    if not _open(opening, lines, wire_out, loaded):
        return 0

    import asyncio

    from pyro_mcp.aio import AsyncPyro
    from pyro_mcp.mcp.toolbox import Toolbox

    async def run() -> None:
        pyro = AsyncPyro(face="mcp", client=os.environ.get("PYRO_MCP_CLIENT", "mcp"), project=access.scope)
        toolbox = Toolbox(profile, access, pyro)
        fetching = asyncio.ensure_future(toolbox.begin_to_fetch())
        try:
            await _hand_over(toolbox, catalogue, opening, lines, wire_out)
        finally:
            fetching.cancel()

    try:
        asyncio.run(run())
    except BaseExceptionGroup as group:
        raise _alone(group) from None
    return 0


def _alone(error: BaseException) -> BaseException:
    """What the library's task groups are wrapped around: a full disk, say, or a host that has left."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _nothing_runs() -> bool:
    """Whether there is no daemon that could know of workspaces. Imports what few hosts make it need."""
    from pyro_mcp.client import place
    from pyro_mcp.client.launch import accepts

    return not accepts(place.locations())


def _claim_standard_streams() -> tuple[int, int]:
    """Private copies of standard input and output; the public ones lead to nothing and to standard error."""
    sys.stdout.flush()
    wire_in, wire_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return wire_in, wire_out


def _load() -> int:
    """Import what the library needs in a thread; the descriptor that comes back is readable when that is done."""
    done, tell = os.pipe()

    def load() -> None:
        try:
            import mcp.server.stdio  # noqa: F401

            import pyro_mcp.mcp.server
            import pyro_mcp.mcp.toolbox  # noqa: F401
        finally:
            os.close(tell)

    threading.Thread(target=load, name="load", daemon=True).start()
    return done


class _Lines:
    """Lines from a descriptor, of which some can be put back. One that is too long is never held."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = bytearray()
        self.put_back: list[bytes] = []
        self.ended = False

    def buffered(self) -> bool:
        return bool(self.put_back) or b"\n" in self._buffer

    def next(self) -> bytes:
        """The next line with its end, or more than `MAX_BYTES` of it; empty at the end of input. May block."""
        if self.put_back:
            return self.put_back.pop(0)
        start, overlong = 0, b""
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > MAX_BYTES:
                overlong = overlong or bytes(self._buffer)
                self._buffer.clear()
                start = 0
            chunk = b"" if self.ended else os.read(self.fd, 1 << 16)
            if not chunk:
                self.ended = True
                line, self._buffer = bytes(self._buffer), bytearray()
                return overlong or line
            self._buffer += chunk
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return overlong or line


def _open(opening: Opening, lines: _Lines, wire_out: int, loaded: int) -> bool:
    """Answer until the library is loaded or needed; False when the host has gone."""
    poll = select.poll()
    poll.register(lines.fd, select.POLLIN)
    poll.register(loaded, select.POLLIN)
    later: list[bytes] = []
    while True:
        if not lines.buffered():
            ready = [fd for fd, _ in poll.poll()]
            if lines.fd not in ready:
                lines.put_back = later
                return True
        line = lines.next()
        if not line:
            lines.put_back = later
            return bool(later)
        message = judged(line)
        if isinstance(message, Refusal):
            _write(wire_out, _line(message.answer()))
            continue
        if message is None or opening.notice(message):
            continue
        answer = opening.answer(message)
        if answer is None and opening.puts_off(message):
            later.append(line)
            continue
        if answer is None:
            lines.put_back = [*later, line]
            return True
        _write(wire_out, _line(answer))


def _line(message: Message) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False) + "\n"


_turn = threading.Lock()
"""Two threads write: the library's, and the one that reads and refuses."""


def _write(fd: int, text: str) -> None:
    view = memoryview(text.encode())
    with _turn:
        while view:
            view = view[os.write(fd, view) :]


# -- handing over


class _Input:
    """Standard input for the library: the handshake once more, then what the host says and the library can take."""

    def __init__(self, lines: _Lines, wire_out: int, toolbox: Toolbox) -> None:
        self._lines = lines
        self._wire_out = wire_out
        self._toolbox = toolbox

    def readline(self) -> str:
        while True:
            line = self._lines.next()
            if not line:
                self._toolbox.leaving = True
                return ""
            message = judged(line)
            if isinstance(message, dict):
                message = _taken(message)
            if isinstance(message, Refusal):
                _write(self._wire_out, _line(message.answer()))
            elif message is not None:
                return _line(message)  # as it was read here: arguments that came as text are an object now


def _taken(message: Message) -> Message | Refusal | None:
    """The message if the library can read it. It should be able to: the gate lets nothing else through."""
    from mcp_types import jsonrpc_message_adapter

    try:
        jsonrpc_message_adapter.validate_python(message, by_name=False)
    except ValueError:
        if "method" in message and "id" in message:
            return Refusal(INVALID_REQUEST, "The message is not a JSON-RPC request.", message["id"])
        return None
    return message


class _Output:
    """Standard output for the library, without what was said already."""

    def __init__(self, fd: int, swallow: set[tuple[str, Any]]) -> None:
        self._fd = fd
        self._swallow = swallow

    def write(self, text: str) -> int:
        if self._swallow:
            key = said(json.loads(text))
            if key in self._swallow:
                self._swallow.discard(key)
                return len(text)
        _write(self._fd, text)
        return len(text)

    def flush(self) -> None:
        pass


async def _hand_over(toolbox: Toolbox, catalogue: Catalogue, opening: Opening, lines: _Lines, wire_out: int) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    from pyro_mcp.mcp.server import server_of

    server = server_of(toolbox, catalogue, roots=True)
    lines.put_back[:0] = [_line(message).encode() for message in opening.replay]
    stdin = anyio.wrap_file(cast("IO[str]", _Input(lines, wire_out, toolbox)))
    stdout = anyio.wrap_file(cast("IO[str]", _Output(wire_out, opening.swallow)))
    async with stdio_server(stdin, stdout) as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
