"""Joins two byte streams: both ways at once, at the pace of the slower side, each end passed on by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from pyro_mcp.guest.duplex import Streams

CHUNK = 64 * 1024
PIECE = 256 * 1024
"""What one copy takes at most: as much as asyncio receives at once (`asyncio.selector_events`, max_size)."""
IDLE_SECONDS = 900.0
"""A direction in which nothing moves for so long is given up, when the caller does not say otherwise."""


async def copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    count: Callable[[int], None],
    idle_seconds: float | None = IDLE_SECONDS,
) -> None:
    """Copy to the end, passing the end on. The writer's drain is what slows a sender to a slow reader's pace."""
    while True:
        async with asyncio.timeout(idle_seconds):
            data = await reader.read(PIECE)
        if not data:
            break
        count(len(data))
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError, RuntimeError, NotImplementedError):
        writer.write_eof()


async def join(
    one: Streams,
    other: Streams,
    *,
    up: Callable[[int], None] = lambda _: None,
    down: Callable[[int], None] = lambda _: None,
    idle_seconds: float | None = IDLE_SECONDS,
) -> None:
    """Join two streams until both directions have ended, or one broke. The caller closes them.

    `up` hears of what went from `one` to `other`, `down` of the other direction.
    """
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(copy(one[0], other[1], up, idle_seconds))
            group.create_task(copy(other[0], one[1], down, idle_seconds))
    except* (OSError, TimeoutError):
        pass  # one side broke; the caller closes the other


def counter(counts: dict[str, int], key: str) -> Callable[[int], None]:
    """Adds to `counts[key]`: for `join`."""

    def count(size: int) -> None:
        counts[key] += size

    return count
