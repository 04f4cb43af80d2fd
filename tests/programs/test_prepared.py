"""Whose a project's kept set-up is, by the history that git tells."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from pyro_mcp.environments.prepared import may_use
from tests.unit.test_prepared import WANTED


def test_one_project_gets_nothing_of_another_and_a_branch_nothing_of_a_stranger(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "1")
    first = git("rev-parse", "HEAD").strip()
    git("checkout", "-q", "-b", "pull-request")
    git("commit", "-q", "--allow-empty", "-m", "evil")
    evil = git("rev-parse", "HEAD").strip()
    git("checkout", "-q", "main")
    git("commit", "-q", "--allow-empty", "-m", "2")
    second = git("rev-parse", "HEAD").strip()
    at = [replace(WANTED, commit=commit) for commit in (first, evil, second)]
    allowed = {(made.commit, now.commit) for made in at for now in at if may_use(made, now, tmp_path)}
    assert allowed == {(first, first), (evil, evil), (second, second), (first, evil), (first, second)}
    git("replace", "--graft", second, evil)  # what a repository says of its history by a replacement counts for nothing
    assert not may_use(at[1], at[2], tmp_path)
    for other in (replace(at[0], project="/home/ann/copy"), replace(at[0], inode=7)):
        assert not may_use(at[0], other, tmp_path) and other.key != at[0].key
    assert not may_use(replace(WANTED, commit="--help"), replace(WANTED, commit=second), tmp_path)
