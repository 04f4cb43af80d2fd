"""Waiting for a command, its output passed on to callers that listen; and searching in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pyro_mcp.daemon.call import Call
from pyro_mcp.pattern import Pattern
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.output import STDOUT
from pyro_mcp.processes.seen import seen
from pyro_mcp.spans import span

STREAM_CHUNK = 64 * 1024


async def wait_and_pass_on(
    call: Call, command: Command, seconds: float, offset: int = 0, enough: Callable[[], bool] = lambda: False
) -> None:
    """Wait until the command ends, `enough` holds or the time is over; a listening caller gets its output meanwhile."""
    with span("command"):
        if not call.listens_to_output:
            await command.wait_ended(seconds, enough)
            return
        try:
            async with asyncio.timeout(seconds):
                while True:
                    change = command.change
                    running = command.running
                    offset = await _send_output(call, command, offset)
                    if not running or enough():
                        return
                    await change.wait()
        except TimeoutError:
            await _send_output(call, command, offset)


async def _send_output(call: Call, command: Command, offset: int) -> int:
    while pieces := command.output.pieces(offset, STREAM_CHUNK):
        for stream, data in pieces:
            await call.output("stdout" if stream == STDOUT else "stderr", data)
            offset += len(data)
    return offset


async def piece(
    command: Command, begin: int, bound: int, grep: str | None, *, raw: bool
) -> tuple[str, int | None, int]:
    """Output from an offset on, at most `bound` bytes of it: text, the lines that match in all, where to go on."""
    if grep is not None:
        return await asyncio.to_thread(matching_lines, command, grep, begin, bound)
    if not raw:
        text, end = await asyncio.to_thread(command.output.seen_piece, begin, bound)
        return text, None, end
    data = await asyncio.to_thread(command.output.read, begin, bound)
    return data.decode("utf-8", "replace"), None, begin + len(data)


def matching_lines(command: Command, grep: str, begin: int, bound: int) -> tuple[str, int, int]:
    """Matching lines from an offset on within a bound: text, how many there are in all, where to go on."""
    pattern = Pattern(grep)
    lines: list[str] = []
    used = matches = 0
    position = end = begin
    rest = b""
    full = False
    while True:
        data = command.output.read(position, 1 << 20)
        position += len(data)
        whole = (rest + data).split(b"\n")
        rest = whole.pop() if data else b""
        texts = [seen(raw) for raw in whole]
        for raw, line, found in zip(whole, texts, pattern.matches(texts), strict=True):
            if found:
                matches += 1
                used += len(raw) + 1
                full = full or used > bound
                if not full:
                    lines.append(line)
            if not full:
                end += len(raw) + 1
        if not data:
            return "\n".join(lines), matches, min(end, command.output.kept_bytes)
