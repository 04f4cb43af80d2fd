"""The terminal of the page: its text is that of the plain one, and each character has the colour it was printed in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.processes.terminal import Terminal
from pyro_mcp.processes.terminal_styles import CURSOR_SHOWN, PASTE_MARKED, StyledTerminal

PIECES = st.sampled_from(
    [
        *("a", "bc ", "\u65e5", "e\u0301", "\r", "\n", "\r\n", "\t", "\b", "\x1b[31m", "\x1b[0m", "\x1b[1;48;5;200m"),
        *("\x1b[38;2;1;2;300m", "\x1b[;m", "\x1b[>4;1m", "\x1b[38;5m", "\x1b[2J", "\x1b[3J", "\x1b[H", "\x1b[5;7H"),
        *(
            "\x1b[?1049h",
            "\x1b[?1049l",
            "\x1b[K",
            "\x1b[2P",
            "\x1b[3@",
            "\x1b[L",
            "\x1b[M",
            "\x1bc",
            "\x1b[2;4r",
            "\x1b[S",
        ),
    ]
)


@given(st.lists(PIECES, max_size=60), st.binary(max_size=40), st.integers(1, 12), st.integers(1, 30))
def test_the_text_is_that_of_the_plain_terminal(pieces: list[str], odd: bytes, rows: int, cols: int) -> None:
    plain, styled = Terminal(6, 20), StyledTerminal(6, 20)
    for terminal in (plain, styled):
        terminal.feed("".join(pieces).encode() + odd)
        terminal.resize(rows, cols)
        terminal.feed("".join(pieces[:9]).encode())
    lines = ["".join(text for _, text in line).rstrip() for line in styled.screen_runs]
    while lines and not lines[-1]:
        lines.pop()
    assert lines == plain.screen() and styled.cursor == plain.cursor
    left = ["".join(text for _, text in line).rstrip() for line in styled.left_runs(0)]
    assert left == plain.history(0) and styled.left_runs(styled.scrolled) == []


def test_colours_stay_with_what_was_printed_in_them() -> None:
    terminal = StyledTerminal(3, 20)
    terminal.feed(b"\x1b[1;31mred\x1b[22m thin\x1b[39m no\r\n\x1b[38;5;196;44mx\x1b[7my\x1b[0mz \x1b[90mq\x1b[91mr")
    first, second, _ = terminal.screen_runs
    assert first == [("bold fg1", "red"), ("fg1", " thin"), ("", " no")]
    assert second == [("fg9 bg4", "x"), ("fg9 bg4 inverse", "y"), ("", "z "), ("fg8", "q"), ("fg9", "r")]
    terminal.feed(b"\r\n" * 4)
    assert terminal.left_runs(0)[:2] == [first, second]
    terminal.feed(b"\x1b[?25l\x1b[?2004h")
    assert terminal.modes == {PASTE_MARKED}
    terminal.feed(b"\x1bc")
    assert terminal.modes == {CURSOR_SHOWN} and terminal.left_runs(0) == []
