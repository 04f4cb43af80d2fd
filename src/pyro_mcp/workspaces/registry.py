"""All workspaces of this user: looked up, written down, named. Knows rows; knows no machine and no guest."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pyro_mcp.errors import Conflict, NotFound
from pyro_mcp.machines.protocol import Machine
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.output import OutputLog
from pyro_mcp.store import CommandRow, DepartedRow, Store, WorkspaceRow, now
from pyro_mcp.workspaces.news import News
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)


def sees(scope: str | None, workspace: Workspace) -> bool:
    """Whether a caller may know of a workspace: a person of all, an MCP server of its own project's."""
    return scope is None or workspace.row.project == scope


class Registry:
    """Workspaces by id and by name, each with its row in the store."""

    def __init__(self, store: Store, outputs: Path, isolation: Callable[[str], str]) -> None:
        self.store = store
        self.outputs = outputs
        self.departed: list[DepartedRow] = []
        """What is gone, newest first."""
        self.times_changed = asyncio.Event()
        """Set when a workspace may expire at another time than before."""
        self.news = News()
        self._isolation = isolation
        self._workspaces: dict[str, Workspace] = {}
        self._names: dict[tuple[str | None, str], str] = {}
        """By project and name."""
        self._departed_from: dict[str, str | None] = {}
        self._writing = asyncio.Lock()
        self._unsaved: set[str] = set()
        self._background: set[asyncio.Task[object]] = set()

    def get(self, reference: str, scope: str | None = None) -> Workspace:
        """The workspace with this id or name, within a project where `scope` says so.

        Raises:
            NotFound: there is none; the message lists what there is. One of another project is as one that is not.
            Conflict: several projects have one of this name.
        """
        found = self._workspaces.get(reference)
        if found is None or not sees(scope, found):
            named = [w for w in self.all(scope) if w.row.name == reference]
            if len(named) > 1:
                raise Conflict(
                    f"{len(named)} projects have a workspace {reference!r}: {', '.join(w.id for w in named[:10])}.",
                    hint="Give the id.",
                    code="ambiguous_name",
                )
            found = named[0] if named else None
        if found is None:
            known = ", ".join((w.row.name or w.id) for w in self.all(scope)[:10]) or "none"
            gone = next((d for d in self.departed if reference in (d.id, d.name) and self._recalls(scope, d)), None)
            if gone is not None:
                raise NotFound(
                    f"Workspace {reference!r} has been gone since {gone.at}: {gone.cause}. Existing workspaces: "
                    f"{known}.",
                    hint="Create a new one.",
                    code="workspace_gone",
                )
            raise NotFound(
                f"There is no workspace {reference!r}. Existing workspaces: {known}.",
                hint="List them all with `pyro workspace list` or workspace_list.",
                code="unknown_workspace",
            )
        return found

    def all(self, scope: str | None = None) -> list[Workspace]:
        """All of them, or those of a project."""
        return [workspace for workspace in self._workspaces.values() if sees(scope, workspace)]

    def _recalls(self, scope: str | None, departed: DepartedRow) -> bool:
        """Whether a project may hear of one that is gone: known while this daemon lives."""
        return scope is None or self._departed_from.get(departed.id) == scope

    def machines(self) -> list[Machine]:
        """The machines of all workspaces."""
        return [workspace.machine for workspace in self.all() if workspace.machine is not None]

    def environments_in_use(self) -> set[str]:
        return {w.row.environment_digest for w in self.all()}

    def seeds_in_use(self) -> set[str]:
        return {w.row.seed_digest for w in self.all() if w.row.seed_digest}

    # -- rows

    async def save(self, workspace: Workspace) -> None:
        async with self._writing:
            if workspace.id in self._workspaces:
                await self.store.put_workspace(workspace.row)
                self.news.of(workspace.id)

    async def change(self, workspace: Workspace, **changes: Any) -> None:
        """Change the row, written first. One at a time: a row that was read before never undoes a later one."""
        await self.revise(workspace, lambda row: changes)

    async def revise(self, workspace: Workspace, changes: Callable[[WorkspaceRow], dict[str, Any]]) -> None:
        """As `change`, by what the row is when its turn comes: what is added to a list is added to the newest."""
        async with self._writing:
            self.get(workspace.id)  # it may have been deleted meanwhile
            changed = changes(workspace.row)
            await self.store.put_workspace(replace(workspace.row, **changed))
            workspace.row = replace(workspace.row, **changed)
            self.news.of(workspace.id)

    def save_soon(self, workspace: Workspace) -> None:
        """Write the row without waiting; once, where it is asked for again before its turn came."""
        if workspace.id not in self._unsaved:
            self._unsaved.add(workspace.id)
            self.spawn(self._save_latest(workspace))

    async def _save_latest(self, workspace: Workspace) -> None:
        async with self._writing:
            self._unsaved.discard(workspace.id)
            if workspace.id in self._workspaces:
                await self.store.put_workspace(workspace.row)

    def spawn(self, work: Awaitable[object]) -> None:
        """Do it without anybody waiting; `close` does."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("in the background: %s: %s", type(error).__name__, error)

    def note(
        self,
        workspace: Workspace,
        face: str,
        operation: str,
        outcome: str,
        summary: str,
        details: dict[str, Any] | None = None,
    ) -> None:
        """Keep an event that no operation made."""

        async def keep() -> None:
            await self.store.add_event(
                workspace.id,
                face,
                operation,
                outcome,
                summary=workspace.redactor.text(summary),
                details=details,
            )
            workspace.notify_event()

        self.spawn(keep())

    def activity(self, workspace: Workspace) -> None:
        workspace.touch()
        self.save_soon(workspace)
        self.times_changed.set()

    # -- coming and going

    def claim_name(self, name: str, workspace_id: str, project: str | None = None) -> None:
        if (project, name) in self._names or name in self._workspaces:
            raise Conflict(
                f"Another workspace is named {name!r}; names are unique.",
                hint="Choose another name, or delete that workspace.",
                code="name_in_use",
            )
        self._names[project, name] = workspace_id

    def new_id(self) -> str:
        while True:
            candidate = "ws-" + secrets.token_hex(4)
            if candidate not in self._workspaces:
                return candidate

    def admit(self, row: WorkspaceRow) -> Workspace:
        workspace = Workspace(row, self.outputs / row.id, self._isolation(row.engine))
        workspace.heard = functools.partial(self.news.of, row.id)
        self._workspaces[row.id] = workspace
        self.news.of(row.id)
        return workspace

    def adopt(self, row: WorkspaceRow) -> Workspace:
        """A workspace that an earlier daemon wrote down."""
        if row.name is not None:
            self._names[row.project, row.name] = row.id
        return self.admit(row)

    def holds(self, workspace_id: str) -> bool:
        return workspace_id in self._workspaces

    def release_name(self, name: str, project: str | None = None) -> None:
        self._names.pop((project, name), None)

    async def remove(self, workspace: Workspace) -> None:
        """Take it out. Nothing writes its row again; whoever takes its name now writes after the removal."""
        self._workspaces.pop(workspace.id, None)
        key = (workspace.row.project, workspace.row.name or "")
        if self._names.get(key) == workspace.id:
            del self._names[key]
        workspace.heard = lambda: None
        await self.store.remove_workspace(workspace.id)
        self.news.gone(workspace.id)
        workspace.notify_event()

    async def remember_departed(self, departed: DepartedRow) -> None:
        self.departed.insert(0, departed)
        if departed.id in self._workspaces:
            self._departed_from[departed.id] = self._workspaces[departed.id].row.project
        await self.store.remember_departed(departed)

    # -- commands

    async def add_command(
        self,
        workspace: Workspace,
        argv: list[str],
        kind: Literal["exec", "shell", "service"] = "exec",
        size: tuple[int, int] | None = None,
    ) -> Command:
        last = next(reversed(workspace.commands.values()), None)  # they are in the order of their numbers
        number = last.number + 1 if last is not None else 1
        row = CommandRow(
            handle=f"{workspace.id.removeprefix('ws-')}-{number}",
            workspace_id=workspace.id,
            command=[_kept(workspace.redactor.text(word)) for word in argv],
            status="running",
            started_at=now(),
            kind=kind,
            rows=size[0] if size else None,
            cols=size[1] if size else None,
        )
        command = Command(row, number, OutputLog(workspace.outputs, row.handle), workspace.redactor)
        workspace.keep(command)
        return command

    async def save_command(self, command: Command) -> None:
        await self.store.put_command(command.row, command.number)
        command.heard()

    def drop_command(self, workspace: Workspace, command: Command) -> None:
        """A command that could not be started leaves no trace but its event."""
        workspace.commands.pop(command.row.handle, None)

    async def close(self) -> None:
        """Wait for what was begun without anybody waiting."""
        await asyncio.gather(*self._background, return_exceptions=True)


KEPT_CHARACTERS = 64 * 1024
"""Of each word of a command line, in its record: a script of megabytes need not be shown again."""


def _kept(word: str) -> str:
    return word if len(word) <= KEPT_CHARACTERS else f"{word[:KEPT_CHARACTERS]}…"
