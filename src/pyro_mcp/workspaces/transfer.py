"""Trees and files into a guest: the seed, and what is pushed later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp import models
from pyro_mcp.errors import EngineError, InvalidInput
from pyro_mcp.guest.client import Guest
from pyro_mcp.paths import show, workspace_path
from pyro_mcp.workspaces import archives
from pyro_mcp.workspaces.archives import Progress
from pyro_mcp.workspaces.files import absolute
from pyro_mcp.workspaces.manager import PreparedSeed
from pyro_mcp.workspaces.seed_store import SeedStore
from pyro_mcp.workspaces.seeding import SeedPlan, scan

PIPE_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """What is copied in: a plan of a tree or archive, or one plain file."""

    path: Path
    plan: SeedPlan | None
    files: int
    bytes: int


def scan_source(path: str, include_ignored: bool) -> Source:
    """Look at a path of this machine. Raises InvalidInput when it cannot be copied."""
    place = Path(path)
    if not place.is_absolute():
        raise InvalidInput(f"The path {show(path)} is not absolute.", hint="Give an absolute path.", code="bad_path")
    plan = scan(place, include_ignored=include_ignored)
    return Source(plan.source, plan, plan.files, plan.bytes)


def scan_push(path: str, include_ignored: bool) -> Source:
    """As `scan_source`; a regular file that is no archive is pushed as that file."""
    place = Path(path)
    try:
        info = place.stat()
    except OSError:
        return scan_source(path, include_ignored)
    if stat.S_ISREG(info.st_mode) and not archives.is_archive_name(place.name):
        if not os.access(place, os.R_OK):
            raise InvalidInput(f"{show(path)} cannot be read.", code="unreadable")
        return Source(place.resolve(), None, 1, info.st_size)
    return scan_source(path, include_ignored)


def prepare_seed(seeds: SeedStore, source: Source, progress: Progress | None = None) -> PreparedSeed:
    """Copy the source into the store, unless the very same is there. Blocks."""
    assert source.plan is not None
    seed = seeds.materialise(source.plan, progress)
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


# -- in


async def push(
    seeds: SeedStore,
    guest: Guest,
    workspace_id: str,
    source: Source,
    dest: str,
    progress: Progress | None = None,
) -> models.Synced:
    """Copy the source below `dest`, all of it or nothing."""
    relative = str(workspace_path(dest))
    if source.plan is None:
        parent, member = source.path.parent, source.path.name
        skipped: list[str] = []
    else:
        seed = await asyncio.to_thread(seeds.materialise, source.plan, progress)
        parent, member, skipped = seed.tree, ".", source.plan.skipped[:100]
    async with _tar_of(parent, member) as stream:
        answer = (await guest.call("PUT", "/v1/tar", query={"dest": relative}, body=stream)).json()
    return models.Synced(
        workspace=workspace_id,
        source=str(source.path),
        destination=absolute(relative),
        files=int(answer["files"]),
        bytes=int(answer["bytes"]),
        skipped=skipped,
    )


@contextlib.asynccontextmanager
async def _tar_of(directory: Path, member: str) -> AsyncIterator[AsyncIterator[bytes]]:
    process = await asyncio.create_subprocess_exec(
        *(
            "tar",
            "--format=pax",
            "--numeric-owner",
            "--owner=0",
            "--group=0",
            "-C",
            str(directory),
            "-cf",
            "-",
            "--",
            member,
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=PIPE_CHUNK,
    )
    assert process.stdout is not None
    stdout = process.stdout

    async def chunks() -> AsyncIterator[bytes]:
        while data := await stdout.read(PIPE_CHUNK):
            yield data
        assert process.stderr is not None
        said = (await process.stderr.read()).decode(errors="replace").strip()
        if await process.wait() != 0:
            raise EngineError(f"tar could not read {directory}: {said[-300:]}", code="tar_failed")

    try:
        yield chunks()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
