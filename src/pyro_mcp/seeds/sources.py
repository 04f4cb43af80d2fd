"""From a path that somebody named to what is copied in: looked at, then put into the store."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp import models
from pyro_mcp.errors import InvalidInput
from pyro_mcp.paths import show
from pyro_mcp.seeds import archives
from pyro_mcp.seeds.archives import Progress
from pyro_mcp.seeds.prepared import PreparedSeed
from pyro_mcp.seeds.scan import SeedPlan, scan
from pyro_mcp.seeds.store import SeedStore


@dataclass(frozen=True)
class Source:
    """What is copied in: a plan of a tree or archive, or one plain file."""

    path: Path
    plan: SeedPlan | None
    files: int
    bytes: int


def scan_source(path: str, include_ignored: bool, *, bare: bool = False) -> Source:
    """Look at a path of this computer. Raises InvalidInput when it cannot be copied."""
    place = Path(path)
    if not place.is_absolute():
        raise InvalidInput(f"The path {show(path)} is not absolute.", hint="Give an absolute path.", code="bad_path")
    plan = scan(place, include_ignored=include_ignored, bare=bare)
    return Source(plan.source, plan, plan.files, plan.bytes)


def scan_push(path: str, include_ignored: bool) -> Source:
    """As `scan_source`, but a file that is not an archive is pushed as that file, part of a work tree without git."""
    place = Path(path)
    try:
        info = place.stat()
    except OSError:
        return scan_source(path, include_ignored, bare=True)
    if stat.S_ISREG(info.st_mode) and not archives.is_archive_name(place.name):
        if not os.access(place, os.R_OK):
            raise InvalidInput(f"{show(path)} cannot be read.", code="unreadable")
        return Source(place.resolve(), None, 1, info.st_size)
    return scan_source(path, include_ignored, bare=True)


def prepare_seed(
    seeds: SeedStore, source: Source, progress: Progress | None = None, owner: tuple[int, int] = (0, 0)
) -> PreparedSeed:
    """Copy the source into the store as `owner`'s, unless the very same is there. Blocks."""
    assert source.plan is not None
    seed = seeds.materialise(source.plan, progress, owner)
    info = models.SeedInfo(
        source=str(source.path),
        kind=source.plan.kind,
        files=seed.files,
        bytes=seed.bytes,
        skipped=source.plan.skipped[:100],
        notes=source.plan.notes,
        commit=source.plan.commit,
        prefix=source.plan.prefix,
    )
    return PreparedSeed(seed.digest, seed.tree, info)
