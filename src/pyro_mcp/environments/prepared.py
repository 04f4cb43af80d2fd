"""What a project's set-up made, kept for the project's next workspaces: whose it is, and for whom it may be used.

It is a build like any other (`cache`): the root as the set-up left it, in which what it made of /workspace lies at
`TREE`, to be a lower layer beneath the seed. So it never hides a file of a seed. No environment has its name.

The rule by which one project never gets what another one's commands made (docs/security.md): the directory is the same,
and in a git work tree the commit that it was made at is the present one or an ancestor of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pyro_mcp import git, trees, wholeness
from pyro_mcp.environments import rooted
from pyro_mcp.environments.cache import EnvironmentCache, Manifest

PREFIX = "prepared:"
RECIPE = "prepared-1"
TREE = "pyro/prepared/tree"
"""In the root; the agent knows the place (agent/prepared.go)."""
ORPHAN_SECONDS = 86400.0
"""What is of a folder that is not there any more goes when it was not used for so long."""
MOST_OF_A_PROJECT = 4
"""Kept of one directory; of more, those that were used longest ago go."""
GIT_SECONDS = 20.0
_VERSION = 1


@dataclass(frozen=True)
class Wanted:
    """What a workspace is to begin with, as far as a set-up may have made it already."""

    project: str
    """The directory, resolved; of an archive, its contents' name."""
    inode: int
    """Of a directory that is not a git work tree, as another one may stand there later; else 0."""
    commit: str
    """HEAD of a git work tree; else empty."""
    base: str
    """The build that the set-up begins on."""
    setup: str
    """One hash for its commands, variables and features."""
    locks: dict[str, str]
    """What keys the set-up, by path: the hash of the content."""
    online: bool
    """Whether its machine reaches anything."""

    @property
    def family(self) -> str:
        """The same for all states of the lock files."""
        return _hash([_VERSION, self.project, self.inode, self.base, self.setup])

    @property
    def key(self) -> str:
        return _hash([self.family, self.locks])

    @property
    def name(self) -> str:
        return PREFIX + _hash([self.key, self.commit, self.online])[:12]

    def dump(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Kept:
    """What is noted of one, in its manifest."""

    wanted: Wanted
    deleted: dict[str, str] = field(default_factory=dict)
    """What of the seed the set-up deleted: the path, and `entry_mark` of what was there."""
    changed: list[str] = field(default_factory=list)
    """What of the seed it changed, which is not kept; at most `SHOWN`."""
    made: list[tuple[str, int]] = field(default_factory=list)
    """What it made below /workspace, and of how many files; at most `SHOWN`."""
    own_bytes: int = 0
    """What it takes on the disk beyond the build that it began on."""

    @classmethod
    def of(cls, manifest: Manifest) -> Kept | None:
        record = manifest.prepared
        try:
            made = [(str(path), int(files)) for path, files in record["made"]]
            return cls(**{**record, "wanted": Wanted(**record["wanted"]), "made": made})
        except (KeyError, TypeError, ValueError):
            return None


SHOWN = 50


def setup_hash(parts: Any) -> str:
    """One hash for all that a set-up is made of; `parts` is what JSON can say."""
    return _hash(parts)


def _hash(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def all_kept(cache: EnvironmentCache) -> list[tuple[Manifest, Kept]]:
    """All that are there, by name. Blocks shortly."""
    found = []
    for name in cache.names():
        manifest = cache.current(name) if name.startswith(PREFIX) else None
        kept = Kept.of(manifest) if manifest is not None else None
        if manifest is not None and kept is not None:
            found.append((manifest, kept))
    return found


def find(wanted: Wanted, folder: Path, cache: EnvironmentCache) -> tuple[Manifest, Kept, bool] | None:
    """The one that fits, or the nearest of the same set-up with other lock files; and whether it fits. Blocks.

    A damaged one is put aside and passed over.
    """
    mine = [each for each in all_kept(cache) if each[1].wanted.family == wanted.family]
    mine = [each for each in mine if each[1].wanted.online or not wanted.online]

    def likeness(each: tuple[Manifest, Kept]) -> tuple[int, str]:
        manifest, kept = each
        same = sum(kept.wanted.locks.get(path) == content for path, content in wanted.locks.items())
        return same + (kept.wanted.key == wanted.key) * (len(wanted.locks) + 1), manifest.created_at

    for manifest, kept in sorted(mine, key=likeness, reverse=True):
        if may_use(kept.wanted, wanted, folder) and cache.sound(manifest.digest):
            return manifest, kept, kept.wanted.key == wanted.key
    return None


def may_use(made: Wanted, wanted: Wanted, folder: Path) -> bool:
    """Whether what was made at one commit may be used at another: what made it is part of the present history."""
    if (made.project, made.inode) != (wanted.project, wanted.inode):
        return False
    if made.commit == wanted.commit:
        return True
    return bool(made.commit and wanted.commit) and is_ancestor(folder, made.commit, wanted.commit)


def is_ancestor(folder: Path, commit: str, of: str) -> bool:
    """Whether `commit` is in the history of another one; no, where git does not know it. Blocks."""
    argv = ["git", *git.SAFE, "-C", str(folder), "merge-base", "--is-ancestor", commit, of]
    environment = git.environment({**git.ALONE, "GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull})
    try:
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def still_deleted(kept: Kept, seed: Path) -> list[str]:
    """What of a new seed is as deleted as in the one at hand: where another state of it stands, that counts. Blocks."""
    return sorted(path for path, mark in kept.deleted.items() if mark and entry_mark(seed, path) == mark)


def entry_mark(root: Path, path: str) -> str:
    """One hash for what stands at exactly this path and all in it; empty where nothing does. No link is followed."""
    place = rooted.exactly(root, path)
    if place is None or not os.path.lexists(place):
        return ""
    said = hashlib.sha256()
    top = os.fspath(place)

    def add(each: str, relative: str) -> None:
        info = os.lstat(each)
        kind = stat.S_IFMT(info.st_mode)
        content = os.fsencode(os.readlink(each)) if kind == stat.S_IFLNK else b""
        if kind == stat.S_IFREG:
            content = wholeness.content_hash(Path(each)).encode()
        name = os.fsencode(relative)
        said.update(f"{info.st_mode:o} {len(name)} {len(content)}\0".encode() + name + content)

    try:
        add(top, "")
        if place.is_dir() and not place.is_symlink():
            for each in sorted(entry.path for entry in trees.walk(place)):
                add(each, os.path.relpath(each, top))
    except OSError:
        return ""
    return said.hexdigest()


def to_go(project: str, cache: EnvironmentCache) -> list[Manifest]:
    """Of a project: those that no name means any more, and those beyond `MOST_OF_A_PROJECT`, used longest ago; and of
    all, those whose directory is gone and that nobody used for a day. Blocks.
    """
    meant = set(cache.names().values())
    all_builds = [(manifest, kept) for manifest in cache.builds() if (kept := Kept.of(manifest)) is not None]
    mine = [manifest for manifest, kept in all_builds if kept.wanted.project == project]
    named = [manifest for manifest in mine if manifest.digest in meant]
    named.sort(key=lambda manifest: cache.last_used(manifest.digest), reverse=True)
    orphans = [
        manifest
        for manifest, kept in all_builds
        if not kept.wanted.project.startswith("archive:")
        and cache.last_used(manifest.digest) < time.time() - ORPHAN_SECONDS
        and not os.path.isdir(kept.wanted.project.partition("//")[0])
    ]
    return [*(each for each in mine if each.digest not in meant), *named[MOST_OF_A_PROJECT:], *orphans]
