"""What a guest chose is shown to a person, never carried out, wherever the command line prints a result."""

from __future__ import annotations

import ast
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import pyro_mcp.cli.render as rendering
from pyro_mcp import errors, models
from pyro_mcp.cli.app import report
from pyro_mcp.cli.render import event_line, render
from pyro_mcp.operations import REGISTRY
from pyro_mcp.visible import acts, json_text, storable, storable_record, visible, visible_lines

NASTY = (
    "\x1b[2J\x1b]0;title\x07\x1b]8;;http://evil\x1b\\x\x1b]52;c;AAAA\x07",
    "\x9b31m\x85\x9d0;t\x9c",
    "a\u202egnp.exe\u2066b\u2069\u200b\u200d\ufeff\u00ad\u061c",
    "a\rb\x08c\x7f\x00d\u2028e\u2029f",
    "caf\udce9 \ud800 \U000e0041\ue000\u3164",
    "x\n#99  now  cli  exec  ok  forged",
    "[red]x[/red][link=http://evil]y[/link]",
)
KINDS = sorted({op.result.__name__ for op in REGISTRY.values()})


def filled(hint: Any, text: str) -> Any:
    """A value of this type in which every text is `text`."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return filled(inside[0], text)
    if origin in (typing.Union, types.UnionType):
        return filled(next(one for one in inside if one is not type(None)), text)
    if origin is Literal:
        return inside[0]
    if origin is list:
        return [filled(inside[0], text)] * 2
    if origin is dict:
        return {text: filled(inside[1], text)}
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return {
            name: filled(one, text) for name, one in typing.get_type_hints(hint).items() if name in hint.model_fields
        }
    return {str: text, int: 7, float: 7.0, bool: True}.get(hint, text)


def harmless(text: str) -> bool:
    return not any(acts(ord(c)) for c in text if c not in "\n\t")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", NASTY)
def test_no_result_acts_on_a_terminal(kind: str, text: str) -> None:
    said = render(kind, filled(getattr(models, kind), text))
    assert harmless(said), ascii(said)


def test_a_history_cannot_be_forged() -> None:
    event = filled(models.HistoryEvent, "x\n#9 forged\r\x1b[A")
    assert event_line(event).count("\n") == 0
    both = render("History", {"workspace": "w", "events": [event, {**event, "error": ""}], "cursor": 0})
    assert len(both.splitlines()) == 3


def test_a_name_of_a_file_takes_one_line() -> None:
    entry = filled(models.FileEntry, "a\nb -> c")
    said = render("FileList", {"workspace": "w", "path": "/", "entries": [entry], "truncated": False, "hint": ""})
    assert len(said.splitlines()) == 1


def test_errors_and_notes_are_made_visible(capsys: pytest.CaptureFixture[str]) -> None:
    for text in NASTY:
        report(errors.GuestError(text, hint=text), as_json=False)
        report(errors.GuestError(text, hint=text), as_json=True)
    said = capsys.readouterr()
    assert harmless(said.err + said.out)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters()), st.text(st.characters(codec="utf-8")))
def test_any_text(odd: str, clean: str) -> None:
    assert not any(acts(ord(c)) for c in visible(odd))
    assert harmless(visible_lines(odd))
    storable(odd).encode()
    assert storable(clean) == clean
    value = {odd: [odd, 1, None]}
    shown = json_text(storable_record(value))
    assert not any(acts(ord(c)) for c in shown)
    assert json.loads(shown) == storable_record(value)
    assert visible("naïve – 日本語 ✓ é") == "naïve – 日本語 ✓ é"


def test_every_result_goes_through_the_one_rendering() -> None:
    """Nothing else in the command line prints records: `_write` gets rendered text, JSON, ids or raw content."""
    room = Path(rendering.__file__).parent
    text = (room / "execute.py").read_text()
    tree = ast.parse(text)
    printing = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print"]
    assert len(printing) == 1, "only _note prints, and it makes visible what it prints"
    others = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ("write", "writelines")]
    assert [ast.unparse(n) for n in others] in ([], ["os.write"])
    assert "ensure_ascii=False" not in text
