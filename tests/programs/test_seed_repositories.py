"""Seeds whose repository is elsewhere, shared or larger than the seed: git works inside, nothing of theirs changes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.errors import NotPermitted
from pyro_mcp.mcp.access import Access
from pyro_mcp.operations import REGISTRY
from pyro_mcp.seeds import repository
from pyro_mcp.seeds.scan import scan
from pyro_mcp.seeds.store import SeedStore


def git(root: Path, *command: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    settings = ("user.name=t", "user.email=t@t", "safe.directory=*", "protocol.file.allow=always")
    names = [word for setting in settings for word in ("-c", setting)]
    done = subprocess.run(["git", *names, *command], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    root = tmp_path / "upstream"
    (root / "pkg" / "deep").mkdir(parents=True)
    (root / "pkg" / "deep" / "code.py").write_text("x = 1\n")
    (root / "pkg" / ".gitattributes").write_text("*.bin binary\n")
    (root / "other.txt").write_text("other\n")
    (root / ".gitignore").write_text("*.log\n/pkg/deep/made/\n/elsewhere/\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    (root / "other.txt").write_text("second\n")
    git(root, "commit", "-q", "-a", "-m", "second")
    return root


def seeded(store: Path, source: Path) -> Path:
    """The seed's tree, moved from all that it came from."""
    return SeedStore(store).materialise(scan(source)).tree


def works(tree: Path, subject: str) -> None:
    """Status, log, diff, fsck and commit, with nothing of this computer within reach."""
    assert git(tree, "status", "--porcelain") == ""
    assert git(tree, "log", "-1", "--format=%s").strip() == subject
    git(tree, "fsck", "--full", "--strict")
    (tree / "new.txt").write_text("new\n")
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "inside")
    assert git(tree, "diff", "--name-only", "HEAD~1").split() == ["new.txt"]
    assert git(tree, "rev-parse", "--show-toplevel").strip() == str(tree)


def test_a_linked_work_tree(upstream: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(upstream, "worktree", "add", "-q", "-b", "topic", str(linked))
    (linked / "topic.txt").write_text("t\n")
    git(linked, "add", "-A")
    git(linked, "commit", "-q", "-m", "on topic")
    plan = scan(linked)
    assert (plan.kind, plan.commit) == ("git", git(linked, "rev-parse", "HEAD").strip())
    tree = seeded(tmp_path / "store", linked)
    assert git(tree, "branch", "--show-current").strip() == "topic"
    assert "main" in git(tree, "branch", "--format=%(refname:short)").split()
    works(tree, "on topic")
    assert git(linked, "status", "--porcelain") == "" == git(upstream, "status", "--porcelain")


def test_a_work_tree_of_a_bare_repository(upstream: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(upstream), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "-q", str(tmp_path / "tree"), "main")
    works(seeded(tmp_path / "store", tmp_path / "tree"), "second")


def test_work_trees_with_settings_of_their_own(upstream: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(upstream, "worktree", "add", "-q", "-b", "topic", str(linked))
    git(upstream, "config", "extensions.worktreeConfig", "true")
    git(linked, "config", "--worktree", "core.abbrev", "9")
    works(seeded(tmp_path / "store", linked), "second")


def test_a_submodule(upstream: Path, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    git(above, "init", "-q", "-b", "main")
    git(above, "submodule", "--quiet", "add", str(upstream), "sub")
    git(above, "commit", "-q", "-m", "with sub")
    works(seeded(tmp_path / "store", above / "sub"), "second")


def test_a_separate_git_directory(upstream: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", f"--separate-git-dir={tmp_path}/elsewhere", str(upstream), "tree")
    works(seeded(tmp_path / "store", tmp_path / "tree"), "second")


@pytest.mark.parametrize("how", ["--shared", "--reference"])
def test_a_clone_that_borrows_objects(upstream: Path, tmp_path: Path, how: str) -> None:
    words = [how] if how == "--shared" else [f"{how}={upstream}"]
    git(tmp_path, "clone", "-q", *words, str(upstream), "borrower")
    tree = seeded(tmp_path / "store", tmp_path / "borrower")
    upstream.rename(tmp_path / "gone")
    works(tree, "second")
    assert not (tree / ".git" / "objects" / "info" / "alternates").exists()


def test_a_shallow_clone(upstream: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth=1", upstream.as_uri(), "shallow")
    works(seeded(tmp_path / "store", tmp_path / "shallow"), "second")


@pytest.mark.parametrize("part", ["pkg", "pkg/deep"])
def test_a_part_of_a_work_tree(upstream: Path, tmp_path: Path, part: str) -> None:
    plan = scan(upstream / part)
    assert (plan.kind, plan.prefix, plan.commit) == ("git", part, git(upstream, "rev-parse", "HEAD").strip())
    tree = seeded(tmp_path / "store", upstream / part)
    (tree / "noise.log").write_text("x")
    made = tree / "deep" / "made" if part == "pkg" else tree / "made"
    made.mkdir(parents=True)
    (made / "thing").write_text("x")
    assert str(plan.commit) in git(tree, "log", "-1", "--format=%s")
    works(tree, f"{part} as of {plan.commit}")


def test_a_part_that_differs_from_head_shows_just_that(upstream: Path, tmp_path: Path) -> None:
    (upstream / "pkg" / "deep" / "code.py").write_text("x = 2\n")
    (upstream / "pkg" / "fresh.py").write_text("y\n")
    tree = seeded(tmp_path / "store", upstream / "pkg")
    assert git(tree, "status", "--porcelain").splitlines() == [" M deep/code.py", "?? fresh.py"]


def test_a_part_that_was_never_committed(upstream: Path, tmp_path: Path) -> None:
    (upstream / "young").mkdir()
    (upstream / "young" / "a").write_text("a\n")
    tree = seeded(tmp_path / "store", upstream / "young")
    assert git(tree, "status", "--porcelain") == "?? a\n"


def test_a_part_of_a_linked_work_tree(upstream: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(upstream, "worktree", "add", "-q", "-b", "topic", str(linked))
    works(seeded(tmp_path / "store", linked / "pkg"), f"pkg as of {git(linked, 'rev-parse', 'HEAD').strip()}")


def test_a_new_commit_makes_a_new_seed(upstream: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(upstream, "worktree", "add", "-q", "-b", "topic", str(linked))
    before = scan(linked).fingerprint()
    assert scan(linked).fingerprint() == before
    git(linked, "commit", "-q", "--allow-empty", "-m", "more")
    assert scan(linked).fingerprint() != before


def test_credentials_stay_here_and_hooks_of_theirs_do_not_run(upstream: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(upstream, "worktree", "add", "-q", "-b", "topic", str(linked))
    git(upstream, "config", "remote.origin.url", "https://user:hunter2hunter2@example.com/x.git")
    git(upstream, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    tree = seeded(tmp_path / "store", linked)
    assert "hunter2" not in (tree / ".git" / "config").read_text()
    seeded(tmp_path / "store", upstream / "pkg")
    assert not (tmp_path / "ran").exists()


def test_a_signature_is_not_looked_at_by_a_program_of_theirs(upstream: Path, tmp_path: Path) -> None:
    signed = git(upstream, "cat-file", "commit", "HEAD").replace(
        "\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n\n", 1
    )
    (tmp_path / "commit").write_text(signed)
    commit = git(upstream, "hash-object", "-t", "commit", "-w", str(tmp_path / "commit")).strip()
    git(upstream, "update-ref", "refs/heads/main", commit)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o755)
    git(upstream, "config", "log.showSignature", "true")
    git(upstream, "config", "gpg.program", str(program))
    git(upstream, "log", "-1")
    assert (tmp_path / "ran").exists()  # the trap is one
    (tmp_path / "ran").unlink()
    seeded(tmp_path / "store", upstream / "pkg")
    assert not (tmp_path / "ran").exists()


def test_an_output_that_is_a_link_is_that_link(tmp_path: Path) -> None:
    project, export = tmp_path / "project", REGISTRY["export_workspace"]
    project.mkdir()
    (project / "real").write_text("mine")
    (project / "link").symlink_to("real")
    (project / "out").symlink_to("/etc/made")
    (project / "folder").symlink_to(".")
    access = Access(project)
    for name in ("link", "out", "real", "new"):
        granted = access.granted(export, {"output": name})
        assert granted["output"] == str(project / name)
    assert access.granted(export, {"output": "new/"})["output"] == f"{project}/new/"
    for name in ("folder", "folder/x", "../x"):
        with pytest.raises(NotPermitted):
            access.granted(export, {"output": name})


def test_nobody_gets_another_repository_by_a_file(upstream: Path, tmp_path: Path) -> None:
    project, access = tmp_path / "project", Access(tmp_path / "project")
    (project / "x").mkdir(parents=True)
    create = REGISTRY["create_workspace"]
    (project / "x" / ".git").write_text(f"gitdir: {upstream}/.git\n")
    with pytest.raises(NotPermitted, match="out of reach"):
        access.granted(create, {"seed_path": str(project / "x")})
    (project / "x" / ".git").unlink()
    (project / "x" / ".git").mkdir()
    (project / "x" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (project / "x" / ".git" / "commondir").write_text(f"{upstream}/.git\n")
    with pytest.raises(NotPermitted, match="out of reach"):
        access.granted(create, {"seed_path": str(project / "x")})
    git(upstream, "worktree", "add", "-q", "-b", "topic", str(project / "linked"))
    assert access.granted(create, {"seed_path": str(project / "linked")})
    assert repository.within(project, [project])


def test_what_a_copy_does_not_keep_is_said(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "one").write_text("1")
    os.link(source / "one", source / "two")
    (source / "su").write_text("x")
    (source / "su").chmod(0o4755)
    os.mkfifo(source / "pipe")
    plan = scan(source)
    assert plan.skipped == ["pipe (FIFO)"]
    assert any("set-uid" in note and "`su`" in note for note in plan.notes)
    assert any("hard links" in note and "`one`" in note for note in plan.notes)
