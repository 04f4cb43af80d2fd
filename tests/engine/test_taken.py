"""Diff, patch and landing take what `git add -A` would take, and nothing that a tool plainly made."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pyro_mcp import InvalidInput, Pyro


def git(repo: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=repo, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    repo = tmp_path / "repo"
    (repo / "src").mkdir(parents=True)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "config", "user.email", "ann@example.org")
    git(repo, "config", "user.name", "Ann")
    (repo / ".gitignore").write_text("*.log\nbuild/\n!keep.log\n")
    (repo / "src" / "a.py").write_text("a\n")
    (repo / "tracked.log").write_text("tracked\n")
    git(repo, "add", "-f", "-A")
    git(repo, "commit", "-qm", "first")
    (repo / ".git" / "info" / "exclude").write_text("private*\n")
    return repo


CHANGE = """
echo b > src/a.py; echo x > src/x.log; echo k > src/keep.log; echo t >> tracked.log
mkdir -p build/deep other && echo 1 > build/deep/o && echo 2 > other/build
echo p > private.txt; printf '/only\\n!*.log\\n' > other/.gitignore; echo 1 > other/only; echo 1 > other/in.log
git status >/dev/null; git add -A 2>/dev/null; git config core.excludesFile /nowhere; echo '*' > .git/info/exclude
mkdir -p sub && cd sub && git init -q . && echo s > s && git add s
"""


def test_a_git_seed_gives_what_git_would_add(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    assert pyro.exec_workspace(ws, CHANGE).exit_code == 0
    expected = ["other/.gitignore", "other/build", "other/in.log", "src/a.py", "src/keep.log", "tracked.log"]
    shown = pyro.diff_workspace(ws)
    assert [file.path for file in shown.files] == expected
    assert {(g.path, g.files, g.why) for g in shown.left_out} == {
        ("build/deep/o", 1, "ignored"),
        ("other/only", 1, "ignored"),
        ("private.txt", 1, "ignored"),
        ("src/x.log", 1, "ignored"),
        ("sub/", 1, "repository"),
    }
    assert shown.left_out_files == 5
    assert "include_ignored" in shown.hint
    exported = pyro.export_workspace(ws, output=str(tmp_path / "p"), patch=True)
    assert (exported.files, exported.left_out_files) == (6, 5)
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "patched"))
    git(tmp_path / "patched", "apply", str(tmp_path / "p"))
    assert (tmp_path / "patched" / "other" / "in.log").read_text() == "1\n"
    landed = pyro.land_workspace(ws, branch="work")
    assert landed.left_out_files == 5
    assert git(project, "diff", "--name-only", "main", "work").splitlines() == expected
    assert not any(".git/" in file.path for file in pyro.diff_workspace(ws, include_ignored=True).files)
    everything = {file.path for file in pyro.diff_workspace(ws, include_ignored=True).files}
    assert everything == {*expected, "build/deep/o", "other/only", "private.txt", "src/x.log", "sub/s"}
    assert pyro.land_workspace(ws, branch="all", include_ignored=True).files == len(everything)


def test_a_part_of_a_repository_keeps_the_rules_above_it(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project / "src")).id
    pyro.exec_workspace(ws, "echo x > x.log; echo y > y.py; mkdir build; echo z > build/z")
    shown = pyro.diff_workspace(ws)
    assert [file.path for file in shown.files] == ["y.py"]
    assert shown.left_out_files == 2


def test_what_a_tool_made_is_folded_and_named(pyro: Pyro, tmp_path: Path) -> None:
    seed = tmp_path / "plain"
    (seed / "vendored" / "node_modules" / "old").mkdir(parents=True)
    (seed / "vendored" / "node_modules" / "old" / "x.js").write_text("x\n")
    ws = pyro.create_workspace(seed_path=str(seed)).id
    make = """
python3 - <<'END'
import os, pathlib
def put(name, text="1\\n"):
    path = pathlib.Path("/workspace", name); path.parent.mkdir(parents=True, exist_ok=True); path.write_text(text)
put("env/pyvenv.cfg"); [put(f"env/lib/{n}.py") for n in range(1500)]
put("a/node_modules/x/y.js"); put("src/__pycache__/m.pyc"); put("src/m.py"); put("p.egg-info/PKG-INFO")
put("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\\n# cargo\\n"); put("target/debug/o")
put("not/CACHEDIR.TAG", "mine\\n"); put("dist/written.txt"); put("build/written.txt")
put("vendored/node_modules/old/x.js", "changed\\n"); put("vendored/node_modules/new.js")
END
"""
    assert pyro.exec_workspace(ws, make).exit_code == 0
    shown = pyro.diff_workspace(ws)
    assert [file.path for file in shown.files] == [
        "build/written.txt",
        "dist/written.txt",
        "not/CACHEDIR.TAG",
        "src/m.py",
        "vendored/node_modules/new.js",
        "vendored/node_modules/old/x.js",
    ]
    assert shown.left_out[0].path == "env/"
    assert (shown.left_out[0].files, shown.left_out[0].why) == (1501, "made")
    assert shown.left_out_files == 1501 + 5
    assert len(pyro.diff_workspace(ws, summary=True, include_ignored=True).files) == 6 + 1506


def test_a_tree_with_rules_says_itself_what_is_not_taken(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    make = "mkdir -p lib/__pycache__ .pytest_cache && echo 1 > lib/__pycache__/m.pyc && echo x > .pytest_cache/x"
    pyro.exec_workspace(ws, f"{make} && echo '*' > .pytest_cache/.gitignore")
    assert [file.path for file in pyro.diff_workspace(ws).files] == ["lib/__pycache__/m.pyc"]  # as git add -A
    pyro.exec_workspace(ws, "rm .gitignore")
    both = {file.path for file in pyro.diff_workspace(ws).files}
    assert both == {".gitignore", "lib/__pycache__/m.pyc"}  # .git/info/exclude has a rule still
    (project / ".git" / "info" / "exclude").write_text("# none\n")
    shown = pyro.diff_workspace(ws)
    assert [file.path for file in shown.files] == [".gitignore"]
    assert ("lib/__pycache__/m.pyc", "made") in {(one.path, one.why) for one in shown.left_out}


def test_only_ignored_changes_are_nothing_to_land_and_said(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    pyro.exec_workspace(ws, "echo x > x.log")
    with pytest.raises(InvalidInput, match=r"x\.log"):
        pyro.land_workspace(ws, branch="work")


def test_rules_of_the_guest_run_nothing_and_odd_names_are_judged_by_their_bytes(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    code = r"""
import os
os.chdir(b"/workspace")
open(b".gitignore", "ab").write(b"caf\351*\n\\!x\n")
for name in (b"caf\3511", b"!x", b":(glob)y", b"new\nline", b" lead", b"-d"):
    open(name, "wb").write(b"1\n")
os.makedirs(b"links"); os.symlink(b"/etc/passwd", b"links/.gitignore"); open(b"links/z", "wb").write(b"1\n")
"""
    assert pyro.exec_workspace(ws, ["python3", "-c", code]).exit_code == 0
    shown = pyro.diff_workspace(ws)
    assert {os.fsencode(file.path) for file in shown.files} == {
        b".gitignore",
        b":(glob)y",
        b"new\nline",
        b" lead",
        b"-d",
        b"links/.gitignore",
        b"links/z",
    }
    assert shown.left_out_files == 2


def test_a_repository_in_the_tree_that_git_would_go_by_is_not_taken(pyro: Pyro, project: Path) -> None:
    git(project, "init", "-q", "--bare", "fixture.git")
    (project / "fixture.git" / "refs" / "keep").write_text("")
    git(project, "add", "-f", "-A")
    git(project, "commit", "-qm", "fixture")
    ws = pyro.create_workspace(seed_path=str(project)).id
    make = """
git init -q --bare made.git; echo '[core] fsmonitor = touch /tmp/x' >> made.git/config
echo '[core] fsmonitor = touch /tmp/x' >> fixture.git/config; mkfifo other; rm src/a.py; mkfifo src/a.py
mkdir plain && echo 1 > plain/HEAD && echo 1 > plain/config
"""
    assert pyro.exec_workspace(ws, make).exit_code == 0
    shown = pyro.diff_workspace(ws, summary=True)
    assert [file.path for file in shown.files] == ["plain/HEAD", "plain/config", "src/a.py"]
    assert {(g.path, g.why) for g in shown.left_out} == {
        ("made.git/", "repository"),
        ("fixture.git/", "repository"),
        ("other", "special"),
        ("src/a.py", "special"),
    }
    assert "/".join(("made.git", "config")) in {f.path for f in pyro.diff_workspace(ws, include_ignored=True).files}
    pyro.exec_workspace(ws, "head -c 9000000 /dev/zero | tr '\\0' x > .gitignore")
    with pytest.raises(InvalidInput, match="too many ignore rules"):
        pyro.diff_workspace(ws)


def test_what_was_behind_a_link_in_the_seed_is_looked_at_as_it_stands(pyro: Pyro, tmp_path: Path) -> None:
    seed = tmp_path / "links"
    seed.mkdir()
    (seed / "away").symlink_to("/etc")
    (seed / "real").mkdir()
    (seed / "real" / "node_modules").mkdir()
    (seed / "near").symlink_to("real")
    ws = pyro.create_workspace(seed_path=str(seed)).id
    each = "mkdir -p $d/node_modules; echo 1 > $d/node_modules/x; echo 1 > $d/mine"
    make = f"rm away near; for d in away near; do {each}; done"
    assert pyro.exec_workspace(ws, make).exit_code == 0
    shown = pyro.diff_workspace(ws)
    assert {f.path for f in shown.files if f.status == "added"} == {"away/mine", "near/mine"}
    assert {g.path for g in shown.left_out} == {"away/node_modules/x", "near/node_modules/x"}
