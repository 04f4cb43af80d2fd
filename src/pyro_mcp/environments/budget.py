"""Which builds go so that all of them together stay within a budget: those that were used longest ago, none in use."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from pyro_mcp import trees
from pyro_mcp.environments.cache import EnvironmentCache, Manifest


def over_budget(cache: EnvironmentCache, in_use: Container[str], keep_bytes: int) -> list[tuple[Manifest, int]]:
    """The builds to remove, in this order, each with the bytes on disk that its removal frees then.

    Builds share files by hard links, and images their layers: such a file goes with the last build that has it. Blocks:
    one lstat a file.
    """
    builds = sorted(cache.builds(), key=lambda build: cache.last_used(build.digest))
    removable = [build for build in builds if build.digest not in in_use]
    turn = {build.digest: number for number, build in enumerate(removable)}
    never = len(removable)
    frees = [0] * (never + 1)
    last: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], int] = {}

    def count(place: Path, when: int) -> None:
        if not place.is_dir():
            return
        for entry in trees.walk(place):
            info = entry.stat(follow_symlinks=False)
            inode = info.st_dev, info.st_ino
            sizes[inode] = info.st_blocks * 512
            last[inode] = max(last.get(inode, 0), when)

    for build in builds:
        when = turn.get(build.digest, never)
        count(cache.root / build.digest, when)
        for layer in build.layers:
            count(cache.layers / layer.removeprefix("sha256:"), when)
    for inode, when in last.items():
        frees[when] += sizes[inode]
    total, going = sum(frees), []
    for number, build in enumerate(removable):
        if total <= keep_bytes:
            break
        going.append((build, frees[number]))
        total -= frees[number]
    return going
