"""What a command prints, followed for a page: as text, or as the screen of a terminal."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client.answers import Event, Output
from pyro_mcp.errors import PyroError
from pyro_mcp.operations import REGISTRY
from pyro_mcp.processes.terminal_styles import CURSOR_KEYS, CURSOR_SHOWN, PASTE_MARKED, Run, StyledTerminal
from pyro_mcp.ui.feed import BEHIND

WAIT_SECONDS = 45.0
BACKLOG = 512 * 1024
"""Bytes of what a terminal printed before, from which its screen is made."""
FRAME_SECONDS = 0.03
"""What a terminal prints within so short a time is shown at once."""
HISTORY = 500
"""Lines above the screen that one message brings; of more, the last."""
ROWS, COLS = (2, 200), (10, 400)
Message = dict[str, Any]


async def followed(
    pyro: AsyncPyro, workspace: str, handle: str, at: int
) -> AsyncGenerator[tuple[int, bytes] | Message, None]:
    """Pieces of output, each with where the next begins, until it ends; the last is a message that says how."""
    while True:
        queue: asyncio.Queue[Event | None] = asyncio.Queue()

        def heard(event: Event, queue: asyncio.Queue[Event | None] = queue) -> None:
            if queue.qsize() >= BEHIND:
                raise asyncio.QueueFull  # it is printed faster than the page reads
            queue.put_nowait(event)

        arguments = {"workspace": workspace, "handle": handle, "offset": at}
        arguments |= {"wait_seconds": WAIT_SECONDS, "max_output_bytes": 200}
        work = asyncio.ensure_future(pyro.call(REGISTRY["logs_workspace"], arguments, on_event=heard))
        work.add_done_callback(lambda _, queue=queue: queue.put_nowait(None))  # type: ignore[misc]
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, Output):
                    at += len(event.data)
                    yield at, event.data
        finally:
            if not work.done():
                work.cancel()
        try:
            record = await work
        except asyncio.QueueFull:
            continue  # from where the page is
        except PyroError as error:
            yield {"kind": "failed", "message": error.message}
            return
        if record["status"] != "running":
            yield {"kind": "ended", **{name: record[name] for name in ("status", "exit_code", "cause", "total_bytes")}}
            return


async def output(pyro: AsyncPyro, query: dict[str, str]) -> AsyncGenerator[Message, None]:
    """What a command prints, from an offset on, until it ends."""
    at = _number(query, "offset", (0, 10**15))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async with aclosing(followed(pyro, query.get("workspace", ""), query.get("handle", ""), at)) as pieces:
        async for piece in pieces:
            if isinstance(piece, tuple):
                yield {"kind": "output", "text": decoder.decode(piece[1]), "offset": piece[0]}
            elif piece["kind"] == "ended":
                yield {**piece, "text": decoder.decode(b"", True)}
            else:
                yield piece


async def screens(pyro: AsyncPyro, query: dict[str, str]) -> AsyncGenerator[Message, None]:
    """A shell's terminal as a person sees it: the screen, then the lines of it that change, until it ends.

    The screen is made of what the shell printed last: one whose size changed is asked for anew.
    """
    workspace, shell = query.get("workspace", ""), query.get("shell", "")
    terminal = StyledTerminal(_number(query, "rows", ROWS), _number(query, "cols", COLS))
    try:
        begun = await pyro.call(REGISTRY["write_shell"], {"workspace": workspace, "shell": shell, "text": ""})
        at = max(0, int(begun["cursor"]) - BACKLOG)
    except PyroError as error:
        if error.code != "shell_ended":
            yield {"kind": "failed", "message": error.message}
            return
        at = 0
    drawn = _Drawn(terminal)
    pieces = followed(pyro, workspace, shell, at)
    coming = asyncio.ensure_future(anext(pieces))
    try:
        yield drawn.changes()
        while True:
            piece = await coming
            if not isinstance(piece, tuple):
                yield drawn.changes()
                yield piece
                return
            coming = asyncio.ensure_future(anext(pieces))
            await asyncio.to_thread(terminal.feed, piece[1])
            await asyncio.wait({coming}, timeout=FRAME_SECONDS)
            if not coming.done() or drawn.late():
                yield drawn.changes()
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        await pieces.aclose()


class _Drawn:
    """What a page was shown of a terminal."""

    def __init__(self, terminal: StyledTerminal) -> None:
        self._terminal = terminal
        self._rows: list[list[Run]] = []
        self._scrolled = 0
        self._at = 0.0

    def late(self) -> bool:
        """It prints without end, and the page has seen nothing for a while."""
        return asyncio.get_running_loop().time() - self._at > 3 * FRAME_SECONDS

    def changes(self) -> Message:
        """Lines that differ from what was shown, and those that left the screen since."""
        terminal = self._terminal
        rows = terminal.screen_runs
        changed = [[n, row] for n, row in enumerate(rows) if n >= len(self._rows) or self._rows[n] != row]
        left = terminal.left_runs(self._scrolled)[-HISTORY:]
        self._rows, self._scrolled = rows, terminal.scrolled
        self._at = asyncio.get_running_loop().time()
        modes = terminal.modes
        return {
            "kind": "screen",
            "rows": changed,
            "left": left,
            "height": terminal.rows,
            "cursor": list(terminal.cursor) if CURSOR_SHOWN in modes else None,
            "alternate": terminal.alternate,
            "cursor_keys": CURSOR_KEYS in modes,
            "paste_marked": PASTE_MARKED in modes,
        }


def _number(query: dict[str, str], name: str, bounds: tuple[int, int]) -> int:
    """A number of the address, brought within its bounds; what is none is the lower one."""
    text = query.get(name, "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else bounds[0]
    return max(bounds[0], min(number, bounds[1]))
