"""Trees and files across the boundary: seed and push in, export out.

What comes out of a guest is hostile: it is unpacked by the rules of `archives` into a directory of its own
and moved into place whole, never through a symbolic link, never over something that is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp import models
from pyro_mcp.errors import Conflict, EngineError, InvalidInput
from pyro_mcp.guest.client import WORK_SECONDS, Guest
from pyro_mcp.masking.redaction import Redactor, StreamRedactor
from pyro_mcp.workspaces import archives, changes
from pyro_mcp.workspaces.archives import Progress
from pyro_mcp.workspaces.files import absolute
from pyro_mcp.workspaces.manager import PreparedSeed
from pyro_mcp.workspaces.paths import show, workspace_path
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


# -- out


def _check_target(output: Path, overwrite: bool) -> None:
    if not output.is_absolute():
        raise InvalidInput(
            f"The output {show(str(output))} is not absolute.", hint="Give an absolute path.", code="bad_path"
        )
    if not output.parent.is_dir():
        raise InvalidInput(
            f"The directory {show(str(output.parent))} does not exist.", hint="Make it first.", code="no_directory"
        )
    if os.path.lexists(output) and not overwrite:
        raise Conflict(
            f"{show(str(output))} exists already; it was not touched.",
            hint="Choose another place, or say `overwrite`.",
            code="output_exists",
        )
    if overwrite and output.is_dir() and not output.is_symlink() and output.resolve() in (Path("/"), Path.home()):
        raise InvalidInput(f"{show(str(output))} cannot be replaced.", code="bad_output")


def _move(staged: Path, output: Path, overwrite: bool) -> None:
    """Put the finished thing in its place; what is replaced goes only when the new one is there."""
    aside = None
    if os.path.lexists(output):
        if not overwrite:
            raise Conflict(f"{show(str(output))} appeared in the meantime; it was not touched.", code="output_exists")
        if not (output.is_file() or output.is_symlink()) or staged.is_dir():
            aside = output.with_name(f".{output.name}.pyro-{secrets.token_hex(4)}")
            os.rename(output, aside)
    try:
        os.rename(staged, output)
    except OSError:
        if aside is not None:
            os.rename(aside, output)
        raise
    if aside is not None:
        shutil.rmtree(aside) if aside.is_dir() and not aside.is_symlink() else aside.unlink()


@contextlib.asynccontextmanager
async def _staging(output: Path) -> AsyncIterator[Path]:
    """A private directory beside the output, so that the last step is a rename."""
    place = output.with_name(f".pyro-export-{secrets.token_hex(6)}")
    try:
        place.mkdir(mode=0o700)
    except OSError as error:
        raise InvalidInput(
            f"{show(str(output.parent))} cannot be written: {error.strerror}.", code="output_not_writable"
        ) from None
    try:
        yield place
    finally:
        await asyncio.to_thread(shutil.rmtree, place, True)


def _redact(staged: Path, redactor: Redactor) -> None:
    """Mask secret values in the files of what is exported, in place: a mask is as long as what it hides. Blocks."""
    for file in [staged] if not staged.is_dir() or staged.is_symlink() else list(staged.rglob("*")):
        info = file.lstat()
        if not stat.S_ISREG(info.st_mode):
            continue
        mask = StreamRedactor(redactor)
        file.chmod(stat.S_IMODE(info.st_mode) | 0o600)
        with file.open("rb") as source, file.open("r+b") as target:
            while data := source.read(PIPE_CHUNK):
                target.write(mask.feed(data))  # never ahead of what was read
                target.flush()
            target.write(mask.end())
        file.chmod(stat.S_IMODE(info.st_mode))
        os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


async def export_path(
    guest: Guest, workspace_id: str, path: str, output: Path, overwrite: bool, redactor: Redactor
) -> models.Exported:
    """Write a file or tree of the workspace to `output` on this machine."""
    relative = str(workspace_path(path))
    _check_target(output, overwrite)
    info = (await guest.call("GET", "/v1/files/stat", query={"path": relative})).record()
    async with _staging(output) as staging:
        archive, tree = staging / "stream.tar", staging / "tree"
        tree.mkdir()
        async with guest.download("/v1/tar", {"path": relative}) as stream:
            with archive.open("wb") as file:
                async for chunk in stream:
                    await asyncio.to_thread(file.write, chunk)
        extracted = await asyncio.to_thread(archives.extract, archive, tree)
        is_directory = info.text("kind") == "dir"
        staged = tree if is_directory else tree / Path(relative).name
        if not os.path.lexists(staged):
            raise InvalidInput(
                f"{show(absolute(relative))} is no file, directory or link; it cannot be exported.",
                code="cannot_export",
            )
        if is_directory:
            staged.chmod(info.whole("mode") & 0o777 | 0o700)
        if redactor:
            await asyncio.to_thread(_redact, staged, redactor)
        await asyncio.to_thread(_move, staged, output, overwrite)
    return models.Exported(
        workspace=workspace_id,
        path=absolute(relative),
        output=str(output),
        kind="directory" if is_directory else "file",
        files=extracted.files,
        bytes=extracted.bytes,
    )


async def export_patch(
    guest: Guest, workspace_id: str, output: Path, overwrite: bool, redactor: Redactor
) -> models.Exported:
    """Write the whole diff, binary files included, as a patch that `git apply` takes."""
    _check_target(output, overwrite)
    result = await changes.whole_patch(guest, redactor)
    async with _staging(output) as staging:
        staged = staging / "patch"
        await asyncio.to_thread(staged.write_bytes, redactor.data(result.patch))
        await asyncio.to_thread(_move, staged, output, overwrite)
    return models.Exported(
        workspace=workspace_id,
        path=absolute("."),
        output=str(output),
        kind="patch",
        files=len(result.files),
        bytes=len(result.patch),
    )
