"""A terminal whose cells keep their colours, for a person's page; `terminal.py` is the same in plain text.

A cell is its text with a style beside it, so all that the screen does with text it does with styles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from pyro_mcp.processes.terminal import Terminal
from pyro_mcp.processes.terminal_cells import TextScreen

Run = tuple[str, str]
"""Words for a style, such as `bold fg1`, and the text that has it."""
PLAIN = ""
HISTORY_LINES = 2_000
CURSOR_KEYS, CURSOR_SHOWN, PASTE_MARKED = 1, 25, 2004
"""DECCKM, DECTCEM and xterm's bracketed paste."""
_FLAGS = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "struck"}
_ENDS = {22: ("bold", "faint"), 23: ("italic",), 24: ("underline",), 27: ("inverse",), 29: ("struck",)}


class Cell(str):
    """The text of one column, and its style."""

    __slots__ = ("style",)
    style: str

    def __new__(cls, text: str, style: str) -> Cell:
        made = super().__new__(cls, text)
        made.style = style
        return made


class StyledScreen(TextScreen):
    """Keeps what `TextScreen` lets go: colours, and the modes that matter to one who types."""

    def reset(self) -> None:
        self.style = PLAIN
        self.left: deque[list[Run]] = deque(maxlen=HISTORY_LINES)
        self.on = {CURSOR_SHOWN}
        super().reset()

    def _put(self, x: int, cells: str | list[str]) -> None:
        super()._put(x, [Cell(cell, self.style) for cell in cells] if self.style else cells)

    def _keep(self, rows: Iterable[list[str]]) -> None:
        rows = list(rows)
        self.left.extend(runs(row) for row in rows)
        super()._keep(rows)

    def set_private_mode(self, *numbers: int) -> None:
        self.on |= {CURSOR_KEYS, CURSOR_SHOWN, PASTE_MARKED} & set(numbers)
        super().set_private_mode(*numbers)

    def reset_private_mode(self, *numbers: int) -> None:
        self.on -= set(numbers)
        super().reset_private_mode(*numbers)

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        if how == 3:
            self.left.clear()
        super().erase_in_display(how, *args, **kwargs)

    def select_style(self, parameters: str) -> None:
        """SGR. The 256 colours come down to the sixteen that the page has, by their nearest."""
        if parameters[:1] in tuple("<=>?"):
            return  # xterm's keyboard settings
        has = dict.fromkeys(self.style.split())
        codes = [int(part) if part.isdecimal() else 0 for part in parameters.replace(":", ";").split(";")[:32]]
        while codes:
            code = codes.pop(0)
            if code == 0:
                has.clear()
            elif code in _FLAGS:
                has[_FLAGS[code]] = None
            elif code in _ENDS:
                for flag in _ENDS[code]:
                    has.pop(flag, None)
            elif code in (38, 48):
                _coloured(has, "fg" if code == 38 else "bg", _extended(codes))
            elif code in (39, 49) or 30 <= code <= 47 or 90 <= code <= 107:
                ground = "bg" if code in range(40, 50) or code >= 100 else "fg"
                _coloured(has, ground, None if code in (39, 49) else code % 10 + (8 if code >= 90 else 0))
        self.style = " ".join(has)

    @property
    def styled(self) -> list[list[Run]]:
        """The lines of the screen as runs."""
        return [runs(row) for row in self._rows]


class StyledTerminal(Terminal):
    """A terminal that is read as runs of styled text."""

    def _made(self) -> TextScreen:
        return StyledScreen(self.cols, self.rows)

    @property
    def screen_runs(self) -> list[list[Run]]:
        return self._styled.styled

    def left_runs(self, first: int) -> list[list[Run]]:
        """Lines numbered `first` and up that left the screen, the last `HISTORY_LINES` at most."""
        kept = self._styled.left
        return list(kept)[max(0, first - (self.scrolled - len(kept))) :] if first < self.scrolled else []

    @property
    def modes(self) -> set[int]:
        return set(self._styled.on)

    @property
    def _styled(self) -> StyledScreen:
        assert isinstance(self._screen, StyledScreen)
        return self._screen


def runs(row: list[str]) -> list[Run]:
    """A row as runs of one style, without the blanks at its end that have none."""
    found: list[tuple[str, list[str]]] = []
    for cell in row:
        style = cell.style if isinstance(cell, Cell) else PLAIN
        if not found or found[-1][0] != style:
            found.append((style, []))
        found[-1][1].append(cell)
    made = [(style, "".join(cells)) for style, cells in found]
    if made and made[-1][0] == PLAIN:
        made[-1] = (PLAIN, made[-1][1].rstrip())
    return [run for run in made if run[1]]


def _coloured(has: dict[str, Any], ground: str, colour: int | None) -> None:
    for other in [style for style in has if style.startswith(ground)]:
        del has[other]
    if colour is not None:
        has[f"{ground}{colour}"] = None


def _extended(codes: list[int]) -> int | None:
    """Takes what follows 38 or 48 from the codes, and gives the nearest of the sixteen colours."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        number = codes.pop(0)
        if number < 16:
            return number
        if number >= 232:
            return _nearest(*[8 + 10 * (number - 232)] * 3)
        number -= 16
        return _nearest(*(0 if part == 0 else 55 + 40 * part for part in (number // 36, number // 6 % 6, number % 6)))
    if kind == 2 and len(codes) >= 3:
        return _nearest(codes.pop(0), codes.pop(0), codes.pop(0))
    return None


def _nearest(red: int, green: int, blue: int) -> int:
    """Of the sixteen: which parts are strong, and whether any is bright."""
    most = max(red, green, blue)
    if most < 48:
        return 0
    if max(abs(red - green), abs(green - blue), abs(red - blue)) < 32:
        return 8 if most < 128 else 7 if most < 224 else 15
    strong = sum(bit for bit, part in ((1, red), (2, green), (4, blue)) if part * 2 > most)
    return strong + (8 if most > 215 else 0)
