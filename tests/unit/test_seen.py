"""Output as a person would have seen it: any bytes, cut anywhere, in time that grows with their number."""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.processes.output import STDOUT, OutputLog, seen_excerpt
from pyro_mcp.processes.seen import LONG, REACH, Seen, seen
from pyro_mcp.visible import acts

PIECES = [
    b"\r", b"\n", b"\r\n", b"\b", b"\t", b"\0", b"\x07", b"\x1b", b"\x1b[K", b"\x1b[1K", b"\x1b[2K", b"\x1b[31m",
    b"\x1b[0;1m", b"\x1b[A", b"\x1b[2A", b"\x1b[B", b"\x1b[3C", b"\x1b[999999999C", b"\x1b[D", b"\x1b[5G", b"\x1b[J",
    b"\x1b[2J", b"\x1b[H", b"\x1b[E", b"\x1b[F", b"\x1b[2P", b"\x1b[3X", b"\x1b]0;title\x07", b"\x1b]8;;http://x\x1b\\",
    b"\x1bP1;2q", b"\x1b(B", b"\x1b[?25l", b"\xc2\x9b1m", b"\xc2\x9d", b"\xff", b"\xe2\x96", "█".encode(), b"word",
    b"a b", b"  ", b"long" * 1500,
]  # fmt: skip
OUTPUT = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
PLAIN = st.text(
    st.one_of(st.sampled_from("\n\t"), st.characters(exclude_categories=["Cc", "Cs"])), max_size=300
)  # fmt: skip


@given(OUTPUT)
def test_nothing_that_acts_is_left_and_seeing_it_again_changes_nothing(data: bytes) -> None:
    text = seen(data)
    assert not [c for c in text if c not in "\n\t" and acts(ord(c)) and ord(c) < 0xA0]
    assert seen(text.encode()) == text


@given(PLAIN)
def test_plain_text_is_what_it_was(text: str) -> None:
    assert seen(text.encode()) == text


@given(OUTPUT, st.lists(st.integers(0, 300), max_size=20))
def test_it_does_not_matter_where_output_is_cut(data: bytes, cuts: list[int]) -> None:
    drawing = Seen()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    text = "".join(drawing.feed(data[a:b]) for a, b in itertools.pairwise(places)) + drawing.end()
    whole = Seen()
    assert text == whole.feed(data) + whole.end()


@given(st.lists(st.text("abc %", max_size=12), min_size=1, max_size=30))
def test_a_bar_is_each_column_as_it_was_written_last(states: list[str]) -> None:
    cells: list[str] = []
    for state in states:
        cells[: len(state)] = state
    assert seen("\r".join(states).encode()).rstrip(" ") == "".join(cells).rstrip(" ")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"".join(b"\rdone %d/2000" % n for n in range(1, 2001)) + b"\n", "done 2000/2000\n"),
        (b"100%\r 20%\n", " 20%\n"),
        (b"downloading\r\x1b[Kok\n", "ok\n"),
        (b"downloading\r           \rok\n", "ok\n"),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b"N\bNA\bAM\bM\n", "NAM\n"),
        (b"-\b\\\b|\b/\b \bdone", "done"),
        (b"\x1b[1;31mred\x1b[0m plain", "red plain"),
        (b"\x1b]0;title\x07text \x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "text link"),
        (b"\x1b]52;c;bm8=", ""),
        (b"\x1b]0;no end\nnext", "\nnext"),
        (b"one 1%\ntwo 1%\n\x1b[2Aone 9%\ntwo 9%\nend", "one 9%\ntwo 9%\nend"),
        (b"one\ntwo\n\x1b[2A\x1b[Jthree", "three"),
        (b"first\x1b[H\x1b[2Jsecond", "first\nsecond"),
        (b"kept  \nblank   ", "kept  \nblank   "),
        (b"caf\xe9 \xe2\x96\x88", "caf\ufffd \u2588"),
        (b"grep \x1b[01;31m\x1b[Khit\x1b[m\x1b[K rest", "grep hit rest"),
        (b"x" * (LONG + 1) + b"\rnew", "x" * (LONG + 1) + "\nnew"),
    ],
)
def test_what_a_person_sees(data: bytes, text: str) -> None:
    assert seen(data) == text


def test_rows_that_are_out_of_reach_stay() -> None:
    many = b"".join(b"%d\n" % n for n in range(3 * REACH))
    text = seen(many + b"\x1b[9999Ahere")
    assert text.startswith("0\n1\n2\n")
    assert text.count("\n") == 3 * REACH
    assert sum(line.startswith("here") for line in text.split("\n")) == 1


MIB = 1 << 20


@pytest.mark.parametrize(
    "unit",
    [b"\r", b"\b", b"ab\r", b"\x1b[31mx", b"\x1b[Kx", b"x\x1b[K\b", b"\x1b[A\x1b[1K", b"\x1b[999Cx\n", b"\x1b[", b"x\n",
     b"\x1b]x", b"\x1b[H", b"\x1b[2Ax\n", b"a" * 4000 + b"\rb"],
)  # fmt: skip
def test_time_grows_with_the_bytes(unit: bytes) -> None:
    def taken(size: int) -> float:
        data = unit * (size // len(unit))
        begun = time.process_time()
        drawing = Seen()
        for place in range(0, size, 1 << 16):
            drawing.feed(data[place : place + (1 << 16)])
        drawing.end()
        return time.process_time() - begun

    small, large = taken(MIB // 4), taken(MIB)
    assert large < 12 * max(small, 0.02), f"{small:.2f} s and {large:.2f} s"


@given(OUTPUT, st.integers(10, 300), st.booleans())
def test_an_excerpt_counts_exactly_what_it_leaves_out(data: bytes, bound: int, cut: bool) -> None:
    head, tail = (data[: len(data) // 4], data[len(data) // 2 :]) if cut else (data, b"")
    found = seen_excerpt(len(data), head, tail, bound)
    whole = len(seen(head + tail).encode())
    if cut and len(head) + len(tail) < len(data):
        whole = len(seen(head).encode()) + len(seen(tail).encode()) + len(data) - len(head) - len(tail)
    if found.omitted_bytes:
        note = f"\n[… {found.omitted_bytes} bytes left out …]\n"
        assert note in found.text
        assert len(found.text.encode()) - len(note.encode()) + found.omitted_bytes == whole
    else:
        assert found.text == seen(data)


@given(OUTPUT, st.integers(4, 100))
def test_reading_on_by_offsets_comes_to_the_end_and_misses_no_line(data: bytes, bound: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = OutputLog(Path(folder), "h")
        output.append(STDOUT, data)
        output.close()
        place, steps = 0, 0
        while place < len(data):
            text, end = output.seen_piece(place, bound)
            assert place < end <= len(data)
            assert text == seen(data[place:end])
            place, steps = end, steps + 1
