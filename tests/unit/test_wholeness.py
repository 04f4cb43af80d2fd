"""Bytes that many workspaces share: whatever changes about them is noticed, and nothing else is."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp import wholeness
from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.errors import Conflict, EngineError
from pyro_mcp.machines.agents import Agents
from pyro_mcp.seeds import store as seed_store
from pyro_mcp.seeds.scan import scan
from pyro_mcp.seeds.store import SeedStore


def _write_under_the_same_time(path: Path) -> None:
    info = path.stat()
    path.write_bytes(bytes(info.st_size))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _link(path: Path) -> None:
    other = path.with_name("elsewhere")
    other.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(other)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: os.truncate(path, 0),
    "cut": lambda path: os.truncate(path, 3),
    "longer": lambda path: os.truncate(path, 4096),
    "other bytes": lambda path: path.write_bytes(b"x" * path.stat().st_size),
    "other bytes under the same time": _write_under_the_same_time,
    "removed": lambda path: path.unlink(),
    "a link": _link,
}


def test_a_sealed_directory_is_whole_until_a_file_of_it_changes(tmp_path: Path) -> None:
    for number, (name, damage) in enumerate(DAMAGES.items()):
        image = tmp_path / str(number)
        image.mkdir()
        (image / "memory").write_bytes(b"memory of a machine")
        (image / "state").write_bytes(b"state")
        wholeness.seal(image, ["memory", "state"], hashed=True)
        assert wholeness.broken(image) is None
        damage(image / "memory")
        assert "memory" in (wholeness.broken(image) or ""), name


def test_a_copied_cache_is_whole_with_and_without_hashes(tmp_path: Path) -> None:
    for hashed in (True, False):
        image = tmp_path / f"image-{hashed}"
        image.mkdir()
        (image / "memory").write_bytes(b"memory")
        wholeness.seal(image, ["memory"], hashed=hashed)
        copy = tmp_path / f"copy-{hashed}"
        shutil.copytree(image, copy)  # as cp -a: times stay, inodes do not
        assert wholeness.broken(copy) is None
        os.truncate(copy / "memory", 1)
        assert wholeness.broken(copy)


def test_what_has_no_seal_or_a_garbled_one_is_not_whole(tmp_path: Path) -> None:
    assert wholeness.broken(tmp_path)
    for text in ("", "[]", "{", '{"a": 1}', '{"a": {"signature": 3, "sha256": null}}'):
        (tmp_path / wholeness.SEAL).write_text(text)
        assert wholeness.broken(tmp_path), text


def _tree(root: Path) -> Path:
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_text("content")
    (root / "link").symlink_to("sub/file")
    return root


def _relink(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("/etc/passwd")


def _become_a_directory(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").mkdir()


def test_the_mark_of_a_tree_tells_every_change_that_lstat_tells(tmp_path: Path) -> None:
    changes: dict[str, Callable[[Path], object]] = {
        "content": lambda tree: (tree / "sub" / "file").write_text("another"),
        "mode": lambda tree: (tree / "sub" / "file").chmod(0o777),
        "name": lambda tree: (tree / "sub" / "file").rename(tree / "sub" / "elif"),
        "added": lambda tree: (tree / "sub" / "new").touch(),
        "removed": lambda tree: (tree / "link").unlink(),
        "link": _relink,
        "kind": _become_a_directory,
        "directory": lambda tree: (tree / "sub").chmod(0o700),
        "a name's end moved into the next": lambda tree: (tree / "sub").rename(tree / "subf"),
    }
    for number, (name, change) in enumerate(changes.items()):
        tree = _tree(tmp_path / str(number))
        mark = wholeness.tree_mark(tree)
        assert wholeness.tree_mark(tree) == mark
        os.utime(tree / "sub")  # a directory's own time tells nothing that its entries do not
        assert wholeness.tree_mark(tree) == mark
        change(tree)
        assert wholeness.tree_mark(tree) != mark, name


def test_nothing_that_stands_in_the_way_is_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    place = tmp_path / "place"
    place.symlink_to(victim)
    wholeness.write_new(place, b"new", 0o755)
    assert victim.read_text() == "mine"
    assert place.read_bytes() == b"new" and not place.is_symlink() and stat.S_IMODE(place.stat().st_mode) == 0o755
    (tmp_path / "way").symlink_to(tmp_path)
    with pytest.raises(OSError):
        wholeness.write_new(tmp_path / "way" / "x", b"new")


# -- agents


def _agents(tmp_path: Path) -> Agents:
    source = tmp_path / "source"
    source.write_bytes(b"the agent")
    return Agents(source, tmp_path / "agents")


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("again", [False, True], ids=["while the daemon runs", "before it starts"])
def test_a_damaged_agent_is_replaced(tmp_path: Path, name: str, again: bool) -> None:
    agents = _agents(tmp_path)
    place = agents.current()
    inode = place.stat().st_ino
    DAMAGES[name](place)
    found = (_agents(tmp_path) if again else agents).current()
    assert found == place and found.read_bytes() == b"the agent" and not found.is_symlink()
    assert found.stat().st_mode & 0o111 == 0o111
    if name != "removed":
        assert found.stat().st_ino != inode


def test_many_who_install_an_agent_at_once_all_get_it(tmp_path: Path) -> None:
    """One cleared away what another one had just begun to write: two first workspaces at once."""
    for _ in range(30):
        shutil.rmtree(tmp_path / "agents", ignore_errors=True)
        shared, ready = _agents(tmp_path), threading.Barrier(8)

        def installs(agents: Agents, ready: threading.Barrier = ready) -> bytes:
            ready.wait(20)
            return agents.current().read_bytes()

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(installs, [shared] * 4 + [_agents(tmp_path) for _ in range(4)]))
        assert found == [b"the agent"] * 8
        assert os.listdir(shared.current().parent) == ["pyro-agent"]


def test_links_where_an_agent_is_written_lead_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    agents = _agents(tmp_path)
    place = agents.current()
    place.unlink()
    for number in [os.getpid(), *range(700)]:
        place.with_name(f"partial-{number}").unlink(missing_ok=True)
        place.with_name(f"partial-{number}").symlink_to(victim)
    assert agents.current().read_bytes() == b"the agent"
    assert victim.read_text() == "mine"
    shutil.rmtree(place.parent)
    place.parent.symlink_to(tmp_path)
    assert agents.current().read_bytes() == b"the agent"
    assert not (tmp_path / "pyro-agent").exists()


def test_an_older_agent_is_used_only_when_it_is_what_its_name_says(tmp_path: Path) -> None:
    agents = _agents(tmp_path)
    old = agents.current()
    (tmp_path / "source").write_bytes(b"a newer agent")
    newer = Agents(tmp_path / "source", tmp_path / "agents")
    assert newer.named(old.parent.name) == old
    os.truncate(old, 2)
    for name in (old.parent.name, "../../x", "", "0" * 16):
        with pytest.raises(EngineError):
            newer.named(name)


# -- environments


def test_a_damaged_environment_is_put_aside_and_never_served(tmp_path: Path) -> None:
    cache = EnvironmentCache(tmp_path)
    cache.prepare()
    staged = tmp_path / "staging" / "one"
    _tree(staged / "root")
    manifest = Manifest("debian:12", "0" * 24, "recipe", "2026-01-01T00:00:00Z", 1, {})
    cache.install(staged, manifest)
    later = EnvironmentCache(tmp_path)
    assert later.sound(manifest.digest)
    (cache.tree(manifest.digest) / "sub" / "file").write_text("changed")
    assert not EnvironmentCache(tmp_path).sound(manifest.digest)
    assert cache.manifest(manifest.digest) is None and not cache.builds()
    damaged = EnvironmentCache(tmp_path)
    assert not damaged.sound(manifest.digest)
    with pytest.raises(Conflict, match="changed on this computer's disk"):
        damaged.require("debian:12", manifest.digest)
    (aside,) = tmp_path.glob(".damaged-*")
    assert (aside / "root" / "sub" / "file").exists(), "machines run on it"
    cache.prune({manifest.digest}, everything=False)
    assert aside.exists()
    cache.prune(set(), everything=False)
    assert not aside.exists()


@contextlib.contextmanager
def _no_descriptor_left() -> Iterator[None]:
    """None but those that are open."""
    taken = [os.open("/", os.O_PATH)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, taken[0] + 64), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/", os.O_PATH))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


def test_who_has_nothing_to_look_with_condemns_nothing(tmp_path: Path) -> None:
    """Descriptors that ran out once had environments put aside, which a prune then removed, and `env list` fail."""
    cache = EnvironmentCache(tmp_path / "environments")
    cache.prepare()
    staged = cache.root / "staging" / "one"
    _tree(staged / "root")
    manifest = Manifest("mine", "0" * 24, "saved-1", "2026-01-01T00:00:00Z", 1, {})
    cache.install(staged, manifest)
    seeds, sealed = SeedStore(tmp_path / "seeds"), tmp_path / "image"
    seed = seeds.materialise(scan(_tree(tmp_path / "source")))
    sealed.mkdir()
    (sealed / "memory").write_bytes(b"memory")
    wholeness.seal(sealed, ["memory"], hashed=True)
    (sealed / "memory").touch()
    with _no_descriptor_left():
        for look in (
            lambda: cache.sound(manifest.digest),
            lambda: cache.current("mine"),
            cache.names,
            lambda: SeedStore(tmp_path / "seeds").find(seed.digest),
            lambda: wholeness.broken(sealed),
        ):
            with pytest.raises(OSError) as caught:
                look()
            assert caught.value.errno == errno.EMFILE
    assert cache.sound(manifest.digest) and cache.names() == {"mine": manifest.digest}
    assert SeedStore(tmp_path / "seeds").find(seed.digest) is not None and wholeness.broken(sealed) is None


def test_a_name_whose_build_was_damaged_means_none(tmp_path: Path) -> None:
    cache = EnvironmentCache(tmp_path)
    cache.prepare()
    _tree(tmp_path / "staging" / "one" / "root")
    manifest = Manifest("mine", "0" * 24, "saved-1", "2026-01-01T00:00:00Z", 1, {})
    cache.install(tmp_path / "staging" / "one", manifest)
    assert cache.names() == {"mine": manifest.digest}
    (cache.tree(manifest.digest) / "sub" / "file").write_text("changed")
    assert not EnvironmentCache(tmp_path).sound(manifest.digest)
    assert cache.names() == {} and cache.current("mine") is None


def _instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


RECORD_DAMAGES: dict[str, Callable[[Path], object]] = {
    **{name: DAMAGES[name] for name in ("emptied", "cut", "other bytes", "removed", "a link")},
    "no record": lambda path: path.write_text("[]"),
    "a record of nothing": lambda path: path.write_text("{}"),
    "a pipe, which nobody writes to": lambda path: _instead(path, os.mkfifo),
    "a directory": lambda path: _instead(path, os.mkdir),
}
"""Of the small files that say what a tree is."""


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", RECORD_DAMAGES)
@pytest.mark.parametrize("note", ["manifest.json", "mark"])
def test_an_environment_whose_notes_were_damaged_is_built_again_in_its_place(
    tmp_path: Path, note: str, damage: str
) -> None:
    manifest = Manifest("debian:12", "0" * 24, "recipe", "2026-01-01T00:00:00Z", 1, {})

    def build() -> None:
        _tree(tmp_path / "staging" / "one" / "root")
        EnvironmentCache(tmp_path).install(tmp_path / "staging" / "one", manifest)

    EnvironmentCache(tmp_path).prepare()
    build()
    RECORD_DAMAGES[damage](tmp_path / manifest.digest / note)
    looking = EnvironmentCache(tmp_path)
    if note == "mark" and damage == "removed":
        assert looking.sound(manifest.digest)  # as one of an earlier pyro
        return
    with pytest.raises(Conflict, match="changed on this computer's disk"):
        looking.require("debian:12", manifest.digest)
    build()
    whole = EnvironmentCache(tmp_path)
    assert whole.require("debian:12", manifest.digest).digest == manifest.digest
    assert whole.current("debian:12") is not None and whole.sound(manifest.digest)


def test_what_the_roots_of_trees_are_is_part_of_their_mark(tmp_path: Path) -> None:
    tree = _tree(tmp_path / "tree")
    mark = wholeness.tree_mark(tree)
    earlier = mark.partition(".")[2]
    assert wholeness.is_as_marked(tree, mark) and wholeness.is_as_marked(tree, earlier)
    tree.chmod(0o700)
    assert not wholeness.is_as_marked(tree, mark) and wholeness.is_as_marked(tree, earlier)
    tree.rename(tmp_path / "elsewhere")
    tree.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        wholeness.is_as_marked(tree, earlier)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", RECORD_DAMAGES)
@pytest.mark.parametrize("whose", ["seed.json", "tree", "all"])
def test_a_seed_that_was_damaged_in_any_way_is_copied_again_and_never_shown(
    tmp_path: Path, whose: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_store, "_RACY_NS", 0)
    source = _tree(tmp_path / "source")
    made = SeedStore(tmp_path / "seeds").materialise(scan(source))
    home = tmp_path / "seeds" / made.digest
    place = home if whose == "all" else home / whose
    if whose != "seed.json":
        if damage not in ("removed", "a link", "a directory"):
            return
        place.rename(tmp_path / "aside")
        if damage == "a link":
            place.symlink_to(tmp_path / "aside")
        elif damage == "a directory":
            place.mkdir()
    else:
        RECORD_DAMAGES[damage](place)
    running = SeedStore(tmp_path / "seeds")
    if (whose, damage) in {("all", "removed"), ("all", "a link")}:
        # Gone, or moved to another disk: the same bytes.
        assert (running.find(made.digest) is None) == (damage == "removed")
    else:
        with pytest.raises(Conflict, match="changed on this computer's disk"):
            running.find(made.digest)
    again = running.materialise(scan(source))
    assert again.digest == made.digest
    assert wholeness.tree_mark(again.tree) == wholeness.tree_mark(source)
    assert running.find(made.digest) is not None
    running.prune(set())
    assert not [entry for entry in (tmp_path / "seeds").iterdir() if not entry.is_symlink()]


def test_what_its_modes_protect_is_removed_and_nothing_behind_a_link() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as top:
        ordinary = os.geteuid() or 65534  # to root no mode is closed
        os.chown(top, ordinary, -1)
        before = os.geteuid()
        os.seteuid(ordinary)
        try:
            place, outside = Path(top, "place"), Path(top, "outside")
            outside.mkdir()
            outside.chmod(0o755)
            (outside / "stays").write_text("x")
            (place / "a" / "b").mkdir(parents=True)
            (place / "a" / "b" / "f").write_text("x")
            (place / "a" / "out").symlink_to(outside)
            for directory, mode in ((place / "a" / "b", 0), (place / "a", 0o500), (place, 0o300)):
                directory.chmod(mode)
            wholeness.remove(place)
            assert not os.path.lexists(place)
            assert (outside / "stays").read_text() == "x" and outside.stat().st_mode & 0o777 == 0o755
        finally:
            os.seteuid(before)
