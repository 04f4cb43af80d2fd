"""A seed of a source that was copied before takes from the earlier one what is certainly the same, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_mcp.seeds import index
from pyro_mcp.seeds.scan import scan
from pyro_mcp.seeds.store import Seed, SeedStore

TICK_NS = 40_000_000
"""More than a tick of this computer's file systems; the index itself waits for slower ones."""
NAMES = ["a", "b", "d/a", "d/b", "d/e/a"]
Listing = dict[str, tuple[object, ...]]


def listing(root: Path) -> Listing:
    out: Listing = {}
    for path in root.rglob("*"):
        info = path.lstat()
        body = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        out[str(path.relative_to(root))] = info.st_mode, info.st_mtime_ns, body
    return out


def create(store: SeedStore, source: Path) -> Seed:
    return store.materialise(scan(source, include_ignored=True))


def linked(seed: Seed) -> set[str]:
    """Files that it shares with another seed."""
    files = [path for path in seed.tree.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(seed.tree)) for path in files if path.stat().st_nlink > 1}


def aged(source: Path) -> None:
    """Wait until the clock that files are stamped with is past the source's last times: no later change is racy."""
    probe = source.parent / "clock"
    last = max(path.lstat().st_ctime_ns for path in [source, *source.rglob("*")])
    while True:
        probe.write_bytes(b"x")
        if probe.lstat().st_mtime_ns > last + TICK_NS:
            return


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SeedStore:
    monkeypatch.setattr(index, "RACY_NS", TICK_NS)
    return SeedStore(tmp_path / "seeds")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for number in range(6):
        (root / f"d{number % 2}").mkdir(parents=True, exist_ok=True)
        (root / f"d{number % 2}" / f"f{number}").write_text(f"content {number}\n")
    return root


def test_only_what_changed_is_copied(source: Path, store: SeedStore) -> None:
    aged(source)
    first = create(store, source)
    assert linked(first) == set()
    (source / "d0" / "f2").write_text("content X\n")
    (source / "d1" / "f3").rename(source / "d1" / "moved")
    (source / "d1" / "f5").chmod(0o755)
    second = create(store, source)
    assert linked(second) == {"d0/f0", "d0/f4", "d1/f1"} == linked(first)
    assert listing(second.tree) == listing(source)


def test_size_and_time_put_back_do_not_deceive(source: Path, store: SeedStore) -> None:
    aged(source)
    create(store, source)
    file = source / "d0" / "f0"
    before = file.stat()
    file.write_text("CONTENT 0\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    other = source / "d0" / "f2"
    before = other.stat()
    (source / "new").write_text("CONTENT 2\n")
    os.utime(source / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(source / "new", other)
    second = create(store, source)
    assert listing(second.tree) == listing(source)
    assert not linked(second) & {"d0/f0", "d0/f2"}


def test_what_was_written_just_before_it_was_listed_is_not_trusted(source: Path, store: SeedStore) -> None:
    aged(source)
    (source / "d0" / "f0").write_text("just now\n")
    create(store, source)
    assert "d0/f0" not in linked(create(store, source))
    aged(source)
    create(store, source)
    assert "d0/f0" in linked(create(store, source))


def test_a_damaged_earlier_seed_gives_nothing_that_shows_its_damage(source: Path, store: SeedStore) -> None:
    aged(source)
    first = create(store, source)
    (first.tree / "d0" / "f0").write_text("longer than it was\n")
    (first.tree / "d0" / "f2").unlink()
    (first.tree / "d0" / "f4").unlink()
    (first.tree / "d0" / "f4").symlink_to("/etc/passwd")
    (first.tree / "d1" / "f1").chmod(0o600)
    (source / "more").write_text("so that it is another seed\n")
    second = create(store, source)
    assert listing(second.tree) == listing(source)
    assert linked(second) == {"d1/f3", "d1/f5"}
    for damage in (b"", b"[]", b"{", b'{"d0/f0": 1}', b'{"d0/f0": [1, 2]}'):
        for home in store.root.iterdir():
            (home / index.NAME).write_bytes(damage)
        (source / "more").write_bytes(damage)
        assert listing(create(store, source).tree) == listing(source)


def test_a_seed_whose_earlier_one_was_removed_stays_whole(source: Path, store: SeedStore) -> None:
    aged(source)
    first = create(store, source)
    (source / "more").write_text("x")
    second = create(store, source)
    assert linked(second)
    store.prune({second.digest})
    assert not first.tree.exists()
    assert listing(second.tree) == listing(source) and not linked(second)
    assert store.check({second.digest}) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_seeds_of_different_owners_share_no_file(source: Path, store: SeedStore) -> None:
    aged(source)
    plan = scan(source, include_ignored=True)
    ours, theirs = store.materialise(plan), store.materialise(plan, None, (1000, 1001))
    assert linked(ours) == linked(theirs) == set()
    assert store.check({ours.digest, theirs.digest}) == []
    (source / "more").write_text("x")
    later = store.materialise(scan(source, include_ignored=True), None, (1000, 1001))
    assert linked(later) == linked(theirs) and linked(later)
    assert {path.lstat().st_uid for path in later.tree.rglob("*")} == {1000}
    assert store.check({ours.digest, theirs.digest, later.digest}) == []


def test_nothing_is_taken_from_before_this_boot(source: Path, store: SeedStore, tmp_path: Path) -> None:
    aged(source)
    first = create(store, source)
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyro_mcp.seeds.store._BOOT_ID", boot)
        second = create(SeedStore(store.root), source)
    assert first.digest != second.digest and linked(second) == set()


def test_a_config_with_a_password_is_not_shared(tmp_path: Path, store: SeedStore) -> None:
    root = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / "a").write_text("a")
    config = root / ".git" / "config"
    config.write_text(config.read_text() + '[remote "o"]\n\turl = https://user:secret@host/x\n')
    aged(root)
    seeds = []
    for number in range(2):
        (root / "more").write_text(str(number))
        seeds.append(store.materialise(scan(root)))
        assert "secret" not in (seeds[-1].tree / ".git" / "config").read_text()
    assert ".git/config" not in linked(seeds[1]) and "a" in linked(seeds[1])


_name = st.sampled_from(NAMES)
_content = st.sampled_from([b"", b"one", b"two", b"a longer one", b"another one!"])
_edits = st.one_of(
    st.tuples(st.just("write"), _name, _content),
    st.tuples(st.just("hidden"), _name, _content),
    st.tuples(st.just("rename"), _name, _name),
    st.tuples(st.just("link"), _name, _name),
    st.tuples(st.just("symlink"), _name, _name),
    st.tuples(st.just("swap"), _name, _name),
    st.tuples(st.just("mode"), _name, st.sampled_from([0o644, 0o755, 0o600])),
    st.tuples(st.just("remove"), _name, st.none()),
    st.tuples(st.just("folder"), _name, st.none()),
    st.tuples(st.just("create"), st.none(), st.none()),
)


def _edit(root: Path, what: str, name: str, value: object) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    other = root / value if isinstance(value, str) else file
    if what == "write" and isinstance(value, bytes):
        file.write_bytes(value)
    elif what == "hidden" and isinstance(value, bytes):  # the same size and time as before
        before = file.lstat()
        file.write_bytes(value.ljust(before.st_size)[: before.st_size])
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)
    elif what == "rename":
        other.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, other)
    elif what == "link":
        os.link(file, other)
    elif what == "symlink":
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        file.symlink_to(os.path.relpath(other, file.parent))
    elif what == "swap":
        between = root / "between"
        os.replace(file, between)
        try:
            os.replace(other, file)
        finally:
            os.replace(between, other)
    elif what == "mode" and isinstance(value, int):
        if not file.is_symlink():
            file.chmod(value)
    elif what == "remove":
        file.unlink()
    elif what == "folder":
        if stat.S_ISREG(file.lstat().st_mode):
            file.unlink()
        file.mkdir()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(_edits, max_size=25))
def test_each_seed_is_its_source_after_any_edits_and_no_earlier_one_changes(
    edits: list[tuple[str, str | None, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "RACY_NS", TICK_NS)
    with tempfile.TemporaryDirectory() as place:
        root, store = Path(place) / "source", SeedStore(Path(place) / "seeds")
        root.mkdir()
        for first in NAMES:
            _edit(root, "write", first, first.encode())
        made: list[tuple[Seed, Listing]] = []
        for what, name, value in [("create", None, None), *edits, ("create", None, None)]:
            if what != "create":
                with contextlib.suppress(OSError, shutil.Error):
                    _edit(root, what, name or "", value)
                continue
            aged(root)
            seed = create(store, root)
            made.append((seed, listing(root)))
            for each, want in made:
                assert listing(each.tree) == want
