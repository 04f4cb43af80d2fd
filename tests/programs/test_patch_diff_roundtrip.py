"""Diffs that pyro prints pass `git apply`; patches that git and diff print apply here. Real git, random trees."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pyro_mcp.patches.apply import apply_to_text
from pyro_mcp.patches.diff import DiffEntry, FileVersion, render, unified
from pyro_mcp.patches.lines import opcodes
from pyro_mcp.patches.match import split_lines
from pyro_mcp.patches.parse import parse_patch
from pyro_mcp.patches.plan import FileState, plan

Tree = dict[str, FileVersion]
LINE = st.sampled_from([b"a", b"b", b"-- x", b"++ y", b"", b"c\r", b"@@ -1 +1 @@", b" ", b"\xff"])
TEXT = st.builds(
    lambda lines, end: b"\n".join(lines) + (b"\n" if end and lines else b""), st.lists(LINE, max_size=30), st.booleans()
)
NAMES = ["a", "b c", 'q"uote', "tab\tx", "d/e", "d/f g", "é", "x/y/z", "b", "a b/a"]
FILE = st.one_of(
    st.builds(lambda c, m: FileVersion("file", c, m), TEXT, st.sampled_from([0o644, 0o755])),
    st.builds(lambda c: FileVersion("file", b"\0" + c, 0o644), TEXT),
    st.builds(lambda t: FileVersion("symlink", t, 0o777), st.sampled_from([b"a", b"/usr/bin/x", b"../../y"])),
)
TREE = st.dictionaries(st.sampled_from(NAMES), FILE, max_size=7)
GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def write_tree(root: Path, tree: Tree) -> None:
    for name, version in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if version.kind == "symlink":
            os.symlink(version.content, os.fsencode(path))
        else:
            path.write_bytes(version.content)
            path.chmod(version.mode)


def read_tree(root: Path) -> Tree:
    out: Tree = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if name == ".git" or name.startswith(".git/"):
            continue
        if path.is_symlink():
            out[name] = FileVersion("symlink", os.readlink(os.fsencode(path)), 0o777)
        elif path.is_file():
            out[name] = FileVersion("file", path.read_bytes(), path.stat().st_mode & 0o777)
    return out


def run(root: Path, *command: str, ok: tuple[int, ...] = (0,), stdin: bytes = b"") -> bytes:
    done = subprocess.run(command, cwd=root, env=GIT, input=stdin, capture_output=True, timeout=30, check=False)
    assert done.returncode in ok, (command, done.stderr.decode(), stdin.decode("utf-8", "replace"))
    return done.stdout


def apply_all(old: Tree, patch: bytes) -> Tree:
    """Our own apply, carried out on a dictionary in the order that `Change` promises."""
    states = {
        name: FileState("symlink", link=os.fsdecode(v.content))
        if v.kind == "symlink"
        else FileState("file", v.content, v.mode)
        for name, v in old.items()
    }
    tree = dict(old)
    for change in plan(parse_patch(patch), lambda paths: {p: states[p] for p in paths if p in states}).changes:
        if change.op == "delete":
            del tree[change.path]
        elif change.op == "rename":
            assert change.to is not None and change.to not in tree
            tree[change.to] = tree.pop(change.path)
        elif change.op == "symlink":
            tree[change.path] = FileVersion("symlink", os.fsencode(change.link or ""), 0o777)
        elif change.op == "chmod":
            tree[change.path] = FileVersion("file", tree[change.path].content, change.mode or 0)
        else:
            tree[change.path] = FileVersion("file", change.content or b"", change.mode or 0)
    return tree


def entries(old: Tree, new: Tree) -> list[DiffEntry]:
    return [DiffEntry(n, old.get(n), new.get(n)) for n in sorted(old.keys() | new.keys()) if old.get(n) != new.get(n)]


@RELAXED
@given(TREE, TREE)
def test_git_apply_of_our_diff_turns_old_into_new(old: Tree, new: Tree) -> None:
    result = render(entries(old, new), binary=True)
    if not result.patch:
        assert old == new
        return
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_tree(root, old)
        run(root, "git", "apply", "--whitespace=nowarn", "-", stdin=result.patch)
        assert read_tree(root) == new
    assert apply_all(old, result.patch) == new


@RELAXED
@given(TREE, TREE, st.sampled_from([[], ["--no-prefix"], ["-M"], ["-C", "-C"], ["-U0"], ["-B", "-M"], ["-U1"]]))
def test_a_patch_that_git_prints_applies(old: Tree, new: Tree, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run(root, "git", "init", "-q")
        write_tree(root, old)
        run(root, "git", "add", "-A")
        for entry in root.iterdir():
            if entry.name != ".git":
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        first = run(root, "git", "write-tree").decode().strip()
        write_tree(root, new)
        run(root, "git", "add", "-A")
        second = run(root, "git", "write-tree").decode().strip()
        patch = run(root, "git", "diff", "--binary", *options, first, second)
        if "-B" in options and patch:
            # With -B git may rename over a file without a word about what stood there; git refuses that itself.
            run(root, "git", "read-tree", first)
            checked = subprocess.run(
                ["git", "apply", "--cached", "--check", "-"], cwd=root, input=patch, capture_output=True, check=False
            )
            assume(checked.returncode == 0)
    if patch:
        assert apply_all(old, patch) == new
    else:
        assert old == new


@RELAXED
@given(TREE, TREE)
def test_a_patch_that_diff_ruN_prints_applies(old: Tree, new: Tree) -> None:
    def texts(tree: Tree) -> Tree:
        return {
            n: FileVersion("file", v.content)
            for n, v in tree.items()
            if v.kind == "file" and b"\0" not in v.content and v.content
        }

    old, new = texts(old), texts(new)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for side, tree in (("old", old), ("new", new)):
            (root / side).mkdir()
            write_tree(root / side, tree)
        patch = run(root, "diff", "-ruN", "--text", "old", "new", ok=(0, 1))
    if patch:
        assert apply_all(old, patch) == new


@settings(max_examples=400, deadline=None)
@given(TEXT, TEXT, st.integers(0, 4))
def test_our_hunks_turn_old_into_new(old: bytes, new: bytes, context: int) -> None:
    text = unified(old, new, old_name="a/x", new_name="b/x", context=context)
    if old == new:
        assert text == b""
        return
    hunks = b"diff --git a/x b/x\nindex 1234567..89abcde\n" + text
    assert apply_to_text(old, parse_patch(hunks)[0]) == new


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=60), st.lists(st.integers(0, 5), max_size=60), st.sampled_from([30, 10**6]))
def test_what_lies_between_changes_is_equal_also_when_the_budget_runs_out(
    a: list[int], b: list[int], budget: int
) -> None:
    left, right = [b"%d" % x for x in a], [b"%d" % x for x in b]
    i = j = 0
    for a0, a1, b0, b1 in opcodes(left, right, budget=budget):
        assert left[i:a0] == right[j:b0] and (a1 > a0 or b1 > b0)
        i, j = a1, b1
    assert left[i:] == right[j:]


def test_large_and_hostile_texts_are_diffed_in_bounded_time() -> None:
    lines = [b"line %d\n" % i if i % 3 else b"}\n" for i in range(20_000)]
    edited = list(lines)
    for at in (10, 5000, 10_000, 15_001, 19_990):
        edited[at] = b"changed\n"
    begun = time.process_time()
    ops = opcodes(split_lines(b"".join(lines)), split_lines(b"".join(edited)))
    few = time.process_time() - begun
    assert len(ops) == 5
    rng = random.Random(1)
    one, two = ([rng.choice([b"x\n", b"y\n"]) for _ in range(20_000)] for _ in range(2))
    begun = time.process_time()
    opcodes(one, two)
    hostile = time.process_time() - begun
    assert few < 0.5 and hostile < 5  # of CPU: what else the computer does is not counted


def test_summary_names_renames_modes_binaries_and_empty_directories() -> None:
    body = b"".join(b"line %d\n" % i for i in range(20))
    found = render(
        [
            DiffEntry("old.txt", FileVersion("file", body), None),
            DiffEntry("new.txt", None, FileVersion("file", body.replace(b"line 3\n", b"three\n"))),
            DiffEntry("run", FileVersion("file", b"x\n"), FileVersion("file", b"x\n", 0o755)),
            DiffEntry("pic", None, FileVersion("file", b"\0png")),
            DiffEntry("hollow", None, FileVersion("dir")),
        ]
    )
    assert {f.path: f.status for f in found.files} == {"new.txt": "renamed", "run": "mode", "pic": "added"}
    assert found.empty_directories == ["hollow"] and (found.insertions, found.deletions) == (1, 1)
    assert b"Binary files /dev/null and b/pic differ" in found.patch
    cut = render([DiffEntry("big", None, FileVersion("file", body))], max_bytes=150)
    assert cut.truncated and len(cut.patch) <= 150 < cut.patch_bytes and cut.patch.endswith(b"\n")
