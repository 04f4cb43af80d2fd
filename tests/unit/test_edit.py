"""Exact-string edits: once or refused, all or nothing, line ends kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInput, PatchMismatch, PyroError
from pyro_mcp.files.editing import wanted
from pyro_mcp.patches.edit import Edit, apply_edits

FILE = b"def f():\n    return 1\n\n\ndef g():\n    return 1\n"


def edited(content: bytes | None, *edits: tuple[str, str] | tuple[str, str, bool]) -> bytes:
    return apply_edits(content, [Edit(*e) for e in edits], "/workspace/x")[0]


def refused(content: bytes | None, *edits: tuple[str, str] | tuple[str, str, bool]) -> PyroError:
    with pytest.raises((PatchMismatch, InvalidInput)) as caught:
        edited(content, *edits)
    return caught.value


def test_an_edit_fits_once() -> None:
    assert edited(FILE, ("def g():\n    return 1", "def g():\n    return 2")) == FILE[:-2] + b"2\n"


def test_twice_is_refused_with_the_lines() -> None:
    error = refused(FILE, ("    return 1", "    return 2"))
    assert error.code == "edit_ambiguous" and error.details["candidates"] == [2, 6]
    assert "def f():" in error.message and "def g():" in error.message
    assert edited(FILE, ("    return 1", "    return 2", True)) == FILE.replace(b"1", b"2")


def test_what_is_not_there_is_refused_with_the_nearest_lines() -> None:
    error = refused(FILE, ("def g():\n\treturn 1\n", "x"))
    assert error.code == "edit_not_found" and "`→return·1`" in error.message and "     6      return 1" in error.message


def test_edits_are_made_in_order_and_all_or_none() -> None:
    assert edited(b"a\n", ("a", "b"), ("b", "c")) == b"c\n"
    assert "Edit 2" in refused(b"a\n", ("a", "b"), ("a", "c")).message


def test_a_new_file_and_one_that_exists() -> None:
    assert edited(None, ("", "new\n")) == b"new\n" and edited(b"", ("", "new\n")) == b"new\n"
    assert refused(FILE, ("", "new\n")).code == "file_exists"
    assert refused(None, ("a", "b")).code == "edit_not_found"


def test_line_ends_and_encodings_are_kept() -> None:
    assert edited(b"a\r\nb\r\n", ("a\nb\n", "c\nd\n")) == b"c\r\nd\r\n"
    assert edited(b"\xef\xbb\xbfa\r\n", ("a", "b\nc")) == b"\xef\xbb\xbfb\r\nc\r\n"
    assert edited(b"caf\xe9 x\n", ("x", "y")) == b"caf\xe9 y\n"
    assert refused(b"caf\xe9 x\n", ("x", "\u00e9")).code == "not_utf8"
    assert refused(b"\0x", ("x", "y")).code == "binary_file"
    assert refused(b"x", ("x", "x")).code == "edit_changes_nothing"


@pytest.mark.parametrize(
    "arguments",
    [
        (None, "x", False, None),
        ("x", None, False, None),
        ("x", "y", False, [{"old_string": "a", "new_string": "b"}]),
        (None, None, False, []),
        (None, None, False, [{"old_string": "a"}]),
        (None, None, False, [{"old_string": "a", "new_string": 1}]),
        (None, None, False, [{"old_string": "a", "new_string": "b", "path": "c"}]),
    ],
)
def test_calls_that_make_no_sense(
    arguments: tuple[str | None, str | None, bool, list[dict[str, object]] | None],
) -> None:
    with pytest.raises(InvalidInput):
        wanted(*arguments)


@given(st.text(alphabet="ab\r\n "), st.text(alphabet="ab\r\n ", min_size=1), st.text(alphabet="xy\r\n"), st.booleans())
def test_an_edit_is_a_replacement_or_refused(content: str, old: str, new: str, everywhere: bool) -> None:
    try:
        out = edited(content.encode(), (old, new, everywhere))
    except PyroError:
        return
    if "\r" not in content + old + new:
        assert out.decode() == content.replace(old, new) and (everywhere or content.count(old) == 1)
