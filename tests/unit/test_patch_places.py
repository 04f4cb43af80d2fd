"""A hunk goes only where exactly one place can be meant; forms that models write are understood."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.patches.apply import apply, apply_to_text
from pyro_mcp.patches.diff import unified
from pyro_mcp.patches.parse import parse_patch
from pyro_mcp.patches.plan import Change, FileState, plan

SHAPES = b"""\
def area(r, h):
    r = float(r)
    x = r * h
    return x


def volume(r, h):
    r = float(r)
    x = r * h
    return x
"""
HEAD = "--- a/x\n+++ b/x\n"
BODY = "     r = float(r)\n-    x = r * h\n+    x = r + h\n     return x\n"


def patched(text: str, old: bytes | None = SHAPES) -> bytes:
    return apply_to_text(old, parse_patch(text)[0])


def refused(text: str, old: bytes = SHAPES) -> PatchMismatch:
    with pytest.raises(PatchMismatch) as caught:
        patched(text, old)
    return caught.value


AREA = SHAPES.replace(b"x = r * h", b"x = r + h", 1)
VOLUME = b"x = r + h".join(SHAPES.rsplit(b"x = r * h", 1))


@pytest.mark.parametrize(
    "header", ["@@ -1,4 +1,4 @@", "@@ -7,4 +7,4 @@", "@@ -30,4 +30,4 @@", "@@", "@@ ... @@", "@@ -1,4 +1,4"]
)
def test_context_that_names_another_function_is_never_fuzz(header: str) -> None:
    assert refused(f"{HEAD}{header}\n def capacity(r, h):\n{BODY}").code == "patch_does_not_fit"
    only = SHAPES[SHAPES.index(b"def volume") :]
    assert refused(f"{HEAD}{header}\n def capacity(r, h):\n{BODY}", only).code == "patch_does_not_fit"


@pytest.mark.parametrize("header", ["@@", "@@ @@", "@@ ... @@", "@@ … @@", "@@ -40,3 +40,3 @@", "@@ -5,3 +5,3"])
def test_several_places_are_named_not_chosen(header: str) -> None:
    error = refused(f"{HEAD}{header}\n{BODY}")
    assert error.code == "patch_ambiguous" and error.details["candidates"] == [2, 8]
    assert "below line 1: def area(r, h):" in error.message and "below line 7: def volume(r, h):" in error.message


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("@@ -2,3 +2,3 @@", AREA),
        ("@@ -8,3 +8,3 @@", VOLUME),
        ("@@ -8,3 +8,3", VOLUME),
        ("@@ def volume(r, h): @@", VOLUME),
        ("@@ def volume(r, h):", VOLUME),
        ("@@ def area(r, h):", AREA),
        ("@@ -60,3 +60,3 @@ def volume(r, h):", VOLUME),
        ("@@ -60,3 +60,3 @@ def area(r", AREA),
    ],
)
def test_a_number_or_the_function_says_which(header: str, expected: bytes) -> None:
    assert patched(f"{HEAD}{header}\n{BODY}") == expected


def test_a_function_that_is_not_there_is_not_replaced_by_one_of_equal_body() -> None:
    one = SHAPES[: SHAPES.index(b"\n\ndef volume")]
    for header in ("@@ def volume(r, h):", "@@ -40,3 +40,3 @@ def volume(r, h):"):
        error = refused(f"{HEAD}{header}\n{BODY}", one)
        assert error.code == "patch_does_not_fit" and "def volume(r, h):" in error.message


def test_the_order_of_hunks_says_which() -> None:
    assert patched(f"{HEAD}@@\n{BODY}@@\n{BODY}") == SHAPES.replace(b"r * h", b"r + h")


def test_a_hunk_that_stands_already_at_its_line_is_not_applied_to_a_twin() -> None:
    error = refused(f"{HEAD}@@ -2,3 +2,3 @@\n{BODY}", AREA)
    assert error.code == "patch_already_applied"
    assert patched(f"{HEAD}@@ -8,3 +8,3 @@\n{BODY}", AREA) == SHAPES.replace(b"r * h", b"r + h")


def test_offset_and_fuzz_are_reported() -> None:
    old = b"".join(b"line %d\n" % i for i in range(1, 31))
    hunk = "@@ -2,5 +2,5 @@\n line nine\n line 10\n-line 11\n+eleven\n line 12\n line 13\n"
    content, placed = apply(old, parse_patch(HEAD + hunk)[0])
    assert content == old.replace(b"line 11\n", b"eleven\n")
    assert [(p.hunk, p.line, p.offset, p.fuzz) for p in placed] == [(1, 9, 7, 1)]
    assert apply(old, parse_patch(HEAD + "@@ -11 +11 @@\n-line 11\n+eleven\n")[0])[1] == []


def test_later_hunks_follow_where_an_earlier_one_was_found() -> None:
    twin = b"a\nb\nc\n"
    old = b"x\n" * 7 + b"first\n" + twin + b"y\n" + twin
    text = f"{HEAD}@@ -1 +1 @@\n-first\n+FIRST\n@@ -6,3 +6,3 @@\n a\n-b\n+B\n c\n"
    assert patched(text, old) == old.replace(b"first", b"FIRST")[: -len(twin)] + b"a\nB\nc\n"


@pytest.mark.parametrize("text", ["@@ -0,0 +99,1 @@\n+end\n", "@@ -99,0 +100 @@\n+end\n", "@@\n+end\n"])
def test_lines_without_context_need_a_place(text: str) -> None:
    assert refused(HEAD + text).code == "patch_does_not_fit"


# -- line ends, byte order mark


@pytest.mark.parametrize("header", ["@@ -2,3 +2,3 @@", "@@ def area(r, h):"])
def test_an_lf_patch_keeps_a_crlf_files_line_ends(header: str) -> None:
    crlf = SHAPES.replace(b"\n", b"\r\n")
    assert patched(f"{HEAD}{header}\n{BODY}", crlf) == AREA.replace(b"\n", b"\r\n")
    grown = BODY.replace("+    x = r + h\n", "+    x = r + h\n+    # sum\n")
    assert b"    # sum\r\n" in patched(f"{HEAD}{header}\n{grown}", crlf)


def test_each_new_line_ends_as_its_neighbour_does() -> None:
    assert patched(HEAD + "@@ -1,4 +1,4 @@\n a\n-b\n+B\n c\n-d\n+D\n", b"a\r\nb\r\nc\nd\n") == b"a\r\nB\r\nc\nD\n"


def test_a_last_line_without_newline_in_a_crlf_file() -> None:
    assert patched(HEAD + "@@ -1,2 +1,3 @@\n a\n b\n+c\n", b"a\r\nb") == b"a\r\nb\r\nc\r\n"


@pytest.mark.parametrize("first", ["-a\n+A\n", "+top\n a\n"])
def test_a_byte_order_mark_is_kept(first: str) -> None:
    out = patched(f"{HEAD}@@ -1,2 +1,2 @@\n{first} b\n", b"\xef\xbb\xbfa\nb\n")
    assert out.startswith(b"\xef\xbb\xbf") and out.count(b"\xef\xbb\xbf") == 1


def test_white_space_that_differs_is_made_visible() -> None:
    error = refused(HEAD + "@@ -1,2 +1,2 @@\n def f():\n-    return 1\n+    return 2\n", b"def f():\n\treturn 1\n")
    assert "`····return·1`" in error.message and "`→return·1`" in error.message
    last, hint = str(error).split("\n")[-2:]
    assert last.strip().endswith("return 1") and hint == error.hint


def test_letters_that_look_alike_are_told_apart() -> None:
    error = refused(HEAD + "@@ -1,2 +1,2 @@\n x\n-caf\u00e9 au lait\n+tea\n", "x\ncafe\u0301 au lait\n".encode())
    assert "\\xc3\\xa9" in error.message and "\\xcc\\x81" in error.message


# -- Codex's format


def codex(text: str, **files: bytes | FileState) -> list[Change]:
    states = {name: FileState("file", s) if isinstance(s, bytes) else s for name, s in files.items()}
    patch = f"*** Begin Patch\n{text}*** End Patch\n"
    return plan(parse_patch(patch), lambda paths: {p: states[p] for p in paths if p in states}).changes


def test_codex_updates_adds_deletes_and_moves() -> None:
    text = (
        "*** Update File: a\n@@ def volume(r, h):\n"
        + BODY
        + "*** Add File: d/new\n+one\n+\n+two\n*** Delete File: gone\n"
        + "*** Update File: old\n*** Move to: moved\n@@\n-x\n+y\n"
    )
    made = {c.path: c for c in codex(text, a=SHAPES, gone=b"whatever\n", old=b"x\n")}
    assert made["a"].content == VOLUME and made["d/new"].content == b"one\n\ntwo\n"
    assert made["gone"].op == "delete" and made["old"].op == "delete" and made["moved"].content == b"y\n"


@pytest.mark.parametrize(
    "text",
    [
        "*** Update File: a\n" + BODY.replace("     r = float(r)\n", " def area(r, h):\n     r = float(r)\n"),
        "*** Update File: a\n@@\n def area(r, h):\n" + BODY,
        "*** Update File: a\n@@ def area(r, h):\n" + BODY,
        "*** Update File: /workspace/a\n@@ def area\n" + BODY.replace("    return x", "    return x   "),
        "*** Update File: a\n@@ -2,3 +2,3 @@\n" + BODY,
    ],
)
def test_codex_finds_its_place(text: str) -> None:
    (change,) = codex(text, a=SHAPES)
    assert change.content == AREA


def test_codex_anchors_narrow_one_after_the_other() -> None:
    classes = b"class A:\n    def f(self):\n        return 1\n\n\nclass B:\n    def f(self):\n        return 1\n"
    text = "*** Update File: a\n@@ class B:\n@@     def f(self):\n-        return 1\n+        return 2\n"
    (change,) = codex(text, a=classes)
    assert change.content == classes[:-2] + b"2\n"


def test_codex_at_the_end_of_the_file_and_into_a_crlf_file() -> None:
    (change,) = codex("*** Update File: a\n@@\n-x\n+y\n*** End of File\n", a=b"x\nb\nx\n")
    assert change.content == b"x\nb\ny\n"
    (change,) = codex("*** Update File: a\n@@\n+tail\n", a=b"x\r\n")
    assert change.content == b"x\r\ntail\r\n"


def test_codex_is_refused_by_name() -> None:
    with pytest.raises(PatchMismatch) as caught:
        codex("*** Update File: a\n@@\n" + BODY, a=SHAPES)
    assert caught.value.code == "patch_ambiguous"
    for text, what in (
        ("*** Add File: a\n+x\n", "already exists"),
        ("*** Delete File: b\n", "does not exist"),
        ("*** Update File: b\n@@\n-x\n+y\n", "does not exist"),
        ("*** Update File: ../b\n@@\n-x\n+y\n", r"\.\."),
        ("*** Update File: a\n@@\nx\n", "begins with neither"),
        ("*** Add File: n\nplain\n", "of a new file"),
        ("*** Update File: a\n", "no lines"),
    ):
        with pytest.raises((PatchMismatch, InvalidInput), match=what):
            codex(text, a=SHAPES)


def test_a_unified_diff_in_codex_s_envelope() -> None:
    assert patched(f"*** Begin Patch\n{HEAD}@@ -2,3 +2,3 @@\n{BODY}*** End Patch\n") == AREA


# -- properties

LINE = st.sampled_from([b"a", b"b", b"", b"    x", b"def f():", b"}"])
FILE = st.lists(LINE, max_size=12).map(lambda lines: b"".join(line + b"\n" for line in lines))


@settings(max_examples=400, deadline=None)
@given(FILE, FILE, FILE, st.booleans())
def test_a_patch_of_another_version_goes_to_the_one_place_or_nowhere(
    old: bytes, new: bytes, above: bytes, numbered: bool
) -> None:
    """Lines were put above since: what comes out is what a person would get, or a refusal."""
    text = unified(old, new, old_name="a/x", new_name="b/x", context=3)
    if not text:
        return
    if numbered:
        above = b""  # a number that is wrong may be right for another place that looks the same
    else:
        text = b"\n".join(b"@@" if line.startswith(b"@@ ") else line for line in text.split(b"\n"))
    try:
        out, placed = apply(above + old, parse_patch(text)[0])
    except (PatchMismatch, InvalidInput):
        assert not numbered or not old
        return
    assert out == above + new and not placed


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="*@+- abEUFnd:/\r\n", max_size=120))
def test_any_text_is_a_patch_or_refused(text: str) -> None:
    for head in ("", "*** Begin Patch\n*** Update File: x\n", HEAD):
        try:
            plan(parse_patch(head + text), lambda paths: {p: FileState("file", SHAPES) for p in paths if p == "x"})
        except (InvalidInput, PatchMismatch):
            pass
