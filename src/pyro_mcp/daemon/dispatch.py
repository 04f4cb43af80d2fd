"""Runs an operation: resolves the workspace, keeps its history, counts it as in use."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers.activity import ActivityHandlers
from pyro_mcp.daemon.handlers.commands import CommandHandlers
from pyro_mcp.daemon.handlers.files import FileHandlers
from pyro_mcp.daemon.handlers.machines import MachineHandlers
from pyro_mcp.daemon.handlers.network import NetworkHandlers
from pyro_mcp.daemon.handlers.relayed import RelayedHandlers
from pyro_mcp.daemon.handlers.services import ServiceHandlers
from pyro_mcp.daemon.handlers.shells import ShellHandlers
from pyro_mcp.daemon.handlers.system import SystemHandlers
from pyro_mcp.daemon.handlers.workspaces import WorkspaceHandlers
from pyro_mcp.errors import EngineError, GuestUnreachable, HostError, MachineLost, NotFound, PyroError
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.operations import Operation
from pyro_mcp.visible import shortened
from pyro_mcp.workspaces.workspace import Workspace

LOOKING = frozenset(
    {
        *("status_workspace", "history_workspace", "logs_workspace", "list_snapshots"),
        *("tell_changes", "record_landing"),  # the latter leaves the event itself
        *("list_services", "status_service", "logs_service", "read_shell", "feed_workspace_exec"),
    }
)
"""Operations that only look at what pyro keeps itself: no event, no activity."""
TYPING = frozenset({"read_shell", "write_shell", "feed_workspace_exec"})
"""What keeps a workspace from counting as unused, though it leaves no event."""
CHANGING = {
    "exec_workspace": "",
    "edit_workspace_file": "edit",
    "write_workspace_file": "write",
    "apply_workspace_patch": "patch",
    "push_workspace_sync": "push",
    "reset_workspace": "reset",
}
"""What changes files, so that they are kept afterwards, and in what words."""
STARTING = frozenset({"exec_workspace"})
"""What changes them in its own time; see `Occupancy.command_ended`."""
ATTACHED = "attach"
"""The client that types single keys for a person: no event for each."""
AGENT = "mcp"
PAGE = "ui"
"""The face that shows things by itself, whether or not somebody looks."""
SUMMARY_CHARACTERS = 200
NOTHING = Redactor(())


AREAS: tuple[type[Any], ...] = (
    SystemHandlers,
    WorkspaceHandlers,
    CommandHandlers,
    FileHandlers,
    MachineHandlers,
    ShellHandlers,
    ServiceHandlers,
    NetworkHandlers,
    ActivityHandlers,
    RelayedHandlers,
)


class Dispatcher:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._areas = tuple(area(context) for area in AREAS)
        self._being_told: set[tuple[str, str]] = set()
        """Workspaces, and the notes that a call is telling them now: none that ends meanwhile tells them, too."""

    def handler(self, operation: Operation) -> Any:
        for area in self._areas:
            found = getattr(area, operation.name, None)
            if found is not None:
                return found
        raise LookupError(f"no handler for {operation.name}")

    async def __call__(self, operation: Operation, call: Call, arguments: dict[str, Any]) -> Any:
        handler = self.handler(operation)
        if "workspace" not in arguments:
            result = await handler(call, **arguments)
            if operation.name == "create_workspace":
                await self._created(result.id, operation, call, arguments)
            return result
        workspace = self._context.registry.get(arguments["workspace"], call.scope)
        arguments = {**arguments, "workspace": workspace}
        try:
            result = await self._carried_out(workspace, operation, call, handler, arguments)
        except PyroError:
            await self._hand_over_notes(workspace, call)
            raise
        await self._hand_over_notes(workspace, call)  # not to one that has gone: the next call is told
        return result

    async def _hand_over_notes(self, workspace: Workspace, call: Call) -> None:
        """Tell an agent what the person noted, with the result of this call or its error; once."""
        told = [note for note in workspace.row.notes if (workspace.id, note) not in self._being_told]
        if call.face != AGENT or not told:
            return
        mine = {(workspace.id, note) for note in told}
        self._being_told |= mine
        try:
            for note in told:
                await call.note(note)
            with contextlib.suppress(NotFound, HostError):  # it was deleted by this call
                await self._context.registry.revise(
                    workspace, lambda row: {"notes": [n for n in row.notes if n not in told]}
                )
        finally:
            self._being_told -= mine

    async def _carried_out(
        self, workspace: Workspace, operation: Operation, call: Call, handler: Any, arguments: dict[str, Any]
    ) -> Any:
        if operation.name in LOOKING or (operation.name == "write_shell" and call.client == ATTACHED):
            if operation.name in TYPING:
                self._context.registry.activity(workspace)
            return await handler(call, **arguments)
        if call.face == PAGE and operation.read_only:
            return await self._looked(workspace, call, handler, arguments)
        return await self._recorded(workspace, operation, call, handler, arguments)

    async def _created(self, workspace_id: str, operation: Operation, call: Call, arguments: dict[str, Any]) -> None:
        summary = _summary(arguments, Redactor((arguments.get("secrets") or {}).values()))
        with contextlib.suppress(HostError):  # the workspace is there, whether or not that could be written down
            sequence = await self._context.store.begin_event(workspace_id, call.face, operation.name, summary)
            await self._context.store.end_event(sequence, "ok", 0.0, None)
            self._context.registry.news.of(workspace_id)

    async def _looked(self, workspace: Workspace, call: Call, handler: Any, arguments: dict[str, Any]) -> Any:
        """For a page that shows it: an open page neither fills the history nor keeps a workspace from expiring."""
        try:
            return workspace.redactor.result(await handler(call, **arguments))
        except PyroError as error:
            _masked(error, workspace.redactor)
            raise

    async def _recorded(
        self, workspace: Workspace, operation: Operation, call: Call, handler: Any, arguments: dict[str, Any]
    ) -> Any:
        store, registry = self._context.store, self._context.registry
        begun = time.monotonic()
        # Not awaited before the work: the store writes in order, so the end always comes after the beginning.
        summary = _summary(arguments, workspace.redactor)
        event = asyncio.ensure_future(store.begin_event(workspace.id, call.face, operation.name, summary))
        event.add_done_callback(lambda _: workspace.heard())
        workspace.in_use += 1
        outcome, said = "ok", None
        try:
            if operation.name in CHANGING:
                await workspace.before_change()
            if operation.name in CHANGING.keys() - STARTING or operation.name == "rewind_workspace":
                workspace.changes += 1
            result = workspace.redactor.result(await handler(call, **arguments))
            if operation.name in CHANGING and operation.name not in STARTING:
                workspace.keeper.happened(f"{CHANGING[operation.name]} {summary}".strip())
            elif operation.name == "fork_workspace":
                for made in result.workspaces:
                    registry.get(made.id).keeper.happened(f"fork of {workspace.row.name or workspace.id}")
            return result
        except (GuestUnreachable, EngineError) as error:
            _masked(error, workspace.redactor)
            outcome, said = "error", error.message
            if workspace.doomed:
                raise NotFound(
                    f"Workspace {workspace.id} has been deleted in the meantime.",
                    hint="Create a new one.",
                    code="workspace_gone",
                ) from error
            if not isinstance(error, GuestUnreachable):
                raise
            if workspace.machine is not None and not workspace.machine.alive():
                cause = workspace.row.cause or "its processes ended during the operation"
                raise MachineLost(
                    f"The machine of workspace {workspace.id} is lost: {cause}.",
                    hint="Reset gives it a fresh machine: with snapshot `last` its files as at the last checkpoint, "
                    "else its baseline; or delete it.",
                ) from error
            raise
        except PyroError as error:
            _masked(error, workspace.redactor)
            outcome, said = "error", error.message
            raise
        except asyncio.CancelledError:
            outcome, said = "error", "the caller went away"
            raise
        except Exception as error:
            outcome, said = "error", f"defect: {type(error).__name__}"
            raise
        finally:
            workspace.in_use -= 1
            registry.activity(workspace)
            seconds = time.monotonic() - begun

            async def end() -> None:
                await store.end_event(await event, outcome, seconds, said)
                workspace.notify_event()

            registry.spawn(end())


def _masked(error: PyroError, redactor: Redactor) -> PyroError:
    """An error without the secrets of its workspace."""
    error.message = redactor.text(error.message)
    error.hint = redactor.text(error.hint)
    error.details = redactor.record(error.details)
    return error


SHOWN = (
    *("environment", "seed_path", "name", "command", "handle", "path", "dest", "output", "snapshot", "count"),
    *("shell", "signal", "text", "branch", "allow_domains", "publish"),
    *("check", "keep", "network_policy", "allow_host_ports", "allow_addresses", "ssh_hosts"),
)


def _summary(arguments: dict[str, Any], redactor: Redactor = NOTHING) -> str:
    """The arguments that tell what was done, short, with no content of files and no secret."""
    told = []
    for name in SHOWN:
        value = arguments.get(name)
        if name == "text" and "shell" not in arguments:
            continue  # the content of a file
        if value is not None and not (name == "dest" and value == "/workspace"):
            # Masked before it is cut or its lines are joined: a part of a value would not be recognised.
            told.append(redactor.text(" ".join(value) if isinstance(value, list) else str(value)))
    return shortened(" ".join(" ".join(told).split()), SUMMARY_CHARACTERS)
