"""Trees and files into a guest: the seed, and what is pushed later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from pyro_mcp import models
from pyro_mcp.errors import EngineError
from pyro_mcp.files.listing import absolute
from pyro_mcp.guest.client import WORK_SECONDS, Guest
from pyro_mcp.paths import workspace_path
from pyro_mcp.seeds.archives import Progress
from pyro_mcp.seeds.sources import Source
from pyro_mcp.seeds.store import SeedStore

PIPE_CHUNK = 1024 * 1024


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
    async with tar_of(parent, member) as stream:
        answer = (
            await guest.call("PUT", "/v1/tar", query={"dest": relative}, body=stream, seconds=WORK_SECONDS)
        ).record()
    return models.Synced(
        workspace=workspace_id,
        source=str(source.path),
        destination=absolute(relative),
        files=answer.whole("files"),
        bytes=answer.whole("bytes"),
        skipped=skipped,
    )


_TAR = """
import os, sys, tarfile
def plain(info):
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info
os.chdir(sys.argv[1])
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8",
                  errors="surrogateescape", bufsize=262144) as out:
    out.add(sys.argv[2], filter=plain)
"""
"""What stands in for `tar` on a computer without one; it takes about twice the time."""


def tar_command(directory: Path, member: str, *more: str) -> list[str]:
    """What writes a member of a directory as a tar of root's to standard output; `more` are options of GNU tar."""
    tar = shutil.which("tar", path=os.environ.get("PATH", "") + ":/usr/bin:/bin")
    if tar is None:
        return [sys.executable, "-I", "-c", _TAR, str(directory), member]
    options = ("--format=pax", "--numeric-owner", "--owner=0", "--group=0")
    return [tar, *options, *more, "-C", str(directory), "-cf", "-", "--", member]


@contextlib.asynccontextmanager
async def tar_of(directory: Path, member: str) -> AsyncIterator[AsyncIterator[bytes]]:
    process = await asyncio.create_subprocess_exec(
        *tar_command(directory, member),
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
