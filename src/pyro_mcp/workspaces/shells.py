"""Shells: terminals in a workspace that outlive calls, read by cursor as bytes or as a person would see them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time

from pyro_mcp import models
from pyro_mcp.errors import Conflict, InvalidInput, NotFound
from pyro_mcp.pattern import Pattern
from pyro_mcp.processes.command import BEGIN_SECONDS, Command
from pyro_mcp.processes.screen import Screen
from pyro_mcp.workspaces.workspace import Workspace

ROWS, COLS = 30, 120
"""CONTRACT, "Names, defaults and bounds"."""
IDLE_CAP_SECONDS = 10.0
IDLE_CAP_FACTOR = 10
"""A program that never falls silent is waited for no longer than so many times the silence that was asked for."""
WAIT_FOR_BYTES = 1024 * 1024
_CONTROL = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
"""CSI and OSC sequences and plain escapes (ECMA-48)."""
OVERLAP = 64 * 1024
"""How far a match may reach back into what was searched before."""


def find(workspace: Workspace, handle: str) -> Command:
    """The shell of that handle.

    Raises:
        NotFound: there is none; the message names those there are.
    """
    command = workspace.commands.get(handle)
    if command is None or command.row.kind != "shell":
        known = ", ".join(c.row.handle for c in workspace.commands.values() if c.row.kind == "shell") or "none"
        raise NotFound(f"Workspace {workspace.id} has no shell {handle!r}; it has: {known}.", code="no_shell")
    return command


async def require_open(workspace: Workspace, handle: str) -> Command:
    command = find(workspace, handle)
    if not command.running:
        status = command.row.status if command.row.exit_code is None else f"ended with status {command.row.exit_code}"
        raise Conflict(f"Shell {handle} is {status}.", hint="Open a new one.", code="shell_ended")
    await command.begun(BEGIN_SECONDS)
    return command


def record(workspace: Workspace, command: Command) -> models.Shell:
    return models.Shell(
        workspace=workspace.id,
        shell=command.row.handle,
        status=command.row.status,
        exit_code=command.row.exit_code,
        command=command.row.command,
        rows=command.row.rows or ROWS,
        cols=command.row.cols or COLS,
        cursor=command.output.kept_bytes,
    )


async def wait_idle(command: Command, idle_ms: int) -> None:
    """Wait until nothing was printed for so long: at most ten times that, and never more than 10 s."""
    idle = idle_ms / 1000
    if idle <= 0:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(min(IDLE_CAP_SECONDS, idle * IDLE_CAP_FACTOR)):
            while command.running:
                change = command.change
                try:
                    async with asyncio.timeout(idle):
                        await change.wait()
                except TimeoutError:
                    return


def _lines(data: bytes) -> bytes:
    """Output as lines that a pattern can be written for: no control sequences, a line begins after each return."""
    return _CONTROL.sub(b"", data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


async def wait_for(command: Command, pattern: str, cursor: int, seconds: float) -> None:
    """Wait until what was printed since the cursor matches, or the shell ends, at most `seconds`."""
    wanted = await asyncio.to_thread(Pattern, pattern, multiline=True)
    deadline = time.monotonic() + seconds
    position = cursor
    while command.running:
        change = command.change
        while position < (end := command.output.kept_bytes):
            begin = max(cursor, position - OVERLAP)
            text = _lines(command.output.read(begin, WAIT_FOR_BYTES)).decode("utf-8", "replace")
            if await asyncio.to_thread(wanted.found_in, text):
                return
            position = min(end, begin + WAIT_FOR_BYTES)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await change.wait()
        except TimeoutError:
            return


async def read(
    workspace: Workspace, command: Command, cursor: int | None, max_bytes: int, *, plain: bool
) -> models.ShellOutput:
    """Output from a cursor on: raw, the oldest first; or plain, what a person would see now."""
    end = command.output.kept_bytes
    if cursor is not None and cursor > end:
        raise InvalidInput(
            f"The cursor {cursor} is past the end of the output, {end}.",
            hint="Use the cursor that the last call returned.",
            code="bad_cursor",
        )
    if plain:
        return await _read_plain(workspace, command, cursor, end, max_bytes)
    begin = cursor or 0
    data = _whole_characters(command.output.read(begin, min(max_bytes, end - begin)))
    after = begin + len(data)
    return models.ShellOutput(
        workspace=workspace.id,
        shell=command.row.handle,
        output=data.decode("utf-8", "replace"),
        cursor=after,
        status=command.row.status,
        exit_code=command.row.exit_code,
        hint=f"{end - after} bytes follow; continue with cursor={after}." if after < end else "",
    )


async def _read_plain(
    workspace: Workspace, command: Command, cursor: int | None, end: int, max_bytes: int
) -> models.ShellOutput:
    handle = command.row.handle
    screen = workspace.terminals.get(handle)
    if screen is None:
        screen = workspace.terminals[handle] = Screen(command.row.rows or ROWS, command.row.cols or COLS)
    async with screen.lock:
        await asyncio.to_thread(screen.catch_up, command.output, end)
        terminal = screen.terminal
        text = "\n".join(screen.lines(cursor))
        row, column = terminal.cursor
        alternate = terminal.alternate
    raw = text.encode()
    skipped = max(0, len(raw) - max_bytes)
    if skipped:
        text = raw[skipped:].decode("utf-8", "ignore").partition("\n")[2]
    return models.ShellOutput(
        workspace=workspace.id,
        shell=handle,
        output=text,
        cursor=end,
        status=command.row.status,
        exit_code=command.row.exit_code,
        skipped_bytes=skipped,
        alternate_screen=alternate,
        cursor_row=row,
        cursor_column=column,
        hint="Older lines were left out; raise max_bytes to see them." if skipped else "",
    )


async def resize(workspace: Workspace, command: Command, rows: int, cols: int) -> tuple[int, int]:
    """The screen that is kept up, if any, changes its size where the output stands now. Gives the size before."""
    screen = workspace.terminals.get(command.row.handle)
    if screen is None:
        return command.row.rows or ROWS, command.row.cols or COLS
    async with screen.lock:
        await asyncio.to_thread(screen.catch_up, command.output, command.output.kept_bytes)
        before = screen.terminal.rows, screen.terminal.cols
        screen.terminal.resize(rows, cols)
        return before


def _whole_characters(data: bytes) -> bytes:
    """Without the beginning of a character that is cut at the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if length > back and back < len(data) else data
    return data
