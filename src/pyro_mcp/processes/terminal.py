"""What a person would see on a terminal after a program's raw output: text in, lines out, no I/O.

`terminal_parser.py` splits the output into characters and sequences, `terminal_cells.py` is the screen they act on.
Where terminals differ, xterm is followed. Nothing is ever answered, so a program that asks hears nothing.
"""

from __future__ import annotations

import codecs
from itertools import islice

from pyro_mcp.processes.terminal_cells import TextScreen
from pyro_mcp.processes.terminal_parser import Parser

MAX_SIDE = 1_000
"""Most rows and most columns; a size beyond it, or below one, is brought within."""
_CHUNK = 64 * 1024
"""Bytes decoded at a time, so that a large feed is not held twice."""


class Terminal:
    """A screen of fixed size, fed with a program's output and read as lines of plain text."""

    def __init__(self, rows: int = 30, cols: int = 120) -> None:
        self.rows, self.cols = _side(rows), _side(cols)
        self._screen = self._made()
        self._parser = Parser(self._screen)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def _made(self) -> TextScreen:
        return TextScreen(self.cols, self.rows)

    def feed(self, data: bytes) -> None:
        """Takes any bytes, cut anywhere; never raises."""
        for start in range(0, len(data), _CHUNK):
            self._parser.feed(self._decoder.decode(data[start : start + _CHUNK]))

    def resize(self, rows: int, cols: int) -> None:
        """Lines are cut or padded, not wrapped anew; lines pushed out above the cursor become history."""
        self.rows, self.cols = _side(rows), _side(cols)
        self._screen.resize(self.rows, self.cols)

    @property
    def scrolled(self) -> int:
        """How many lines have left the top of the main screen since the beginning; never falls."""
        return self._screen.scrolled

    def history(self, first: int) -> list[str]:
        """The lines numbered `first` and up that left the main screen: the last `HISTORY_LINES` of them at most,
        and none from before the program erased its history. The last one is always number `scrolled - 1`."""
        kept = self._screen.history
        return list(islice(kept, max(0, first - (self.scrolled - len(kept))), None))

    def screen(self) -> list[str]:
        lines = self._screen.display
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def cursor(self) -> tuple[int, int]:
        cursor = self._screen.cursor
        return cursor.y, min(cursor.x, self.cols - 1)

    @property
    def alternate(self) -> bool:
        return self._screen.alternate


def _side(length: int) -> int:
    return max(1, min(length, MAX_SIDE))
