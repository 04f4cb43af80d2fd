"""Patterns of a model: the same as `re` finds, and none that holds the daemon up."""

from __future__ import annotations

import re
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInput
from pyro_mcp.pattern import Pattern

SLOW, TEXT = "(a|aa)+$", "a" * 60 + "b"


@given(st.text("ab.*+?()[]|^$\\dws-1 \n", max_size=12), st.text("ab1- \n", max_size=30))
def test_it_finds_what_re_finds(pattern: str, text: str) -> None:
    try:
        expected = re.compile(pattern, re.MULTILINE)
    except re.error:
        return
    try:
        found = Pattern(pattern, multiline=True).found_in(text)
    except InvalidInput as error:
        assert error.code == "bad_regex"
    else:
        assert found == (expected.search(text) is not None)


def test_what_is_no_pattern_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidInput, match="missing \\)") as caught:
        Pattern("(")
    assert caught.value.code == "bad_regex"


def test_a_pattern_that_takes_for_ever_is_given_up_and_others_run_meanwhile() -> None:
    ended = threading.Event()
    rounds = 0

    def count() -> None:
        nonlocal rounds
        while not ended.wait(0.01):
            rounds += 1

    thread = threading.Thread(target=count)
    thread.start()
    with pytest.raises(InvalidInput) as caught:
        Pattern(SLOW, seconds=0.5).found_in(TEXT)
    ended.set()
    thread.join()
    assert caught.value.code == "regex_too_slow"
    assert rounds > 2, "the search held all other threads up"


def test_the_time_is_for_all_searches_together() -> None:
    pattern = Pattern(SLOW, seconds=0.3)
    with pytest.raises(InvalidInput):
        pattern.found_in(TEXT)
    assert pattern._left <= 0
    assert pattern.found_in("a"), "what is quick is still found"


def test_two_megabytes_of_lines_cost_next_to_nothing() -> None:
    lines = [f"{number} some line" for number in range(150_000)]
    begun = time.thread_time()
    found = Pattern("^29999.").matches(lines)
    assert [lines[n] for n, one in enumerate(found) if one] == ["29999 some line"]
    assert time.thread_time() - begun < 0.5  # about 1.0 s line by line


def test_a_pattern_that_never_ends_is_given_up() -> None:
    with pytest.raises(InvalidInput, match="too long"):
        Pattern("(a|aa)+$", seconds=0.2).matches(["a" * 60 + "b"])


@given(
    st.lists(st.text("ab1 \t._\r[-", max_size=8), max_size=12),
    st.sampled_from(["^a", "a$", "^$", "a.b", r"\d+", "[ab]1", "a|b", "(a)(b)?", r"\bb", r"a\.", "^ *a{2}", ".", ""])
    | st.text(r"ab1.^$*+?()[]|\wdsAZ{}-", max_size=8),
)
def test_many_at_once_match_as_one_by_one(lines: list[str], text: str) -> None:
    try:
        together, alone = Pattern(text), Pattern(text)
    except InvalidInput:
        return
    assert together.matches(lines) == [alone.found_in(line) for line in lines]


def test_however_busy_the_machine_is_the_clock_ends_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyro_mcp.pattern.MAX_WALL_SECONDS", 0.3)
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)  # as if others had the processor
    pattern = Pattern(SLOW, seconds=60)
    begun = time.monotonic()
    with pytest.raises(InvalidInput):
        pattern.found_in(TEXT)
    assert time.monotonic() - begun < 20
