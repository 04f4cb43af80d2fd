"""Putting files at a place of the user's: never is a file of theirs lost, whatever is there."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import Conflict, EngineError, InvalidInput, PyroError
from pyro_mcp.exports import backups, copies, project
from pyro_mcp.exports import place as placing
from pyro_mcp.exports.backups import STAGE, Backups
from pyro_mcp.exports.repositories import TooDeep, disarm, leave_out
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.workspaces import exporting

Snapshot = dict[str, tuple[str, bytes, int]]


def snapshot(root: Path) -> Snapshot:
    """Everything below a directory: kind, content or target, mode."""
    found: Snapshot = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory, name)
            info = path.lstat()
            if stat.S_ISLNK(info.st_mode):
                found[str(path.relative_to(root))] = ("link", os.fsencode(os.readlink(path)), 0)
            elif stat.S_ISDIR(info.st_mode):
                found[str(path.relative_to(root))] = ("dir", b"", stat.S_IMODE(info.st_mode))
            else:
                found[str(path.relative_to(root))] = ("file", path.read_bytes(), stat.S_IMODE(info.st_mode))
    return found


class World:
    def __init__(self, tmp: Path) -> None:
        self.staged = tmp / "staged"
        self.here = tmp / "here"
        self.backups = Backups(tmp / "backups")
        for directory in (self.staged, self.here):
            directory.mkdir()

    def export(self, name: str, output: Path, overwrite: bool = False) -> placing.Outcome:
        source = self.staged / name
        again = output.name == name and source.is_dir() and not source.is_symlink()
        directory, last = placing.resolve(output, None if again else name)
        with placing.opened(directory, last) as target:
            return placing.place(
                source,
                target,
                overwrite=overwrite,
                backups=self.backups,
                protected=lambda below: project.tracked(target.path, below),
            )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def make(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text(f"theirs {path.name}\n")
    elif kind == "directory":
        path.mkdir()
        (path / "kept").write_text("precious\n")
        (path / ".env").write_text("SECRET=1\n")
    elif kind == "link-to-file":
        (path.parent / "elsewhere").write_text("precious\n")
        path.symlink_to("elsewhere")
    elif kind == "link-to-directory":
        (path.parent / "folder").mkdir(exist_ok=True)
        (path.parent / "folder" / "kept").write_text("precious\n")
        path.symlink_to("folder")
    elif kind == "link-to-nothing":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)


SOURCES = ["file", "directory", "link-to-file", "link-to-nothing"]
THERE = ["file", "directory", "link-to-file", "link-to-directory", "link-to-nothing", "fifo", "missing"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("same_name", [False, True])
def test_every_pair(world: World, source: str, there: str, overwrite: bool, same_name: bool) -> None:
    (world.staged / "thing").mkdir()
    make(world.staged / "out", source)
    output = world.here / ("out" if same_name else "target")
    (world.here / "neighbour").write_text("n\n")
    if there == "fifo":
        output = world.here / "pipe"
        os.mkfifo(output)
        names = sorted(os.listdir(world.here))
        with pytest.raises(PyroError):
            world.export("out", output, overwrite)
        assert sorted(os.listdir(world.here)) == names
        return
    if there != "missing":
        make(output, there)
    before = snapshot(world.here)
    try:
        outcome = world.export("out", output, overwrite)
    except PyroError:
        assert snapshot(world.here) == before
        assert not list(world.here.rglob(f"{STAGE}*"))
        return
    after = snapshot(world.here)
    lost = {name: was for name, was in before.items() if after.get(name) != was}
    # What is not as it was is a file or link that was replaced, on request, and is kept.
    for name, (kind, content, _) in lost.items():
        assert overwrite and kind in ("file", "link") and outcome.backup is not None
        kept = outcome.backup / (outcome.replaced[0] or outcome.path.name)
        assert (os.fsencode(os.readlink(kept)) if kept.is_symlink() else kept.read_bytes()) == content, name
    assert os.path.lexists(outcome.path)
    assert not list(world.here.rglob(f"{STAGE}*"))
    if not lost:
        assert outcome.backup is None


def test_a_folder_is_a_place_to_put_a_file_into(world: World) -> None:
    (world.staged / "stats.py").write_text("new\n")
    dang = world.here / "dang"
    make(dang, "directory")
    outcome = world.export("stats.py", dang, overwrite=True)
    assert outcome.path == dang / "stats.py"
    assert (dang / "kept").read_text() == "precious\n" and (dang / "stats.py").read_text() == "new\n"


def test_a_tree_replaces_only_the_files_that_it_has(world: World) -> None:
    (world.staged / "tree" / "sub").mkdir(parents=True)
    (world.staged / "tree" / "a").write_text("new a\n")
    (world.staged / "tree" / "sub" / "b").write_text("new b\n")
    there = world.here / "tree"
    (there / "sub").mkdir(parents=True)
    (there / "a").write_text("old a\n")
    (there / "node_modules").mkdir()
    (there / "sub" / "own").write_text("mine\n")
    before = snapshot(world.here)
    with pytest.raises(Conflict) as caught:
        world.export("tree", there)
    assert caught.value.code == "output_exists" and snapshot(world.here) == before
    outcome = world.export("tree", there, overwrite=True)
    assert outcome.replaced == ["a"] and outcome.backup is not None
    assert (outcome.backup / "a").read_text() == "old a\n"
    assert (there / "sub" / "own").read_text() == "mine\n" and (there / "sub" / "b").read_text() == "new b\n"
    assert world.export("tree", there).replaced == [], "the same again is not a conflict"


@pytest.mark.parametrize("kind", ["file", "link-to-directory"])
def test_a_folder_of_the_tree_never_replaces_what_is_none(world: World, kind: str) -> None:
    (world.staged / "tree" / "sub").mkdir(parents=True)
    (world.staged / "tree" / "sub" / "b").write_text("b\n")
    (world.staged / "tree" / "0first").write_text("f\n")
    (world.here / "tree").mkdir()
    make(world.here / "tree" / "sub", kind)
    before = snapshot(world.here)
    with pytest.raises(Conflict):
        world.export("tree", world.here / "tree", overwrite=True)
    assert snapshot(world.here) == before


def test_nothing_is_written_through_a_link(world: World) -> None:
    (world.staged / "f").write_text("x\n")
    (world.here / "real").mkdir()
    (world.here / "link").symlink_to("real")
    for output in (world.here / "link" / "f", world.here / "link"):
        with pytest.raises(InvalidInput) as caught:
            world.export("f", output, overwrite=True)
        assert caught.value.code == "output_through_link"
    assert not list((world.here / "real").iterdir())


def test_files_that_git_tracks_are_landed_not_replaced(world: World) -> None:
    (world.staged / "stats.py").write_text("new\n")
    (world.staged / "report.md").write_text("new\n")
    git = ["git", "-C", str(world.here), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    (world.here / "stats.py").write_text("old\n")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "stats.py"], check=True)
    marker = world.here / "ran"
    subprocess.run([*git, "config", "core.fsmonitor", f"touch {marker}; false"], check=True)
    (world.here / "report.md").write_text("mine\n")
    for output in (world.here, world.here / "stats.py"):
        with pytest.raises(Conflict) as caught:
            world.export("stats.py", output, overwrite=True)
        assert caught.value.code == "output_in_project" and "land" in caught.value.hint
    outcome = world.export("report.md", world.here, overwrite=True)
    assert outcome.backup is not None and (outcome.backup / "report.md").read_text() == "mine\n"
    assert (world.here / "stats.py").read_text() == "old\n" and not marker.exists()


@pytest.mark.parametrize("output", [".git", ".git/hooks/pre-commit", "sub/.GIT/config"])
def test_nothing_goes_into_a_repository_s_inside(world: World, output: str) -> None:
    (world.staged / "f").write_text("x\n")
    for directory in (".git/hooks", "sub/.GIT"):
        (world.here / directory).mkdir(parents=True)
    with pytest.raises(InvalidInput):
        world.export("f", world.here / output, overwrite=True)


def test_what_fails_half_way_is_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.staged / "tree" / "new").mkdir(parents=True)
    for name in ("a", "b", "new/x", "z"):
        (world.staged / "tree" / name).write_text("new\n")
    (world.here / "tree").mkdir()
    for name in ("a", "b", "mine"):
        (world.here / "tree" / name).write_text(f"old {name}\n")
    before = snapshot(world.here)
    real = copies.copy_tree

    def full(source: Path, directory: int, name: str) -> None:
        if source.name == "z":
            raise OSError(28, "No space left on device")
        real(source, directory, name)

    monkeypatch.setattr("pyro_mcp.exports.place.copy_tree", full)
    with pytest.raises(EngineError, match="No space left"):
        world.export("tree", world.here / "tree", overwrite=True)
    assert snapshot(world.here) == before
    assert not list(world.backups.directory.iterdir())


def test_what_cannot_be_taken_back_stays_in_the_backup(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.staged / "tree").mkdir()
    (world.here / "tree").mkdir()
    for name in ("a", "z"):
        (world.staged / "tree" / name).write_text("new\n")
        (world.here / "tree" / name).write_text(f"old {name}\n")
    real = copies.copy_tree

    def full(source: Path, directory: int, name: str) -> None:
        if source.name == "z":
            shutil.move(world.here / "tree", world.here / "moved")
            raise OSError(28, "No space left on device")
        real(source, directory, name)

    monkeypatch.setattr("pyro_mcp.exports.place.copy_tree", full)
    with pytest.raises(EngineError):
        world.export("tree", world.here / "tree", overwrite=True)
    (kept,) = world.backups.directory.glob("*/files/a")
    assert kept.read_text() == "old a\n"


def test_a_large_tree_holds_few_descriptors(world: World) -> None:
    (world.staged / "tree").mkdir()
    (world.here / "tree").mkdir()
    for number in range(400):
        (world.staged / "tree" / f"f{number}").write_text("x")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, len(os.listdir("/proc/self/fd")) + 100), hard))
    try:
        world.export("tree", world.here / "tree")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(list((world.here / "tree").iterdir())) == 400


def test_a_name_that_appears_in_the_meantime_is_not_touched(world: World) -> None:
    """Somebody makes files and directories all the time while we export to the same names."""
    (world.staged / "f").write_text("new\n")
    stop = threading.Event()

    def other() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            path = world.here / f"t{number % 7}"
            try:
                with path.open("x") as file:
                    file.write("theirs\n")
                (world.here / f"seen{number}").write_text(path.name)
            except FileExistsError:
                continue

    thread = threading.Thread(target=other)
    thread.start()
    ours = 0
    try:
        for number in range(200):
            path = world.here / f"t{number % 7}"
            if path.exists() and number % 3 == 0:
                path.unlink()
            try:
                world.export("f", path)
                ours += path.read_text() == "new\n"
            except (Conflict, EngineError):
                assert path.read_text() in ("theirs\n", "new\n", "")
    finally:
        stop.set()
        thread.join()


def test_what_a_killed_export_left_is_swept(world: World) -> None:
    keeper = world.backups.open(world.here / "x")
    stage = world.here / f"{STAGE}abc"
    keeper.stage(stage)
    stage.mkdir(mode=0o700)
    (stage / "n1").write_text("half")
    (world.here / f"{STAGE}own").mkdir()
    Backups(world.backups.directory).sweep()
    assert not stage.exists() and (world.here / f"{STAGE}own").exists()
    assert not list(world.backups.directory.iterdir())


def test_a_clock_that_is_set_ends_no_backup(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for number in range(backups.YOUNG + 2):
        files = world.backups.directory / str(number) / "files"
        files.mkdir(parents=True)
        (files / "kept").write_text("theirs")
        os.utime(files.parent, (now, now - number))
    monkeypatch.setattr(time, "time", lambda: now + 40 * 365 * 86400)
    world.backups.sweep()
    assert sorted(place.name for place in world.backups.directory.iterdir()) == list("01234")
    monkeypatch.setattr(backups, "MOST_BYTES", 0)
    world.backups.sweep()  # their room does not grow with it
    assert not list(world.backups.directory.iterdir())


NAMES = st.sampled_from(["a", "b", "C", "x y", "\udcff", "é", "n\nl", "-f", ".h"])
TREE = st.recursive(
    st.one_of(st.binary(max_size=4), st.sampled_from(["link", "->dir"])),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
)
Tree = bytes | str | dict[str, "Tree"]


def grow(path: Path, tree: Tree) -> None:
    if isinstance(tree, dict):
        path.mkdir()
        for name, inner in tree.items():
            grow(path / name, inner)
    elif isinstance(tree, str):
        path.symlink_to(tree)
    else:
        path.write_bytes(tree)


def test_values_are_masked_and_holes_stay(tmp_path: Path) -> None:
    value, places = b"correct horse battery", (4096 - 21, 1 << 30, (2 << 30) - 21)
    with (tmp_path / "holes").open("wb") as out:
        for place in places:
            out.seek(place)
            out.write(value)
    os.utime(tmp_path / "holes", ns=(5, 6))
    exporting._redact(tmp_path, Redactor([value.decode()]))
    info = (tmp_path / "holes").stat()
    assert (info.st_size, info.st_mtime_ns) == (2 << 30, 6) and info.st_blocks < 4096
    with (tmp_path / "holes").open("rb") as found:
        for place in places:
            found.seek(place)
            assert found.read(21) == b"*" * 21


def test_a_file_that_its_owner_cannot_read_comes_as_it_is_and_holes_stay(world: World) -> None:
    (world.staged / "tree").mkdir()
    (world.staged / "tree" / "shut").write_text("x\n")
    (world.staged / "tree" / "shut").chmod(0)
    (world.staged / "tree" / "holes").touch()
    os.truncate(world.staged / "tree" / "holes", 2 << 30)
    world.export("tree", world.here)
    shut, holes = ((world.here / "tree" / name).stat() for name in ("shut", "holes"))
    assert stat.S_IMODE(shut.st_mode) == 0 and shut.st_size == 2
    assert holes.st_size == 2 << 30 and holes.st_blocks < 4096


@settings(max_examples=150, deadline=None)
@given(TREE, TREE, st.booleans())
def test_any_tree_over_any_tree(source: Tree, there: Tree, overwrite: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        grow(world.staged / "t", source)
        grow(world.here / "t", there)
        before = snapshot(world.here)
        try:
            outcome = world.export("t", world.here / "t", overwrite)
        except PyroError:
            assert snapshot(world.here) == before
            return
        after = snapshot(world.here)
        for name, was in before.items():
            if after.get(name) != was:
                assert overwrite and was[0] != "dir" and outcome.backup is not None
        exported = snapshot(world.staged)
        base = outcome.path.relative_to(world.here)
        for name, (kind, content, _) in exported.items():
            inside = str(base / Path(name).relative_to("t")) if name != "t" else str(base)
            assert after[inside][:2] == (kind, content)


# -- repositories that a guest made


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "f").write_text("x\n")
    git = ["git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    ran = f"touch {tmp_path}/ran; false"
    for name, value in {
        "core.fsmonitor": ran,
        "core.hooksPath": "evil",
        "core.pager": ran,
        "core.editor": ran,
        "core.sshCommand": ran,
        "core.worktree": "../../tree",
        "alias.st": f"!{ran}",
        "filter.x.clean": ran,
        "filter.x.smudge": ran,
        "diff.x.textconv": ran,
        "diff.external": ran,
        "merge.x.driver": ran,
        "credential.helper": f"!{ran}",
        "include.path": "../evil.config",
        "includeIf.gitdir:/.path": "../evil.config",
        "remote.origin.url": f"ext::sh -c '{ran}'",
        "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
        "remote.good.url": "https://example.com/x.git",
        "submodule.s.update": f"!{ran}",
        "gpg.program": ran,
        "uploadpack.packObjectsHook": ran,
        "branch.main.remote": "good",
    }.items():
        subprocess.run([*git, "config", name, value], check=True)
    for hook in ("post-checkout", "pre-commit", "post-index-change", "fsmonitor-watchman"):
        (tree / ".git" / "hooks" / hook).write_text(f"#!/bin/sh\n{ran}\n")
        (tree / ".git" / "hooks" / hook).chmod(0o755)
    (tree / ".gitattributes").write_text("* filter=x diff=x\n")
    (tree / "evil.config").write_text(f"[core]\n\tfsmonitor = {ran}\n")
    return tree


def try_git(tree: Path) -> None:
    (tree / "g").write_text("y\n")
    for command in (
        ["status"],
        ["diff"],
        ["add", "-A"],
        ["log", "-1"],
        ["st"],
        ["commit", "-qm", "two"],
        ["fetch", "origin"],
    ):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@e", *command],
            cwd=tree,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )


def test_the_trap_is_one(hostile: Path) -> None:
    try_git(hostile)
    assert (hostile.parent / "ran").exists()


def test_repositories_are_left_out(hostile: Path) -> None:
    (hostile / "deep" / "x").mkdir(parents=True)
    shutil.copytree(hostile / ".git", hostile / "deep" / "x" / ".GIT")
    shutil.copytree(hostile / ".git", hostile / "deep" / "bare.git")
    (hostile / "work").mkdir()
    (hostile / "work" / ".git").write_text("gitdir: ../deep/bare.git\n")
    left = leave_out(hostile)
    assert left.repositories == [".git", "deep/bare.git", "deep/x/.GIT", "work/.git"]
    assert sorted(p.name for p in hostile.rglob("*")) == [".gitattributes", "deep", "evil.config", "f", "work", "x"]


def test_a_repository_that_was_asked_for_runs_nothing(hostile: Path) -> None:
    left = disarm(hostile)
    assert {".git/hooks", ".git/config: core.fsmonitor", ".git/config: remote.origin.url"} <= set(left.parts)
    try_git(hostile)
    assert not (hostile.parent / "ran").exists()
    log = subprocess.run(["git", "log", "--format=%s"], cwd=hostile, capture_output=True, text=True, check=True)
    assert log.stdout.splitlines()[-1] == "one"
    kept = (hostile / ".git" / "config").read_text()
    assert "https://example.com/x.git" in kept and "ext::" not in kept


def test_a_tree_that_is_too_deep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t" / Path(*["d"] * 300)).mkdir(parents=True)
    with pytest.raises(TooDeep):
        leave_out(tmp_path / "t")
