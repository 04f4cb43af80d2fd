"""Files, patches and the diff."""

from __future__ import annotations

import asyncio
from typing import Any

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.files import changes, editing, listing, reading, searching
from pyro_mcp.workspaces.workspace import Workspace

LEFT_NAMED = 20


class FileHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def list_workspace_files(
        self, call: Call, *, workspace: Workspace, path: str, recursive: bool, limit: int
    ) -> models.FileList:
        async with workspace.lock.shared():
            return await listing.list_files(workspace.guest, workspace.id, path, recursive, limit)

    async def read_workspace_file(
        self,
        call: Call,
        *,
        workspace: Workspace,
        path: str | None,
        paths: list[str] | None,
        offset: int | None,
        limit: int | None,
        number_lines: bool,
        grep: str | None,
        byte_offset: int | None,
        encoding: str | None,
        max_bytes: int,
    ) -> models.FileContent:
        wanted = reading.Wanted(offset, limit, byte_offset, grep, number_lines, encoding, max_bytes)
        async with workspace.lock.shared():
            return await reading.read(workspace.guest, workspace.id, workspace.redactor, path, paths, wanted)

    async def search_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        pattern: str | None,
        path: str,
        glob: list[str] | None,
        literal: bool,
        ignore_case: bool,
        context: int,
        files_only: bool,
        include_ignored: bool,
        limit: int,
        max_bytes: int,
    ) -> models.SearchResult:
        wanted = searching.Wanted(
            *(pattern, path, glob, literal, ignore_case, context, files_only, include_ignored, limit, max_bytes)
        )
        async with workspace.lock.shared():
            found = await searching.search(workspace.guest, workspace.id, workspace.redactor, wanted)
        return found.model_copy(update={"content": workspace.redactor.text(found.content)})

    async def write_workspace_file(
        self, call: Call, *, workspace: Workspace, path: str, text: str, executable: bool | None, encoding: str | None
    ) -> models.FileWritten:
        async with workspace.lock.shared():
            return await listing.write_file(workspace.guest, workspace.id, path, text, executable, encoding)

    async def edit_workspace_file(
        self,
        call: Call,
        *,
        workspace: Workspace,
        path: str,
        old_string: str | None,
        new_string: str | None,
        replace_all: bool,
        edits: list[dict[str, Any]] | None,
    ) -> models.FileEdited:
        wanted = editing.wanted(old_string, new_string, replace_all, edits)
        async with workspace.lock.shared():
            return await editing.edit_file(workspace.guest, workspace.id, path, wanted)

    async def apply_workspace_patch(self, call: Call, *, workspace: Workspace, patch: str) -> models.PatchApplied:
        async with workspace.lock.shared():
            return await changes.apply_patch(workspace.guest, workspace.id, patch)

    async def rewind_workspace(self, call: Call, *, workspace: Workspace, to: int | None, limit: int) -> models.Rewound:
        keeper = workspace.keeper
        if to is None:
            found = await keeper.listed(limit)
            hint = "To go back to one, give its number; `0` (or the lowest) is the beginning." if len(found) > 1 else ""
            return models.Rewound(workspace=workspace.id, checkpoints=found, hint=hint)
        async with workspace.lock.shared():
            changed, left = await asyncio.shield(asyncio.ensure_future(keeper.rewind(to)))
        newest = await keeper.listed(2)
        return models.Rewound(
            workspace=workspace.id,
            rewound_to=to,
            changed_files=changed,
            left=left[:LEFT_NAMED],
            left_files=len(left),
            checkpoints=newest,
            hint=" ".join(filter(None, (_left_hint(left), await _whole_machine_hint(workspace, to)))),
        )

    async def diff_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        path: str | None,
        summary: bool,
        max_bytes: int,
        include_ignored: bool,
    ) -> models.Diff:
        made = await self._context.made(workspace)
        async with workspace.lock.shared():
            found = await changes.diff(
                workspace.guest,
                workspace.id,
                workspace.row.seed,
                path,
                summary=summary,
                max_bytes=max_bytes,
                include_ignored=include_ignored,
                made=made,
            )
        return found.model_copy(update={"patch": workspace.redactor.text(found.patch)})


def _left_hint(left: list[str]) -> str:
    return f"{len(left)} files are not kept (over 8 MiB) and stay as they are." if left else ""


async def _whole_machine_hint(workspace: Workspace, number: int) -> str:
    """That it was the files alone, and the nearest state of the whole machine before that, if there is one."""
    said = "Files alone: what runs, runs on, and what is outside /workspace is as it was."
    at = await workspace.keeper.time_of(number)
    earlier = [row for row in workspace.snapshots.values() if at is not None and row.created_at <= at]
    if earlier:
        nearest = max(earlier, key=lambda row: row.created_at)
        said += f" The whole machine: reset with snapshot {nearest.name}, of {nearest.created_at[:19]}."
    return said
