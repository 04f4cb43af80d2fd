"""The way back to git: a workspace's changes as a branch, and credentials of the repository that never get in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, PyroError
from pyro_mcp.sdk import Pyro
from pyro_mcp.seeds.store import without_credentials

TOKEN = "ghp-t0ken-x7q9"


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_") and "SSL" not in name]:
        monkeypatch.delenv(name)


def git(repo: Path, *words: str, check: bool = True) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *words]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def state(repo: Path) -> tuple[str, str, str, bytes, dict[str, bytes]]:
    """Everything that landing must leave alone: HEAD, status, references but the branch's, index, files."""
    files = {str(f.relative_to(repo)): f.read_bytes() for f in repo.rglob("*") if f.is_file() and ".git" not in f.parts}
    status = git(repo, "status", "--porcelain=v2", "--branch")
    return git(repo, "rev-parse", "HEAD"), git(repo, "reflog"), status, (repo / ".git" / "index").read_bytes(), files


def land(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "workspace", "land", *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def run_undo(command: str) -> None:
    subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True)


def test_changes_become_a_commit_on_a_branch_and_undo_takes_it_back(pyro: Pyro, project: Path) -> None:
    (project / "test_calc.py").write_text("changed by the user, not committed\n")
    git(project, "add", "untracked.txt")
    git(project, "status")  # the index is refreshed before it is compared
    ws = pyro.create_workspace(seed_path=str(project), name="lands").id
    pyro.exec_workspace(
        ws,
        "echo 'x = 1' > src/new.py; sed -i 's/a + b/b + a/' src/calc.py; git rm -q --cached link; rm link; "
        "ln -s calc.py src/alias; chmod +x src/calc.py; printf '\\0\\1' > binary; mkdir -p hollow",
    )
    before = state(project)
    landed = land("lands", "--branch", "pyro/work", "--message", "What the agent did", "--json")
    assert landed.returncode == 0, landed.stderr
    record = json.loads(landed.stdout)
    assert state(project) == before
    assert (record["branch"], record["created"], record["parent"]) == ("pyro/work", True, before[0])
    assert record["repository"] == str(project)
    assert git(project, "rev-parse", "pyro/work") == record["commit"]
    assert git(project, "log", "-1", "--format=%s", "pyro/work") == "What the agent did"
    changed = git(project, "diff", "--name-status", "--no-renames", "main", "pyro/work").splitlines()
    assert changed == ["A\tbinary", "D\tlink", "A\tsrc/alias", "M\tsrc/calc.py", "A\tsrc/new.py"]
    tree = git(project, "ls-tree", "-r", "pyro/work")
    assert "100755" in next(line for line in tree.splitlines() if line.endswith("src/calc.py"))
    assert "120000" in next(line for line in tree.splitlines() if line.endswith("src/alias"))
    assert record["empty_directories"] == ["hollow"]
    # What the user had not committed, and the workspace did not touch, stays the user's.
    assert "assert add" in git(project, "show", "pyro/work:test_calc.py")
    assert "untracked.txt" not in tree
    # For a person, the undo is printed; it works.
    shown = land("lands", "--branch", "second")
    assert shown.returncode == 0, shown.stderr
    assert "update-ref -d refs/heads/second" in shown.stdout + shown.stderr
    run_undo(record["undo"])
    assert git(project, "branch", "--list", "pyro/work") == ""
    assert state(project) == before
    assert pyro.land_workspace(ws, branch="pyro/work").created


def test_further_changes_land_on_the_same_branch_without_a_conflict(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    pyro.write_workspace_file(ws, "src/calc.py", "def add(a, b):\n    return b + a\n")
    first = pyro.land_workspace(ws, branch="work")
    with pytest.raises(InvalidInput, match="already has these changes"):
        pyro.land_workspace(ws, branch="work")
    pyro.write_workspace_file(ws, "src/calc.py", "def add(a, b):\n    return sum((a, b))\n")
    pyro.write_workspace_file(ws, "more.txt", "more\n")
    second = pyro.land_workspace(ws, branch="work")
    assert (second.parent, second.created) == (first.commit, False)
    assert "sum((a, b))" in git(project, "show", "work:src/calc.py")
    assert second.backup_ref is not None
    assert git(project, "rev-parse", second.backup_ref) == first.commit
    run_undo(second.undo)
    assert git(project, "rev-parse", "work") == first.commit
    third = pyro.land_workspace(ws, branch="work")
    assert (third.parent, third.files) == (first.commit, 2)
    # Back at the baseline there is nothing to land.
    pyro.reset_workspace(ws)
    with pytest.raises(InvalidInput, match="no changes"):
        pyro.land_workspace(ws, branch="work")


def test_a_branch_that_went_on_is_merged_and_a_conflict_changes_nothing(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    git(project, "checkout", "-q", "-b", "work")
    (project / "theirs.txt").write_text("theirs\n")
    (project / "src" / "calc.py").write_text("def add(a, b):\n    return a - -b\n")
    git(project, "add", "theirs.txt", "src/calc.py")
    git(project, "commit", "-q", "-m", "theirs")
    with pytest.raises(Conflict, match="checked out"):
        pyro.write_workspace_file(ws, "mine.txt", "mine\n")
        pyro.land_workspace(ws, branch="work")
    git(project, "checkout", "-q", "main")
    merged = pyro.land_workspace(ws, branch="work")
    assert {"mine.txt", "theirs.txt"} <= set(git(project, "ls-tree", "--name-only", "work").splitlines())
    pyro.write_workspace_file(ws, "src/calc.py", "def add(a, b):\n    return b + a\n")
    before, refs = state(project), git(project, "for-each-ref")
    with pytest.raises(Conflict, match=r"src/calc\.py") as conflict:
        pyro.land_workspace(ws, branch="work")
    assert conflict.value.details["files"] == ["`src/calc.py`"] or "src/calc.py" in str(conflict.value.details)
    assert (state(project), git(project, "for-each-ref")) == (before, refs)
    assert git(project, "rev-parse", "work") == merged.commit
    by_hand = land(ws, "--branch", "work")
    assert by_hand.returncode == 1
    assert "src/calc.py" in by_hand.stderr
    assert pyro.land_workspace(ws, branch="new").parent == git(project, "rev-parse", "main")


def test_a_part_of_a_repository_lands_in_its_place(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project / "src")).id
    pyro.write_workspace_file(ws, "calc.py", "def add(a, b):\n    return b + a\n")
    pyro.write_workspace_file(ws, "deep/er.py", "x\n")
    landed = pyro.land_workspace(ws, branch="part")
    changed = git(project, "diff", "--name-status", "main", "part").splitlines()
    assert changed == ["M\tsrc/calc.py", "A\tsrc/deep/er.py"]
    assert landed.files == 2


def test_without_a_repository_of_its_own_one_must_be_named(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "run.sh").write_text("#!/bin/sh\necho ran\n")
    ws = pyro.create_workspace(seed_path=str(plain)).id
    pyro.write_workspace_file(ws, "new.txt", "new\n")
    refused = land(ws, "--branch", "work")
    assert refused.returncode == 2
    assert "not seeded from a git work tree" in refused.stderr
    assert "--repo" in refused.stderr
    for nothing in (plain, tmp_path / "missing"):
        with pytest.raises(PyroError):
            pyro.land_workspace(ws, branch="work", repo=str(nothing))
    # A relative directory is the caller's.
    done = land(ws, "--branch", "work", "--repo", project.name, "--json", cwd=project.parent)
    assert done.returncode == 0, done.stderr
    assert git(project, "diff", "--name-status", "main", "work") == "A\tnew.txt"
    for bad in ("", "main..x", "-x", "a b", "refs/heads/x"):
        with pytest.raises(InvalidInput):
            pyro.land_workspace(ws, branch=bad, repo=str(project))


def test_uncommitted_work_that_the_workspace_touched_is_a_conflict_that_says_so(pyro: Pyro, project: Path) -> None:
    (project / "src" / "calc.py").write_text("def add(a, b):\n    return a + b + 0\n")
    ws = pyro.create_workspace(seed_path=str(project)).id
    pyro.write_workspace_file(ws, "src/calc.py", "def add(a, b):\n    return 0 + a + b\n")
    with pytest.raises(Conflict, match="had uncommitted changes"):
        pyro.land_workspace(ws, branch="work")
    assert git(project, "branch", "--list", "work") == ""


# -- credentials of the repository


def configure(repo: Path) -> None:
    for name, value in (
        ("remote.origin.url", f"https://me:{TOKEN}-1@example.com/r.git"),
        ("remote.bare.url", f"https://{TOKEN}-2@example.com/r.git"),
        ("remote.push.pushurl", f"HTTPS://x:{TOKEN}@3@example.com/r.git"),
        ("remote.ssh.url", "ssh://git@example.com/r.git"),
        ("http.https://example.com/.extraheader", f"AUTHORIZATION: basic {TOKEN}-4"),
        ("http.proxy", f"http://p:{TOKEN}-5@proxy.example.com:3128"),
        (f"url.https://u:{TOKEN}-6@example.com/.insteadOf", "gh:"),
        ("sendemail.smtpPass", f"{TOKEN}-7"),
    ):
        git(repo, "config", "--add", name, value)


def test_credentials_in_a_repositorys_settings_do_not_reach_the_workspace(
    pyro: Pyro, project: Path, tmp_path: Path
) -> None:
    configure(project)
    inner = project / "vendor" / "inner"
    inner.mkdir(parents=True)
    git(inner, "init", "-q")
    configure(inner)
    bare = tmp_path / "several" / "bare.git"
    bare.mkdir(parents=True)
    git(bare, "init", "-q", "--bare")
    configure(bare)
    subprocess.run(["cp", "-r", str(project), str(tmp_path / "several" / "one")], check=True)
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as tar:
        tar.add(project, "project")
    before = (project / ".git" / "config").read_bytes()
    for seed, ignored in (
        (project, False),
        (project, True),
        (tmp_path / "several", False),
        (tmp_path / "all.tar.gz", False),
    ):
        ws = pyro.create_workspace(seed_path=str(seed), include_ignored=ignored).id
        found = pyro.exec_workspace(ws, f"grep -rl {TOKEN} . ; find . -name config | wc -l")
        assert found.stdout.strip() in ("1", "2", "3"), (seed, found.stdout)
        assert pyro.diff_workspace(ws).files == []
        if seed == project:
            assert pyro.exec_workspace(ws, "git config remote.ssh.url").stdout == "ssh://git@example.com/r.git\n"
            assert pyro.exec_workspace(ws, "git config remote.origin.url").stdout == "https://example.com/r.git\n"
            assert pyro.exec_workspace(ws, "git status --porcelain --ignored").exit_code == 0
    assert (project / ".git" / "config").read_bytes() == before
    pushed = pyro.create_workspace().id
    pyro.push_workspace_sync(pushed, str(project))
    assert pyro.exec_workspace(pushed, f"grep -rl {TOKEN} .; ls .git/config").stdout == ".git/config\n"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("[http] extraheader = X: T0K\n\tproxy = a\n", "[http]\n\tproxy = a\n"),
        ("[http]\n\textraHeader = \\\nX: T0K\n\tproxy = a\n", "[http]\n\tproxy = a\n"),
        ("[http]\n\textraheader = T0K", "[http]\n"),
        ("\turl = https://u:T0K@h/r@v.git\n", "\turl = https://h/r@v.git\n"),
        ('\turl = "https://T0K@h/r"\n', '\turl = "https://h/r"\n'),
        ("\turl = git+ssh://u:T0K@h/r\n", "\turl = git+ssh://h/r\n"),
        ("\turl = git@h:r@x.git\n", "\turl = git@h:r@x.git\n"),
        ("\turl = https://h/a@b:c\n", "\turl = https://h/a@b:c\n"),
        ("[user]\n\temail = a@b.c\n", "[user]\n\temail = a@b.c\n"),
        ("[imap]\n\tpass = T0K\n", "[imap]\n\tpass =\n"),
    ],
)
def test_only_credentials_are_taken_out_of_settings(tmp_path: Path, line: str, left: str) -> None:
    config = tmp_path / "config"
    config.write_text(line)
    config.chmod(0o400)
    os.utime(config, ns=(1, 1_600_000_000_000_000_001))
    without_credentials(config)
    assert config.read_text() == left
    assert (config.stat().st_mtime_ns, config.stat().st_mode & 0o777) == (1_600_000_000_000_000_001, 0o400)
    without_credentials(tmp_path / "missing")
    (tmp_path / "link").symlink_to(config)
    without_credentials(tmp_path / "link")


@pytest.mark.parametrize("how", ["linked", "part"])
def test_git_works_inside_and_landing_goes_where_the_seed_came_from(
    pyro: Pyro, project: Path, tmp_path: Path, how: str
) -> None:
    """A linked work tree, and a part of a work tree: both are seeds that agents work in all day."""
    seed = project / "src"
    if how == "linked":
        seed = tmp_path / "linked"
        subprocess.run(["git", "-C", str(project), "worktree", "add", "-q", "-b", "topic", str(seed)], check=True)
    workspace = pyro.create_workspace(seed_path=str(seed)).id
    inside = pyro.exec_workspace(workspace, "git status --porcelain && git log --oneline | wc -l && echo x > new.txt")
    assert (inside.exit_code, inside.stdout.split()) == (0, ["1"])
    assert pyro.exec_workspace(workspace, "git add -A && git commit -qm inside").exit_code == 0
    landed = pyro.land_workspace(workspace, branch="from-pyro")
    shown = subprocess.run(
        ["git", "-C", str(project), "show", "--name-only", "--format=%P", "from-pyro"], capture_output=True, text=True
    ).stdout.split()
    assert shown[1:] == ["new.txt" if how == "linked" else "src/new.txt"], landed
