"""What a patch may look like, and what is said when it does not fit."""

from __future__ import annotations

import pytest

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.patches.apply import apply_to_text
from pyro_mcp.patches.parse import parse_patch
from pyro_mcp.patches.plan import Change, FileState, plan
from pyro_mcp.paths import workspace_path

BODY = b"".join(b"line %d\n" % i for i in range(1, 21))
HUNK = "@@ -4,3 +4,3 @@\n line 4\n-line 5\n+five\n line 6\n"
HEAD = "--- a/x\n+++ b/x\n"


def patched(text: str | bytes, old: bytes | None = BODY) -> bytes:
    return apply_to_text(old, parse_patch(text)[0])


def planned(text: str, **files: FileState | bytes) -> list[Change]:
    states = {n.replace("__", "/"): FileState("file", s) if isinstance(s, bytes) else s for n, s in files.items()}
    return plan(parse_patch(text), lambda paths: {p: states[p] for p in paths if p in states}).changes


FIVE = BODY.replace(b"line 5\n", b"five\n")


@pytest.mark.parametrize(
    "text",
    [
        HEAD + HUNK,
        HEAD + HUNK.replace("-4,3 +4,3", "-4,9 +4,1"),
        HEAD + HUNK.replace("-4,3 +4,3", "-400,3 +400,3"),
        HEAD + HUNK.replace("-4,3 +4,3", "-4,9 +4,9") + "-- \n2.39.5\n",
        HEAD + HUNK.rstrip("\n"),
        (HEAD + HUNK).replace("\n", "\r\n"),
        "Sure:\n```diff\n" + HEAD + HUNK + "```\n",
        "--- x\t2024-01-01 10:00:00.0 +0100\n+++ x\t2024-01-01 10:00:01.0 +0100\n" + HUNK,
        HEAD + HUNK.replace(" line 4\n", " line four\n"),
    ],
    ids=["plain", "counts", "offset", "signature", "no-newline", "crlf", "fence", "stamps", "fuzz"],
)
def test_a_hunk_applies_in_spite_of(text: str) -> None:
    if "four" in text:  # Fuzz gives up the ends; here with a second context line each.
        text = HEAD + "@@ -3,5 +3,5 @@\n line three\n line 4\n-line 5\n+five\n line 6\n line seven\n"
    assert patched(text) == FIVE


def test_a_wrong_count_does_not_swallow_the_next_file() -> None:
    files = parse_patch(HEAD + HUNK.replace("-4,3", "-4,30") + HEAD.replace("x", "y") + HUNK)
    assert [f.path for f in files] == ["x", "y"] and files[0].hunks[0].recovered and not files[1].hunks[0].recovered


def test_removed_lines_that_look_like_headers_are_counted() -> None:
    text = HEAD + "@@ -1,2 +1,2 @@\n--- a/y\n-++ b\n+++ b/y\n+z\n"
    assert patched(text, b"-- a/y\n++ b\n") == b"++ b/y\nz\n"


def test_empty_context_lines_may_have_lost_their_space() -> None:
    assert patched(HEAD + "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n", b"a\n\nb\n") == b"a\n\nc\n"


def test_a_hunk_that_does_not_fit_says_what_is_there() -> None:
    with pytest.raises(PatchMismatch) as caught:
        patched(HEAD + HUNK.replace("-line 5", "-line five"))
    message = caught.value.message
    assert caught.value.code == "patch_does_not_fit"
    for part in ("Hunk 1 of `x`", "@@ -4,3 +4,3 @@", "expected `line five`", "line 5 is `line 5`", "     5  line 5"):
        assert part in message


def test_trailing_white_space_counts_and_is_named() -> None:
    with pytest.raises(PatchMismatch, match="only in whitespace"):
        patched(HEAD + HUNK.replace("-line 5", "-line 5 "))


@pytest.mark.parametrize(
    ("text", "old"),
    [(HEAD + HUNK, FIVE), (HEAD + "@@ -19,2 +19,3 @@\n line 19\n line 20\n+end\n", BODY + b"end\n"),
     (HEAD + "@@ -1,2 +1,3 @@\n+top\n line 1\n line 2\n", b"top\n" + BODY)],
)  # fmt: skip
def test_a_patch_applied_twice_says_so(text: str, old: bytes) -> None:
    with pytest.raises(PatchMismatch) as caught:
        patched(text, old)
    assert caught.value.code == "patch_already_applied"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("hello", "contains no patch"),
        (HEAD + "@@ -1,2 @@\n-a\n+b\n", "Line 3 .* not a hunk header"),
        (HEAD + "@@ -1,9 +1,9 @@\n a\nb\n+c\n", "Line 5 .*begins with neither"),
        (HEAD + HUNK + "junk\n+lost\n", "is outside"),
        ("@@ -1 +1 @@\n-a\n+b\n", "does not belong to any file"),
        ("diff --git a/s b/s\nnew file mode 160000\n", "submodule"),
        ("x" * (1024 * 1024 + 1), "limit is 1048576"),
        ("diff --git a/s b/s\nindex 1..2\nGIT binary patch\nliteral 9\nzzzz\n\n", "binary"),
    ],
)
def test_a_broken_patch_is_refused_by_line(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        parse_patch(text)


def test_the_whole_patch_is_checked_before_any_change() -> None:
    with pytest.raises(PatchMismatch, match="`y`"):
        planned(HEAD + HUNK + HEAD.replace("x", "y") + HUNK, x=BODY, y=b"other\n")


def test_a_file_may_be_patched_twice_in_order() -> None:
    (change,) = planned(HEAD + HUNK + HEAD + HUNK.replace("-line 5", "-five").replace("+five", "+fünf"), x=BODY)
    assert change.op == "write" and change.content == BODY.replace(b"line 5", "fünf".encode())


def test_renames_may_swap_names() -> None:
    text = "".join(
        f"diff --git a/{a} b/{b}\nsimilarity index 100%\nrename from {a}\nrename to {b}\n" for a, b in ("pq", "qp")
    )
    assert {c.path: c.content for c in planned(text, p=b"1", q=b"2")} == {"p": b"2", "q": b"1"}


NEW = "--- /dev/null\n+++ b/{}\n@@ -0,0 +1 @@\n+new\n"


@pytest.mark.parametrize(
    ("text", "files", "what"),
    [
        (NEW.format("x"), {"x": b"old\n"}, "already exists"),
        (NEW.format("x"), {"x": b"new\n"}, "already applied"),
        (NEW.format("../x"), {}, r"contains `\.\.`"),
        (NEW.format("/etc/x"), {}, "outside"),
        (NEW.format("d/x"), {"d": FileState("symlink", link="/etc")}, "behind the symbolic link"),
        (NEW.format("d/x"), {"d": b"file"}, "is a file, not a directory"),
        ("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", {"x": b"a\nb\n"}, "file has 2"),
        ("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", {}, "does not exist"),
        (HEAD + HUNK, {}, "does not exist"),
        ("diff --git a/p b/q\nrename from p\nrename to q\n", {"p": b"1", "q": b"2"}, "already exists"),
        (HEAD + HUNK, {"x": FileState("symlink", link="y")}, "symbolic link"),
        ("diff --git a/x b/x\nindex 1234..5678\nBinary files a/x and b/x differ\n", {"x": b"\0"}, "no data"),
    ],
)
def test_plan_refuses(text: str, files: dict[str, FileState | bytes], what: str) -> None:
    with pytest.raises((InvalidInput, PatchMismatch), match=what):
        planned(text, **files)


def test_paths_stay_in_the_workspace() -> None:
    assert str(workspace_path("/workspace//a/./b")) == "a/b" and str(workspace_path("/workspace")) == "."
    for bad in ("", "/etc", "a/../b", "/workspace/../x", "a\0b", "x" * 256, "a/" * 2100, "/workspaces/x"):
        with pytest.raises(InvalidInput):
            workspace_path(bad)
