"""Snapshots, forks, stop and start, and the disk of a stopped workspace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers.setups import resume, started
from pyro_mcp.errors import InvalidInput
from pyro_mcp.files import listing, reading
from pyro_mcp.workspaces import exporting
from pyro_mcp.workspaces.alternatives import read_alternatives
from pyro_mcp.workspaces.workspace import Workspace

T = TypeVar("T")


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """What is half done when its caller leaves is done to the end."""
    return await asyncio.shield(asyncio.ensure_future(work))


class MachineHandlers:
    def __init__(self, context: Context) -> None:
        self._machines = context.machines
        self._context = context

    async def create_snapshot(self, call: Call, *, workspace: Workspace, name: str) -> models.Snapshot:
        return await _to_the_end(self._machines.snapshot(workspace, name))

    async def list_snapshots(self, call: Call, *, workspace: Workspace) -> models.SnapshotList:
        return self._machines.listing(workspace)

    async def delete_snapshot(self, call: Call, *, workspace: Workspace, name: str) -> models.SnapshotDeleted:
        return await _to_the_end(self._machines.delete(workspace, name))

    async def fork_workspace(
        self, call: Call, *, workspace: Workspace, count: int, snapshot: str | None
    ) -> models.Forked:
        forks = await _to_the_end(self._machines.fork(workspace, count, snapshot))
        for fork in forks:
            resume(self._context, fork)
        return models.Forked(workspace=workspace.id, workspaces=[fork.record() for fork in forks])

    async def try_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        alternatives: list[dict[str, Any]] | None,
        check: str | list[str] | None,
        keep: int | None,
        timeout_seconds: float,
        wait_seconds: float | None,
    ) -> models.Tried:
        trying = self._context.trying
        if alternatives is None:
            if check is not None:
                raise InvalidInput("There is a check, but no alternatives.", hint="Give both.", code="bad_alternatives")
            if keep is not None:
                await workspace.before_change()
                kept = await _to_the_end(trying.keep(workspace, keep))
                return trying.kept(workspace, kept)
            attempt = trying.last(workspace)
        else:
            if check is None:
                raise InvalidInput(
                    "`check` is missing: the command that tells whether an alternative is good.",
                    hint="Such as the tests that fail.",
                    code="bad_alternatives",
                )
            attempt = trying.begin(workspace, read_alternatives(alternatives), check, keep, timeout_seconds)
        await attempt.wait(wait_seconds, call.progress)
        return attempt.record(workspace.id)

    async def stop_workspace(self, call: Call, *, workspace: Workspace) -> models.Workspace:
        await _to_the_end(self._machines.stop(workspace))
        return workspace.record()

    async def start_workspace(self, call: Call, *, workspace: Workspace) -> models.Workspace:
        begun, was = time.monotonic(), workspace.row.state
        await _to_the_end(self._machines.start(workspace))
        resume(self._context, workspace)
        if was == "stopped":
            await started(call, self._context, workspace, begun)
        return workspace.record()

    async def list_workspace_disk(
        self, call: Call, *, workspace: Workspace, path: str, recursive: bool, limit: int
    ) -> models.FileList:
        return await self._machines.offline(
            workspace, lambda guest: listing.list_files(guest, workspace.id, path, recursive, limit)
        )

    async def read_workspace_disk(
        self,
        call: Call,
        *,
        workspace: Workspace,
        path: str,
        offset: int | None,
        limit: int | None,
        byte_offset: int | None,
        max_bytes: int,
    ) -> models.FileContent:
        asked = reading.Wanted(offset, limit, byte_offset, max_bytes=max_bytes)
        return await self._machines.offline(
            workspace, lambda guest: reading.read(guest, workspace.id, workspace.redactor, path, None, asked)
        )

    async def export_workspace_disk(
        self, call: Call, *, workspace: Workspace, path: str, output: str, overwrite: bool
    ) -> models.Exported:
        to = self._context.destination(workspace, output, overwrite)
        return await self._machines.offline(
            workspace, lambda guest: exporting.export_path(guest, workspace.id, path, to, workspace.redactor)
        )
