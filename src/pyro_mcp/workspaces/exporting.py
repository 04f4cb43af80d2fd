"""Trees and files out of a guest.

What comes out of a guest is hostile: it is unpacked by the rules of `archives` into a directory of its own, freed of
secrets and of what would run programs here (`exports.repositories`), and only then put in place (`exports.place`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mcp import models, trees
from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.exports import place as placing
from pyro_mcp.exports import project
from pyro_mcp.exports.backups import STAGING, Backups
from pyro_mcp.exports.repositories import LeftOut, TooDeep, disarm, is_bare, leave_out
from pyro_mcp.files import changes
from pyro_mcp.files.listing import absolute
from pyro_mcp.files.made import NOTHING, Made
from pyro_mcp.files.sifting import told
from pyro_mcp.guest.client import Guest
from pyro_mcp.masking.redaction import Redactor, StreamRedactor
from pyro_mcp.paths import show, workspace_path
from pyro_mcp.seeds import archives

PIPE_CHUNK = 1024 * 1024
WHOLE = "workspace"
"""What a whole workspace is called in a directory that it is put into."""
NAMED = 100
"""Names that a result lists."""


@dataclass(frozen=True)
class Destination:
    """Where an export goes, and what holds there."""

    output: Path
    overwrite: bool
    backups: Backups
    seed_source: str = ""
    """The directory of this computer that the workspace was seeded from."""
    folder: bool = False
    """The output was named with a slash at its end."""


@contextlib.asynccontextmanager
async def _staging(backups: Backups) -> AsyncIterator[Path]:
    """A private directory of pyro's own; what a killed daemon leaves there, the next one removes."""
    parent = backups.directory / STAGING
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=parent))
    try:
        yield place
    finally:
        await asyncio.to_thread(shutil.rmtree, place, True)


def _all_of(staged: Path) -> Iterator[Path]:
    """A file or link itself, or all that is in a directory."""
    if staged.is_symlink() or not staged.is_dir():
        return iter([staged])
    return (Path(entry.path) for entry in trees.walk(staged))


def _redact(staged: Path, redactor: Redactor) -> None:
    """Mask secret values in the files of what is exported, in place: a mask is as long as what it hides. Blocks."""
    for file in _all_of(staged):
        info = file.lstat()
        if not stat.S_ISREG(info.st_mode):
            continue
        file.chmod(stat.S_IMODE(info.st_mode) | 0o600)
        with file.open("rb", buffering=0) as source, file.open("r+b") as target:
            for start, stop in trees.extents(source.fileno()):  # a hole holds no value, and stays one
                mask = StreamRedactor(redactor)
                source.seek(start)
                target.seek(start)
                while start < stop and (data := source.read(min(PIPE_CHUNK, stop - start))):
                    start += len(data)
                    target.write(mask.feed(data))  # never ahead of what was read
                    target.flush()
                target.write(mask.end())
        file.chmod(stat.S_IMODE(info.st_mode))
        os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


def _refuse_secret_names(staged: Path, redactor: Redactor) -> None:
    """A name or a link's target that holds a secret cannot be masked: something else would be exported.

    Raises:
        InvalidInput: naming the entry, masked.
    """
    for entry in trees.walk(staged):
        target = os.readlink(entry.path) if entry.is_symlink() else ""
        for text in (entry.name, target):
            if redactor.text(text) != text:
                shown = redactor.text(os.path.relpath(entry.path, staged))
                raise InvalidInput(
                    f"The name or link target of {show(shown)} contains a secret; nothing was exported.",
                    hint="Rename it in the workspace, or export something else.",
                    code="secret_in_name",
                )


async def export_path(
    guest: Guest,
    workspace_id: str,
    path: str,
    to: Destination,
    redactor: Redactor,
    *,
    seed: Mapping[str, Any] | None = None,
    include_git: bool = False,
    include_ignored: bool = True,
    made: Made = NOTHING,
) -> models.Exported:
    """Write a file or tree of the workspace to this computer; see `operations.workspaces.export_workspace`."""
    relative = str(workspace_path(path))
    name = None if relative == "." else Path(relative).name
    await asyncio.to_thread(check_whole, relative, to)
    await asyncio.to_thread(check_place, name or WHOLE, to)
    info = (await guest.call("GET", "/v1/files/stat", query={"path": relative})).record()
    is_directory = info.text("kind") == "dir"
    omitted = changes.Omitted()
    if is_directory and not include_ignored and ".git" not in relative.lower().split("/"):
        omitted = await changes.omitted(guest, seed, relative, made)
    async with _staging(to.backups) as staging:
        archive, tree = staging / "stream.tar", staging / "tree"
        tree.mkdir()
        async with guest.download("/v1/tar", {"path": relative}) as stream:
            with archive.open("wb") as file:
                async for chunk in stream:
                    await asyncio.to_thread(file.write, chunk)
        unpacked = await asyncio.to_thread(functools.partial(archives.extract, archive, tree, of_workspace=True))
        await asyncio.to_thread(archive.unlink)
        staged = tree if is_directory else tree / Path(relative).name
        if to.folder and not is_directory and not to.output.is_dir():
            raise InvalidInput(
                f"The directory {show(str(to.output))} does not exist.", hint="Create it first.", code="no_directory"
            )
        if not os.path.lexists(staged):
            raise InvalidInput(
                f"{show(absolute(relative))} is not a file, directory or link; it cannot be exported.",
                code="cannot_export",
            )
        left = LeftOut()
        if is_directory:
            staged.chmod(info.whole("mode") & 0o777 | 0o700)
            left = await asyncio.to_thread(without_git, staged, relative, include_git)
            await asyncio.to_thread(_leave_out, staged, relative, omitted.paths)
        if redactor:
            await asyncio.to_thread(_refuse_secret_names, tree, redactor)
            await asyncio.to_thread(_redact, staged, redactor)
        files, size = await asyncio.to_thread(_count, staged)
        target = os.readlink(staged) if staged.is_symlink() else None
        outcome = await asyncio.to_thread(put, staged, name or WHOLE, to)
    return models.Exported(
        workspace=workspace_id,
        path=absolute(relative),
        output=told_names([str(outcome.path)])[0],
        kind="directory" if is_directory else "file",
        files=files,
        bytes=size,
        left_out=told_names([*left.repositories, *left.parts, *(g.path for g in omitted.left_out), *unpacked.specials]),
        left_out_files=sum(group.files for group in omitted.left_out) + len(unpacked.specials),
        replaced=told_names(outcome.replaced),
        backup=str(outcome.backup) if outcome.backup else None,
        hint=" ".join(
            filter(
                None,
                (
                    _hint(left, outcome),
                    told(omitted.left_out),
                    _UNJUDGED * omitted.unjudged,
                    _specials_hint(unpacked.specials),
                    _widened_hint(unpacked.widened),
                    _link_hint(target, absolute(relative)),
                ),
            )
        ),
    )


def told_names(names: Sequence[str]) -> list[str]:
    """Names for a record, which holds no bytes that are not UTF-8."""
    return [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names[:NAMED]]


def _some(names: Sequence[str]) -> str:
    return ", ".join(show(name) for name in names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _specials_hint(specials: Sequence[str]) -> str:
    return f"Left out, because only a running machine has them: {_some(specials)}." if specials else ""


def _widened_hint(widened: Sequence[str]) -> str:
    return f"Directories that were read-only for their owner are writable here: {_some(widened)}." if widened else ""


def _link_hint(target: str | None, path: str) -> str:
    if target is None:
        return ""
    return f"{show(path)} is a symbolic link and was exported as one; to get its target, export {show(target)}."


_UNJUDGED = "Too much changed to apply the ignore rules: ignored and tool-made files are included."


def _leave_out(staged: Path, relative: str, paths: frozenset[str]) -> None:
    """Remove files by their names in the workspace, and the directories that this leaves empty. Follows no link."""
    above = "" if relative == "." else f"{relative}/"
    emptied: set[str] = set()
    for directory, names, files in os.walk(staged, topdown=False) if paths else ():
        within = os.path.relpath(directory, staged)
        inside = above if within == "." else f"{above}{within}/"
        for name in [*names, *files]:
            place = os.path.join(directory, name)
            if os.path.isdir(place) and not os.path.islink(place):
                if place not in emptied and inside + name not in paths:
                    continue
                with contextlib.suppress(OSError):  # something that is taken is in there
                    os.rmdir(place)
                    emptied.add(directory)
            elif inside + name in paths:
                os.unlink(place)
                emptied.add(directory)


def without_git(staged: Path, relative: str, include_git: bool) -> LeftOut:
    """Repositories are left out, or disarmed where they were asked for."""
    parts = [part.lower() for part in relative.split("/")]
    try:
        if ".git" in parts or is_bare(staged):
            # Asked for by its name: the inside of one.
            return disarm(staged, itself=is_bare(staged))
        return disarm(staged) if include_git else leave_out(staged)
    except TooDeep:
        raise InvalidInput(
            f"{show(absolute(relative))} contains directories nested more than 256 deep.",
            hint="Export only a part of it.",
            code="tree_too_deep",
        ) from None


def _count(staged: Path) -> tuple[int, int]:
    """Files and links, and the files' bytes."""
    files = size = 0
    for place in _all_of(staged):
        info = place.lstat()
        if not stat.S_ISDIR(info.st_mode):
            files += 1
            size += info.st_size if stat.S_ISREG(info.st_mode) else 0
    return files, size


def _hint(left: LeftOut, outcome: placing.Outcome) -> str:
    hints = []
    if left.repositories:
        count = len(left.repositories)
        hints.append(
            f"Left out: {count} git {'repository' if count == 1 else 'repositories'}, whose settings and hooks could "
            "run programs here; include_git brings their data."
        )
    if left.parts:
        hints.append("Left out of git repositories: hooks, and settings that could run programs here.")
    if outcome.backup:
        hints.append(f"Replaced files are kept in {outcome.backup}.")
    return " ".join(hints)


def check_whole(relative: str, to: Destination) -> None:
    """The whole workspace is never laid over the project that it came from."""
    if relative != ".":
        return
    # In a directory, it comes to stand under a name of its own; a project may have that name.
    for place in (to.output, to.output / WHOLE):
        here = os.path.realpath(place)
        if os.path.isdir(here) and (
            here == os.path.realpath(to.seed_source or "/nonexistent") or os.path.lexists(os.path.join(here, ".git"))
        ):
            raise Conflict(
                f"{show(str(place))} is the user's project, and a whole workspace is never copied into it.",
                hint="`pyro workspace land` commits the changes as a branch; `patch` exports them as a patch to apply.",
                code="output_in_project",
            )


def check_place(name: str, to: Destination) -> None:
    """Before the guest is asked for anything: that there is a place to write to."""
    with placing.opened(*placing.resolve(to.output, name)):
        pass


def put(staged: Path, name: str, to: Destination) -> placing.Outcome:
    output = to.output
    # The same name again is the same place again, as rsync has it; any other directory is a place to put it into.
    again = output.name == name and staged.is_dir() and not staged.is_symlink()
    directory, last = placing.resolve(output, None if again else name)
    with placing.opened(directory, last) as target:
        return placing.place(
            staged,
            target,
            overwrite=to.overwrite,
            backups=to.backups,
            protected=functools.partial(project.tracked, target.path),
        )


async def export_patch(
    guest: Guest,
    workspace_id: str,
    seed: Mapping[str, Any] | None,
    to: Destination,
    redactor: Redactor,
    include_ignored: bool,
    stored: changes.Stored | None,
    made: Made = NOTHING,
) -> models.Exported:
    """Write the whole diff, binary files included, as a patch that `git apply` takes."""
    result, found = await changes.whole_patch(guest, seed, redactor, include_ignored, stored, made)
    async with _staging(to.backups) as staging:
        staged = staging / "patch"
        await asyncio.to_thread(staged.write_bytes, redactor.data(result.patch))
        staged.chmod(0o644)
        outcome = await asyncio.to_thread(put, staged, f"{workspace_id}.patch", to)
    return models.Exported(
        workspace=workspace_id,
        path=absolute("."),
        output=told_names([str(outcome.path)])[0],
        kind="patch",
        files=len(result.files),
        bytes=len(result.patch),
        replaced=told_names(outcome.replaced),
        backup=str(outcome.backup) if outcome.backup else None,
        empty_directories=[absolute(directory) for directory in result.empty_directories],
        left_out=[group.path for group in found.left_out[: changes.SHOWN_GROUPS]],
        left_out_files=sum(group.files for group in found.left_out),
        hint=" ".join(filter(None, (_hint(LeftOut(), outcome), told(found.left_out)))),
    )
