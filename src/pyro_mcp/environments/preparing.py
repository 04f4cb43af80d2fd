"""Makes a prepared build of what a set-up left: `prepared` says what that is.

What comes out of the machine is hostile, and read as a layer of an image is. Blocks; runs in the pulling process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pyro_mcp.environments import prepared, rooted, saving
from pyro_mcp.environments.cache import EnvironmentCache, Manifest, remove_tree
from pyro_mcp.environments.oci import dress
from pyro_mcp.environments.oci.compose import UnpackedLayer, compose
from pyro_mcp.environments.oci.layer import CHANGED, DELETED, LayerNotes, unpack
from pyro_mcp.environments.prepared import SHOWN, Kept, Wanted
from pyro_mcp.errors import InvalidInput
from pyro_mcp.models.base import iso
from pyro_mcp.paths import show

MOST_DELETED = 1000
"""Names of the seed that a set-up may delete (agent/prepared.go)."""


def keep(
    wanted: Wanted,
    base: Manifest,
    archive: Path,
    seed: Path,
    values: list[bytes],
    cache: EnvironmentCache,
    *,
    anew: bool,
) -> Manifest:
    """Install what a machine sent of its set-up (agent/prepared.go); `values` are what it must not hold.

    With `anew` it takes the place of one that is there. `base` is what the machine began with: perhaps one itself.

    Raises:
        Conflict: a secret's value stands in it, or a file would not stand still; nothing was kept.
        InvalidInput: the archive is not what an agent sends, or too many names were deleted.
    """
    name = wanted.name
    with cache.lock(name, lambda: None):
        there = cache.current(name)
        if not anew and there is not None and cache.sound(there.digest):
            return there  # somebody was faster
        staged = cache.root / "staging" / f"save-{os.getpid()}-{secrets.token_hex(8)}"
        (staged / "changed").mkdir(mode=0o700, parents=True)
        try:
            manifest = _made(wanted, base, archive, seed, values, cache, staged)
            cache.install(staged, manifest)
        finally:
            remove_tree(staged)
        return manifest


def _made(
    wanted: Wanted,
    base: Manifest,
    archive: Path,
    seed: Path,
    values: list[bytes],
    cache: EnvironmentCache,
    staged: Path,
) -> Manifest:
    changed = staged / "changed"
    marked: dict[str, str] = {}
    with open(archive, "rb") as raw:
        notes = unpack(raw, archive.stat().st_size, str(changed), None, marked=marked)
    for part in ("root", "workspace"):
        (changed / part).mkdir(mode=0o700, exist_ok=True)
        if (changed / part).is_symlink():
            raise InvalidInput("What the machine sent of its set-up is not a tree.", code="bad_archive")
    root, work = (_below(notes, part) for part in ("root", "workspace"))
    saving.without_machines_own(changed / "root", root)
    saving.refuse_secrets(changed, values)
    below = cache.tree(base.digest)
    root.whiteouts += saving.gone(below, changed / "root", {path[5:] for path in marked if path.startswith("root/")})
    (staged / "root").mkdir(mode=0o755)
    compose([UnpackedLayer(below, saving.as_it_is(below)), UnpackedLayer(changed / "root", root)], staged / "root")
    rooted.remove(staged / "root", "pyro/prepared")
    tree = rooted.directory(staged / "root", prepared.TREE)
    work.dirs[""] = (0o755, 0, 0, 0)
    compose([UnpackedLayer(changed / "workspace", work)], tree)
    own = sum(info.st_blocks * 512 for info in _files(changed))
    made = _topmost(changed / "workspace", seed)
    shutil.rmtree(changed)
    dress.dress(staged / "root")
    kept = Kept(wanted, _deleted(marked, seed), _names(marked, CHANGED)[:SHOWN], made[:SHOWN], own)
    return Manifest(
        name=wanted.name,
        digest=hashlib.sha256(secrets.token_bytes(32)).hexdigest()[:24],
        recipe=prepared.RECIPE,
        created_at=iso(datetime.now(UTC)),
        size_bytes=dress.size(staged / "root"),
        contents=dress.contents(staged / "root"),
        description=f"the set-up of {wanted.project}",
        source=wanted.project,
        runtime=base.runtime,
        layers=base.layers,
        notes=base.notes,
        prepared=asdict(kept),
    )


def _below(notes: LayerNotes, part: str) -> LayerNotes:
    """What is noted of one of the two trees that the archive holds."""

    def inside(path: str) -> bool:
        return path.startswith(f"{part}/")

    strangers = [path for path, target in notes.links if inside(path) and target]
    if strangers:
        raise InvalidInput(
            f"The machine sent {show(strangers[0])} as a link to a file that it did not send.", code="bad_archive"
        )
    cut = len(part) + 1
    return replace(notes, dirs={path[cut:]: its for path, its in notes.dirs.items() if inside(path)}, links=[])


def _names(marked: dict[str, str], mark: str) -> list[str]:
    return sorted(path[10:] for path, its in marked.items() if its == mark and path.startswith("workspace/"))


def _deleted(marked: dict[str, str], seed: Path) -> dict[str, str]:
    names = _names(marked, DELETED)
    if len(names) > MOST_DELETED:
        raise InvalidInput(
            f"The set-up deleted {len(names)} files and directories of the project; at most {MOST_DELETED} are kept.",
            code="too_many_deleted",
        )
    deleted = set(names)
    inner = [name for name in names if not deleted.isdisjoint(map(str, PurePosixPath(name).parents))]
    if inner:  # a machine that is to hide both cannot begin
        raise InvalidInput(
            f"The machine sent {show(inner[0])} as deleted, and a directory above it too.", code="bad_archive"
        )
    return {name: prepared.entry_mark(seed, name) for name in names}


def _files(root: Path) -> list[os.stat_result]:
    """Each file once, whatever it is called."""
    found: dict[int, os.stat_result] = {}
    for directory, _, names in os.walk(root):
        for name in names:
            info = os.lstat(os.path.join(directory, name))
            found[info.st_ino] = info
    return list(found.values())


def _topmost(work: Path, seed: Path) -> list[tuple[str, int]]:
    """What is in no directory that the seed does not have, and how many files it holds; the largest first."""
    found: dict[str, int] = {}
    for directory, names, files in os.walk(work):
        relative = os.path.relpath(directory, work)
        parts = [] if relative == "." else relative.split("/")
        top = None
        for number in range(1, len(parts) + 1):
            place = seed.joinpath(*parts[:number])
            if place.is_symlink() or not place.is_dir():
                top = "/".join(parts[:number]) + "/"
                break
        prefix = "/".join(parts) + "/" if parts else ""
        for name in [*files, *(each for each in names if os.path.islink(os.path.join(directory, each)))]:
            key = top or prefix + name
            found[key] = found.get(key, 0) + 1
        if top and top not in found:
            found[top] = 0
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))
