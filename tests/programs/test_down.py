"""What `pyro down` takes for landed: it deletes that without a question."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pyro_mcp.cli.down import is_landed

LINES = "".join(f"line {n}\n" for n in range(20))


def git(repo: Path, *words: str) -> str:
    told = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", *words], cwd=repo, check=True, capture_output=True
    )
    return told.stdout.decode()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    repo = tmp_path / "repo"
    (repo / "sub").mkdir(parents=True)
    (repo / "lines").write_text(LINES)
    (repo / "same").write_text("a\n" * 9)
    (repo / "tool").write_text("echo\n")
    (repo / "sub" / "file").write_text("one\n")
    git(repo, "init", "-q")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "first")
    return repo


def more_of_the_same(repo: Path) -> None:
    (repo / "same").write_text("a\n" * 10)


def another_mode(repo: Path) -> None:
    (repo / "tool").chmod(0o755)


def an_edit(repo: Path) -> None:
    (repo / "lines").write_text(LINES.replace("line 7\n", "line 7\nand more\n"))


def a_deletion(repo: Path) -> None:
    (repo / "sub" / "file").unlink()


def a_new_file(repo: Path) -> None:
    (repo / "sub" / "new").write_text("new\n")


CHANGES = (more_of_the_same, another_mode, an_edit, a_deletion, a_new_file)


def changed(repo: Path, tmp_path: Path, *changes: Callable[[Path], None], at: str = "", land: int = 0) -> bool:
    """Whether changes count as landed, of which a branch has the first so many and a commit of its own."""
    for change in changes:
        change(repo)
    git(repo, "add", ".")
    patch = tmp_path / "changes.patch"
    patch.write_text(git(repo / at, "diff", "--binary", "--full-index", "--cached", *(["--relative"] if at else [])))
    git(repo, "reset", "-q", "--hard")
    if land:
        git(repo, "checkout", "-qb", "landed")
        for change in changes[:land]:
            change(repo)
        (repo / "lines").write_text((repo / "lines").read_text() + "of the branch's own\n")
        git(repo, "add", ".")
        git(repo, "commit", "-qm", "landed")
        git(repo, "checkout", "-q", "-")
    return is_landed(str(repo / at), at, str(patch), str(tmp_path / "index"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_in_no_branch_is_not_landed(repo: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    assert not changed(repo, tmp_path, change)


@pytest.mark.parametrize("change", [another_mode, an_edit, a_deletion, a_new_file])
def test_what_a_branch_has_is_landed(repo: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    assert changed(repo, tmp_path, change, land=1)


@pytest.mark.parametrize("missing", CHANGES[:2])
def test_a_part_that_is_missing_counts(repo: Path, tmp_path: Path, missing: Callable[[Path], None]) -> None:
    assert not changed(repo, tmp_path, an_edit, missing, land=1)


@pytest.mark.parametrize("change", [a_deletion, a_new_file])
def test_a_directory_below_the_top(repo: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    assert not changed(repo, tmp_path, change, at="sub")
    assert changed(repo, tmp_path, change, at="sub", land=1)


def test_nothing_of_a_repository_that_is_gone_is_landed(tmp_path: Path) -> None:
    assert not is_landed(str(tmp_path / "gone"), "", str(tmp_path / "patch"), str(tmp_path / "index"))
