"""Reading by lines and by bytes, within a bound, over any text; pictures; and the names that models use."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp import pictures
from pyro_mcp.errors import InvalidInput
from pyro_mcp.files import reading
from pyro_mcp.files.listing import _encoded
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.mcp import habits
from pyro_mcp.models import FileContent
from pyro_mcp.operations import REGISTRY

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80) | st.lists(
    st.sampled_from(["a", "\n", "\r\n", "\r", "\x0c", "\u2028", "\\", '"', "é", "🙂", "\t"]), max_size=60
).map("".join)


def read(text: str | bytes, *, secret: str = "", bound: int = 1000, **given: Any) -> FileContent:
    """What is read of one file of these bytes, through the same code as on a machine, without one."""
    data = text.encode() if isinstance(text, str) else text
    wanted = reading.Wanted(max_bytes=bound, **given).checked()
    redactor = Redactor([secret] if secret else [])
    facts = {"path": "/workspace/f", "size": len(data), "mode": "0644"}
    if wanted.byte_offset is not None:
        begin = wanted.byte_offset
        part = data[begin : begin + bound + 4]
        found = reading._bytes(part, begin, len(data), "f", redactor, bound, facts)
    else:
        found = reading._lines(data, True, "f", redactor, wanted, bound, facts)
    return FileContent(workspace="w", **dict(found))


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 60))
def test_a_file_comes_whole_in_parts_of_lines_none_beyond_the_bound(text: str, bound: int) -> None:
    said, offset = "", 1
    for _ in range(len(text) + 2):
        part = read(text, bound=bound, offset=offset)
        assert len(json.dumps(part.content, ensure_ascii=False).encode()) - 2 <= bound
        if "was cut" in part.hint:
            return  # a line that alone is longer than the bound: bytes go on, as the hint says
        said += part.content
        if not part.truncated:
            break
        offset = int(part.hint.rsplit("offset=", 1)[1].rstrip("."))
    assert said == text


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 40))
def test_a_file_comes_whole_in_parts_of_bytes(text: str, bound: int) -> None:
    said, at = "", 0
    for _ in range(len(text) + 2):
        part = read(text, bound=bound, byte_offset=at)
        said += part.content
        if not part.truncated:
            break
        further = int(part.hint.rsplit("byte_offset=", 1)[1].rstrip("."))
        assert further > at
        at = further
    assert said == text


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(-70, 70), st.integers(1, 20))
def test_lines_are_those_that_an_editor_numbers(text: str, offset: int, limit: int) -> None:
    lines = text.split("\n")
    lines = lines[:-1] if text.endswith("\n") or not text else lines
    first = max(0, len(lines) + offset) if offset < 0 else max(0, offset - 1)
    wanted = lines[first : first + limit]
    part = read(text, bound=10_000, offset=offset, limit=limit)
    assert [line.removesuffix("\n") for line in reading.lines_of(part.content)] == wanted
    assert part.total_lines == len(lines)
    assert (part.first_line, part.last_line) == ((first + 1, first + len(wanted)) if wanted else (None, None))
    numbered = read(text, bound=10_000, offset=offset, limit=limit, number_lines=True).content
    assert [row[7:] for row in reading.lines_of(numbered)] == reading.lines_of(part.content)
    assert [int(row[:6]) for row in reading.lines_of(numbered)] == list(range(first + 1, first + 1 + len(wanted)))


def test_a_line_that_is_too_long_is_cut_and_bytes_go_on() -> None:
    part = read("short\n" + "x" * 500 + "\nend\n", bound=100, offset=2)
    assert part.content == "x" * 100
    assert (part.hint, part.truncated) == (
        "Line 2 has 501 characters and was cut; continue with byte_offset=106.",
        True,
    )
    numbered = read("short\n" + "x" * 500 + "\nend\n", bound=100, offset=2, number_lines=True)
    assert numbered.hint.endswith("continue with byte_offset=98.")


def test_beyond_the_end_is_said() -> None:
    part = read("a\nb\n", offset=7)
    assert (part.content, part.hint) == ("", "The file ends before that: it has 2 lines.")


def test_a_secret_of_several_lines_is_masked_before_lines_are_numbered_or_cut() -> None:
    secret = "first-half\nsecond-half"
    for how in ({"number_lines": True}, {"offset": 2}, {"limit": 1}, {"grep": "half|t"}):
        part = read(f"a\n{secret}\nb\n", secret=secret, **how)
        assert "half" not in part.content, how


def test_an_encoding_is_named_read_and_written_back() -> None:
    data = "naïve café\n".encode("cp1252")
    with pytest.raises(InvalidInput, match="not UTF-8 but probably") as refused:
        read(data)
    assert 'encoding="windows-1252"' in refused.value.hint
    part = read(data, encoding="windows-1252")
    assert (part.content, part.encoding) == ("naïve café\n", "cp1252")
    assert _encoded(part.content, "windows-1252") == data
    both = "é\nb\n".encode("utf-16")
    assert read(both, encoding="UTF-16").content == "é\nb\n"
    with pytest.raises(InvalidInput, match="cannot encode"):
        _encoded("snow ☃", "latin-1")
    for name in ("rot13", "hex", "idna", "zlib", "no such", "\0"):
        with pytest.raises(InvalidInput, match="not an encoding"):
            read("a", encoding=name)


WRITTEN = [
    ("caf\u00e9\n\u00e9\r\n", codecs.BOM_UTF16_BE, "utf-16-be"),
    ("caf\u00e9\n", b"", "utf-16-le"),
    ("a\n", codecs.BOM_UTF32_LE, "utf-32-le"),
    ("a\n", codecs.BOM_UTF32_BE, "utf-32-be"),
    ("\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\n", b"", "shift_jis"),
    ("\u4e2d\u6587\u6c49\u5b57\n", b"", "gb18030"),
]


@pytest.mark.parametrize(("text", "mark", "name"), WRITTEN)
def test_what_is_advised_comes_back_byte_for_byte(text: str, mark: bytes, name: str) -> None:
    data = mark + text.encode(name)
    with pytest.raises(InvalidInput) as refused:
        read(data)
    advised = re.search('encoding="([^"]+)"', refused.value.hint)
    assert advised
    assert _encoded(read(data, encoding=advised[1]).content, advised[1]) == data
    assert _encoded(read(data, encoding=name).content, name) == data
    for other in ("utf-16", "utf-32"):
        try:
            part = read(data, encoding=other)
        except InvalidInput as error:
            assert error.code == "bad_encoding"
        else:
            assert _encoded(part.content, other) == data


def test_bytes_and_lines_do_not_mix() -> None:
    for how in ({"offset": 1}, {"limit": 2}, {"number_lines": True}, {"grep": "a"}, {"encoding": "latin-1"}):
        with pytest.raises(InvalidInput, match="cannot be combined with"):
            reading.Wanted(byte_offset=3, **how).checked()


# -- pictures


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\x7f" * width for _ in range(min(height, 10))))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\x00\x11\x08\x00\x07\x00\x09\x03"
    + b"\0" * 8
    + b"\xff\xd9"
)
GIF = b"GIF89a\x05\x00\x06\x00\x00\x00\x00;"


def test_pictures_are_known_by_their_bytes_with_their_sides() -> None:
    webp = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + (10).to_bytes(3, "little") + (20).to_bytes(3, "little")
    webp = b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp
    for data, kind, sides in (
        (png(3, 4), "image/png", (3, 4)),
        (JPEG, "image/jpeg", (9, 7)),
        (GIF, "image/gif", (5, 6)),
        (webp, "image/webp", (11, 21)),
    ):
        found = pictures.recognised(data)
        assert found is not None and (found.media_type, (found.width, found.height)) == (kind, sides)
        assert not found.trouble, kind
        cut = pictures.recognised(data[:-3])
        assert cut is None or cut.trouble, kind
    wide = pictures.recognised(png(9000, 2))
    assert wide is not None and "8000" in wide.trouble
    assert pictures.recognised(b"<svg/>") is None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([png(3, 4), JPEG, GIF, b"RIFF\0\0\0\0WEBPVP8 "]), st.binary(max_size=40), st.integers(0, 60))
def test_any_bytes_are_looked_at_without_harm(begin: bytes, rest: bytes, keep: int) -> None:
    found = pictures.recognised(begin[:keep] + rest)
    assert found is None or found.width >= 0


# -- names


def meant(**arguments: Any) -> dict[str, Any]:
    names = [p.name for p in REGISTRY["read_workspace_file"].listed]
    return habits.taken(arguments, names)[0]


def test_the_ranges_that_models_name_mean_lines() -> None:
    assert meant(file_path="f", offset=5, limit=2) == {"path": "f", "offset": 5, "limit": 2}
    assert meant(path="f", view_range=[3, 7]) == {"path": "f", "offset": 3, "limit": 5}
    assert meant(path="f", view_range=[3, -1]) == {"path": "f", "offset": 3}
    assert meant(filePath="f", startLine=3, endLine=3) == {"path": "f", "offset": 3, "limit": 1}
    assert meant(path="f", last_line=4) == {"path": "f", "limit": 4}
    assert meant(path=["a", "b"]) == {"paths": ["a", "b"]}
    assert meant(file_paths=["a", "b"]) == {"paths": ["a", "b"]}
    with pytest.raises(InvalidInput, match="comes before"):
        meant(path="f", first_line=4, last_line=3)


def test_where_offset_counts_bytes_no_line_becomes_one() -> None:
    names = [p.name for p in REGISTRY["logs_workspace"].listed]
    assert habits.taken({"first_line": 3}, names)[0] == {"first_line": 3}


def test_several_paths_need_no_machine_to_be_refused() -> None:
    async def ask(path: str | None, paths: list[str] | None) -> None:
        await reading.read(None, "w", Redactor(()), path, paths, reading.Wanted())  # type: ignore[arg-type]

    with pytest.raises(InvalidInput, match="path is missing"):
        asyncio.run(ask(None, []))
    with pytest.raises(InvalidInput, match="limit is 20"):
        asyncio.run(ask("a", ["b"] * 20))
