"""Files, patches, diff, sync and export on a real machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, NotFound, PatchMismatch, PyroError
from pyro_mcp.sdk import Pyro

FIX = """\
--- a/src/calc.py
+++ b/src/calc.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""


@pytest.fixture
def seeded(pyro: Pyro, project: Path) -> str:
    return pyro.create_workspace(seed_path=str(project)).id


def test_text_is_written_and_read_in_parts(pyro: Pyro, workspace: str) -> None:
    text = "".join(f"line {n}\n" for n in range(1, 101))
    written = pyro.write_workspace_file(workspace, "deep/er/file.txt", text)
    assert (written.action, written.path, written.mode) == ("created", "/workspace/deep/er/file.txt", "0644")
    whole = pyro.read_workspace_file(workspace, "/workspace/deep/er/file.txt")
    assert (whole.content, whole.total_lines, whole.truncated) == (text, 100, False)
    part = pyro.read_workspace_file(workspace, "deep/er/file.txt", offset=10, limit=3)
    assert part.content == "line 10\nline 11\nline 12\n"
    found = pyro.read_workspace_file(workspace, "deep/er/file.txt", grep=r"line 9\d")
    assert found.content.splitlines()[0] == "90:line 90"
    cut = pyro.read_workspace_file(workspace, "deep/er/file.txt", max_bytes=10)
    assert (cut.content, cut.truncated, cut.hint) == ("line 1\n", True, "Lines 1 to 1 of 100; continue with offset=2.")
    cut = pyro.read_workspace_file(workspace, "deep/er/file.txt", byte_offset=7, max_bytes=6)
    assert (cut.content, cut.hint) == ("line 2", "779 bytes follow; continue with byte_offset=13.")


def test_several_files_are_read_in_one_call_each_with_its_own_fault(pyro: Pyro, workspace: str) -> None:
    pyro.exec_workspace(
        workspace, "seq 3 > a; printf 'caf\\351\\n' > l; mkdir d; touch d/x; seq 5000 > long; seq 9 > z"
    )
    read = pyro.read_workspace_file(workspace, paths=["a", "none", "l", "d", "long", "z"], max_bytes=2000)
    said = {file.path.rsplit("/")[-1]: file for file in read.files}
    assert [f.content for f in (said["a"], said["d"])] == ["1\n2\n3\n", "x\n"]
    assert "none" in said["none"].error
    assert "windows-1252" in said["l"].error
    assert (said["long"].truncated, said["long"].total_lines) == (True, 5000)
    assert len("".join(f.content for f in read.files)) <= 2000
    latin = pyro.read_workspace_file(workspace, "l", encoding="latin-1")
    assert (latin.content, latin.encoding) == ("caf\u00e9\n", "iso8859-1")
    pyro.write_workspace_file(workspace, "l", "caf\u00e9s\n", encoding="latin-1")
    assert pyro.exec_workspace(workspace, "od -An -c l").stdout.split() == ["c", "a", "f", "351", "s", "\\n"]
    tail = pyro.read_workspace_file(workspace, "long", offset=-2, number_lines=True)
    assert tail.content == "  4999\t4999\n  5000\t5000\n"
    assert (tail.first_line, tail.last_line, tail.total_lines) == (4999, 5000, 5000)


def test_a_large_file_is_read_from_its_start_and_onwards(pyro: Pyro, workspace: str) -> None:
    pyro.exec_workspace(workspace, "yes 'a line of text, as there are many' | head -c 20000000 > big")
    begin = pyro.read_workspace_file(workspace, "big", max_bytes=1000)
    assert (begin.truncated, begin.total_lines, begin.size) == (True, None, 20_000_000)
    further = pyro.read_workspace_file(workspace, "big", byte_offset=len(begin.content), max_bytes=80)
    assert further.content.startswith("a line of text, as there are many\na")
    assert begin.hint.endswith(f"byte_offset={len(begin.content)}.")


def test_a_mode_is_kept_when_a_file_is_written_again(pyro: Pyro, seeded: str) -> None:
    assert pyro.write_workspace_file(seeded, "run.sh", "#!/bin/sh\necho changed\n").mode == "0755"
    assert pyro.exec_workspace(seeded, ["./run.sh"]).stdout == "changed\n"
    assert pyro.write_workspace_file(seeded, "new.sh", "#!/bin/sh\n", executable=True).mode == "0755"


def test_binary_files_and_things_that_are_not_files_are_refused(pyro: Pyro, workspace: str) -> None:
    pyro.exec_workspace(
        workspace, "head -c 1000 /dev/zero > zero.bin; mkfifo pipe; truncate -s 2G big; ln -s /etc/passwd out"
    )
    with pytest.raises(InvalidInput, match="binary"):
        pyro.read_workspace_file(workspace, "zero.bin")
    with pytest.raises(InvalidInput):
        pyro.read_workspace_file(workspace, "pipe")
    with pytest.raises(InvalidInput):
        pyro.read_workspace_file(workspace, "big")
    with pytest.raises(InvalidInput, match="2147483648"):
        pyro.read_workspace_file(workspace, "big", grep="x")
    with pytest.raises(NotFound):
        pyro.read_workspace_file(workspace, "missing")
    assert pyro.read_workspace_file(workspace, ".").content == "big\nout -> /etc/passwd\npipe\nzero.bin\n"


@pytest.mark.parametrize("path", ["/etc/passwd", "../etc/passwd", "a/../../etc/passwd", "out/passwd", "out"])
def test_no_path_leads_out_of_the_workspace(pyro: Pyro, workspace: str, path: str) -> None:
    pyro.exec_workspace(workspace, f"ln -s {'/etc/passwd' if path == 'out' else '/etc'} out")
    with pytest.raises(InvalidInput):
        pyro.read_workspace_file(workspace, path)
    with pytest.raises(InvalidInput):
        pyro.write_workspace_file(workspace, path, "x")
    assert pyro.exec_workspace(workspace, "head -1 /etc/passwd").stdout.startswith("root:")


def test_a_diff_shows_what_changed_and_git_applies_it(pyro: Pyro, seeded: str, project: Path) -> None:
    script = (
        "sed -i 's/a + b/a - b/' src/calc.py; rm test_calc.py; mkdir -p pkg/empty; printf 'no newline' > pkg/n.txt;"
        "git mv run.sh moved.sh; printf '\\0\\1' > bin; ln -s src newlink; chmod +x untracked.txt; touch .gitignore"
    )
    assert pyro.exec_workspace(seeded, script).exit_code == 0
    diff = pyro.diff_workspace(seeded, path="src")
    assert [(f.path, f.status, f.insertions, f.deletions) for f in diff.files] == [("src/calc.py", "modified", 1, 1)]
    diff = pyro.diff_workspace(seeded)
    status = {f.path: f.status for f in diff.files if not f.path.startswith(".git/")}
    assert status["moved.sh"] == "renamed"
    assert status["test_calc.py"] == "deleted"
    assert status["untracked.txt"] == "mode"
    assert ".gitignore" not in status
    assert diff.empty_directories == ["/workspace/pkg/empty"]


def test_an_exported_patch_turns_the_seed_into_the_workspace(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    seeded = pyro.create_workspace(seed_path=str(project)).id
    script = (
        "sed -i 's/a + b/a - b/' src/calc.py; rm test_calc.py; printf 'no newline' > n.txt; mv run.sh moved.sh;"
        "head -c 5000 /dev/urandom > bin; ln -s src newlink; chmod +x untracked.txt"
    )
    assert pyro.exec_workspace(seeded, script).exit_code == 0
    exported = pyro.export_workspace(seeded, output=str(tmp_path / "change.patch"), patch=True)
    assert exported.kind == "patch"
    pyro.export_workspace(seeded, ".", output=str(tmp_path / "after"))
    subprocess.run(["git", "apply", "--whitespace=nowarn", str(tmp_path / "change.patch")], cwd=project, check=True)
    compared = subprocess.run(
        ["diff", "-r", "--no-dereference", str(project), str(tmp_path / "after")], capture_output=True, text=True
    )
    assert compared.stdout == ""
    assert os.access(project / "untracked.txt", os.X_OK)
    assert os.readlink(project / "newlink") == "src"


def test_a_diff_does_not_look_at_what_did_not_change(pyro: Pyro, tmp_path: Path, installation: object) -> None:
    tree = tmp_path / "many"
    for directory in range(100):
        (tree / f"d{directory}").mkdir(parents=True)
        for number in range(200):
            (tree / f"d{directory}" / f"f{number}").write_text(f"{directory} {number}\n")
    created = pyro.create_workspace(seed_path=str(tree))
    assert created.seed is not None
    assert created.seed.files == 20_000
    pyro.exec_workspace(created.id, "for n in 1 2 3 4 5; do echo changed > d$n/f$n; done")
    # The unchanged files of the baseline are taken away below: a diff that looked at them would show it.
    seeds = installation.locations.seeds  # type: ignore[attr-defined]
    (stored,) = [p for p in seeds.iterdir() if (p / "tree" / "d99" / "f199").exists()]
    for directory in range(100):
        for number in range(200):
            if not (directory == number and 1 <= directory <= 5):
                (stored / "tree" / f"d{directory}" / f"f{number}").unlink()
    diff = pyro.diff_workspace(created.id)
    assert [f.path for f in diff.files] == [f"d{n}/f{n}" for n in range(1, 6)]
    assert (diff.insertions, diff.deletions) == (5, 5)
    pyro.delete_workspace(created.id)


def test_the_repro_fix_loop_with_patches(pyro: Pyro, seeded: str) -> None:
    test = "python3 -B test_calc.py"  # a stale .pyc of the same second and size would hide the change
    assert pyro.exec_workspace(seeded, test).stdout == "passed\n"
    pyro.write_workspace_file(seeded, "src/calc.py", "def add(a, b):\n    return a - b\n")
    assert pyro.exec_workspace(seeded, test).exit_code == 1
    applied = pyro.apply_workspace_patch(seeded, FIX)
    assert [(f.path, f.status) for f in applied.files] == [("src/calc.py", "modified")]
    assert pyro.exec_workspace(seeded, test).stdout == "passed\n"
    assert [f.path for f in pyro.diff_workspace(seeded).files if "__pycache__" not in f.path] == []


def test_a_patch_that_does_not_fit_changes_nothing_and_names_the_place(pyro: Pyro, seeded: str) -> None:
    both = "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+new\n" + FIX.replace("a + b", "a / b").replace(
        "a - b", "a * b"
    )
    with pytest.raises(PatchMismatch) as caught:
        pyro.apply_workspace_patch(seeded, both)
    assert "src/calc.py" in str(caught.value)
    assert "return a + b" in str(caught.value)
    assert pyro.diff_workspace(seeded).files == []


def test_a_patch_creates_deletes_and_renames(pyro: Pyro, seeded: str) -> None:
    patch = (
        "diff --git a/run.sh b/bin/run\nsimilarity index 100%\nrename from run.sh\nrename to bin/run\n"
        "diff --git a/test_calc.py b/test_calc.py\ndeleted file mode 100644\n--- a/test_calc.py\n+++ /dev/null\n"
        "@@ -1,6 +0,0 @@\n-import sys\n-sys.path.insert(0, 'src')\n-from calc import add\n-\n-assert add(2, 3) == 5\n"
        "-print('passed')\n"
        "diff --git a/made/new.py b/made/new.py\nnew file mode 100755\n--- /dev/null\n+++ b/made/new.py\n"
        "@@ -0,0 +1 @@\n+pass\n"
    )
    applied = pyro.apply_workspace_patch(seeded, patch)
    assert {f.status for f in applied.files} == {"renamed", "deleted", "added"}
    listing = {e.path: e.mode for e in pyro.list_workspace_files(seeded, recursive=True, limit=2000).entries}
    assert listing["bin/run"] == listing["made/new.py"] == "0755"
    assert "test_calc.py" not in listing


def test_a_push_brings_later_changes_whole_or_not_at_all(
    pyro: Pyro, seeded: str, project: Path, tmp_path: Path
) -> None:
    (project / "late.txt").write_text("late\n")
    (project / "run.sh").write_text("#!/bin/sh\necho newer\n")
    pushed = pyro.push_workspace_sync(seeded, str(project))
    assert pushed.files > 3
    assert pyro.exec_workspace(seeded, "cat late.txt && ./run.sh").stdout == "late\nnewer\n"
    one = tmp_path / "one.txt"
    one.write_text("one\n")
    pyro.push_workspace_sync(seeded, str(one), dest="into/here")
    assert pyro.read_workspace_file(seeded, "into/here/one.txt").content == "one\n"
    (tmp_path / "clash" / "src").mkdir(parents=True)
    (tmp_path / "clash" / "a.txt").write_text("a")
    (tmp_path / "clash" / "src" / "calc.py").mkdir()
    pyro.exec_workspace(seeded, "rm -rf late.txt && mkdir late.txt && touch late.txt/kept")
    with pytest.raises(PyroError):
        pyro.push_workspace_sync(seeded, str(project))
    assert pyro.exec_workspace(seeded, "ls late.txt; ls -d .pyro* 2>/dev/null").stdout == "kept\n"
    with pytest.raises(InvalidInput):
        pyro.push_workspace_sync(seeded, str(project), dest="../out")


def test_an_export_never_overwrites_unless_told(pyro: Pyro, seeded: str, tmp_path: Path) -> None:
    target = tmp_path / "calc.py"
    exported = pyro.export_workspace(seeded, "src/calc.py", output=str(target))
    assert (exported.kind, target.read_text()) == ("file", "def add(a, b):\n    return a + b\n")
    target.write_text("mine")
    with pytest.raises(Conflict, match="already exists"):
        pyro.export_workspace(seeded, "src/calc.py", output=str(target))
    assert target.read_text() == "mine"
    pyro.export_workspace(seeded, "src/calc.py", output=str(target), overwrite=True)
    assert target.read_text().startswith("def add")
    with pytest.raises(InvalidInput):
        pyro.export_workspace(seeded, "../etc", output=str(tmp_path / "x"))
    with pytest.raises(NotFound):
        pyro.export_workspace(seeded, "nothing", output=str(tmp_path / "x"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["calc.py", "project"]


def test_a_socket_in_a_tree_is_skipped_and_named(pyro: Pyro, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "tree" / "sock"))
    created = pyro.create_workspace(seed_path=str(tmp_path / "tree"))
    assert created.seed is not None
    assert created.seed.files == 1
    assert any("sock" in line for line in created.seed.skipped)


def test_patches_side_by_side_to_one_file_all_apply(pyro: Pyro, workspace: str) -> None:
    pyro.write_workspace_file(workspace, "many.txt", "".join(f"line {i}\n" for i in range(60)))

    def patch(number: int) -> None:
        line = number * 10 + 4
        hunk = f"@@ -{line},3 +{line},3 @@\n line {line - 1}\n-line {line}\n+LINE {line}\n line {line + 1}\n"
        with Pyro() as other:
            other.apply_workspace_patch(workspace, f"--- a/many.txt\n+++ b/many.txt\n{hunk}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(patch, range(6)))
    assert pyro.read_workspace_file(workspace, "many.txt").content.count("LINE") == 6


def test_edits_too_large_for_one_request_apply_side_by_side(pyro: Pyro, workspace: str) -> None:
    """Their contents are put by in the machine first, in a place that it has once."""
    made = pyro.exec_workspace(workspace, "for i in 1 2 3 4; do (echo START; seq 1000000) > large$i; done")
    assert made.exit_code == 0

    def edit(number: int) -> None:
        with Pyro() as other:
            other.edit_workspace_file(workspace, f"large{number}", "START", "BEGIN")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(edit, range(1, 5)))
    assert pyro.exec_workspace(workspace, "head -qn1 large?; ls -A | grep stage").stdout == "BEGIN\n" * 4


def test_a_reader_finds_a_file_at_every_moment(pyro: Pyro, workspace: str) -> None:
    """Writes and patches replace a file in one rename."""
    pyro.write_workspace_file(workspace, "read.txt", "0\n")
    loop = (
        "import pathlib, sys\np = pathlib.Path('read.txt'); n = missing = 0\n"
        "while not pathlib.Path('stop').exists():\n"
        "    n += 1\n    try:\n        assert p.read_text().strip().isdigit()\n"
        "    except FileNotFoundError:\n        missing += 1\n"
        "print(n, missing)\n"
    )
    pyro.write_workspace_file(workspace, "loop.py", loop)
    running = pyro.exec_workspace(workspace, "python3 loop.py", wait_seconds=0)
    for i in range(40):
        if i % 2:
            pyro.write_workspace_file(workspace, "read.txt", f"{i}\n")
        else:
            both = "".join(f"--- a/{n}\n+++ b/{n}\n@@ -1 +1 @@\n-{max(i - 1, 0)}\n+{i}\n" for n in ["read.txt"])
            pyro.apply_workspace_patch(workspace, both + f"--- /dev/null\n+++ b/new{i}\n@@ -0,0 +1 @@\n+x\n")
    pyro.write_workspace_file(workspace, "stop", "")
    done = pyro.logs_workspace(workspace, handle=running.handle, wait_seconds=30)
    reads, missing = done.output.split()
    assert int(reads) > 20 and missing == "0"


def test_exact_edits(pyro: Pyro, workspace: str) -> None:
    pyro.exec_workspace(workspace, "mkdir d && printf 'one\\ntwo\\n' > d/f && chmod 755 d/f && ln -s d/f link")
    done = pyro.edit_workspace_file(workspace, "link", "two", "three\nfour")
    assert (done.path, done.replacements, done.insertions, done.deletions) == ("/workspace/d/f", 1, 2, 1)
    both = [{"old_string": "one", "new_string": "1"}, {"old_string": "four", "new_string": "4"}]
    assert pyro.edit_workspace_file(workspace, "d/f", edits=both).replacements == 2
    shown = pyro.exec_workspace(workspace, "cat d/f; stat -c %a d/f; readlink link").stdout
    assert shown == "1\nthree\n4\n755\nd/f\n"
    half = [{"old_string": "1", "new_string": "one"}, {"old_string": "nowhere", "new_string": ""}]
    with pytest.raises(PatchMismatch, match="Edit 2"):
        pyro.edit_workspace_file(workspace, "d/f", edits=half)
    assert pyro.read_workspace_file(workspace, "d/f").content == "1\nthree\n4\n"
    assert pyro.edit_workspace_file(workspace, "new/file", "", "text\n").created
    pyro.exec_workspace(workspace, "ln -s /etc/passwd out; ln -s loop loop")
    for name in ("out", "loop", "d", "missing"):
        with pytest.raises(PyroError):
            pyro.edit_workspace_file(workspace, name, "root", "toor")


def test_search(pyro: Pyro, project: Path) -> None:
    (project / "src" / "deep").mkdir()
    (project / "src" / "deep" / "more.py").write_text("x = 1\n# TODO: add tests\ny = 2\n")
    ws = pyro.create_workspace("debian:12", seed_path=str(project), secrets={"KEY": "hunter22secret"}).id
    pyro.exec_workspace(ws, "mkdir -p build node_modules/z && echo TODO > build/out && echo TODO > node_modules/z/i.js")
    pyro.exec_workspace(
        ws, "printf 'token hunter22secret\\n' > leak; printf 'TODO\\0' > bin; echo 'TODO [1]' > new.txt"
    )
    found = pyro.search_workspace(ws, "TODO")
    assert found.content == "new.txt:1:TODO [1]\nsrc/deep/more.py:2:# TODO: add tests"
    assert (found.matches, found.files, found.skipped_binary, found.skipped_ignored) == (2, 2, 1, 2)
    around = pyro.search_workspace(ws, "todo", ignore_case=True, glob=["*.py"], context=1)
    assert around.content == (
        "src/deep/more.py-1-x = 1\nsrc/deep/more.py:2:# TODO: add tests\nsrc/deep/more.py-3-y = 2"
    )
    assert pyro.search_workspace(ws, "[1]", literal=True).content == "new.txt:1:TODO [1]"
    assert pyro.search_workspace(ws, "TODO", include_ignored=True, files_only=True).files == 4
    assert pyro.search_workspace(ws, glob=["*.py", "!src/deep"]).content == "src/calc.py\ntest_calc.py"
    cut = pyro.search_workspace(ws, "TODO", limit=1)
    assert cut.shown == 1 and cut.truncated and "1 more" in cut.hint
    # A pattern does not tell what a secret is.
    assert "hunter22" not in pyro.search_workspace(ws, "token").content
    assert pyro.search_workspace(ws, "hunter2").matches == 0
    for bad in ({"pattern": "("}, {"pattern": "x", "path": "../.."}, {}):
        with pytest.raises(InvalidInput):
            pyro.search_workspace(ws, **bad)  # type: ignore[arg-type]
