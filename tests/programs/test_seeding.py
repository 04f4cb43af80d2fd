"""Seeds: what is listed, what is copied, what is refused, what is reused."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest
import zstandard

from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.seeds import archives, bounds, store
from pyro_mcp.seeds.scan import scan
from pyro_mcp.seeds.store import SeedStore


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "src"
    (root / "bin").mkdir(parents=True)
    (root / "empty" / "inner").mkdir(parents=True)
    (root / "bin" / "run").write_text("#!/bin/sh\n")
    (root / "bin" / "run").chmod(0o755)
    (root / "big").write_bytes(os.urandom(700_000))
    (root / "python").symlink_to("/usr/bin/python3")
    (root / "up").symlink_to("../../outside")
    return root


def age(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the source old enough to be trusted, without waiting for it."""
    monkeypatch.setattr(store, "_RACY_NS", -(10**18))


def listing(root: Path) -> dict[str, tuple[object, ...]]:
    out: dict[str, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        info = path.lstat()
        body = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        out[str(path.relative_to(root))] = info.st_mode, info.st_mtime_ns, body
    return out


def git(root: Path, *command: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    names = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "safe.directory=*"]
    return subprocess.run(
        ["git", *names, *command], cwd=root, env=env, check=True, capture_output=True, text=True
    ).stdout


def test_a_directory_round_trips_modes_times_links_and_empty_directories(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None, int]] = []
    seed = SeedStore(tmp_path / "store").materialise(scan(source), lambda *a: seen.append(a))
    assert listing(seed.tree) == listing(source)
    assert (seed.files, seed.bytes) == (4, 700_010) and seen[-1] == (4, 4, 700_010)


def test_an_unchanged_source_is_reused_and_a_changed_one_is_not(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(source, monkeypatch)
    store = SeedStore(tmp_path / "store")
    first = store.materialise(scan(source))
    assert not first.reused and store.materialise(scan(source)).reused
    (source / "big").write_bytes(b"other")
    second = store.materialise(scan(source))
    assert not second.reused and (second.tree / "big").read_bytes() == b"other"
    assert store.prune({second.digest}) == [first.digest] and second.tree.exists()


def test_a_seed_that_was_changed_on_the_disk_is_copied_again_and_refused_to_those_who_had_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(source, monkeypatch)
    store = SeedStore(tmp_path / "store")
    first = store.materialise(scan(source))
    right = (first.tree / "big").read_bytes()
    (first.tree / "big").chmod(0o600)
    (first.tree / "big").write_bytes(b"planted")
    assert SeedStore(tmp_path / "store").check({first.digest}) == [first.digest]
    with pytest.raises(Conflict, match="changed on this computer's disk"):
        SeedStore(tmp_path / "store").find(first.digest)
    again = SeedStore(tmp_path / "store").materialise(scan(source))
    assert not again.reused and (again.tree / "big").read_bytes() == right
    later = SeedStore(tmp_path / "store")
    assert later.find(first.digest) is not None
    # What a running machine shows stays until its workspace is gone.
    assert later.prune({first.digest}) == []
    assert len(later.prune(set())) == 2


def test_a_source_changed_a_moment_ago_is_never_taken_for_unchanged(source: Path, tmp_path: Path) -> None:
    store = SeedStore(tmp_path / "store")
    (source / "big").write_bytes(b"1")
    store.materialise(scan(source))
    (source / "big").write_bytes(b"2")
    assert (store.materialise(scan(source)).tree / "big").read_bytes() == b"2"


def test_a_source_that_changes_while_it_is_copied_is_copied_again(source: Path, tmp_path: Path) -> None:
    plan = scan(source)
    (source / "big").write_bytes(b"later")
    (source / "more").write_bytes(b"new")
    tree = SeedStore(tmp_path / "store").materialise(plan).tree
    assert (tree / "big").read_bytes() == b"later" and (tree / "more").read_bytes() == b"new"


def test_racing_copies_of_the_same_seed_end_in_one_tree(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    age(source, monkeypatch)
    plan, found = scan(source), []
    threads = [
        threading.Thread(target=lambda: found.append(SeedStore(tmp_path / "store").materialise(plan))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 4 and len({seed.digest for seed in found}) == 1
    assert len(os.listdir(tmp_path / "store")) == 1 and listing(found[0].tree) == listing(source)


def test_sweep_removes_what_a_dead_process_left_and_nothing_living(source: Path, tmp_path: Path) -> None:
    store = SeedStore(tmp_path / "store")
    dead = store.root / ".staging-1-dead" / "tree"
    dead.mkdir(parents=True)
    dead.chmod(0o500)
    with store._staging() as living:
        assert store.sweep() == 1 and living.exists()
    assert os.listdir(store.root) == []


def test_a_work_tree_gives_tracked_and_untracked_files_and_its_history(source: Path, tmp_path: Path) -> None:
    git(source, "init", "-q")
    (source / ".gitignore").write_text("*.log\nbuild/\n")
    (source / "x.log").write_text("ignored")
    (source / "gone").write_text("tracked, then deleted")
    git(source, "add", "-A")
    git(source, "commit", "-qm", "first")
    (source / "gone").unlink()
    (source / "untracked").write_text("u")
    plan = scan(source)
    tree = SeedStore(tmp_path / "store").materialise(plan).tree
    assert plan.kind == "git" and (tree / "untracked").exists() and os.readlink(tree / "up") == "../../outside"
    assert not (tree / "x.log").exists() and "first" in git(tree, "log", "--oneline")
    assert git(tree, "status", "--porcelain") == git(source, "status", "--porcelain")
    assert any(entry.path == "x.log" for entry in scan(source, include_ignored=True).entries)
    (source / "build").mkdir()
    (source / "build" / "out").write_text("asked for by name")
    assert [e.path for e in scan(source / "build").entries] == ["", "out"]


def test_a_tracked_directory_replaced_by_a_link_is_not_followed(source: Path, tmp_path: Path) -> None:
    git(source, "init", "-q")
    git(source, "add", "-A")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "run").write_text("not yours")
    (source / "bin" / "run").unlink()
    (source / "bin").rmdir()
    (source / "bin").symlink_to(secret)
    paths = [entry.path for entry in scan(source).entries]
    assert "bin" in paths and "bin/run" not in paths


def test_a_repository_cannot_run_programs_while_it_is_listed(source: Path, tmp_path: Path) -> None:
    git(source, "init", "-q")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git(source, "config", "core.fsmonitor", str(hook))
    assert scan(source).kind == "git" and not (tmp_path / "ran").exists()


def test_special_files_are_skipped_inside_and_refused_as_the_seed(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "s"))
        assert sorted(scan(source).skipped) == ["pipe (FIFO)", "s (socket)"]
        for bad, what in ((source / "s", "is a socket"), (source / "pipe", "FIFO"), (source / "no", "not exist"),
                          (source / "big", "no archive"), (Path("/dev/null"), "device")):  # fmt: skip
            with pytest.raises(InvalidInput, match=what):
                scan(bad)


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, 1_600_000_000
    body = b"body" if kind == tarfile.REGTYPE else b""
    info.size = len(body)
    return info, body


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, body in members:
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


@pytest.mark.parametrize("suffix", archives.SUFFIXES)
def test_archives_of_every_kind_round_trip(source: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"seed{suffix}"
    plain = subprocess.run(
        ["tar", "--format=posix", "-C", source, "-cf", "-", "."], check=True, capture_output=True
    ).stdout
    if suffix == ".tar.zst":
        path.write_bytes(zstandard.compress(plain))
    elif suffix == ".tar":
        path.write_bytes(plain)
    else:
        path.write_bytes(subprocess.run(["gzip"], input=plain, check=True, capture_output=True).stdout)
    seed = SeedStore(tmp_path / "store").materialise(scan(path))
    assert listing(seed.tree) == listing(source) and seed.files == 4
    path.write_bytes(path.read_bytes()[:-200] if suffix != ".tar" else plain[: 300 * 1024])
    with pytest.raises(InvalidInput, match="damaged"):
        SeedStore(tmp_path / "store").materialise(scan(path))


L, H, D = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [member("../x")], [member("/abs")], [member("a/../../x")],
        [member("l", L, "/tmp"), member("l/x")],
        [member("l", L, "."), member("l/x", D)],
        [member("l", L, "d"), member("l/x/y")],
        [member("h", H, "/etc/passwd")], [member("h", H, "../x")],
        [member("l", L, "/etc/passwd"), member("h", H, "l")],
        [member("l", L, "/etc"), member("h", H, "l/passwd")],
        [member("l", L, "/tmp/f"), member("l")],
        [member("d", D), member("d")], [member("f"), member("f", D)], [member("f"), member("f/x")],
        [member("n", tarfile.CHRTYPE)], [member("n", tarfile.FIFOTYPE)],
    ],
)  # fmt: skip
def test_hostile_archives_are_refused_whole(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(tar_of(member("first"), *members))
    store = SeedStore(tmp_path / "store")
    with pytest.raises(InvalidInput) as caught:
        store.materialise(scan(path))
    assert caught.value.hint and os.listdir(store.root) == []
    assert sorted(os.listdir(tmp_path)) == ["bad.tar", "store"]


def test_archive_keeps_escaping_links_masks_setuid_and_bounds_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(member("l", L, "../../x"), member("s", mode=0o4755), member("h", H, "s")))
    tree = SeedStore(tmp_path / "store").materialise(scan(path)).tree
    assert os.readlink(tree / "l") == "../../x" and (tree / "s").stat().st_mode & 0o7777 == 0o755
    monkeypatch.setattr(archives, "MAX_BYTES", 3)
    path.write_bytes(tar_of(member("s")))
    with pytest.raises(InvalidInput, match="more than 3 bytes"):
        SeedStore(tmp_path / "other").materialise(scan(path))


def test_listing_many_files_is_quick(tmp_path: Path) -> None:
    for i in range(2000):
        directory = tmp_path / "many" / str(i // 100)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / str(i)).touch()
    begun = time.process_time()
    assert scan(tmp_path / "many").files == 2000
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("version", ["gnu", "pax 0.0", "pax 0.1", "pax 1.0"])
def test_a_sparse_archive_is_unpacked_with_its_holes(tmp_path: Path, version: str) -> None:
    """As GNU tar writes them; Python cannot."""
    hole = tmp_path / "hole"
    with hole.open("wb") as out:
        out.truncate(40 * 1024 * 1024)
        out.seek(20_000_000)
        out.write(b"content")
    form, _, sparse = version.partition(" ")
    options = [f"--format={form}", "--sparse", *([f"--sparse-version={sparse}"] if sparse else [])]
    subprocess.run(["tar", *options, "-C", str(tmp_path), "-cf", str(tmp_path / "a.tar"), "hole"], check=True)
    (tmp_path / "o").mkdir()
    found = archives.extract(tmp_path / "a.tar", tmp_path / "o")
    assert (found.files, found.bytes) == (1, 40 * 1024 * 1024)
    assert (tmp_path / "o" / "hole").read_bytes() == hole.read_bytes()
    assert (tmp_path / "o" / "hole").stat().st_blocks * 512 < 4 * 1024 * 1024


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9", "GNU.sparse.name": "x"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "no"},
        {"GNU.sparse.map": "0,1,x", "GNU.sparse.size": "9"},
        {"GNU.sparse.map": "0,1,2", "GNU.sparse.size": "-9"},
        {"GNU.sparse.size": "9", "GNU.sparse.numblocks": "1"},
        {"GNU.sparse.realsize": "99999999999999999999999"},
        {"size": "many"},
        {"mtime": "now"},
    ],
)
def test_a_sparse_map_that_is_none_is_bad_input_and_no_defect(tmp_path: Path, headers: dict[str, str]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("f")
        info.size, info.pax_headers = 600, headers
        tar.addfile(info, io.BytesIO(b"not a map\n" * 60))
    (tmp_path / "o").mkdir()
    with contextlib.suppress(InvalidInput):
        archives.extract(tmp_path / "a.tar", tmp_path / "o")


def test_seeds_that_nobody_uses_are_removed_unless_somebody_is_about_to(source: Path, tmp_path: Path) -> None:
    store = SeedStore(tmp_path / "store")
    seed = store.materialise(scan(source))
    with store.used():
        assert store.tidy(set) == []
    assert store.tidy(lambda: {seed.digest}) == []
    assert store.tidy(set) == [seed.digest]
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("place", ["/", "/proc", "/sys", "/dev", "/proc/self", "/etc", "/usr", "//usr/", "/lib/../etc"])
def test_this_machine_and_its_system_folders_are_no_seeds_and_that_is_said_at_once(place: str) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidInput, match=r"no seed|nothing was read") as refused:
        scan(place)
    assert refused.value.code == "seed_unmeant"
    assert time.process_time() - begun < 2


def test_a_home_is_a_seed_only_where_it_is_a_work_tree_or_all_of_it_is_meant(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(source))
    with pytest.raises(InvalidInput, match="home directory"):
        scan(source)
    assert scan(source / "bin").files == 1
    whole = scan(source, include_ignored=True).files
    git(source, "init", "-q")
    (source / ".gitignore").write_text("*\n!bin/\n!bin/*\n")
    assert scan(source).files > 0
    assert whole == 4
    with pytest.raises(InvalidInput, match="all of this computer"):
        scan("/", include_ignored=True)


def test_a_seed_over_the_bounds_is_refused_before_anything_is_copied(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "many").mkdir()
    for number in range(20):
        (source / "many" / str(number)).touch()
    monkeypatch.setattr(bounds, "MAX_FILES", 15)
    with pytest.raises(InvalidInput, match=r"more than 15 files.*is in `many`") as refused:
        scan(source)
    assert refused.value.code == "seed_too_large" and "  " not in str(refused.value)
    monkeypatch.setattr(bounds, "MAX_FILES", 1000)
    monkeypatch.setattr(bounds, "MAX_BYTES", 600_000)
    with pytest.raises(InvalidInput, match=r"32 GiB|0 GiB"):
        scan(source)


def test_holes_stay_holes_and_what_is_not_kept_is_said(tmp_path: Path) -> None:
    source = tmp_path / "holes"
    source.mkdir()
    with (source / "image").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"middle")
        file.truncate(3 << 30)
    (source / "only").touch()
    os.truncate(source / "only", 5 << 30)
    seed = SeedStore(tmp_path / "store").materialise(scan(source))
    with (seed.tree / "image").open("rb") as file:
        file.seek(1 << 30)
        assert file.read(8) == b"middle\0\0"
    assert (seed.tree / "image").stat().st_size == 3 << 30 and (seed.tree / "only").stat().st_size == 5 << 30
    assert sum((seed.tree / name).stat().st_blocks for name in ("image", "only")) < 4096
    try:
        os.setxattr(source / "image", "user.x", b"1")
    except OSError:
        pytest.skip("no extended attributes on this file system")
    assert any("extended attributes" in note and "image" in note for note in scan(source).notes)


def test_what_is_too_deep_is_refused_by_name_and_a_long_link_is_none(tmp_path: Path) -> None:
    archive, deep = tmp_path / "x.tar", tmp_path / "deep"
    archive.write_bytes(tar_of(member("link", tarfile.SYMTYPE, link="t" * 3000), member("a")))
    tree = SeedStore(tmp_path / "store").materialise(scan(archive)).tree
    assert os.readlink(tree / "link") == "t" * 3000
    archive.write_bytes(tar_of(member("d/" * 900 + "f")))
    (deep / ("d/" * 300)).mkdir(parents=True)
    for source in (archive, deep):
        with pytest.raises(InvalidInput) as caught:
            SeedStore(tmp_path / "store").materialise(scan(source))
        assert caught.value.code == "tree_too_deep"


def _in_parts(record: str, stored: bytes) -> bytes:
    """An archive of the agent's with one file, sent in parts."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("file")
        member.size, member.pax_headers = len(stored), {archives.PARTS: record}
        tar.addfile(member, io.BytesIO(stored))
    return made.getvalue()


def test_a_file_in_parts_gets_its_holes_back(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_in_parts(f"{10**11} 65536 5 50000000000 3", b"helloend"))
    (tmp_path / "into").mkdir()
    archives.extract(tmp_path / "a.tar", tmp_path / "into", of_workspace=True)
    made = tmp_path / "into" / "file"
    assert made.stat().st_size == 10**11
    assert made.stat().st_blocks < 2048
    with made.open("rb") as opened:
        for offset, text in ((0, bytes(5)), (65535, b"\0hello\0"), (50_000_000_000, b"end\0")):
            opened.seek(offset)
            assert opened.read(len(text)) == text


@pytest.mark.parametrize(
    "record",
    [
        "",
        "x",
        "5 0",
        "8 0 9",
        "8 4 4 0 4",
        "8 0 4 2 4",
        "8 -4 8",
        "7 0 8",
        "8 0 8 8 0",
        "8 0 0 0 8",
        "-1 0 8",
        "8 0 7",
        "9" * 5000,
    ],
)
def test_parts_that_do_not_make_up_a_file_are_refused(tmp_path: Path, record: str) -> None:
    (tmp_path / "a.tar").write_bytes(_in_parts(record, b"12345678"))
    (tmp_path / "into").mkdir()
    with pytest.raises(InvalidInput):
        archives.extract(tmp_path / "a.tar", tmp_path / "into", of_workspace=True)


def test_only_the_agent_sends_parts(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(_in_parts("100 0 8", b"12345678"))
    (tmp_path / "into").mkdir()
    archives.extract(tmp_path / "a.tar", tmp_path / "into")
    assert (tmp_path / "into" / "file").read_bytes() == b"12345678"
