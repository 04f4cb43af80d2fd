"""Splits a program's output into characters, controls and sequences, after https://vt100.net/emu/dec_ansi_parser.

pyte's own stream goes one character at a time, raises on sequences it half knows (`CSI ? u`, `CSI 9 K`) and keeps
endless titles.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from pyro_mcp.processes.terminal_cells import TextScreen

_SEQUENCE_CHARACTERS = 256
"""A longer control sequence is read to its end and ignored."""
_LARGEST_NUMBER = 9999
"""Of a parameter; VT220 Programmer Reference, section 3.5, and more than any side of a screen."""
_TEXT = re.compile("[^\x00-\x1f\x7f-\x9f]+")
"""Not the 8-bit controls: in UTF-8 nobody means them, and in text decoded wrongly U+009D would open a title that
swallows the rest. They are dropped, as tmux does."""
_WHOLE_SEQUENCE = re.compile(rf"\x1b\[([ -?]{{0,{_SEQUENCE_CHARACTERS}}})([@-~])")
_SEQUENCE_PART = re.compile("[ -?]+")
_PARAMETERS = re.compile("([<-?]?)([0-9:;]*)([ -/]*)")
_TITLE_END = re.compile("[\x07\x18\x1a\x1b]")
_STRING_END = re.compile("[\x18\x1a\x1b]")

_CONTROLS = {
    "\b": "backspace",
    "\t": "tab",
    "\n": "linefeed",
    "\v": "linefeed",
    "\f": "linefeed",
    "\r": "carriage_return",
    "\x0e": "shift_out",
    "\x0f": "shift_in",
}
_ESCAPES = {
    "7": "save_cursor",
    "8": "restore_cursor",
    "D": "index",
    "E": "next_line",
    "H": "set_tab_stop",
    "M": "reverse_index",
    "c": "reset",
    "#8": "alignment_display",
}
_SEQUENCES = {
    "@": "insert_characters",
    "A": "cursor_up",
    "B": "cursor_down",
    "C": "cursor_forward",
    "D": "cursor_back",
    "E": "cursor_down1",
    "F": "cursor_up1",
    "G": "cursor_to_column",
    "H": "cursor_position",
    "I": "tab",
    "J": "erase_in_display",
    "K": "erase_in_line",
    "L": "insert_lines",
    "M": "delete_lines",
    "P": "delete_characters",
    "S": "scroll_up",
    "T": "scroll_down",
    "X": "erase_characters",
    "Z": "tab_back",
    "`": "cursor_to_column",
    "a": "cursor_forward",
    "b": "repeat",
    "d": "cursor_to_line",
    "e": "cursor_down",
    "f": "cursor_position",
    "g": "clear_tab_stop",
    "h": "set_mode",
    "l": "reset_mode",
    "r": "set_margins",
    "s": "save_cursor",
    "u": "restore_cursor",
    "!p": "soft_reset",
    "?J": "erase_in_display",
    "?K": "erase_in_line",
    "?h": "set_private_mode",
    "?l": "reset_private_mode",
}
"""By private prefix, intermediates and final character. Colours, reports, keyboard protocols and the rest
change no text: what is not listed is ignored."""
_ARGUMENTS = {"H": 2, "f": 2, "r": 2, "s": 0, "u": 0, "!p": 0, "h": 32, "l": 32, "?h": 32, "?l": 32}
"""How many parameters are taken; one, unless listed."""


class Parser:
    """Splits text into characters, controls and sequences, and calls the screen; keeps a bounded remainder."""

    def __init__(self, screen: TextScreen) -> None:
        self._draw = screen.draw
        self._designate = screen.define_charset
        self._style = screen.select_style
        self._controls = _bound(screen, _CONTROLS)
        self._escapes = _bound(screen, _ESCAPES)
        self._sequences = _bound(screen, _SEQUENCES)
        self._state = self._ground
        self._held = ""

    def feed(self, text: str) -> None:
        position, end = 0, len(text)
        while position < end:
            position = self._state(text, position)

    def _ground(self, text: str, position: int) -> int:
        if run := _TEXT.match(text, position):
            self._draw(run[0])
            return run.end()
        if whole := _WHOLE_SEQUENCE.match(text, position):
            self._sequence(whole[1], whole[2])
            return whole.end()
        return self._control(text, position)

    def _control(self, text: str, position: int) -> int:
        """One control, which in the midst of a sequence acts as if it stood before."""
        char = text[position]
        if char == "\x1b":
            self._state, self._held = self._escape, ""
        elif char in "\x18\x1a":
            self._state = self._ground
        elif action := self._controls.get(char):
            action()
        return position + 1

    def _escape(self, text: str, position: int) -> int:
        char = text[position]
        if char < " " or char == "\x7f":
            return self._control(text, position)
        self._state = self._ground
        if char > "~":
            return position  # not a sequence after all, but text
        if char < "0":
            self._state, self._held = self._escape, (self._held + char)[:3]
        elif self._held in ("(", ")"):
            self._designate(char, self._held)
        elif action := self._escapes.get(self._held + char):
            action()
        elif self._held:
            pass
        elif char == "[":
            self._state = self._control_sequence
        elif char == "]":
            self._state = self._title
        elif char in "PX^_k":  # DCS, SOS, PM, APC, and the title of GNU screen
            self._state = self._string
        return position + 1

    def _control_sequence(self, text: str, position: int) -> int:
        if part := _SEQUENCE_PART.match(text, position):
            self._held = (self._held + part[0])[: _SEQUENCE_CHARACTERS + 1]
            return part.end()
        char = text[position]
        if char < " " or char == "\x7f":
            return self._control(text, position)
        self._state = self._ground
        if char > "~":
            return position
        if len(self._held) <= _SEQUENCE_CHARACTERS:
            self._sequence(self._held, char)
        return position + 1

    def _sequence(self, held: str, final: str) -> None:
        if final == "m":
            self._style(held)
            return
        if not (parts := _PARAMETERS.fullmatch(held)):
            return
        key = parts[1] + parts[3] + final
        action = self._sequences.get(key)
        if not action:
            return
        numbers = [_number(part) for part in parts[2].split(";")] if parts[2] else []
        if key == "T" and len(numbers) > 1:
            return  # mouse highlighting, not scrolling
        action(*numbers[: _ARGUMENTS.get(key, 1)])

    def _title(self, text: str, position: int) -> int:
        return self._skip(_TITLE_END, text, position)

    def _string(self, text: str, position: int) -> int:
        return self._skip(_STRING_END, text, position)

    def _skip(self, ends: re.Pattern[str], text: str, position: int) -> int:
        end = ends.search(text, position)
        if not end:
            return len(text)
        self._state = self._ground
        return end.start() if end[0] == "\x1b" else end.end()


def _bound(screen: TextScreen, names: dict[str, str]) -> dict[str, Callable[..., None]]:
    return {key: getattr(screen, name) for key, name in names.items()}


def _number(part: str) -> int:
    return min(int(part.partition(":")[0] or 0), _LARGEST_NUMBER)
