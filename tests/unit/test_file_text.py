"""What is read as text can be written back: the same bytes, or a named refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInput
from pyro_mcp.files.reading import as_text


@given(st.one_of(st.binary(max_size=200), st.text(max_size=80).map(lambda t: t.encode("utf-8", "ignore"))))
def test_any_bytes_come_back_or_are_refused_by_name(data: bytes) -> None:
    try:
        text = as_text(data, "a.txt")
    except InvalidInput as error:
        assert (error.code, "`/workspace/a.txt`" in error.message) == ("not_utf8", True)
        with pytest.raises(UnicodeDecodeError):
            data.decode()
    else:
        assert text.encode() == data


@given(st.text(max_size=40).map(lambda t: t.encode("utf-8", "ignore")), st.integers(0, 60), st.integers(0, 60))
def test_a_part_may_begin_and_end_within_a_character(data: bytes, start: int, length: int) -> None:
    part = data[start : start + length]
    assert as_text(part, "a", begins=not start, ends=start + length >= len(data)).encode() in part


@pytest.mark.parametrize("data", [b"caf\xe9\n", "caf\u00e9".encode("utf-16"), b"ok\xff"])
def test_other_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="not UTF-8"):
        as_text(data, "a.txt")


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfx\r\n", b"a\r\nb\rc\n", b"", b"no end"])
def test_marks_and_line_ends_stay(data: bytes) -> None:
    assert as_text(data, "a.txt").encode() == data
