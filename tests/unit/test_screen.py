"""What is seen after a program's raw output, on ordinary and on hostile bytes."""

from __future__ import annotations

import random
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.processes.terminal import MAX_SIDE, Terminal
from pyro_mcp.processes.terminal_cells import HISTORY_LINES


def shown(data: bytes | str, rows: int = 5, cols: int = 20) -> list[str]:
    return fed(data, rows, cols).screen()


def fed(data: bytes | str, rows: int = 5, cols: int = 20) -> Terminal:
    terminal = Terminal(rows, cols)
    terminal.feed(data.encode() if isinstance(data, str) else data)
    return terminal


def state(terminal: Terminal) -> tuple[object, ...]:
    return terminal.screen(), terminal.history(0), terminal.scrolled, terminal.cursor, terminal.alternate


def numbered(count: int) -> str:
    return "".join(f"line {i}\r\n" for i in range(count))


FULL = "one\r\ntwo\r\nthree\r\nfour\r\nfive"
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


# Text and lines


def test_an_empty_terminal_shows_nothing() -> None:
    assert state(Terminal()) == ([], [], 0, (0, 0), False)


def test_lines_are_stripped_on_the_right_and_empty_ones_dropped_at_the_end() -> None:
    assert shown("  a  \r\n\r\nb \r\n\r\n") == ["  a", "", "b"]


def test_a_line_feed_alone_keeps_the_column() -> None:
    assert shown("ab\ncd") == ["ab", "  cd"]


def test_new_line_mode_adds_the_carriage_return() -> None:
    assert shown("\x1b[20hab\ncd") == ["ab", "cd"]


def test_long_lines_wrap() -> None:
    assert shown("abcdefgh", cols=5) == ["abcde", "fgh"]


def test_a_full_line_waits_with_wrapping_until_the_next_character() -> None:
    terminal = fed("abcde", cols=5)
    assert terminal.cursor == (0, 4)
    terminal.feed(b"\r\nf")
    assert terminal.screen() == ["abcde", "f"]


def test_moving_after_a_full_line_gives_the_wrap_up() -> None:
    assert shown("\r\nabcde\x1b[Ax", cols=5) == ["    x", "abcde"]
    assert shown("abcde\bx", cols=5) == ["abcxe"]


def test_without_autowrap_the_last_column_is_overwritten() -> None:
    assert shown("\x1b[?7labcdefgh", cols=5) == ["abcdh"]
    assert shown("\x1b[?7labcdefg漢", cols=5) == ["abc漢"]


def test_erasing_to_the_right_of_a_full_line_keeps_its_last_character() -> None:
    assert shown("abcde\x1b[K", cols=5) == ["abcde"]


def test_backspace_moves_and_does_not_erase() -> None:
    assert shown("abc\b\bX") == ["aXc"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a\tb", "a       b"),
        ("a\x1b[2Ib", "a               b"),
        ("\t\t\x1b[Zx", "        x"),
        ("\t\t\x1b[99Zx", "x"),
        ("\x1b[3g\tx", "                   x"),
        ("\x1b[3g\x1b[4G\x1bH\r\tx", "   x"),
        ("\t\x1b[g\r\tx", "                x"),
        ("\t\t\t\tx", "                   x"),
    ],
)
def test_tabs_go_to_the_stops(data: str, expected: str) -> None:
    assert shown(data) == [expected]


def test_other_controls_leave_no_trace() -> None:
    assert shown(b"a\x00\x01\x05\x07\x7fb\xc2\x85\xc2\x9dc") == ["abc"]


def test_no_control_character_is_ever_shown() -> None:
    every = "".join(map(chr, range(0x3000)))
    terminal = fed(every.replace("\x1b", ""), 30, 120)
    text = "".join([*terminal.screen(), *terminal.history(0)])
    assert not [c for c in text if c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029\u202e"]


# Unicode


def test_characters_may_be_split_over_feeds() -> None:
    terminal = Terminal(5, 20)
    for byte in "é漢😀".encode():
        terminal.feed(bytes([byte]))
    assert terminal.screen() == ["é漢😀"]
    assert terminal.cursor == (0, 5)


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert shown(b"a\xffb\xe6\xbcc") == ["a\ufffdb\ufffdc"]


@pytest.mark.parametrize("char", ["漢", "한", "😀"])
def test_a_wide_character_takes_two_columns_and_counts_once(char: str) -> None:
    terminal = fed(char * 2 + "x")
    assert terminal.screen() == [char * 2 + "x"]
    assert terminal.cursor == (0, 5)


def test_a_wide_character_does_not_straddle_the_edge() -> None:
    assert shown("abcd漢", cols=5) == ["abcd", "漢"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("漢字\rx", "x 字"),
        ("漢字\x1b[2Gx", " x字"),
        ("漢字\x1b[2Gxy", " xy"),
        ("漢字\x1b[2G\x1b[P", " 字"),
        ("漢字\x1b[2G\x1b[@x", " x 字"),
        ("漢字\x1b[2G\x1b[X", "  字"),
        ("漢字\x1b[4G\x1b[K", "漢"),
        ("漢字\x1b[3G\x1b[1K", ""),
    ],
)
def test_half_a_wide_character_is_a_blank(data: str, expected: str) -> None:
    assert shown(data) == ([expected.rstrip()] if expected else [])


def test_a_wide_character_fits_a_terminal_of_one_column() -> None:
    assert shown("漢字a", cols=1) == ["漢", "字", "a"]


@pytest.mark.parametrize("text", ["e\u0301x", "漢\u0301x", "❤\ufe0fx", "👩\u200d👩\u200d👧", "한글"])
def test_combining_characters_stay_with_their_base(text: str) -> None:
    assert shown(text) == [text]


def test_a_combining_character_takes_no_column() -> None:
    assert fed("e\u0301x").cursor == (0, 2)


def test_a_combining_character_joins_the_last_character_of_a_full_line() -> None:
    assert shown("abcde\u0301f", cols=5) == ["abcde\u0301", "f"]


def test_a_combining_character_without_a_base_is_dropped() -> None:
    assert shown("\u0301x") == ["x"]


def test_invisible_marks_of_direction_and_tags_are_dropped() -> None:
    assert shown("a\u202e\u200f\U000e0041\u2028b") == ["ab"]


def test_piled_up_combining_characters_are_bounded() -> None:
    (line,) = shown("a" + "\u0301" * 100_000)
    assert len(line) <= 8


# Sequences


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("abc\x1b[2Dx", "axc"),
        ("abc\x1b[Dx", "abx"),
        ("abc\x1b[0Dx", "abx"),
        ("ab\x1b[2Cx", "ab  x"),
        ("ab\x1b[2ax", "ab  x"),
        ("abc\x1b[2Gx", "axc"),
        ("abc\x1b[2`x", "axc"),
        ("\x1b[1;3Hx", "  x"),
        ("\x1b[;3fx", "  x"),
        ("\x1b[99;99Hx\x1b[H\x1b[5Bx\x1b[A\r\x1b[5M", ""),
        ("abcdef\x1b[3G\x1b[2P", "abef"),
        ("abcdef\x1b[3G\x1b[2@", "ab  cdef"),
        ("abcdef\x1b[3G\x1b[2X", "ab  ef"),
        ("abcdef\x1b[3G\x1b[K", "ab"),
        ("abcdef\x1b[3G\x1b[1K", "   def"),
        ("abcdef\x1b[3G\x1b[2K", ""),
        ("abcdef\x1b[3G\x1b[?K", "ab"),
        ("abcdef\x1b[3G\x1b[4hXY\x1b[4lZ", "abXYZdef"),
        ("a\x1b[3b", "aaaa"),
        ("\x1b[3bx", "x"),
        ("a\x1b[2\bCx", "a x"),
    ],
)
def test_motion_and_editing_within_a_line(data: str, expected: str) -> None:
    assert shown(data)[:1] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("\x1b[2;2H\x1b[J", ["one", "t"]),
        ("\x1b[4;2H\x1b[1J", ["", "", "", "  ur", "five"]),
        ("\x1b[2J", []),
        ("\x1b[2;3H\x1b[L", ["one", "", "two", "three", "four"]),
        ("\x1b[2;3H\x1b[2M", ["one", "four", "five"]),
        ("\x1b[H\x1bMzero", ["zero", "one", "two", "three", "four"]),
        ("\x1b[2T", ["", "", "one", "two", "three"]),
        ("\x1b[2S", ["three", "four", "five"]),
        ("\x1b[2d\rX", ["one", "Xwo", "three", "four", "five"]),
        ("\x1b[2FX", ["one", "two", "Xhree", "four", "five"]),
        ("\x1b[H\x1b[EX", ["one", "Xwo", "three", "four", "five"]),
        ("\x1b[H\x1bEX", ["one", "Xwo", "three", "four", "five"]),
        ("\x1b[H\x1bDX", ["one", "Xwo", "three", "four", "five"]),
        ("\x1b[2;4r\x1b[4;1H\nX", ["one", "three", "four", "X", "five"]),
        ("\x1b[2;4r\x1b[2;1H\x1bMX", ["one", "X", "two", "three", "five"]),
        ("\x1b[2;4r\x1b[2;1H\x1b[L", ["one", "", "two", "three", "five"]),
        ("\x1b[2;4r\x1b[2;1H\x1b[M", ["one", "three", "four", "", "five"]),
        ("\x1b[2;4r\x1b[5;1H\x1b[LX\n\nY", ["one", "two", "three", "four", "XYve"]),
        ("\x1b[2;4r\x1b[5;1H\x1b[BX", ["one", "two", "three", "four", "Xive"]),
        ("\x1b[2;4r\x1b[?6h\x1b[HX", ["one", "Xwo", "three", "four", "five"]),
        ("\x1b[2;4r\x1b[rX", ["Xne", "two", "three", "four", "five"]),
        ("\x1b[3;0r\x1b[5;1H\nX", ["one", "two", "four", "five", "X"]),
    ],
)
def test_erasing_and_moving_lines(data: str, expected: list[str]) -> None:
    assert shown(FULL + data) == expected


@pytest.mark.parametrize(
    ("save", "restore"), [("\x1b7", "\x1b8"), ("\x1b[s", "\x1b[u"), ("\x1b[?1048h", "\x1b[?1048l")]
)
def test_the_cursor_is_saved_and_restored(save: str, restore: str) -> None:
    assert fed(f"ab{save}\r\ncd{restore}").cursor == (0, 2)


def test_restoring_what_was_never_saved_goes_home() -> None:
    assert fed("ab\r\ncd\x1b8").cursor == (0, 0)


def test_line_drawing_characters_are_drawn() -> None:
    assert shown("\x1b(0lqqk\x1b(B ok \x1b)0\x0ex\x0fx") == ["┌──┐ ok │x"]


def test_the_alignment_pattern_fills_the_screen() -> None:
    assert shown("\x1b#8", 2, 3) == ["EEE", "EEE"]


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[>4;2m",
        "\x1b[>4m",
        "\x1b[?4m",
        "\x1b[?u",
        "\x1b[>1u",
        "\x1b[<u",
        "\x1b[=1;1u",
        "\x1b[=c",
        "\x1b[>c",
        "\x1b[>0q",
        "\x1b[2 q",
        "\x1b[?1;2c",
        "\x1b[?5n",
        "\x1b[?996n",
        "\x1b[6n",
        "\x1b[0;0;0n",
        "\x1b[c",
        "\x1b[?2026$p",
        "\x1b[4$p",
        "\x1b[?1s",
        "\x1b[?1r",
        "\x1b[22;0;0t",
        "\x1b[?25l",
        "\x1b[?3h",
        "\x1b[?5h",
        "\x1b[?2004h",
        "\x1b[?1;9;1000;1006h",
        "\x1b[192h",
        "\x1b[9J",
        "\x1b[9K",
        "\x1b[1;2;3;4;5m",
        "\x1b[38:2::1:2:3m",
        "\x1b[38;2;300;1m",
        "\x1b[38;5;999m",
        "\x1b[48;5m",
        "\x1b[1;2;3;4;5T",
        "\x1b[>2T",
        "\x1b[1'|",
        "\x1b[1 @",
        "\x1b[" + "1;" * 500 + "A",
        "\x1b[1?2h",
        "\x1b[!!!p",
        "\x1b=",
        "\x1b>",
        "\x1b%G",
        "\x1b*0",
        "\x1b#3",
        "\x1bZ",
        "\x1b\\",
        "\x1b[12\x18",
        "\x1b[12\x1a",
        "\x1b]0;a title\x07",
        "\x1b]2;ein Titel: äöü 漢\x1b\\",
        "\x1b]52;c;aGVsbG8=\x07",
        "\x1b]133;A\x07",
        "\x1bP+q544e\x1b\\",
        "\x1bP1$r0m\x07still\x1b\\",
        "\x1b_Gf=32;AAAA\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstring\x1b\\",
        "\x1bktitle\x1b\\",
        "\x1b]0;cancelled\x18",
        "\x1b]0;broken by a sequence\x1b[m",
    ],
)
def test_sequences_without_text_show_nothing_and_move_nothing(sequence: str) -> None:
    terminal = fed("abc\r\ndef" + sequence + "!")
    assert state(terminal) == (["abc", "def!"], [], 0, (1, 4), False)


def test_a_hyperlink_shows_its_text_only() -> None:
    assert shown("\x1b]8;id=1;https://example.com/\x1b\\link\x1b]8;;\x1b\\ end") == ["link end"]


def test_an_escape_within_a_sequence_starts_another() -> None:
    assert shown("abc\x1b[12\x1b[2Dx") == ["axc"]


def test_text_that_cannot_be_in_a_sequence_ends_it() -> None:
    assert shown("\x1b[1é\x1b漢") == ["é漢"]


@pytest.mark.parametrize("final", "@ABCDEFGHIJKLMPSTXZ`abdefghlrsu")
def test_huge_parameters_are_clamped_to_the_screen(final: str) -> None:
    terminal = fed(f"{FULL}\x1b[999999999{final}\x1b[999999999;999999999{final}")
    row, column = terminal.cursor
    assert 0 <= row < 5 and 0 <= column < 20
    assert len(terminal.screen()) <= 5 and all(len(line) <= 20 for line in terminal.screen())
    assert terminal.scrolled <= 10


def test_soft_reset_gives_up_margins_and_modes_but_no_text() -> None:
    assert shown(FULL + "\x1b[2;3r\x1b[4h\x1b(0\x1b[!p\x1b[5;1H\nq") == ["two", "three", "four", "five", "q"]


# Leaving the top


def test_lines_that_leave_the_top_become_history() -> None:
    terminal = fed(numbered(8))
    assert terminal.scrolled == 4
    assert terminal.history(0) == ["line 0", "line 1", "line 2", "line 3"]
    assert terminal.history(3) == ["line 3"]
    assert terminal.history(4) == []
    assert terminal.history(-1) == terminal.history(0)
    assert terminal.screen() == ["line 4", "line 5", "line 6", "line 7"]


def test_wrapped_and_scrolled_up_lines_become_history_too() -> None:
    assert fed("abcdefghi", 2, 3).history(0) == ["abc"]
    assert fed(FULL + "\x1b[2S").history(0) == ["one", "two"]


def test_history_is_bounded_and_the_count_goes_on() -> None:
    terminal = fed(numbered(HISTORY_LINES + 100))
    assert terminal.scrolled == HISTORY_LINES + 96
    assert len(terminal.history(0)) == HISTORY_LINES
    assert terminal.history(0)[0] == "line 96"
    assert terminal.history(HISTORY_LINES + 95) == [f"line {HISTORY_LINES + 95}"]


def test_a_region_at_the_top_adds_to_history_and_one_below_does_not() -> None:
    assert fed(FULL + "\x1b[1;3r\x1b[3;1H\n\n").history(0) == ["one", "two"]
    assert fed(FULL + "\x1b[2;5r\x1b[5;1H\n\n").scrolled == 0


def test_deleted_and_erased_lines_are_not_history() -> None:
    assert fed(FULL + "\x1b[H\x1b[2M\x1b[2J").scrolled == 0


def test_erasing_history_keeps_the_screen_and_the_count() -> None:
    terminal = fed(numbered(8) + "\x1b[3J")
    assert (terminal.history(0), terminal.scrolled) == ([], 4)
    assert terminal.screen()[0] == "line 4"
    terminal.feed(b"\r\n\r\n")
    assert terminal.history(0) == terminal.history(4) == ["line 4", "line 5"]


def test_a_reset_clears_all_but_the_count() -> None:
    terminal = fed(numbered(8) + ENTER + "\x1b[2;3r\x1b[4h\x1bc")
    assert state(terminal) == ([], [], 4, (0, 0), False)
    terminal.feed(FULL.encode())
    assert terminal.screen() == FULL.split("\r\n")


# The alternate screen


@pytest.mark.parametrize("number", [47, 1047, 1049])
def test_the_alternate_screen_covers_the_main_one_and_leaves_no_trace(number: int) -> None:
    terminal = fed(f"{numbered(6)}$ less\x1b[?{number}h\x1b[H\x1b[2J" + numbered(9))
    assert terminal.alternate
    assert terminal.screen() == ["line 5", "line 6", "line 7", "line 8"]
    assert terminal.scrolled == 2
    terminal.feed(f"\x1b[?{number}l".encode())
    assert not terminal.alternate
    assert terminal.screen() == ["line 2", "line 3", "line 4", "line 5", "$ less"]
    assert terminal.history(0) == ["line 0", "line 1"]


def test_mode_1049_brings_the_cursor_back_and_starts_blank() -> None:
    terminal = fed(f"ab{ENTER}\x1b[4;4Hx{LEAVE}")
    assert terminal.cursor == (0, 2)
    terminal.feed(ENTER.encode())
    assert terminal.screen() == []


def test_the_screens_save_their_cursors_apart() -> None:
    assert fed(f"ab{ENTER}\x1b[4;4H\x1b7{LEAVE}").cursor == (0, 2)


def test_leaving_the_alternate_screen_without_being_there_changes_nothing() -> None:
    assert state(fed("ab" + LEAVE + "c")) == (["abc"], [], 0, (0, 3), False)


def test_entering_twice_and_leaving_once_is_the_main_screen() -> None:
    assert state(fed(f"ab{ENTER}x{ENTER}y{LEAVE}c")) == (["abc"], [], 0, (0, 3), False)


# Size


def test_a_smaller_screen_pushes_lines_above_the_cursor_into_history() -> None:
    terminal = fed(FULL)
    terminal.resize(3, 4)
    assert (terminal.rows, terminal.cols) == (3, 4)
    assert terminal.history(0) == ["one", "two"]
    assert terminal.screen() == ["thre", "four", "five"]
    assert terminal.cursor == (2, 3)


def test_a_smaller_screen_takes_unused_lines_first() -> None:
    terminal = fed("one\r\ntwo")
    terminal.resize(2, 20)
    assert (terminal.screen(), terminal.scrolled, terminal.cursor) == (["one", "two"], 0, (1, 3))


def test_a_larger_screen_has_room_and_tab_stops() -> None:
    terminal = fed(FULL + "\x1b[2;3r")
    terminal.resize(7, 40)
    terminal.feed(b"\x1b[7;1H\t\t\t\tx")
    assert terminal.screen() == [*FULL.split("\r\n"), "", " " * 32 + "x"]


def test_resizing_the_alternate_screen_keeps_the_main_one() -> None:
    terminal = fed(FULL + ENTER)
    terminal.resize(3, 30)
    terminal.feed(b"\x1b[3;30Hx" + LEAVE.encode() + b"!")
    assert terminal.history(0) == ["one", "two"]
    assert terminal.screen() == ["three", "four", "five!"]


def test_a_wide_character_cut_by_resizing_is_a_blank() -> None:
    terminal = fed("abc漢")
    terminal.resize(5, 4)
    assert terminal.screen() == ["abc"]


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (-5, 3), (1, 1), (10**9, 10**9)])
def test_sizes_are_brought_within_bounds(rows: int, cols: int) -> None:
    terminal = Terminal(rows, cols)
    terminal.feed(b"abc\r\n\x1b[9;9Hx\x1b[9L\x1b[9P\x1b[2;3r\t\x1b[9b")
    assert 1 <= terminal.rows <= MAX_SIDE and 1 <= terminal.cols <= MAX_SIDE


# Any bytes

PIECES = [
    *(b"\x1b[%d%c" % (n, f) for n in (0, 2, 7, 999999999) for f in b"@ABCDEFGHIJKLMPSTXZ`abdefghlmrsu"),
    *(b"\x1b[?%d%c" % (n, f) for n in (6, 7, 47, 1047, 1048, 1049) for f in b"hl"),
    *(b"\x1b" + bytes([c]) for c in b"78DEHMPX]^_k[(#c"),
    *(
        s.encode()
        for s in ("\x1b[2;4r", "\x1b[4h", "\x1b(0", "\x1b#8", "\x1b[!p", "\x1b\\", "\x07", "\x18", "\r", "\n")
    ),
    *(s.encode() for s in ("\t", "\b", "text", "漢字", "e\u0301", "😀", "\u200d", "0123456789" * 3)),
]
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=8)), max_size=40).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(data=HOSTILE, size=st.tuples(st.integers(1, 6), st.integers(1, 12)), seed=st.integers(0, 2**32))
def test_no_bytes_raise_and_cutting_them_changes_nothing(data: bytes, size: tuple[int, int], seed: int) -> None:
    whole, cut = fed(data, *size), Terminal(*size)
    cuts = random.Random(seed)
    while data:
        length = cuts.randint(1, 5)
        cut.feed(data[:length])
        data = data[length:]
    assert state(cut) == state(whole)
    row, column = whole.cursor
    assert 0 <= row < whole.rows and 0 <= column < whole.cols
    assert len(whole.screen()) <= whole.rows


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(st.tuples(HOSTILE, st.integers(1, 8), st.integers(1, 12)), max_size=6))
def test_resizing_between_any_bytes_does_not_raise(steps: list[tuple[bytes, int, int]]) -> None:
    terminal, scrolled = Terminal(3, 7), 0
    for data, rows, cols in steps:
        terminal.feed(data)
        terminal.resize(rows, cols)
        row, column = terminal.cursor
        assert 0 <= row < rows and 0 <= column < cols
        assert len(terminal.screen()) <= rows
        assert terminal.scrolled >= scrolled
        scrolled = terminal.scrolled


@pytest.mark.parametrize("opening", [b"\x1b]0;", b"\x1bP", b"\x1b_", b"\x1b[", b"\x1b[1;", b"\x1b[?1", b"\x1b("])
def test_sixteen_mebibytes_of_one_sequence_leave_nothing_behind(opening: bytes) -> None:
    data, terminal = opening + b"1" * (16 << 20), Terminal()
    tracemalloc.start()
    terminal.feed(data)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 << 20 and peak < 8 << 20


def test_ordinary_text_is_taken_at_a_megabyte_in_a_few_seconds() -> None:
    data = b"The quick brown fox jumps over the lazy dog, and on to the eightieth column\r\n" * 13_000
    start = time.process_time()
    Terminal().feed(data)
    assert time.process_time() - start < 4


# What programs write


def test_a_progress_bar_of_pip_ends_as_its_last_state() -> None:
    bar = "".join(
        f"\r\x1b[2K   \x1b[38;5;197m{'━' * n}\x1b[0m\x1b[38;5;237m{'━' * (10 - n)}\x1b[0m \x1b[32m{n}.0/10.0 MB\x1b[0m"
        for n in range(11)
    )
    data = f"\x1b[?25lDownloading x.whl (10.0 MB)\r\n{bar}\r\n\x1b[?25hInstalled\r\n"
    assert shown(data, 30, 120) == ["Downloading x.whl (10.0 MB)", "   ━━━━━━━━━━ 10.0/10.0 MB", "Installed"]


def test_bars_drawn_above_one_another_end_as_their_last_state() -> None:
    data = (
        "\r\n\r\n" + "".join(f"\x1b[2A\r\x1b[2Ka {n}%\x1b[1B\r\x1b[2Kb {n}%\x1b[1B\r" for n in (10, 50, 100)) + "done"
    )
    assert shown(data) == ["a 100%", "b 100%", "done"]


def test_a_session_of_less_shows_its_page_and_then_the_prompt() -> None:
    page = "".join(f"entry {n}\r\n" for n in range(1, 5))
    terminal = fed(f"$ less log\r\n\x1b[?1049h\x1b[22;0;0t\x1b[?1h\x1b=\r{page}\x1b[7mlog\x1b[27m\x1b[K")
    assert terminal.screen() == ["entry 1", "entry 2", "entry 3", "entry 4", "log"]
    terminal.feed(b"\r\x1b[K" + b"entry 5\r\n:\x1b[K")
    assert terminal.screen() == ["entry 2", "entry 3", "entry 4", "entry 5", ":"]
    terminal.feed(b"\r\x1b[K\x1b[H\x1bMentry 1\r\x1b[5;1H\r\x1b[K:\x1b[K")
    assert terminal.screen() == ["entry 1", "entry 2", "entry 3", "entry 4", ":"]
    terminal.feed(b"\r\x1b[K\x1b[?1l\x1b>\x1b[?1049l\x1b[23;0;0t$ ")
    assert state(terminal) == (["$ less log", "$"], [], 0, (1, 2), False)


def test_coloured_output_of_ls_is_its_names() -> None:
    data = (
        "\x1b[?2004h\x1b]0;u@h: ~\x07\x1b[01;32mu@h\x1b[00m:\x1b[01;34m~\x1b[00m$ ls\r\n\x1b[?2004l\r"
        "\x1b[0m\x1b[01;34msrc\x1b[0m  \x1b[01;32mrun.sh\x1b[0m  \x1b[01;36mlink\x1b[0m\tREADME.md\r\n"
    )
    assert shown(data, 30, 120) == ["u@h:~$ ls", "src  run.sh  link       README.md"]


def test_a_session_of_vim_scrolls_its_text_and_not_its_status_line() -> None:
    start = (
        "\x1b[?1049h\x1b[22;0;0t\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[1;5r\x1b[?12h\x1b[?12l\x1b[27m\x1b[29m\x1b[m"
        '\x1b[H\x1b[2J\x1b[?25l\x1b[5;1H"f" 9L, 90B\x1b[2;1H▽\x1b[6n\x1b[2;1H  \x1b[3;1H\x1bPzz\x1b\\\x1b[0%m\x1b[6n'
        "\x1b[3;1H           \x1b[1;1H\x1b[>c\x1b]10;?\x07\x1b]11;?\x07\x1b[1;1Hone\r\ntwo\r\nthree\r\nfour\x1b[1;1H"
    )
    terminal = fed("$ vim f\r\n" + start)
    assert terminal.screen() == ["one", "two", "three", "four", '"f" 9L, 90B']
    terminal.feed(b"\x1b[?25l\x1b[1;4r\x1b[1;1H\x1b[2M\x1b[1;5r\x1b[3;1Hfive\x1b[4;1Hsix\x1b[1;1H\x1b[?25h")
    assert terminal.screen() == ["three", "four", "five", "six", '"f" 9L, 90B']
    terminal.feed(b"\x1b[1;4r\x1b[4;1H\n\x1b[1;5r\x1b[4;1Hseven\x1b[1;1H")
    assert terminal.screen() == ["four", "five", "six", "seven", '"f" 9L, 90B']
    terminal.feed(b"\x1b[?2004l\x1b[>4;m\x1b[5;1H\x1b[K\x1b[5;1H\x1b[?1l\x1b>\x1b[?1049l\x1b[23;0;0t\x1b[?25h$ ")
    assert state(terminal) == (["$ vim f", "$"], [], 0, (1, 2), False)


def test_the_status_line_of_apt_stays_while_lines_scroll_above_it() -> None:
    terminal = fed("\n\x1b7\x1b[0;4r\x1b8\x1b[1A\x1b7\x1b[5;0f\x1b[42mProgress: [ 50%]\x1b[49m\x1b8" + numbered(6))
    assert terminal.screen()[-1] == "Progress: [ 50%]"
    assert terminal.history(0) == ["line 0", "line 1", "line 2"]
