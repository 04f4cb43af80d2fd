"""What a project's set-up made and a workspace began with: part of no diff and no export, and named where it could be
missed, which is where no rule of the project's ignores it."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mcp.files.sifting import Read, sift
from pyro_mcp.models import LeftOut

_PROBE = ".pyro-probe-7c1f2e5a90b4"
"""A name that only a rule for all of a directory matches."""


@dataclass(frozen=True)
class Made:
    """Of one workspace."""

    tops: Sequence[tuple[str, int]] = ()
    """A file, or a directory with a slash at its end, that the project does not have; and how many files it holds."""
    tree: Path | None = None
    """On this computer: what the set-up made of /workspace."""
    seed: Path | None = None
    """On this computer: what lies above that, and hides what has the same path."""


NOTHING = Made()


def probe(path: str, inside: bool = False) -> dict[str, Any]:
    """A change that stands for a path, or for all that is in a directory, for `sift` to judge."""
    new = {"kind": "file", "mode": 0o644, "size": 0, "link": None}
    return {"path": f"{path}/{_PROBE}".lstrip("/") if inside else path, "old": None, "new": new}


def _probe_of(top: str) -> dict[str, Any]:
    return probe(top.rstrip("/"), inside=top.endswith("/"))


async def named(
    read: Read, made: Made, seed: Mapping[str, Any] | None, taken: Container[str], below: str | None = None
) -> list[LeftOut]:
    """What of it no rule of the project's ignores, and is not taken because it was changed since."""
    tops = [(path, files) for path, files in made.tops if below in (None, ".") or path.startswith(f"{below}/")]
    tops = [(path, files) for path, files in tops if path not in taken]
    if not tops:
        return []
    sifted = await sift(read, [_probe_of(path) for path, _ in tops], seed, False)
    ignored = [group.path for group in sifted.left_out if group.why == "ignored"]

    def known(path: str) -> bool:
        mine = str(_probe_of(path)["path"])
        return any(mine == each or (each.endswith("/") and mine.startswith(each)) for each in ignored)

    return [LeftOut(path=path, files=files, why="prepared") for path, files in tops if not known(path)]


def paths_of(made: Made, below: str) -> frozenset[str]:
    """All that is there of it below a directory of the workspace; nothing where that is of its own. Blocks."""
    if made.tree is None or made.seed is None:
        return frozenset()
    if below != "." and any(f"{below}/".startswith(path) for path, _ in made.tops if path.endswith("/")):
        return frozenset()
    tree = made.tree.resolve()
    top = tree / below
    if os.path.realpath(top) != str(top):
        return frozenset()  # a link there, or on the way, leads anywhere on this computer
    found = set()
    for directory, names, files in os.walk(top):
        relative = os.path.relpath(directory, tree)
        prefix = "" if relative == "." else f"{relative}/"
        found |= {prefix + name for name in (*names, *files) if not os.path.lexists(made.seed / (prefix + name))}
    return frozenset(found)
