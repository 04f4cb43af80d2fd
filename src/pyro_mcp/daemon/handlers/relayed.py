"""For a relay on the computer where the user sits (`operations.relayed`): halves of what ends at the user's files."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers.workspaces import remember_landing, to_land
from pyro_mcp.errors import HostError
from pyro_mcp.operations.relayed import Changes
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.workspaces.workspace import Workspace


class RelayedHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def tell_changes(self, call: Call, *, workspace: Workspace, named: bool, include_ignored: bool) -> Changes:
        found = await to_land(self._context, workspace, named=named, include_ignored=include_ignored)
        if call.emit is not None:
            for entry in found.entries:
                await call.emit({"type": "entry", **entry_record(entry)})
        row = workspace.row
        landed = [f"{branch} {commit}" for branch, commits in row.landed.items() for commit in commits.split()]
        return Changes(
            workspace=workspace.id, name=row.name, seed=row.seed or {}, landed=landed, **found.left_out_fields
        )

    async def record_landing(self, call: Call, *, workspace: Workspace, branch: str, commit: str) -> models.Workspace:
        await remember_landing(self._context, workspace, branch, commit)
        with contextlib.suppress(HostError):  # it was landed, whether or not that can be written down
            sequence = await self._context.store.begin_event(workspace.id, call.face, "land_workspace", branch)
            await self._context.store.end_event(sequence, "ok", 0.0, None)
            workspace.notify_event()
        return workspace.record()


def entry_record(entry: DiffEntry) -> dict[str, Any]:
    """A change as JSON; names that are not UTF-8 as surrogate escapes."""
    return {"path": entry.path, "old": _side(entry.old), "new": _side(entry.new)}


def _side(version: FileVersion | None) -> dict[str, Any] | None:
    if version is None:
        return None
    content = base64.b64encode(version.content).decode()
    return {"kind": version.kind, "content": content, "mode": version.mode, "withheld": version.withheld}
