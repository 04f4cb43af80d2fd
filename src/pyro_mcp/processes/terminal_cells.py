"""The screen of a terminal: cells of text, and what lines have left it.

Relies on pyte's `Screen` for cursor motion, tab stops, modes and shifts. Done here: cells, where only text is kept, a
row being a list of one string per column, the right half of a wide character being the empty string; what pyte has
not or has wrong: the alternate screen, lines scrolled away, erasing history, motion beside a scroll region, one saved
cursor instead of a growing stack.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from pyte import charsets, modes
from pyte.screens import Margins, Screen
from wcwidth import wcwidth

HISTORY_LINES = 10_000
"""Lines kept after they left the top of the main screen."""
_CELL_CHARACTERS = 8
"""A character and what may pile up on it; further combining characters are dropped."""

_Row = list[str]

_RUNS = re.compile("([ -~\u00a1-\u00ac\u00ae-\u02ff\u2500-\u259f]+)|[^ -~\u00a1-\u00ac\u00ae-\u02ff\u2500-\u259f]+")
"""Characters of one column, among them lines and blocks; and others, which have to be measured."""
_GRAPHICS = {code: charsets.VT100_MAP[code] for code in range(0x60, 0x7F)}
_JOINERS = "\u200c\u200d"
_KEPT_MODES = {modes.IRM, modes.LNM}
_KEPT_PRIVATE_MODES = {modes.DECOM >> 5, modes.DECAWM >> 5}
_ALTERNATE_MODES = (47, 1047, 1049)


class _Saved(NamedTuple):
    """What DECSC keeps."""

    x: int
    y: int
    charset: int
    graphics: tuple[bool, bool]
    modes: frozenset[int]


class TextScreen(Screen):
    """pyte's screen with cells of bare text. A cursor at column `columns` waits to wrap, as in pyte."""

    def __init__(self, columns: int, lines: int) -> None:
        self.history: deque[str] = deque(maxlen=HISTORY_LINES)
        self.scrolled = 0
        super().__init__(columns, lines)  # which calls reset
        self.mode = {modes.DECAWM}

    def reset(self) -> None:
        super().reset()
        self.alternate = False
        self._screens = self._blank(self.lines), self._blank(self.lines)
        self._rows = self._screens[False]
        self._saved: list[_Saved | None] = [None, None]
        self._last = ""
        self.history.clear()
        self.soft_reset()

    def soft_reset(self) -> None:
        self.mode = {modes.DECAWM}
        self.margins = None
        self.charset = 0
        self._graphics = (False, False)
        self._saved[self.alternate] = None

    @property
    def display(self) -> list[str]:
        return [_line(row) for row in self._rows]

    # Text

    def select_style(self, parameters: str) -> None:
        """Colours change no text."""

    def draw(self, data: str) -> None:
        if self._graphics[self.charset]:
            data = data.translate(_GRAPHICS)
        one_by_one = modes.DECAWM not in self.mode or modes.IRM in self.mode
        for run in _RUNS.finditer(data):
            if run[1] and not one_by_one:
                self._draw_narrow(run[1])
            else:
                self._draw_measured(run[0])

    def _draw_narrow(self, text: str) -> None:
        cursor, columns = self.cursor, self.columns
        position = 0
        while position < len(text):
            if cursor.x >= columns:
                self.next_line()
            piece = text[position : position + columns - cursor.x]
            self._put(cursor.x, piece)
            cursor.x += len(piece)
            position += len(piece)
        self._last = text[-1]

    def _draw_measured(self, text: str) -> None:
        cursor = self.cursor
        for char in text:
            width = min(wcwidth(char), self.columns)
            if width <= 0:
                self._combine(char)
                continue
            if cursor.x + width > self.columns:
                if modes.DECAWM in self.mode:
                    self.next_line()
                else:
                    cursor.x = self.columns - width
            if modes.IRM in self.mode:
                self.insert_characters(width)
            self._put(cursor.x, [char, ""][:width])
            cursor.x += width
            self._last = char

    def _put(self, x: int, cells: str | _Row) -> None:
        row = self._rows[self.cursor.y]
        end = x + len(cells)
        _part(row, x)
        _part(row, end)
        row[x:end] = cells

    def _combine(self, char: str) -> None:
        """Onto the character left of the cursor; other invisible characters (marks of direction, tags) are dropped."""
        if char not in _JOINERS and unicodedata.category(char)[0] in "CZ":
            return
        row, x = self._rows[self.cursor.y], self.cursor.x - 1
        if x > 0 and not row[x]:
            x -= 1
        if x >= 0 and len(row[x]) < _CELL_CHARACTERS:
            row[x] += char

    def repeat(self, count: int = 1) -> None:
        """At most one line full, so that a few bytes cannot cost a screen's work."""
        if self._last:
            self.draw(self._last * min(count or 1, self.columns))

    def define_charset(self, code: str, mode: str) -> None:
        g0, g1 = self._graphics
        self._graphics = (code == "0", g1) if mode == "(" else (g0, code == "0")

    def insert_characters(self, count: int | None = None) -> None:
        row, x = self._rows[self.cursor.y], min(self.cursor.x, self.columns - 1)
        count = min(count or 1, self.columns - x)
        _part(row, x)
        _part(row, self.columns - count)
        row[x:] = [" "] * count + row[x : self.columns - count]

    def delete_characters(self, count: int | None = None) -> None:
        row, x = self._rows[self.cursor.y], min(self.cursor.x, self.columns - 1)
        count = min(count or 1, self.columns - x)
        _part(row, x)
        _part(row, x + count)
        row[x:] = row[x + count :] + [" "] * count

    def erase_characters(self, count: int | None = None) -> None:
        self._erase(self.cursor.x, self.cursor.x + (count or 1))

    def erase_in_line(self, how: int = 0, private: bool = False) -> None:
        if how in (0, 1, 2):
            self._erase(0 if how else self.cursor.x, self.cursor.x + 1 if how == 1 else self.columns)

    def _erase(self, start: int, end: int) -> None:
        # A cursor that waits to wrap erases nothing to its right, as in VTE: the last character stays readable.
        end = min(end, self.columns)
        if start < end:
            self._put(start, [" "] * (end - start))

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        if how == 3:
            self.history.clear()
        elif how in (0, 1, 2):
            y = self.cursor.y
            start, end = (y + 1, self.lines) if how == 0 else (0, y if how == 1 else self.lines)
            self._rows[start:end] = self._blank(end - start)
            if how != 2:
                self.erase_in_line(how)

    def alignment_display(self) -> None:
        self._rows[:] = (["E"] * self.columns for _ in range(self.lines))
        self.set_margins()

    # Lines

    def index(self) -> None:
        self._leave_wrap()
        top, bottom = self._region
        if self.cursor.y == bottom:
            self._shift(top, bottom, 1)
        elif self.cursor.y < self.lines - 1:
            self.cursor.y += 1

    def reverse_index(self) -> None:
        self._leave_wrap()
        top, bottom = self._region
        if self.cursor.y == top:
            self._shift(top, bottom, -1)
        elif self.cursor.y > 0:
            self.cursor.y -= 1

    def next_line(self) -> None:
        self.carriage_return()
        self.index()

    def scroll_up(self, count: int = 1) -> None:
        self._shift(*self._region, count or 1)

    def scroll_down(self, count: int = 1) -> None:
        self._shift(*self._region, -(count or 1))

    def insert_lines(self, count: int | None = None) -> None:
        self._shift_from_cursor(-(count or 1))

    def delete_lines(self, count: int | None = None) -> None:
        self._shift_from_cursor(count or 1)

    def _shift_from_cursor(self, count: int) -> None:
        top, bottom = self._region
        if top <= self.cursor.y <= bottom:
            self._shift(self.cursor.y, bottom, count, deleted=True)
            self.carriage_return()

    def _shift(self, top: int, bottom: int, count: int, *, deleted: bool = False) -> None:
        """Moves the lines of a region up, or down if `count` is negative."""
        rows = self._rows
        count = max(-(bottom - top + 1), min(count, bottom - top + 1))
        if count < 0:
            del rows[bottom + 1 + count : bottom + 1]
            rows[top:top] = self._blank(-count)
            return
        if top == 0 and not self.alternate and not deleted:
            self._keep(rows[:count])
        rows[bottom + 1 : bottom + 1] = self._blank(count)
        del rows[top : top + count]

    def _keep(self, rows: Iterable[_Row]) -> None:
        for row in rows:
            self.history.append(_line(row))
            self.scrolled += 1

    def _blank(self, count: int) -> list[_Row]:
        return [[" "] * self.columns for _ in range(count)]

    # Cursor

    @property
    def _region(self) -> Margins:
        return self.margins or Margins(0, self.lines - 1)

    def _leave_wrap(self) -> None:
        self.cursor.x = min(self.cursor.x, self.columns - 1)

    def cursor_up(self, count: int | None = None) -> None:
        self._leave_wrap()
        y, top = self.cursor.y, self._region.top
        self.cursor.y = max(y - (count or 1), top if y >= top else 0)

    def cursor_down(self, count: int | None = None) -> None:
        self._leave_wrap()
        y, bottom = self.cursor.y, self._region.bottom
        self.cursor.y = min(y + (count or 1), bottom if y <= bottom else self.lines - 1)

    def cursor_to_line(self, line: int | None = None) -> None:
        self.cursor_position(line, self.cursor.x + 1)

    def set_margins(self, top: int | None = None, bottom: int | None = None) -> None:
        region = Margins((top or 1) - 1, min(bottom or self.lines, self.lines) - 1)
        whole = Margins(0, self.lines - 1)
        if region.top < region.bottom or region == whole:
            self.margins = None if region == whole else region
            self.cursor_position()

    def tab(self, count: int = 1) -> None:
        stops = sorted(stop for stop in self.tabstops if self.cursor.x < stop < self.columns)
        self.cursor.x = stops[(count or 1) - 1] if (count or 1) <= len(stops) else self.columns - 1

    def tab_back(self, count: int = 1) -> None:
        stops = sorted((stop for stop in self.tabstops if stop < self.cursor.x), reverse=True)
        self.cursor.x = stops[(count or 1) - 1] if (count or 1) <= len(stops) else 0

    def save_cursor(self) -> None:
        kept = frozenset(self.mode & {modes.DECOM, modes.DECAWM})
        self._saved[self.alternate] = _Saved(self.cursor.x, self.cursor.y, self.charset, self._graphics, kept)

    def restore_cursor(self) -> None:
        saved = self._saved[self.alternate] or _Saved(0, 0, 0, (False, False), frozenset({modes.DECAWM}))
        self.cursor.x, self.cursor.y = min(saved.x, self.columns), saved.y
        self.charset, self._graphics = saved.charset, saved.graphics
        self.mode = (self.mode - {modes.DECOM, modes.DECAWM}) | saved.modes
        self.ensure_vbounds()

    # Modes and size

    def set_mode(self, *numbers: int, **kwargs: Any) -> None:
        self.mode |= _KEPT_MODES & set(numbers)

    def reset_mode(self, *numbers: int, **kwargs: Any) -> None:
        self.mode -= _KEPT_MODES & set(numbers)

    def set_private_mode(self, *numbers: int) -> None:
        for number in numbers:
            if number in _KEPT_PRIVATE_MODES:
                super().set_mode(number, private=True)
            elif number == 1048:
                self.save_cursor()
            elif number in _ALTERNATE_MODES:
                if number == 1049:
                    self.save_cursor()
                self._show(alternate=True)
                if number == 1049:
                    self._rows[:] = self._blank(self.lines)

    def reset_private_mode(self, *numbers: int) -> None:
        for number in numbers:
            if number in _KEPT_PRIVATE_MODES:
                super().reset_mode(number, private=True)
            elif number == 1048:
                self.restore_cursor()
            elif number in _ALTERNATE_MODES and self.alternate:
                if number == 1047:
                    self._rows[:] = self._blank(self.lines)
                self._show(alternate=False)
                if number == 1049:
                    self.restore_cursor()

    def _show(self, *, alternate: bool) -> None:
        self.alternate = alternate
        self._rows = self._screens[alternate]

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        lines, columns = lines or self.lines, columns or self.columns
        if (lines, columns) == (self.lines, self.columns):
            return
        self.tabstops |= {stop for stop in range(8, columns, 8) if stop >= self.columns}
        cuts = [self._cut(alternate, lines) for alternate in (False, True)]
        self.lines, self.columns = lines, columns
        for alternate, (rows, cut) in enumerate(zip(self._screens, cuts, strict=True)):
            for row in rows:
                _part(row, columns)
                row[columns:] = [" "] * (columns - len(row))
            rows.extend(self._blank(lines - len(rows)))
            if saved := self._saved[alternate]:
                self._saved[alternate] = saved._replace(y=min(max(0, saved.y - cut), lines - 1))
        self.cursor.x = min(self.cursor.x, columns)
        self.cursor.y -= cuts[self.alternate]
        self.margins = None

    def _cut(self, alternate: bool, lines: int) -> int:
        """Takes lines that will not fit from the end, and from the top only what would push the cursor out."""
        rows = self._screens[alternate]
        if alternate == self.alternate:
            last = self.cursor.y
        else:
            last = max((y for y, row in enumerate(rows) if _line(row)), default=0)
        cut = max(0, last + 1 - lines)
        if not alternate:
            self._keep(rows[:cut])
        del rows[:cut]
        del rows[lines:]
        return cut


def _line(row: _Row) -> str:
    return "".join(row).rstrip()


def _part(row: _Row, x: int) -> None:
    """Makes column `x` a border between characters: a wide one that straddles it becomes two blanks."""
    if 0 < x < len(row) and not row[x]:
        row[x - 1] = row[x] = " "
