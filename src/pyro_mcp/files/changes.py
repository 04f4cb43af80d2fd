"""What changed in a workspace: the diff against its baseline, and patches that change it further."""

from __future__ import annotations

import asyncio
import base64
import functools
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pyro_mcp import models
from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.files.listing import absolute
from pyro_mcp.files.made import NOTHING, Made, named, paths_of, probe
from pyro_mcp.files.sifting import sift, told
from pyro_mcp.files.staging import staged
from pyro_mcp.guest.client import WORK_SECONDS, Guest
from pyro_mcp.guest.delta import Look
from pyro_mcp.guest.said import Said, damaged, wire_name
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.patches.diff import DiffEntry, DiffResult, FileVersion, render
from pyro_mcp.patches.parse import parse_patch
from pyro_mcp.patches.plan import Change, FileState, plan
from pyro_mcp.paths import show, workspace_path

FILE_CAP = 8 * 1024 * 1024
"""Larger files are named in a diff as binary ones are, and are not patched."""
BATCH_PATHS = 500
SHOWN_GROUPS = 20
LISTINGS = 8
"""Looks at what changed, when files come and go meanwhile."""
Stored = Callable[[Sequence[DiffEntry]], list[DiffEntry]]
"""Makes of entries what git would store."""
CHANGING = "changing"
PATCH_ATTEMPTS = 32
"""Each attempt that fails means that somebody else's change went through."""


class _Wanted(Exception):
    """The plan asks for these paths."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths


async def read_directly(guest: Guest, paths: list[str], layer: str = "merged") -> dict[str, FileState]:
    """What stands at these paths; what is only there behind a symbolic link on the way is absent."""
    return await read_states(guest, paths, layer, direct=True)


async def read_states(
    guest: Guest, paths: list[str], layer: str = "merged", *, direct: bool = False
) -> dict[str, FileState]:
    """What stands at these paths, relative to /workspace; a link there is not followed, one on the way is."""
    states: dict[str, FileState] = {}
    for start in range(0, len(paths), BATCH_PATHS):
        batch = paths[start : start + BATCH_PATHS]
        while batch:
            answer = await guest.call(
                "POST",
                "/v1/files/read-many",
                json_body={
                    "layer": layer,
                    "paths": [wire_name(path) for path in batch],
                    "max_bytes_each": FILE_CAP,
                    "direct": direct,
                },
                seconds=WORK_SECONDS,
            )
            again: list[str] = []
            for record in answer.record().records("files"):
                # The answer as a whole is bounded; what did not fit into it, but would alone, is asked for again.
                if record.flag("truncated") and record.whole("size") <= FILE_CAP and len(batch) > 1:
                    again.append(record.name("path"))
                else:
                    states[record.name("path")] = _state(record)
            if len(again) >= len(batch) or not set(again) <= set(batch):
                raise damaged("it asks for the same files again and again")
            batch = again
    if not set(paths) <= states.keys():
        raise damaged("it leaves out a file that was asked for")
    return states


def _state(record: Said) -> FileState:
    return FileState(
        kind=cast("Any", record.word("kind", ("absent", "file", "dir", "symlink", "other"))),
        content=record.data("content") if record.has("content") else None,
        mode=record.whole("mode") & 0o7777 if record.has("mode") else 0,
        link=record.name("link") if record.has("link") else None,
        changing=record.flag("changing"),
    )


# -- patches


async def apply_patch(guest: Guest, workspace_id: str, text: str) -> models.PatchApplied:
    """Apply a patch, all of it or nothing.

    Files that change between the look at them and the change are looked at again: a patch whose lines are untouched
    fits still, so patches to different parts of a file do not disturb each other.
    """
    patches = parse_patch(text)

    def ask(paths: list[str]) -> dict[str, FileState]:
        raise _Wanted(paths)

    try:
        plan(patches, ask)
    except _Wanted as wanted:
        paths = wanted.paths
    async for attempt in until_nobody_was_faster():
        with attempt:
            states = await read_states(guest, paths)
            made = plan(patches, lambda _, states=states: states)  # type: ignore[misc]
            await carry_out(guest, made.changes)
    return models.PatchApplied(
        workspace=workspace_id,
        files=_summary(made.changes, states),
        placed=[
            models.HunkPlaced(path=path, hunk=p.hunk, line=p.line, offset=p.offset, fuzz=p.fuzz)
            for path, p in made.placed
        ],
    )


async def carry_out(guest: Guest, changes: list[Change]) -> None:
    """Make these changes, all of them or none.

    Raises:
        Conflict: `expectation_failed` where a file is not any more what the change expects.
    """
    async with staged(guest, [_change_record(c) for c in changes]) as body:
        await guest.call("POST", "/v1/files/apply", json_body=body, seconds=WORK_SECONDS)


class Attempt:
    """One try; remembers whether somebody else changed the file first."""

    def __init__(self, last: bool) -> None:
        self.last = last
        self.beaten = False

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.beaten = isinstance(error, Conflict) and error.code == "expectation_failed" and not self.last
        return self.beaten


async def until_nobody_was_faster() -> AsyncIterator[Attempt]:
    """Attempts at reading and changing, until one goes through or fails for another reason."""
    for number in range(1, PATCH_ATTEMPTS + 1):
        attempt = Attempt(last=number == PATCH_ATTEMPTS)
        yield attempt
        if not attempt.beaten:
            return


def _change_record(change: Change) -> dict[str, Any]:
    record: dict[str, Any] = {
        "op": change.op,
        "path": wire_name(change.path),
        "make_parents": change.op in ("write", "symlink", "rename", "mkdir"),
        "prune_parents": change.op in ("delete", "rename", "rmdir"),
    }
    if change.content is not None:
        record["content"] = base64.b64encode(change.content).decode()
    for key in ("to", "mode", "link", "expect"):
        value = getattr(change, key)
        if value is not None:
            record[key] = wire_name(value) if key in ("to", "link") else value
    return record


def _summary(changes: list[Change], states: dict[str, FileState]) -> list[models.ChangedFile]:
    """What the changes come to, counted as the diff counts."""
    before: dict[str, FileVersion | None] = {}
    after: dict[str, FileVersion | None] = {}

    def now(path: str) -> FileVersion | None:
        return after[path] if path in after else before.setdefault(path, _version(states.get(path)))

    for change in changes:
        old = now(change.path)
        if change.op == "delete":
            after[change.path] = None
        elif change.op == "rename" and change.to is not None:
            now(change.to)
            after[change.path], after[change.to] = None, old
        elif change.op == "write":
            mode = change.mode if change.mode is not None else (old.mode if old else 0o644)
            after[change.path] = FileVersion("file", change.content or b"", mode)
        elif change.op == "symlink":
            after[change.path] = FileVersion("symlink", os.fsencode(change.link or ""), 0o777)
        elif change.op == "chmod" and old is not None and change.mode is not None:
            after[change.path] = FileVersion("file", old.content, change.mode)
    entries = [DiffEntry(path, before.get(path), version) for path, version in after.items()]
    return render(entries).files


def _version(state: FileState | None) -> FileVersion | None:
    if state is None or state.kind in ("absent", "other"):
        return None
    if state.kind == "symlink":
        return FileVersion("symlink", os.fsencode(state.link or ""), 0o777)
    if state.kind == "dir":
        return FileVersion("dir", b"", state.mode)
    return FileVersion("file", state.content or b"", state.mode)


# -- diff


@dataclass(frozen=True)
class Changes:
    """What changed since the baseline, and what of it was not taken."""

    entries: list[DiffEntry]
    left_out: list[models.LeftOut]

    @property
    def left_out_fields(self) -> dict[str, Any]:
        return {
            "left_out": self.left_out[:SHOWN_GROUPS],
            "left_out_files": sum(group.files for group in self.left_out),
        }


async def changed_entries(
    guest: Guest,
    seed: Mapping[str, Any] | None,
    below: str | None = None,
    *,
    whole: bool = False,
    include_ignored: bool = False,
    made: Made = NOTHING,
) -> Changes:
    """Every change since the baseline, with contents. The cost grows with what changed, not with the tree.

    Of a file over `FILE_CAP` or one that is written all the time only the name is given (`withheld`); with `whole`
    both are errors instead. What came or went between the list and the reading is listed again.
    """
    directly = functools.partial(read_directly, guest)
    for _ in range(LISTINGS):
        listing = _listing((await guest.call("GET", "/v1/changes", seconds=WORK_SECONDS)).record())
        if listing["truncated"]:
            raise InvalidInput(
                f"More than {len(listing['changes'])} paths changed since the baseline, which is too many for a diff.",
                hint="Give a path to diff below, or export the tree.",
                code="too_many_changes",
            )
        changes = [c for c in listing["changes"] if below is None or _is_below(c["path"], below)]
        specials = [path for path in listing["specials"] if below is None or _is_below(path, below)]
        sifted = await sift(directly, changes, seed, include_ignored, specials)
        changes = sifted.changes
        sides: dict[str, dict[str, FileState]] = {}
        for side, layer in (("old", "lower"), ("new", "merged")):
            sides[side] = await read_directly(guest, [c["path"] for c in changes if _read(c[side])], layer)
        moved = [
            c["path"]
            for c in changes
            for side in ("old", "new")
            if _read(c[side]) and sides[side][c["path"]].kind != c[side]["kind"]
        ]
        if moved:
            continue
        entries = [
            DiffEntry(c["path"], *(_side(c[side], sides[side].get(c["path"])) for side in ("old", "new")))
            for c in changes
        ]
        if whole:
            _refuse_withheld(entries)
        return Changes(
            entries, [*sifted.left_out, *await named(directly, made, seed, {e.path for e in entries}, below)]
        )
    raise Conflict(
        f"{show(absolute(moved[0]))} keeps appearing and disappearing while it is read; nothing was written.",
        hint="Stop whatever is writing it, then try again.",
        code="file_changing",
    )


@dataclass(frozen=True)
class Omitted:
    """What an export of a directory leaves out."""

    paths: frozenset[str] = frozenset()
    left_out: Sequence[models.LeftOut] = ()
    unjudged: bool = False
    """There were too many changes to judge; nothing is left out."""


async def omitted(guest: Guest, seed: Mapping[str, Any] | None, below: str, made: Made = NOTHING) -> Omitted:
    """What is ignored or was made by a tool below a directory; nothing where that directory itself is: it was meant.

    Raises:
        InvalidInput: the ignore rules are too many, or git does not come to an end with them.
    """
    directly = functools.partial(read_directly, guest)
    listing = _listing((await guest.call("GET", "/v1/changes", seconds=WORK_SECONDS)).record())
    if listing["truncated"]:
        return Omitted(unjudged=True)
    meant = probe("" if below == "." else below, inside=True)
    changes = [c for c in listing["changes"] if _is_below(c["path"], below)]
    sifted = await sift(directly, [*changes, meant], seed, False)
    if meant["path"] in sifted.omitted:
        return Omitted()
    left_out = [one for one in sifted.left_out if one.why in ("ignored", "made")]
    if made.tops:
        taken = {c["path"] for c in sifted.changes}
        if untouched := await asyncio.to_thread(paths_of, made, below) - taken:
            left_out += await named(directly, made, seed, taken, below)
            return Omitted(sifted.omitted | untouched, left_out)
    return Omitted(sifted.omitted, left_out)


def _read(record: dict[str, Any] | None) -> bool:
    return record is not None and record["kind"] in ("file", "symlink")


def _refuse_withheld(entries: list[DiffEntry]) -> None:
    for entry in entries:
        for version in (entry.old, entry.new):
            if version is None or not version.withheld:
                continue
            name = show(absolute(entry.path))
            if version.withheld == CHANGING:
                raise Conflict(
                    f"{name} is being written constantly and could not be read whole; nothing was written.",
                    hint="Stop whatever is writing it, then try again.",
                    code="file_changing",
                )
            raise InvalidInput(
                f"{name} has {version.withheld}; a patch can contain files of up to {FILE_CAP}.",
                hint="Export that file by its path, and delete it in the workspace before you export the patch.",
                code="file_too_large",
            )


async def marked_changes(guest: Guest) -> tuple[list[dict[str, Any]], bool, Look | None]:
    """What somebody wrote since the baseline, each with a mark of its present state; whether that is all; and which
    look of the agent's it was, from which it tells what changes further.

    Without contents, and without git's own files and what tools make. Each is a record with path, old and new.
    """
    record = (await guest.call("GET", "/v1/changes?marks=1", seconds=WORK_SECONDS)).record()
    listing = _listing(record)
    number = record.whole("look") if record.has("look") else 0  # an older agent has none
    return listing["changes"], not listing["truncated"], Look(guest, number) if number else None


def _listing(record: Said) -> dict[str, Any]:
    """The agent's list of changes, checked: who reads it needs to look no further."""

    def side(change: Said, name: str) -> dict[str, Any] | None:
        if not change.has(name):
            return None
        one = change.record(name)
        return {
            "kind": one.word("kind", ("file", "dir", "symlink", "other")),
            "mode": one.whole("mode"),
            "size": one.whole("size"),
            "link": one.name("link") if one.has("link") else None,
            "mark": one.text("mark") if one.has("mark") else "",
        }

    specials = record.records("specials") if record.has("specials") else []  # an older agent tells of none
    for c in [*record.records("changes"), *specials]:
        if "\0" in c.name("path") or {"", ".", ".."} & set(c.name("path").split("/")):
            raise damaged("it lists a path that is none")
    changes = [
        {"path": c.name("path"), "old": side(c, "old"), "new": side(c, "new")} for c in record.records("changes")
    ]
    names = [c.name("path") for c in specials]
    return {"truncated": record.flag("truncated"), "changes": changes, "specials": names}


def _is_below(path: str, below: str) -> bool:
    return below == "." or path == below or path.startswith(below + "/")


def _side(record: dict[str, Any] | None, state: FileState | None) -> FileVersion | None:
    if record is None or record["kind"] == "other":
        return None
    if state is None or record["kind"] == "dir":
        return FileVersion("dir", b"", int(record["mode"]) & 0o7777)
    if state.kind == "symlink":
        return FileVersion("symlink", os.fsencode(state.link or ""), state.mode)
    if state.content is None:
        return FileVersion("file", b"", state.mode, CHANGING if state.changing else f"{record['size']} bytes")
    return FileVersion("file", state.content, state.mode)


async def whole_patch(
    guest: Guest,
    seed: Mapping[str, Any] | None,
    redactor: Redactor,
    include_ignored: bool,
    stored: Stored | None,
    made: Made = NOTHING,
) -> tuple[DiffResult, Changes]:
    """The diff as a patch with binary files in it, uncut; with what `stored` makes of the entries."""
    found = await changed_entries(guest, seed, whole=True, include_ignored=include_ignored, made=made)
    entries = found.entries
    if redactor:
        # Before it is rendered: in a patch, binary content is compressed, and no value is recognised.
        entries = _all_masked(entries, redactor)
    if stored is not None:
        entries = _all_masked(await asyncio.to_thread(stored, entries), redactor)  # in another encoding now
    return render(entries, binary=True), found


def _all_masked(entries: Sequence[DiffEntry], redactor: Redactor) -> list[DiffEntry]:
    return [DiffEntry(e.path, _masked(e.old, redactor), _masked(e.new, redactor)) for e in entries]


def _masked(version: FileVersion | None, redactor: Redactor) -> FileVersion | None:
    if version is None or version.kind == "dir":
        return version
    return replace(version, content=redactor.data(version.content))


async def diff(
    guest: Guest,
    workspace_id: str,
    seed: Mapping[str, Any] | None,
    path: str | None,
    *,
    summary: bool,
    max_bytes: int,
    include_ignored: bool,
    made: Made = NOTHING,
) -> models.Diff:
    below = None if path is None else str(workspace_path(path))
    found = await changed_entries(guest, seed, below, include_ignored=include_ignored, made=made)
    result = render(found.entries, max_bytes=max_bytes)
    hint = ""
    if result.truncated and not summary:
        hint = (
            f"{result.patch_bytes - len(result.patch)} of {result.patch_bytes} bytes left out; "
            "narrow it with `path`, raise `max_bytes`, or export with `patch`."
        )
    return models.Diff(
        workspace=workspace_id,
        files=result.files,
        insertions=result.insertions,
        deletions=result.deletions,
        empty_directories=[absolute(directory) for directory in result.empty_directories],
        patch="" if summary else result.patch.decode("utf-8", "replace"),
        patch_bytes=result.patch_bytes,
        truncated=result.truncated and not summary,
        hint=" ".join(filter(None, (hint, told(found.left_out)))),
        **found.left_out_fields,
    )
