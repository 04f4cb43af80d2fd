"""exec, cancel, logs and run."""

from __future__ import annotations

import asyncio
import base64

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers.following import piece, wait_and_pass_on
from pyro_mcp.environments.accounts import owner
from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.operations.fields import BACKGROUND_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS
from pyro_mcp.processes.command import BEGIN_SECONDS, Command
from pyro_mcp.vocabulary import NetworkPolicy
from pyro_mcp.workspaces.launching import argv_of, launch, shell_of
from pyro_mcp.workspaces.plan import Plan
from pyro_mcp.workspaces.sessions import argv_in_session
from pyro_mcp.workspaces.until import Until
from pyro_mcp.workspaces.workspace import Workspace

ONE_SHOT_TTL_SECONDS = 600
"""How long the result of a run that outlived its call can be asked for (CONTRACT, defaults)."""


SHORT_OUTPUT = 4096
"""Bytes that are read and drawn sooner than another thread is woken."""
FEED_SECONDS = 30.0
"""How long a piece of input may wait for the command to read what it got before."""


class CommandHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def exec_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        command: str | list[str],
        cwd: str | None,
        session: str | None,
        background: bool,
        until: str | None,
        user: str | None,
        env: dict[str, str] | None,
        secret_env: dict[str, str] | None,
        stdin: str | None,
        stdin_open: bool,
        timeout_seconds: float | None,
        wait_seconds: float,
        max_output_bytes: int,
        raw: bool,
    ) -> models.ExecResult:
        waits = Until.of(until) if until is not None else None
        if waits is not None:
            await waits.before(workspace)
        argv = shown = argv_of(command, workspace.row.runtime)
        if session is not None:
            argv = argv_in_session(
                session,
                command,
                shell_of(workspace.row.runtime),
                cwd=cwd,
                secrets=list(secret_env or ()),
                keeps=not background,
            )
        if timeout_seconds is None:
            timeout_seconds = BACKGROUND_TIMEOUT_SECONDS if background else DEFAULT_TIMEOUT_SECONDS
        started = await asyncio.shield(
            asyncio.ensure_future(
                launch(
                    self._context.occupancy,
                    workspace,
                    argv,
                    shown=shown,
                    cwd=cwd if cwd is not None and session is None else "/workspace",
                    user=user,
                    env=env,
                    secret_env=secret_env,
                    stdin=stdin,
                    stdin_open=stdin_open,
                    timeout_seconds=timeout_seconds,
                )
            )
        )
        await call.started(started.row.handle, workspace.id)
        if background and waits is None:
            await started.begun(BEGIN_SECONDS)
        else:
            await _wait(call, workspace, started, wait_seconds, waits)
        if started.output.total_bytes <= SHORT_OUTPUT:
            result = started.result(workspace.id, max_output_bytes, raw=raw)
        else:
            result = await asyncio.to_thread(started.result, workspace.id, max_output_bytes, raw=raw)
        if waits is None:
            return result
        hint = " ".join(filter(None, (waits.hint(started, wait_seconds), result.hint)))
        return result.model_copy(update={"reached": waits.reached, "hint": hint})

    async def feed_workspace_exec(
        self, call: Call, *, workspace: Workspace, handle: str, data: str, end: bool
    ) -> models.CommandRecord:
        try:
            piece = base64.b64decode(data, validate=True)
        except ValueError:
            raise InvalidInput(
                "`data` is not base64.", hint="Encode the bytes as base64.", code="invalid_arguments"
            ) from None
        command = workspace.command(handle)
        await command.offer(piece, end, FEED_SECONDS)
        return command.record()

    async def cancel_workspace_exec(self, call: Call, *, workspace: Workspace, handle: str) -> models.CommandRecord:
        command = workspace.command(handle)
        await asyncio.shield(asyncio.ensure_future(command.cancel(workspace.guest)))
        return command.record()

    async def logs_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        handle: str | None,
        offset: int | None,
        wait_seconds: float,
        until: str | None,
        grep: str | None,
        max_output_bytes: int,
        raw: bool,
        limit: int,
    ) -> models.Logs:
        if handle is None:
            if grep is not None or offset is not None or until is not None:
                raise InvalidInput("`grep`, `offset` and `until` need a handle.", hint="Give a command's handle.")
            commands = list(workspace.commands.values())[-limit:]
            return models.Logs(workspace=workspace.id, commands=[command.record() for command in reversed(commands)])
        command = workspace.command(handle)
        output = command.output
        begin = offset or 0
        if begin < 0:
            begin = max(0, output.kept_bytes + begin)
        waits = Until.of(until) if until is not None else None
        await _wait(call, workspace, command, wait_seconds, waits, begin)
        text, matches, end = await piece(command, begin, max_output_bytes, grep, raw=raw)
        return models.Logs(
            workspace=workspace.id,
            handle=handle,
            status=command.row.status,
            exit_code=command.row.exit_code,
            cause=command.row.cause,
            output=text,
            offset=begin,
            next_offset=end,
            total_bytes=output.total_bytes,
            matches=matches,
            reached=waits.reached if waits is not None else None,
            refused=list(command.refused),
            hint=" ".join(
                filter(
                    None,
                    (
                        waits.hint(command, wait_seconds) if waits is not None else "",
                        _logs_hint(command, end),
                        command.output_held,
                        command.refusals_hint(text),
                    ),
                )
            ),
        )

    async def run_in_vm(
        self,
        call: Call,
        *,
        environment: str,
        command: str | list[str] | None,
        handle: str | None,
        user: str | None,
        env: dict[str, str] | None,
        stdin: str | None,
        stdin_open: bool,
        network_policy: NetworkPolicy,
        vcpu_count: int,
        mem_mib: int,
        timeout_seconds: float,
        wait_seconds: float,
        max_output_bytes: int,
        raw: bool,
    ) -> models.RunResult:
        manager = self._context.manager
        if (command is None) == (handle is None):
            raise InvalidInput(
                "run takes a command, or the handle of an earlier run.", hint="Give exactly one of the two."
            )
        if handle is not None:
            workspace, running = self._one_shot(handle, call.scope)
        else:
            assert command is not None
            argv_of(command, {})  # an empty one is refused before anything is fetched
            root = await self._context.environments.require(call, environment)
            argv = argv_of(command, root.runtime)
            user = user or str(root.runtime.get("user", ""))
            await asyncio.to_thread(owner, root.path, user)  # one that is not there is said before a machine is made
            plan = Plan(
                environment=root.name,
                engine=await self._context.engines.choose(call, "auto"),
                name=None,
                labels={},
                network_policy=network_policy,
                vcpu_count=vcpu_count,
                mem_mib=mem_mib,
                ttl_seconds=ONE_SHOT_TTL_SECONDS,
                one_shot=True,
                project=call.scope,
                user=user,
            )
            workspace = await manager.create(plan, root, _no_seed)
            try:
                running = await launch(
                    self._context.occupancy,
                    workspace,
                    argv,
                    cwd="/workspace",
                    env=env,
                    stdin=stdin,
                    stdin_open=stdin_open,
                    timeout_seconds=timeout_seconds,
                )
            except BaseException:
                await asyncio.shield(asyncio.ensure_future(manager.delete(workspace)))
                raise
            await call.started(running.row.handle, workspace.id)
        try:
            await wait_and_pass_on(call, running, wait_seconds)
        except asyncio.CancelledError:
            # Nobody is left who knows the handle.
            await asyncio.shield(asyncio.ensure_future(manager.delete(workspace)))
            raise
        result = await asyncio.to_thread(running.result, workspace.id, max_output_bytes, raw=raw)
        if running.running:
            hint = f"Still running. Wait on it with handle={running.row.handle!r}."
        else:
            hint = running.refusals_hint(result.stdout, result.stderr)
            await asyncio.shield(asyncio.ensure_future(manager.delete(workspace)))
        return models.RunResult(
            **result.model_dump(exclude={"hint"}),
            hint=hint,
            environment=workspace.row.environment,
            workspace_kept=running.running,
        )

    def _one_shot(self, handle: str, scope: str | None) -> tuple[Workspace, Command]:
        for workspace in self._context.registry.all(scope):
            if workspace.row.one_shot and handle in workspace.commands:
                return workspace, workspace.commands[handle]
        raise NotFound(
            f"No run has the handle {handle!r}. A run's machine is gone once its result has been read.",
            code="unknown_handle",
        )


async def _wait(
    call: Call, workspace: Workspace, command: Command, seconds: float, until: Until | None, offset: int = 0
) -> None:
    if until is None:
        await wait_and_pass_on(call, command, seconds, offset)
        return
    with until.watched(workspace, command):
        await wait_and_pass_on(call, command, seconds, offset, lambda: until.reached)


async def _no_seed() -> None:
    return None


def _logs_hint(command: Command, end: int) -> str:
    left = command.output.kept_bytes - end
    if left > 0:
        return f"{left} bytes follow; continue with offset={end}."
    if command.running:
        return f"Still running; keep waiting with offset={end} and wait_seconds."
    beyond = command.output.total_bytes - command.output.kept_bytes
    return f"{beyond} bytes beyond the limit were not kept." if beyond > 0 else ""
