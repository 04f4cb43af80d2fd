"""Workspaces as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.errors import InvalidInput, Unsupported
from pyro_mcp.workspaces import transfer
from pyro_mcp.workspaces.labels import checked_labels
from pyro_mcp.workspaces.manager import Plan, PreparedSeed
from pyro_mcp.workspaces.workspace import Workspace


class WorkspaceHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def create_workspace(
        self,
        call: Call,
        *,
        environment: str,
        seed_path: str | None,
        name: str | None,
        labels: dict[str, str] | None,
        network_policy: str,
        vcpu_count: int,
        mem_mib: int,
        ttl_seconds: int | None,
        include_ignored: bool,
        engine: str,
    ) -> models.Workspace:
        context = self._context
        if engine not in ("auto", context.info.engine):
            raise Unsupported(
                f"The engine {engine!r} is not in use here; {context.info.engine!r} is.",
                hint="`pyro doctor` says which engines work on this machine and why.",
                code="engine_not_available",
            )
        plan = Plan(
            environment=environment,
            name=name,
            labels=checked_labels(labels or {}),
            network_policy=network_policy,
            vcpu_count=vcpu_count,
            mem_mib=mem_mib,
            ttl_seconds=ttl_seconds,
        )
        source = None
        if seed_path is not None:
            source = await asyncio.to_thread(transfer.scan_source, seed_path, include_ignored)
        root = await context.environments.require(call, environment)

        async def seed() -> PreparedSeed | None:
            if source is None:
                return None
            await call.progress(f"seeding {source.files} files")
            return await asyncio.to_thread(transfer.prepare_seed, context.seeds, source)

        return (await context.manager.create(plan, root, seed)).record()

    async def list_workspaces(self, call: Call, *, labels: dict[str, str] | None) -> models.WorkspaceList:
        wanted = (labels or {}).items()
        found = [w for w in self._context.manager.all() if wanted <= w.row.labels.items()]
        found.sort(key=lambda w: (w.row.last_activity_at, w.row.created_at, w.id), reverse=True)
        return models.WorkspaceList(workspaces=[workspace.record() for workspace in found])

    async def status_workspace(self, call: Call, *, workspace: Workspace) -> models.Workspace:
        return workspace.record()

    async def update_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        name: str | None,
        clear_name: bool,
        labels: dict[str, str] | None,
        clear_labels: list[str] | None,
    ) -> models.Workspace:
        if name is not None and clear_name:
            raise InvalidInput("`name` and `clear_name` exclude each other.", hint="Give one of them.")
        if name is None and not clear_name and not labels and not clear_labels:
            raise InvalidInput("There is nothing to change.", hint="Give name, clear_name, labels or clear_labels.")
        kept = {key: value for key, value in workspace.row.labels.items() if key not in (clear_labels or [])}
        merged = checked_labels(kept | (labels or {}))
        new_name = None if clear_name else name or workspace.row.name
        await self._context.manager.rename(workspace, new_name, merged)
        return workspace.record()

    async def delete_workspace(self, call: Call, *, workspace: Workspace) -> models.Deleted:
        deleted = models.Deleted(id=workspace.id, name=workspace.row.name)
        await asyncio.shield(asyncio.ensure_future(self._context.manager.delete(workspace)))
        return deleted

    async def reset_workspace(self, call: Call, *, workspace: Workspace) -> models.Workspace:
        await asyncio.shield(asyncio.ensure_future(self._context.manager.reset(workspace)))
        return workspace.record()

    async def history_workspace(self, call: Call, *, workspace: Workspace, limit: int) -> models.History:
        rows = await self._context.store.events(workspace.id, limit)
        events = [
            models.HistoryEvent(
                sequence=row.sequence,
                at=row.at,
                face=row.face,
                operation=row.operation,
                outcome=row.outcome,
                duration_seconds=row.duration_seconds,
                summary=row.summary,
                error=row.error,
            )
            for row in rows
        ]
        return models.History(workspace=workspace.id, events=events)

    async def push_workspace_sync(
        self, call: Call, *, workspace: Workspace, path: str, dest: str, include_ignored: bool
    ) -> models.Synced:
        source = await asyncio.to_thread(transfer.scan_push, path, include_ignored)
        async with workspace.lock.shared():
            await call.progress(f"copying {source.files} files")
            return await transfer.push(self._context.seeds, workspace.guest, workspace.id, source, dest)

    async def export_workspace(
        self, call: Call, *, workspace: Workspace, path: str | None, output: str, patch: bool, overwrite: bool
    ) -> models.Exported:
        if patch == (path is not None):
            raise InvalidInput("Export takes a path, or `patch`.", hint="Give one of the two.", code="bad_export")
        target = Path(output)
        async with workspace.lock.shared():
            if path is None:
                return await transfer.export_patch(workspace.guest, workspace.id, target, overwrite)
            return await transfer.export_path(workspace.guest, workspace.id, path, target, overwrite)
