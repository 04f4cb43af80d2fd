"""The small screen of `pyro watch --tui`: what stands where, whatever the terminal's size and the guest's names."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from pyro_mcp.cli.board import Board, cut
from pyro_mcp.cli.watch_screen import SETTLED_SECONDS, _Screen

HOSTILE = "x\x1b[2J\u202e\n\u65e5\u672c\u8a9e"
NOTHING: dict[str, Any] = {"whole": False, "workspaces": [], "gone": [], "events": [], "questions": []}


def workspace(number: int, *, name: str = HOSTILE, running: bool = False) -> dict[str, Any]:
    command = {"handle": f"{number}-1", "command": ["make", name], "output_bytes": 10, "last_line": name}
    facts = {"id": f"ws-{number}", "name": name, "state": "running", "network_policy": "ask", "cause": None}
    facts["created_at"] = f"2026-11-27T10:00:{number:02}.000Z"
    return {
        "workspace": facts,
        "running": [command] if running else [],
        "changed_files": 2,
        "memory_bytes": 1 << 20,
        "trial": False,
    }


def question(number: int, of: int, host: str = "pypi.org") -> dict[str, Any]:
    return {"id": f"q{number}", "workspace": f"ws-{of}", "workspace_name": HOSTILE, "host": host, "port": 443}


def screen(board: Board, rows: int, columns: int) -> list[str]:
    """As text, each piece where it stands; what would overlap or leave the screen fails."""
    lines = [[" "] * columns for _ in range(rows)]
    for piece in board.pieces(rows, columns):
        width = wcswidth(piece.text)
        assert width >= 0, piece  # nothing that acts
        assert 0 <= piece.row < rows and piece.column + width <= columns, piece
        assert all(cell == " " for cell in lines[piece.row][piece.column : piece.column + width]), piece
        lines[piece.row][piece.column : piece.column + width] = [piece.text, *([""] * (width - 1))] if width else []
    return ["".join(line) for line in lines]


@given(
    st.integers(0, 50),
    st.integers(0, 140),
    st.integers(0, 40),
    st.integers(0, 3),
    st.text(max_size=60),
    st.integers(-50, 50),
)
def test_nothing_leaves_the_screen(rows: int, columns: int, count: int, asks: int, name: str, moved: int) -> None:
    board = Board()
    shown = [workspace(n, name=name + HOSTILE, running=n % 2 == 0) for n in range(count)]
    board.take(
        {**NOTHING, "whole": True, "workspaces": shown, "questions": [question(n, 0, name) for n in range(asks)]}
    )
    board.move(moved)
    board.show_output("ws-0", (name + HOSTILE).encode("utf-8", "replace") * 30)
    screen(board, rows, columns)


def test_the_question_that_is_read_is_the_one_that_a_key_answers() -> None:
    board = Board()
    board.take({**NOTHING, "whole": True, "workspaces": [workspace(1, name="fix")], "questions": [question(1, 1)]})
    assert "pypi.org:443" in "\n".join(screen(board, 24, 80))
    # One that comes first in the list, while the person reads, does not take its place.
    board.take({**NOTHING, "questions": [question(2, 1, "evil.example"), question(1, 1)]})
    assert board.question is not None and board.question["id"] == "q1"
    board.next_question()
    assert board.question["id"] == "q2" and "evil.example" in "\n".join(screen(board, 24, 40))
    # A host is seen whole before a key answers for it, however long it and the workspace's name are.
    long = "pypi.org." + "a" * 60 + ".evil.example"
    board.take({**NOTHING, "questions": [question(3, 1, long)]})
    assert long in "".join(line.rstrip() for line in screen(board, 24, 40)) and board.answerable(24, 40)
    assert not board.answerable(6, 40) and "larger" in "\n".join(screen(board, 6, 40))
    board.take({**NOTHING, "questions": []})
    assert board.question is None and "a: allow" not in "\n".join(screen(board, 24, 80))


def test_workspaces_left_output_right_and_above_each_other_where_it_is_narrow() -> None:
    board = Board()
    busy = workspace(1, name="busy", running=True)
    board.take({**NOTHING, "whole": True, "workspaces": [workspace(2, name="quiet"), busy]})
    assert board.wanted == ("ws-1", "1-1", 10)
    board.show_output("ws-1", b"step 1\rstep 2\n\x1b[31mred\x1b[0m\n")
    wide = screen(board, 24, 100)
    line = next(line for line in wide if "> busy" in line)
    assert "|" in line and "busy  running" in line.split("|")[1]
    assert any("step 2" in line.split("|")[-1] for line in wide) and not any("step 1" in line for line in wide)
    narrow = screen(board, 24, 40)
    assert [line for line in narrow if "> busy" in line] and any(line.startswith("step 2") for line in narrow)
    board.move(1)
    assert board.wanted is None and any("> quiet" in line for line in screen(board, 24, 40))
    board.take({**NOTHING, "gone": ["ws-2"]})
    assert any("> busy" in line for line in screen(board, 24, 40))


def test_text_is_cut_by_columns() -> None:
    assert [cut("\u65e5\u672c\u8a9e", n) for n in (6, 5, 4, 3, 1)] == [
        "\u65e5\u672c\u8a9e",
        "\u65e5\u672c~",
        "\u65e5~",
        "\u65e5~",
        "~",
    ]
    assert cut("abcdef", 4) == "abc~" and cut("abc", 3) == "abc"


def test_a_key_answers_only_the_question_that_a_person_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    curses = SimpleNamespace(
        A_BOLD=1, A_REVERSE=2, KEY_UP=-1, KEY_DOWN=-2, KEY_PPAGE=-3, KEY_NPAGE=-4, error=ValueError
    )
    window = SimpleNamespace(
        getmaxyx=lambda: (24, 80), erase=lambda: None, addstr=lambda *_: None, refresh=lambda: None
    )
    now, answered = [100.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(threading.Thread, "start", lambda self: answered.append(self._args))
    seen = _Screen(curses, window, None)

    def asks(*questions: dict[str, Any]) -> None:
        seen._board.take({**NOTHING, "workspaces": [workspace(1)], "questions": list(questions)})

    asks(question(1, 1))
    seen._pressed("a")
    assert not answered, "it is not on the screen yet"
    seen._draw()
    seen._pressed("a")
    assert answered.pop() == ("q1", "workspace")
    # The guest takes it back, and another stands in its place just as a key is pressed.
    asks(question(2, 1, "evil.example"))
    seen._pressed("a")
    seen._draw()
    seen._pressed("a")
    asks()
    seen._draw()
    asks(question(3, 1, "evil.example"))
    seen._draw()
    now[0] += SETTLED_SECONDS / 2
    seen._pressed("a")
    assert not answered and "press again" in seen._board.said
    now[0] += SETTLED_SECONDS
    seen._pressed("a")
    assert answered.pop() == ("q3", "workspace")
