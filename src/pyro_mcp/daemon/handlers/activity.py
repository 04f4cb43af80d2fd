"""What goes on in all workspaces. Only what this daemon knows by itself is told: no guest is asked."""

from __future__ import annotations

import contextlib
import shlex

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers.network import open_questions, shown_question
from pyro_mcp.errors import Conflict
from pyro_mcp.machines.processes import cpu_seconds
from pyro_mcp.machines.protocol import Machine
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.seen import LAST_BYTES, last_line
from pyro_mcp.store import EventRow, WorkspaceRow
from pyro_mcp.visible import shortened, visible
from pyro_mcp.workspaces.registry import sees
from pyro_mcp.workspaces.workspace import Workspace

LINE_CHARACTERS = 160
NOTES = 32
"""Of one workspace, that wait for its agent."""


class ActivityHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def follow_activity(
        self, call: Call, *, after: str | None, wait_seconds: float, limit: int
    ) -> models.Activity:
        registry, store = self._context.registry, self._context.store
        news = registry.news
        daemon, number, change = _understood(after)
        if daemon == news.daemon:
            await news.after(number, wait_seconds)
        since = news.since(number) if daemon == news.daemon else None
        seen_until = news.number
        # A change counts on through daemons: what was done while nobody listened is told, too.
        latest = await store.latest_change() if change is None else change
        rows = await store.feed(limit, change) if limit else []
        workspaces = [w for w in registry.all(call.scope) if since is None or w.id in since.changed]
        if change is not None and rows and len(rows) == limit:
            seen_until -= 1  # there may be more events: the next call does not wait
        seen_change = latest if change is None else max((row.change for row in rows), default=latest)
        return models.Activity(
            cursor=f"{news.daemon}-{max(seen_until, 0)}-{seen_change}",
            whole=since is None,
            workspaces=[self._busy(workspace) for workspace in workspaces],
            gone=list(since.gone) if since else [],
            events=[self._event(row) for row in rows if self._may_see(call, row)],
            questions=[shown_question(registry, each) for each in open_questions(self._context, call)],
        )

    async def note_workspace(
        self, call: Call, *, workspace: Workspace, text: str, path: str | None, line: int | None
    ) -> models.Noted:
        # A guest chose the name, and the note is read as the person's words.
        about = f" on {shlex.quote(visible(path))}" + (f", line {line}" if line is not None else "") if path else ""
        note = f"The person's note{about}: {text}"

        def kept(row: WorkspaceRow) -> dict[str, list[str]]:
            if len(row.notes) >= NOTES:
                raise Conflict(
                    f"{NOTES} notes wait already, and no agent has called since.",
                    hint="It is told all of them with its next call; note more then.",
                    code="notes_full",
                )
            return {"notes": [*row.notes, note]}

        await self._context.registry.revise(workspace, kept)
        return models.Noted(workspace=workspace.id, note=note, waiting=len(workspace.row.notes))

    def _may_see(self, call: Call, row: EventRow) -> bool:
        registry = self._context.registry
        return registry.holds(row.workspace_id) and sees(call.scope, registry.get(row.workspace_id))

    def _event(self, row: EventRow) -> models.ActivityEvent:
        name = self._context.registry.get(row.workspace_id).row.name
        return models.ActivityEvent(**row.told(), workspace=row.workspace_id, workspace_name=name)

    def _busy(self, workspace: Workspace) -> models.BusyWorkspace:
        services, machine = self._context.services, workspace.machine
        return models.BusyWorkspace(
            workspace=workspace.record(),
            project=workspace.row.project or "",
            trial=workspace.is_trial,
            running=[_running(command) for command in workspace.running_commands()],
            services=[
                models.ServiceGlance(
                    name=row.name,
                    state=services.state(workspace, row),
                    handle=row.handle,
                    published_ports=[models.PublishedPort(**port) for port in row.published],
                )
                for row in workspace.services.values()
            ],
            changed_files=workspace.keeper.changed_files,
            memory_bytes=_memory(machine),
            cpu_seconds=cpu_seconds(machine.main_pid) if machine is not None else None,
        )


def _understood(cursor: str | None) -> tuple[str, int, int | None]:
    """Daemon, number and change of a cursor; one that is none is as of another daemon."""
    parts = (cursor or "").split("-")
    if len(parts) != 3 or not (parts[1].isdecimal() and parts[2].isdecimal()):
        return "", 0, None
    return parts[0], int(parts[1]), min(int(parts[2]), 2**62)


def _running(command: Command) -> models.RunningCommand:
    return models.RunningCommand(
        handle=command.row.handle,
        kind=command.row.kind,
        command=[shortened(word, 400) for word in command.row.command[:40]],
        started_at=command.row.started_at,
        output_bytes=command.output.total_bytes,
        last_line=_last_line(command),
    )


def _last_line(command: Command) -> str:
    end = command.output.kept_bytes
    return last_line(command.output.read(max(0, end - LAST_BYTES), LAST_BYTES), LINE_CHARACTERS)


def _memory(machine: Machine | None) -> int | None:
    if machine is None:
        return None
    with contextlib.suppress(OSError):  # it ended; its watcher says so
        return machine.memory_bytes()
    return None
