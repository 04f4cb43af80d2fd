"""What is kept of a project's set-up: for whom, out of which archives, and for how long."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.devcontainers.keys import content_keys
from pyro_mcp.environments import prepared, preparing
from pyro_mcp.environments.budget import over_budget
from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.environments.names import meaning
from pyro_mcp.environments.prepared import Kept, Wanted, entry_mark, still_deleted
from pyro_mcp.errors import Conflict, InvalidInput

WANTED = Wanted("/home/ann/app", 0, "c1", "base", "setup", {"package-lock.json": "1"}, True)


def build(
    cache: EnvironmentCache, name: str, files: dict[str, str] | None = None, kept: Kept | None = None
) -> Manifest:
    cache.prepare()
    staged = cache.root / "staging" / f"s-{name.replace(':', '-')}"
    root = staged / "root"
    for path, text in {"etc/hostname": "pyro\n", **(files or {})}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    manifest = Manifest(
        name=name,
        digest=f"{abs(hash(name)):024x}"[:24],
        recipe="saved-1",
        created_at="2026-01-01T00:00:00.000Z",
        size_bytes=0,
        contents={},
        prepared=asdict(kept) if kept else {},
    )
    cache.install(staged, manifest)
    return manifest


Member = tuple[str, bytes, dict[str, object]]


def archive(place: Path, members: list[Member]) -> Path:
    with tarfile.open(place, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, fields in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content) if content else None)
    return place


SAME: Member = ("same", b"root/etc/hostname\0root/etc\0", {"uname": "=="})


def keep(tmp_path: Path, members: list[Member], values: list[bytes] | None = None) -> tuple[Manifest, Path]:
    cache = EnvironmentCache(tmp_path / "environments")
    base = build(cache, "base")
    seed = tmp_path / "seed"
    (seed / "src").mkdir(parents=True, exist_ok=True)
    (seed / "gone").write_text("gone")
    made = preparing.keep(WANTED, base, archive(tmp_path / "a.tar", members), seed, values or [], cache, anew=True)
    return made, cache.tree(made.digest)


def test_what_was_made_lies_apart_from_the_root_with_its_links_modes_and_names(tmp_path: Path) -> None:
    odd = os.fsdecode(b"workspace/caf\xe9")
    made, root = keep(
        tmp_path,
        [
            ("root/opt/tool", b"tool", {"mode": 0o755}),
            SAME,
            ("workspace/node_modules", b"", {"type": tarfile.DIRTYPE, "mode": 0o2750}),
            ("workspace/node_modules/a", b"a", {"mode": 0o4711}),
            ("workspace/node_modules/b", b"", {"type": tarfile.LNKTYPE, "linkname": "workspace/node_modules/a"}),
            ("workspace/node_modules/.wh.x", b"no whiteout", {}),
            ("workspace/src/link", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
            (odd, b"x", {}),
            ("workspace/gone", b"", {"uname": "-"}),
            ("workspace/README", b"", {"uname": "~"}),
        ],
    )
    tree = root / prepared.TREE
    assert (root / "opt/tool").read_text() == "tool" and (root / "etc/hostname").exists()
    assert (tree / "node_modules/a").stat().st_ino == (tree / "node_modules/b").stat().st_ino
    assert (tree / "node_modules/a").stat().st_mode & 0o7777 == 0o4711
    assert (tree / "node_modules").stat().st_mode & 0o7777 == 0o2750
    assert (tree / "node_modules/.wh.x").read_text() == "no whiteout" and (tree / odd[10:]).exists()
    assert os.readlink(tree / "src/link") == "/etc/passwd"
    kept = Kept.of(made)
    assert kept is not None and kept.wanted == WANTED and list(kept.deleted) == ["gone"] and kept.changed == ["README"]
    assert dict(kept.made) == {"node_modules/": 3, "src/link": 1, odd[10:]: 1}
    assert json.loads(json.dumps(asdict(kept)))["deleted"]["gone"]
    assert still_deleted(kept, tmp_path / "seed") == ["gone"]
    (tmp_path / "seed" / "gone").write_text("another")
    assert still_deleted(kept, tmp_path / "seed") == []


@pytest.mark.parametrize(
    "member",
    [
        ("../escape", b"x", {}),
        ("/workspace/../../escape", b"x", {}),
        ("workspace", b"", {"type": tarfile.SYMTYPE, "linkname": "/"}),
        ("root", b"", {"type": tarfile.SYMTYPE, "linkname": "/tmp"}),
        ("root", b"file", {}),
        ("workspace/a/../../../b", b"", {"uname": "-"}),
        ("workspace/l", b"", {"type": tarfile.LNKTYPE, "linkname": "workspace/nobody"}),
        ("workspace/l", b"", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"}),
        ("./", b"", {"type": tarfile.DIRTYPE, "pax_headers": {"PYRO.changing": "log"}}),
    ],
)
def test_a_hostile_or_half_archive_keeps_nothing(tmp_path: Path, member: Member) -> None:
    with pytest.raises((InvalidInput, Conflict, OSError)):
        keep(tmp_path, [SAME, member, ("workspace/x/y", b"y", {})])
    cache = EnvironmentCache(tmp_path / "environments")
    assert not list((tmp_path / "environments" / "staging").iterdir()) and "prepared" not in str(cache.names())
    assert not (tmp_path / "escape").exists() and not (tmp_path.parent / "escape").exists()


def test_names_within_a_deleted_directory_are_refused(tmp_path: Path) -> None:
    """No agent sends them, and no machine could begin with both hidden."""
    deleted: list[Member] = [(f"workspace/{name}", b"", {"uname": "-"}) for name in ("src/a/b", "src-b", "src")]
    with pytest.raises(InvalidInput, match="`src/a/b`"):
        keep(tmp_path, [SAME, *deleted])
    made, _ = keep(tmp_path, [SAME, *deleted[1:]])
    kept = Kept.of(made)
    assert kept is not None and list(kept.deleted) == ["src", "src-b"]


@pytest.mark.parametrize(
    "spelled", [b"tok/en+secret=value9", b"tok%2fen%2Bsecret%3Dvalue9", b"dG9rL2VuK3NlY3JldD12YWx1ZTk="]
)
@pytest.mark.parametrize("path", ["root/opt/log", "workspace/node_modules/x"])
def test_no_value_of_a_secret_is_kept_in_any_spelling_that_is_masked(tmp_path: Path, spelled: bytes, path: str) -> None:
    padded = b"x" * (1024 * 1024 - 5) + spelled + b"y"
    with pytest.raises(Conflict) as refused:
        keep(tmp_path, [SAME, (path, padded, {})], [b"tok/en+secret=value9"])
    assert refused.value.code == "secret_in_environment"


def test_of_several_the_one_that_fits_or_the_nearest_is_found_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    cache = EnvironmentCache(tmp_path / "environments")
    locks = [{"a": "1", "b": "1"}, {"a": "1", "b": "2"}, {"a": "9", "b": "9"}]
    kept = [replace(WANTED, locks=each) for each in locks]
    builds = [build(cache, each.name, kept=Kept(each)) for each in kept]

    def found(wanted: Wanted) -> tuple[str, bool] | None:
        one = prepared.find(wanted, tmp_path, cache)
        return None if one is None else (one[0].digest, one[2])

    assert found(kept[1]) == (builds[1].digest, True)
    assert found(replace(WANTED, locks={"a": "9", "b": "8"})) == (builds[2].digest, False)
    assert found(replace(kept[0], setup="other")) is None and found(replace(kept[0], base="newer")) is None
    offline = replace(kept[0], online=False)
    assert found(offline) == (builds[0].digest, True)
    (cache.tree(builds[1].digest) / "etc/hostname").write_text("forged\n")
    once_more = prepared.find(kept[1], tmp_path, EnvironmentCache(cache.root))
    assert once_more is not None and once_more[0].digest == builds[0].digest and not once_more[2]
    with pytest.raises(InvalidInput, match="not an environment"):
        meaning(kept[0].name, cache)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 200),
)
def test_a_budget_is_kept_by_what_was_used_longest_ago_and_never_by_what_is_in_use(
    tmp_path_factory: pytest.TempPathFactory, builds: list[tuple[int, int, bool]], keep_kib: int
) -> None:
    cache = EnvironmentCache(tmp_path_factory.mktemp("e") / "environments")
    in_use, made = set(), []
    for number, (size, age, used) in enumerate(builds):
        manifest = build(cache, f"b{number}", {"data": "x" * 1024 * 4 * size})
        cache.used(manifest.digest)
        os.utime(cache.root / manifest.digest / "used", (1e9 - age, 1e9 - age))
        made.append(manifest)
        if used:
            in_use.add(manifest.digest)
    going = over_budget(cache, in_use, keep_kib << 10)
    digests = [manifest.digest for manifest, _ in going if isinstance(manifest, Manifest)]
    assert not in_use & set(digests)
    ages = [cache.last_used(digest) for digest in digests]
    assert ages == sorted(ages)
    left = [m for m in made if m.digest not in digests]
    total = sum(b for _, b in over_budget(cache, in_use, 0)) - sum(b for _, b in going)
    assert total <= keep_kib << 10 or all(m.digest in in_use for m in left) or in_use


def test_kept_layers_count_in_the_budget_and_stay_while_their_project_has_an_environment(tmp_path: Path) -> None:
    cache = EnvironmentCache(tmp_path / "environments")
    project = f"project-{'a' * 12}f"
    old, new = f"{project}-{'1' * 16}", f"{project}-{'2' * 16}"
    manifest = build(cache, new, {"data": "x" * 4096})
    assert cache.kept(old) == cache.kept(new) != cache.kept(f"{'project-' + 'a' * 12}-{'1' * 16}")
    cache.kept(new).write_bytes(b"x" * 64 * 1024)
    os.utime(cache.kept(new), (1e9, 1e9))
    assert cache.prune(set(), False) == [] and cache.kept(new).exists()
    assert over_budget(cache, set(), 1 << 30) == []
    ((going, freed),) = over_budget(cache, set(), 48 * 1024)
    assert going == cache.kept(new) and freed >= 64 * 1024
    assert [each for each, _ in over_budget(cache, {manifest.digest}, 0)] == [cache.kept(new)]
    cache.forget(new)
    assert cache.prune(set(), False) == [manifest] and not cache.kept(new).exists()


def test_what_keys_a_set_up_is_at_the_root_or_where_the_project_says(tmp_path: Path) -> None:
    for path in ("package-lock.json", "src/package-lock.json", "requirements-dev.txt", "README", "scripts/set.sh"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "uv.lock").symlink_to("/etc/passwd")
    assert set(content_keys(tmp_path, None)) == {"package-lock.json", "requirements-dev.txt"}
    assert set(content_keys(tmp_path, ["**/package-lock.json", "scripts/*"])) == {
        *("package-lock.json", "src/package-lock.json", "scripts/set.sh")
    }
    assert set(content_keys(tmp_path, ["./**/./package-lock.json"])) == {"package-lock.json", "src/package-lock.json"}
    deep = tmp_path.joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (deep / "uv.lock").write_text("")
    begun = time.process_time()
    assert set(content_keys(tmp_path, ["**/" * 160 + "x", "**/" * 160 + "uv.lock"])) == {f"{'d/' * 40}uv.lock"}
    assert time.process_time() - begun < 5
    assert set(content_keys(tmp_path, ["*.lock", "../../etc/passwd", "[", ""])) == set()
    before = content_keys(tmp_path, None)
    (tmp_path / "package-lock.json").write_text("other")
    assert content_keys(tmp_path, None) != before


def test_a_mark_tells_content_kind_and_mode_and_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("1")
    mark = entry_mark(tmp_path, "d")
    assert mark and mark == entry_mark(tmp_path, "d")
    (tmp_path / "d" / "f").chmod(0o755)
    assert entry_mark(tmp_path, "d") != mark
    (tmp_path / "l").symlink_to("d")
    assert entry_mark(tmp_path, "l/f") == "" and entry_mark(tmp_path, "nothing") == ""
    assert entry_mark(tmp_path, "l") not in ("", entry_mark(tmp_path, "d"))
