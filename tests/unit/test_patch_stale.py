"""Patches as a model writes them that remembers the file badly: each goes to the one place meant, or is refused."""

from __future__ import annotations

import json

import pytest

from pyro_mcp.errors import InvalidInput, PatchMismatch
from pyro_mcp.patches.apply import Placed
from pyro_mcp.patches.parse import parse_patch
from pyro_mcp.patches.plan import FileState, Plan, plan

HEAD = "--- a/x\n+++ b/x\n"
TWINS = b"\n\n".join(
    b"class %b:\n    def run(self):\n        a = 1\n        return a\n" % name for name in (b"A", b"B")
)
IN_A, IN_B = TWINS.replace(b"a = 1", b"a = 2", 1), b"a = 2".join(TWINS.rsplit(b"a = 1", 1))
RUN = "     def run(self):\n-        a = 1\n+        a = 2\n         return a\n"
ONE = "-        a = 1\n+        a = 2\n"
LINES = b"".join(b"line %d\n" % i for i in range(1, 31))
SIX = LINES.replace(b"line 6\n", b"six\n")
SIX_AND_EIGHT = SIX.replace(b"line 8\n", b"eight\n")
MARK = b"\xef\xbb\xbf"


def made(text: str, **files: bytes) -> Plan:
    states = {name: FileState("file", content) for name, content in files.items()}
    return plan(parse_patch(text), lambda paths: {path: states[path] for path in paths if path in states})


def patched(text: str, old: bytes, path: str = "x") -> bytes | None:
    (change,) = made(text, **{path: old}).changes
    return change.content


def refused(text: str, old: bytes) -> PatchMismatch | InvalidInput:
    with pytest.raises((PatchMismatch, InvalidInput)) as caught:
        made(text, x=old)
    assert isinstance(caught.value, PatchMismatch | InvalidInput) and caught.value.hint
    return caught.value


def codex(text: str, path: str = "x") -> str:
    return f"*** Begin Patch\n*** Update File: {path}\n{text}*** End Patch\n"


# -- D1: which place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "@@ -8,3 +8,3 @@\n" + RUN, IN_B),
        (HEAD + "@@ -8,3 +8,3 @@ class B:\n" + RUN, IN_B),
        (HEAD + "@@ class B: @@ def run(self):\n" + ONE, IN_B),
        (codex("@@ class B\n@@ def run\n" + ONE), IN_B),
        (codex("@@ class B: @@\n@@ def run(self): @@\n" + ONE), IN_B),
        (codex("@@ B.run\n" + ONE), IN_B),
        (codex("@@ class A:\n@@ run()\n" + ONE), IN_A),
        (codex("@@ class A:\n@@ def run(self, often):\n" + ONE), IN_A),
        (codex("@@ class A:\n" + ONE + "@@ class B:\n" + ONE), TWINS.replace(b"= 1", b"= 2")),
    ],
)
def test_of_two_twins_the_one_that_is_named(text: str, expected: bytes) -> None:
    assert patched(text, TWINS) == expected


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "@@ -7,3 +7,3 @@\n" + RUN,
        HEAD + "@@ -2,3 +2,3 @@ class B:\n" + RUN,  # the number says one, the name the other
        codex("@@ def run(self):\n" + ONE),
    ],
)
def test_twins_of_which_none_is_named_for_sure(text: str) -> None:
    error = refused(text, TWINS)
    assert error.code == "patch_ambiguous" and error.details["candidates"] in ([2, 8], [3, 9])


SURROUNDINGS = {
    "css": (" .button {\n   color: red;\n-  x: 1;\n+  x: 2;\n }\n", ".link {\n  color: red;\n  x: 1;\n}\n"),
    "ini": (" [c]\n key=0\n-k=1\n+k=2\n z=1\n q=1\n", "[b]\nkey=0\nk=1\nz=1\nq=1\n"),
    "c": (" int volume(int r)\n {\n-    return r;\n+    return 2;\n }\n", "int area(int r)\n{\n    return r;\n}\n"),
    "java": (" void volume() {\n     a();\n-    b();\n+    c();\n }\n", "void area() {\n    a();\n    b();\n}\n"),
    "yaml": (" - name: web\n   image: x\n-  port: 1\n+  port: 2\n", "- name: db\n  image: x\n  port: 1\n"),
    "make": (" build:\n \tcc\n-\told\n+\tnew\n", "test:\n\tcc\n\told\n"),
    "json": (
        '   "a": {\n     "b": 1,\n-    "c": 2\n+    "c": 3\n   }\n',
        '{\n  "z": {\n    "b": 1,\n    "c": 2\n  }\n}\n',
    ),
    "markdown": (" # Usage\n \n-old\n+new\n", "# Setup\n\nold\n"),
    "html": (" <head>\n   <a>\n-  <b>\n+  <c>\n", "<body>\n  <a>\n  <b>\n"),
    "go": (
        " func (a *A) Run() {\n \tx()\n-\ty()\n+\tz()\n }\n",
        "func (b *B) Run() {\n\tx()\n\ty()\n}\n",
    ),
}


@pytest.mark.parametrize("language", SURROUNDINGS)
@pytest.mark.parametrize("header", ["@@", "@@ -1,4 +1,4 @@", "@@ -40,4 +40,4 @@"])
def test_fuzz_never_moves_a_change_into_another_block(language: str, header: str) -> None:
    hunk, old = SURROUNDINGS[language]
    assert refused(f"{HEAD}{header}\n{hunk}", old.encode()).code == "patch_does_not_fit"


def test_fuzz_bears_a_signature_that_changed() -> None:
    old = b"def f(a, b):\n    x()\n    y()\n    w()\n    v()\n"
    text = HEAD + "@@ -1,4 +1,4 @@\n def f(a):\n     x()\n-    y()\n+    z()\n     w()\n     v()\n"
    assert patched(text, old) == old.replace(b"y()", b"z()")
    assert made(text, x=old).placed == [("x", Placed(1, 1, 0, 1))]


FIRST = " line 5\n-line 6\n+six\n line 7\n"


@pytest.mark.parametrize(
    "second",
    [" line 7\n-line 8\n+eight\n line 9\n", " line 6\n line 7\n-line 8\n+eight\n"],
    ids=["shared", "as-it-was"],
)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("numbered", [False, True])
def test_hunks_may_share_context_and_stand_in_any_order(second: str, turned: bool, numbered: bool) -> None:
    start = 7 if second.startswith(" line 7") else 6
    hunks = [
        ("@@ -5,3 +5,3 @@\n" if numbered else "@@\n") + FIRST,
        (f"@@ -{start},3 +{start},3 @@\n" if numbered else "@@\n") + second,
    ]
    if turned:
        hunks.reverse()
    assert patched(HEAD + "".join(hunks), LINES) == SIX_AND_EIGHT
    assert patched(codex("".join(hunks)), LINES) == SIX_AND_EIGHT


@pytest.mark.parametrize("hunk", ["@@\n" + FIRST, "@@\n line 5\n+six\n", "@@\n+six\n line 5\n"])
def test_the_same_hunk_twice_is_refused(hunk: str) -> None:
    assert refused(HEAD + hunk + hunk, LINES).code in ("patch_does_not_fit", "patch_already_applied")


@pytest.mark.parametrize(
    ("hunk", "old"),
    [
        (FIRST, SIX),
        (" line 5\n+new\n", LINES.replace(b"line 6\n", b"new\nline 6\n")),
        ("+new\n line 6\n", LINES.replace(b"line 6\n", b"new\nline 6\n")),
        (" line 5\n-line 6\n line 7\n", LINES.replace(b"line 6\n", b"")),
    ],
)
@pytest.mark.parametrize("wrap", [codex, lambda hunk: HEAD + hunk])
def test_what_is_applied_already_is_not_applied_again(hunk: str, old: bytes, wrap: object) -> None:
    assert callable(wrap)
    assert refused(wrap("@@\n" + hunk), old).code == "patch_already_applied"


def test_blank_lines_say_no_place_unless_a_number_does() -> None:
    blank = b"a\n\n\n\nb\n\n\n\nc\n"
    assert patched(HEAD + "@@ -3,2 +3,3 @@\n \n+new\n \n", blank) == b"a\n\n\nnew\n\nb\n\n\n\nc\n"
    for header in ("@@", "@@ -1,2 +1,2 @@"):
        assert refused(f"{HEAD}{header}\n \n+new\n \n", blank).code == "patch_ambiguous"


# -- D2: the forms

BODY = "*** Begin Patch\n*** Update File: x\n@@\n-line 6\n+six\n*** End Patch\n"
PLAIN = HEAD + "@@ -6,1 +6,1 @@\n-line 6\n+six\n"
FORMS = {
    "no end": BODY.replace("*** End Patch\n", ""),
    "no begin": BODY.replace("*** Begin Patch\n", ""),
    "here document": f"apply_patch <<'EOF'\n{BODY}EOF\n",
    "here document without an end": f"apply_patch <<'EOF'\n{BODY.replace('*** End Patch', 'EOF')}",
    "bash -lc": f"bash -lc \"apply_patch <<'PATCH'\n{BODY}PATCH\"\n",
    "fence": f"Here it is:\n```diff\n{BODY}```\n",
    "fence without an end": f"```patch\n{BODY.replace('*** End Patch', '```')}That is all.\n- done\n",
    "prose": f"I will mend it.\n\n{BODY}Done!\n- line 6\n",
    "absolute": BODY.replace(": x", ": /workspace/x"),
    "dot": BODY.replace(": x", ": ./x"),
    "git's prefix": BODY.replace(": x", ": a/x"),
    "backquotes": BODY.replace(": x", ": `x`"),
    "quotes": BODY.replace(": x", ': "x"'),
    "indented": "".join(f"    {line}\n" for line in BODY.splitlines()),
    "CRLF": BODY.replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + BODY,
    "EOF": BODY.replace("*** End Patch", "*** EOF\n*** End Patch").replace("line 6", "line 30"),
    "numbers": BODY.replace("@@", "@@ -6,1 +6,1 @@"),
    "both headers": BODY.replace("@@", "--- a/x\n+++ b/x\n@@"),
    "lower case": BODY.replace("Begin Patch", "begin patch").replace("Update File", "update file"),
    "JSON": json.dumps(BODY),
    "newlines as \\n": BODY.strip().replace("\n", "\\n"),
    "unified, no prefix": PLAIN.replace("a/", "").replace("b/", ""),
    "unified, absolute": PLAIN.replace("a/", "/workspace/").replace("b/", "/workspace/"),
    "unified, prefix and workspace": PLAIN.replace("/x", "/workspace/x"),
    "git, prefix and workspace": "diff --git a/workspace/x b/workspace/x\n" + PLAIN.replace("/x", "/workspace/x"),
    "git, header only": PLAIN.replace(HEAD, "diff --git a/x b/x\n"),
    "git, header only, bare": "diff --git a/x b/x\n@@\n-line 6\n+six\n",
    "wrong counts": PLAIN.replace("-6,1 +6,1", "-6,10 +6,0"),
    "spaced numbers": PLAIN.replace("-6,1 +6,1", "- 6,1 + 6,1"),
    "git apply": f"git apply <<'EOF'\n{PLAIN.replace('-6,1', '-6,5')}EOF\n",
    "subversion": "Index: x\n" + "=" * 67 + "\n" + PLAIN,
    "fence and a list after it": f"```diff\n{PLAIN}```\n- changes line 6\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_models_write(form: str) -> None:
    expected = LINES.replace(b"line 30\n", b"six\n") if form == "EOF" else SIX
    assert patched(FORMS[form], LINES) == expected


def test_a_second_envelope_is_read_as_well() -> None:
    text = BODY + "and\n" + BODY.replace("-line 6\n+six", "-line 8\n+eight")
    assert patched(text, LINES) == SIX_AND_EIGHT


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("*** Add File: n\n+a\n\n+b\n\n", b"a\n\nb\n"),
        ("*** Add File: n\n@@\n+a\n", b"a\n"),
        ("*** Add File: n\n@@ -0,0 +1,1 @@\n+a\n", b"a\n"),
        ("*** Add File: n\n", b""),
        ("*** Add File: n\n+*** End Patch\n+```\n+x\n", b"*** End Patch\n```\nx\n"),
        ("*** Add File: n\n+a\n*** Update File: n\n@@\n-a\n+b\n", b"b\n"),
    ],
)
def test_new_files_in_codex_s_format(text: str, content: bytes) -> None:
    (change,) = made(f"*** Begin Patch\n{text}*** End Patch\n").changes
    assert (change.op, change.path, change.content) == ("write", "n", content)


def test_an_update_makes_no_file() -> None:
    with pytest.raises(PatchMismatch, match="does not exist"):
        made(codex("@@\n+a\n"))


def test_search_and_replace_blocks_are_sent_to_the_edit() -> None:
    assert "old_string" in str(refused("x\n<<<<<<< SEARCH\nline 6\n=======\nsix\n>>>>>>> REPLACE\n", LINES).hint)


def test_git_names_that_differ_need_a_reason() -> None:
    assert "rename from" in str(
        refused("diff --git a/x b/y\n--- a/x\n+++ b/y\n@@ -6 +6 @@\n-line 6\n+six\n", LINES).hint
    )


def test_a_link_s_target_has_no_newline() -> None:
    text = "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+target\n"
    (change,) = made(text).changes
    assert (change.op, change.link) == ("symlink", "target")


def test_a_folder_called_workspace_is_not_overlooked() -> None:
    text = "--- a/workspace/x\n+++ b/workspace/x\n@@ -1 +1 @@\n-a\n+b\n"
    states = {"workspace": FileState("dir"), "workspace/x": FileState("file", b"a\n"), "x": FileState("file", b"a\n")}
    found = plan(parse_patch(text), lambda paths: {path: states[path] for path in paths if path in states})
    assert [change.path for change in found.changes] == ["workspace/x"]


# -- D3 and D4: line ends, whitespace, encodings


@pytest.mark.parametrize(
    ("hunk", "old", "new"),
    [
        (" a\n-b\n+c\n", b"a\nb", b"a\nc"),  # the marker is missing, as models leave it away
        (" a\n-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n", b"a\nb\n", b"a\nc\n"),
        (" a\n-b\n+b\n\\ No newline at end of file\n", b"a\nb\n", b"a\nb"),
        (" a\n-b\n\\ No newline at end of file\n+b\n", b"a\nb", b"a\nb\n"),
        (" a\n-b\n+c\n", b"a\r\nb", b"a\r\nc"),
        (" a\r\n-b\r\n+B\r\n c\r\n", b"a\nb\nc\n", b"a\nB\nc\n"),
        (" a\r\n-b\n+B\n c\r\n", b"a\r\nb\r\nc\r\n", b"a\r\nB\r\nc\r\n"),
        ("-a\r\n-b\r\n+a\n+b\n", b"a\r\nb\r\n", b"a\nb\n"),
        (" a\n\n-b\n+c\n", b"a\n    \nb\n", b"a\n    \nc\n"),
        (" a\n\n-b\n+c\n", b"a\n \t\nb\na\n\nb\n", b"a\n \t\nb\na\n\nc\n"),
        (" a\n-b\n+B\n \x0c\n", b"a\nb\n\x0c\n", b"a\nB\n\x0c\n"),
        (" a\u2028z\n-b\n+B\n", "a\u2028z\nb\n".encode(), "a\u2028z\nB\n".encode()),
        ("-\ufeffa\n+a\n", MARK + b"a\n", b"a\n"),
    ],
)
def test_the_file_s_own_ends_and_spaces_stay(hunk: str, old: bytes, new: bytes) -> None:
    assert patched(f"{HEAD}@@\n{hunk}", old) == new


@pytest.mark.parametrize(
    ("old", "hunk", "what"),
    [
        ("a\nb\n".encode("utf-16"), "-a\n+A\n", "UTF-16"),
        (b"a\rb\rc\r", " a\n-b\n+B\n", "carriage return"),
        (b"caf\xe9\na\n", " a\n+th\u00e9\n", "mix two encodings"),
        (b"a b\n", "-a\u00a0b\n+c\n", r"a\xc2\xa0b"),
    ],
)
def test_what_cannot_be_patched_as_text_is_named(old: bytes, hunk: str, what: str) -> None:
    assert what in refused(f"{HEAD}@@\n{hunk}", old).message
