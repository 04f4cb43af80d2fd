"""What a person would have seen of some output: progress bars in their last state, no escapes. Pure.

Programs draw over what they printed: carriage returns, backspaces, erasing, moving up over the last lines. A reader of
the result wants the last state of each line; the raw bytes stay in the log. This is not a terminal: it has no width, a
clear screen only begins a new line, and nothing that was printed and not drawn over is ever lost. `screen` is the
terminal, for shells.
"""

from __future__ import annotations

import codecs
import re

from pyro_mcp.visible import shortened

REACH = 200
"""Rows, from the last one up, that a program can move back to; a terminal has fewer."""
LONG = 4096
"""Characters: drawing over a longer line begins a new one. On any terminal it would have been wrapped by then."""
WIDE = 300
"""Columns: moving right leads no further, unless text is there."""
LAST_BYTES = 4096
"""Of the end of an output, in which its last line is looked for."""

_CSI = r"(?:\x1b\[|\x9b)([0-?]{0,64})[ -/]{0,8}([@-~])"
_COLOUR = re.compile(r"\x1b\[[0-9;:]{0,64}m")
_TOKEN = re.compile(
    rf"((?:[^\x00-\x08\x0b-\x1f\x7f-\x9f]+|{_COLOUR.pattern})+)"  # text, with tabs, line ends and colours
    rf"|(\r+(?:[^\x00-\x08\x0a-\x1f\x7f-\x9f]{{0,{LONG}}}\r+)*)|(\x08+)"  # states of a bar
    rf"|{_CSI}"
    r"|((?:\x1b[\]PX^_])|[\x90\x98\x9d-\x9f])"  # a string that is for the terminal: OSC, DCS, SOS, PM, APC
    r"|([\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]+"  # nothing that shows
    r"|\x1b[ -/]{0,8}[0-~]|\x1b+(?=\x1b)|[\x00-\x08\x0b-\x1f\x7f-\x9f])"
)
_CUT = re.compile(r"(?:\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|[ -/]{0,8})|\x9b[0-?]{0,64}[ -/]{0,8})\Z")
"""The beginning of a sequence at the end of a piece: what it is will be seen with the next piece."""
_CUT_CHARACTERS = 80
_STRING_END = re.compile(r"\x07|\x9c|\x1b\\|\x1b|[\n\x18\x1a]")
"""What ends such a string; a line end does, so that a string without end hides one line and not the rest."""
_ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Seen:
    """Takes output piece by piece, cut anywhere, and gives the lines that nothing can draw over any more."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rows = [""]
        self._drawn_over: set[int] = set()
        """Rows, counted from the beginning of the output, that were drawn over: blanks at their end are no text."""
        self._gone = 0
        """Rows that were given."""
        self._more: list[str] = []
        """What follows in the last row, when that is long."""
        self._row = 0
        self._column = 0
        self._cut = ""
        self._in_string = False

    def feed(self, data: bytes) -> str:
        """The lines that are settled by this piece, each with its end."""
        self._take(self._decoder.decode(data))
        if len(self._rows) <= 2 * REACH:
            return ""
        return "".join(f"{text}\n" for text in self._given(len(self._rows) - REACH))

    def end(self) -> str:
        """All that is left; no more may be fed."""
        self._take(self._decoder.decode(b"", final=True), final=True)
        self._join()
        return "\n".join(self._given(len(self._rows)))

    def _given(self, count: int) -> list[str]:
        given, self._rows = self._rows[:count], self._rows[count:]
        if self._drawn_over:
            for number in range(len(given)):
                if self._gone + number in self._drawn_over:
                    self._drawn_over.discard(self._gone + number)
                    given[number] = given[number].rstrip(" ")
        self._gone += count
        self._row -= count
        return given

    # -- reading

    def _take(self, text: str, *, final: bool = False) -> None:
        text, self._cut = self._cut + text, ""
        if not final:
            begun = _CUT.search(text, max(0, len(text) - _CUT_CHARACTERS))
            if begun is not None:
                text, self._cut = text[: begun.start()], text[begun.start() :]
        place = 0
        while place < len(text):
            if self._in_string:
                found = _STRING_END.search(text, place)
                if found is None:
                    return
                # What is not an end of its own kind still acts, as an escape that begins something else.
                place = found.end() if found[0] in ("\x07", "\x9c", "\x1b\\", "\x18", "\x1a") else found.start()
                self._in_string = False
                continue
            token = _TOKEN.match(text, place)
            assert token is not None  # the last two kinds take every character
            place = token.end()
            if token[1] is not None:
                self._write(_COLOUR.sub("", token[1]) if "\x1b" in token[1] else token[1])
            elif token[2] is not None:
                self._draw_states(token[2].split("\r"))
            elif token[3] is not None:
                if self._may_draw():
                    self._column = max(0, self._column - len(token[3]))
            elif token[5] is not None:
                self._control(token[4], token[5])
            elif token[6] is not None:
                self._in_string = True

    # -- drawing

    def _join(self) -> None:
        if self._more:
            self._rows[-1] += "".join(self._more)
            self._more = []

    def _at_end(self) -> bool:
        return self._row == len(self._rows) - 1 and (bool(self._more) or self._column == len(self._rows[-1]))

    def _may_draw(self) -> bool:
        """Make ready for drawing over the line; over a long one nothing is drawn."""
        if len(self._rows[self._row]) <= LONG:
            return True
        if self._row == len(self._rows) - 1:
            self._new_row()
        return False

    def _new_row(self) -> None:
        self._join()
        self._rows.append("")
        self._row, self._column = len(self._rows) - 1, 0

    def _write(self, text: str) -> None:
        first, *rest = text.split("\n")
        if not self._at_end():
            self._draw(first)
            while rest and self._row < len(self._rows) - 1:
                self._row, self._column = self._row + 1, 0
                self._draw(rest.pop(0))
        elif len(self._rows[-1]) > LONG:
            self._more.append(first)
        else:
            self._rows[-1] += first
            self._column = len(self._rows[-1])
        if rest:
            self._join()
            self._rows += rest
            self._row, self._column = len(self._rows) - 1, len(self._rows[-1])

    def _draw_states(self, states: list[str]) -> None:
        """A run of states of the line, each drawn from its beginning: of each column the last one is seen."""
        if not self._may_draw() and self._rows[self._row]:
            return  # a long line further up
        drawn, length, count = [], 0, 0
        for state in reversed(states):
            count += state != ""
            if len(state) > length:
                drawn.append(state[length:])
                length = len(state)
        row = self._rows[self._row]
        if count + (row != "") > 1 and count:
            self._drawn_over.add(self._gone + self._row)
        self._rows[self._row] = "".join(drawn) + row[length:]
        self._column = 0

    def _draw(self, text: str) -> None:
        if not text:
            return
        if self._column >= len(self._rows[self._row]):
            text = " " * (self._column - len(self._rows[self._row])) + text
            self._column = len(self._rows[self._row])
        elif not self._may_draw():
            self._draw(text)
            return
        else:
            self._drawn_over.add(self._gone + self._row)
        row = self._rows[self._row]
        self._rows[self._row] = row[: self._column] + text + row[self._column + len(text) :]
        self._column += len(text)

    def _control(self, given: str, kind: str) -> None:
        if kind not in "ABCDEFGHJKPXf":
            return
        first = given.partition(";")[0]
        number = int(first[:4]) if first.isascii() and first.isdigit() else 0
        count = max(1, number)
        if kind in "JK" and number == 0 and self._at_end():
            return  # nothing is to the right, as when grep colours
        if not self._may_draw():
            return
        row = self._rows[self._row]
        match kind:
            case "A" | "F":
                # Counted from the end, so that it does not matter how the output was cut.
                self._row = max(self._row - count, len(self._rows) - REACH, 0)
            case "B" | "E":
                self._row = min(self._row + count, len(self._rows) - 1)
            case "C":
                self._column = max(self._column, min(self._column + count, max(WIDE, len(row))))
            case "D":
                self._column = max(0, self._column - count)
            case "G":
                self._column = min(count - 1, max(WIDE, len(row)))
            case "K":
                blank = " " * min(self._column + 1, len(row))
                self._change("" if number == 2 else blank + row[len(blank) :] if number == 1 else row[: self._column])
            case "P":
                self._change(row[: self._column] + row[self._column + count :])
            case "X":
                blank = " " * min(count, max(0, len(row) - self._column))
                self._change(row[: self._column] + blank + row[self._column + len(blank) :])
            case "J" if number == 0:
                self._change(row[: self._column])
                for number in range(self._row + 1, len(self._rows)):
                    self._drawn_over.discard(self._gone + number)
                del self._rows[self._row + 1 :]
            case "H" | "f" | "J" if row and self._row == len(self._rows) - 1:
                self._new_row()
        if kind in "EF":
            self._column = 0

    def _change(self, row: str) -> None:
        if row != self._rows[self._row]:
            self._rows[self._row] = row
            self._drawn_over.add(self._gone + self._row)


def seen(data: bytes) -> str:
    """All of some output as a person would have seen it."""
    if _plain(data):
        return data.decode("ascii")
    drawing = Seen()
    return drawing.feed(data) + drawing.end()


def last_line(data: bytes, most: int) -> str:
    """The last line of some output that has anything to read, in at most so many characters."""
    for line in reversed(seen(data[-LAST_BYTES:]).splitlines()):
        text = "".join(c for c in line if c.isprintable()).strip()
        if text:
            return shortened(text, most)
    return ""


def _plain(data: bytes) -> bool:
    return data.isascii() and _ACTS.search(data.decode("ascii")) is None
