"""Which builds, and which layers kept for the next build of a Dockerfile, go so that all of them together stay within a
budget: those that were used longest ago, no build in use.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator
from pathlib import Path

from pyro_mcp import trees
from pyro_mcp.environments.cache import EnvironmentCache, Manifest


def over_budget(cache: EnvironmentCache, in_use: Container[str], keep_bytes: int) -> list[tuple[Manifest | Path, int]]:
    """The builds and the kept layers to remove, in this order, each with the bytes on disk that its removal frees then.

    Builds share files by hard links, and images their layers: such a file goes with the last build that has it. Blocks:
    one lstat a file.
    """
    used: list[tuple[float, Manifest | Path]] = [(cache.last_used(build.digest), build) for build in cache.builds()]
    for kept in cache.all_kept():
        with contextlib.suppress(FileNotFoundError):
            used.append((kept.lstat().st_mtime, kept))
    used.sort(key=lambda each: each[0])
    removable = [each for _, each in used if isinstance(each, Path) or each.digest not in in_use]
    never = len(removable)
    turn = {_name(each): number for number, each in enumerate(removable)}
    frees = [0] * (never + 1)
    last: dict[tuple[int, int], int] = {}
    sizes: dict[tuple[int, int], int] = {}

    for _, each in used:
        when = turn.get(_name(each), never)
        for place in _places(cache, each):
            for info in _infos(place):
                inode = info.st_dev, info.st_ino
                sizes[inode] = info.st_blocks * 512
                last[inode] = max(last.get(inode, 0), when)
    for inode, when in last.items():
        frees[when] += sizes[inode]
    total, going = sum(frees), []
    for number, each in enumerate(removable):
        if total <= keep_bytes:
            break
        going.append((each, frees[number]))
        total -= frees[number]
    return going


def _name(each: Manifest | Path) -> str:
    return each.name if isinstance(each, Path) else each.digest


def _places(cache: EnvironmentCache, each: Manifest | Path) -> list[Path]:
    if isinstance(each, Path):
        return [each]
    return [cache.root / each.digest, *(cache.layers / layer.removeprefix("sha256:") for layer in each.layers)]


def _infos(place: Path) -> Iterator[os.stat_result]:
    if place.is_dir():
        yield from (entry.stat(follow_symlinks=False) for entry in trees.walk(place))
        return
    with contextlib.suppress(FileNotFoundError):
        yield place.lstat()
