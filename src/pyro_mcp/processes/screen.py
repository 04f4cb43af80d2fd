"""A shell's screen beside its log: fed when somebody looks, and what has left it since a cursor."""

from __future__ import annotations

import asyncio
import bisect

from pyro_mcp.processes.output import OutputLog
from pyro_mcp.processes.terminal import Terminal

BACKLOG = 4 * 1024 * 1024
"""A screen that lags further behind is begun anew near the end."""
FEED = 64 * 1024


class Screen:
    """What a shell's terminal shows, kept up with its output when somebody looks."""

    def __init__(self, rows: int, cols: int) -> None:
        self.terminal = Terminal(rows, cols)
        self.lock = asyncio.Lock()
        self._fed = 0
        self._offsets: list[int] = [0]
        self._scrolled: list[int] = [0]

    def catch_up(self, output: OutputLog, end: int) -> None:
        """Show the output up to `end`. Blocks; the caller holds the lock."""
        if end - self._fed > BACKLOG:
            self._fed = end - BACKLOG // 4
        while self._fed < end:
            data = output.read(self._fed, min(FEED, end - self._fed))
            if not data:
                break
            self.terminal.feed(data)
            self._fed += len(data)
            self._offsets.append(self._fed)
            self._scrolled.append(self.terminal.scrolled)

    def lines(self, cursor: int | None) -> list[str]:
        """What has left the screen since the cursor (all that is kept, without one), then the screen."""
        if self.terminal.alternate:
            return self.terminal.screen()
        first = 0
        if cursor is not None:
            first = self._scrolled[max(0, bisect.bisect_right(self._offsets, cursor) - 1)]
        return [*self.terminal.history(first), *self.terminal.screen()]
