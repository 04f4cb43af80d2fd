"""exec, cancel, logs and run."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.workspaces.command import Command
from pyro_mcp.workspaces.manager import Plan
from pyro_mcp.workspaces.output import STDOUT
from pyro_mcp.workspaces.paths import show
from pyro_mcp.workspaces.workspace import Workspace

STREAM_CHUNK = 64 * 1024
ONE_SHOT_TTL_SECONDS = 600
"""How long the result of a run that outlived its call can be asked for (CONTRACT, defaults)."""
SHELL = ["/bin/bash", "-c"]


def _argv(command: str | list[str]) -> list[str]:
    if isinstance(command, str):
        if not command.strip():
            raise InvalidInput("The command is empty.", hint="Give a command line, such as `ls`.", code="empty_command")
        return [*SHELL, command]
    if not command or not command[0]:
        raise InvalidInput("The command is empty.", hint="Give a program and its arguments.", code="empty_command")
    return command


class CommandHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    # -- starting

    async def _start(
        self,
        workspace: Workspace,
        argv: list[str],
        *,
        cwd: str,
        env: dict[str, str] | None,
        stdin: str | None,
        timeout_seconds: float,
    ) -> Command:
        manager = self._context.manager
        async with workspace.lock.shared():
            guest = workspace.guest
            command = await manager.add_command(workspace, argv)
            request: dict[str, Any] = {
                "argv": argv,
                "cwd": cwd if cwd.startswith("/") else f"/workspace/{cwd}",
                "env": env or {},
                "stdin": "none" if stdin is None else "pipe",
                "timeout_ms": max(1, int(timeout_seconds * 1000)),
                "label": command.row.handle,
            }
            try:
                # The row is written beside the start, not before it: a follower finds a process by its label.
                saved = asyncio.ensure_future(manager.save_command(command))
                stream = await guest.start_process(request)
                await saved
            except BaseException:
                manager.drop_command(workspace, command)
                raise
            command.follow(guest, stream, manager.command_ended)
        if stdin is not None:
            try:
                await stream.send_stdin(stdin.encode())
            except OSError:
                pass  # it ended without reading all of its input
        return command

    async def _wait(self, call: Call, command: Command, seconds: float, offset: int = 0) -> None:
        """Wait until the command ends or the time is over; a listening caller gets its output meanwhile."""
        if call.emit is None:
            await command.wait_ended(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                while True:
                    change = command.change
                    running = command.running
                    offset = await self._send_output(call, command, offset)
                    if not running:
                        return
                    await change.wait()
        except TimeoutError:
            await self._send_output(call, command, offset)

    async def _send_output(self, call: Call, command: Command, offset: int) -> int:
        while pieces := command.output.pieces(offset, STREAM_CHUNK):
            for stream, data in pieces:
                await call.output("stdout" if stream == STDOUT else "stderr", data)
                offset += len(data)
        return offset

    # -- operations

    async def exec_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        command: str | list[str],
        cwd: str,
        env: dict[str, str] | None,
        stdin: str | None,
        timeout_seconds: float,
        wait_seconds: float,
        max_output_bytes: int,
    ) -> models.ExecResult:
        started = await asyncio.shield(
            asyncio.ensure_future(
                self._start(workspace, _argv(command), cwd=cwd, env=env, stdin=stdin, timeout_seconds=timeout_seconds)
            )
        )
        await call.started(started.row.handle, workspace.id)
        await self._wait(call, started, wait_seconds)
        return started.result(workspace.id, max_output_bytes)

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
        grep: str | None,
        max_output_bytes: int,
        limit: int,
    ) -> models.Logs:
        if handle is None:
            if grep is not None or offset is not None:
                raise InvalidInput("`grep` and `offset` need a handle.", hint="Give the handle of a command.")
            commands = list(workspace.commands.values())[-limit:]
            return models.Logs(workspace=workspace.id, commands=[command.record() for command in reversed(commands)])
        command = workspace.command(handle)
        output = command.output
        begin = offset or 0
        if begin < 0:
            begin = max(0, output.kept_bytes + begin)
        await self._wait(call, command, wait_seconds, begin)
        matches = None
        if grep is not None:
            text, matches, end = await asyncio.to_thread(_grep, command, grep, begin, max_output_bytes)
        else:
            data = await asyncio.to_thread(output.read, begin, max_output_bytes)
            end = begin + len(data)
            text = data.decode("utf-8", "replace")
        return models.Logs(
            workspace=workspace.id,
            handle=handle,
            status=command.row.status,
            exit_code=command.row.exit_code,
            output=text,
            offset=begin,
            next_offset=end,
            total_bytes=output.total_bytes,
            matches=matches,
            hint=_logs_hint(command, end),
        )

    async def run_in_vm(
        self,
        call: Call,
        *,
        environment: str,
        command: str | list[str] | None,
        handle: str | None,
        env: dict[str, str] | None,
        stdin: str | None,
        network_policy: str,
        vcpu_count: int,
        mem_mib: int,
        timeout_seconds: float,
        wait_seconds: float,
        max_output_bytes: int,
    ) -> models.RunResult:
        manager = self._context.manager
        if (command is None) == (handle is None):
            raise InvalidInput("run takes a command, or the handle of an earlier run.", hint="Give one of the two.")
        if handle is not None:
            workspace, running = self._one_shot(handle)
        else:
            assert command is not None
            argv = _argv(command)
            root = await self._context.environments.require(call, environment)
            plan = Plan(
                environment=environment,
                name=None,
                labels={},
                network_policy=network_policy,
                vcpu_count=vcpu_count,
                mem_mib=mem_mib,
                ttl_seconds=ONE_SHOT_TTL_SECONDS,
                one_shot=True,
            )
            workspace = await manager.create(plan, root, _no_seed)
            try:
                running = await self._start(
                    workspace, argv, cwd="/workspace", env=env, stdin=stdin, timeout_seconds=timeout_seconds
                )
            except BaseException:
                await asyncio.shield(asyncio.ensure_future(manager.delete(workspace)))
                raise
            await call.started(running.row.handle, workspace.id)
        try:
            await self._wait(call, running, wait_seconds)
        except asyncio.CancelledError:
            # Nobody is left who knows the handle.
            await asyncio.shield(asyncio.ensure_future(manager.delete(workspace)))
            raise
        result = running.result(workspace.id, max_output_bytes)
        if running.running:
            hint = f"Still running. Wait on it with handle={running.row.handle!r}."
        else:
            hint = ""
            await asyncio.shield(asyncio.ensure_future(manager.delete(workspace)))
        return models.RunResult(
            **result.model_dump(exclude={"hint"}),
            hint=hint,
            environment=workspace.row.environment,
            workspace_kept=running.running,
        )

    def _one_shot(self, handle: str) -> tuple[Workspace, Command]:
        for workspace in self._context.manager.all():
            if workspace.row.one_shot and handle in workspace.commands:
                return workspace, workspace.commands[handle]
        raise NotFound(
            f"No run has the handle {handle!r}; its machine is gone once its result was taken.",
            code="unknown_handle",
        )


async def _no_seed() -> None:
    return None


def _grep(command: Command, grep: str, begin: int, bound: int) -> tuple[str, int, int]:
    """Matching lines from an offset on within a bound: text, how many there are in all, where to go on."""
    try:
        pattern = re.compile(grep)
    except re.error as error:
        raise InvalidInput(
            f"{show(grep)} is not a regular expression: {error}.", hint="Escape special characters.", code="bad_regex"
        ) from None
    lines: list[str] = []
    used = matches = 0
    position = end = begin
    rest = b""
    full = False
    while True:
        data = command.output.read(position, 1 << 20)
        position += len(data)
        whole = (rest + data).split(b"\n")
        rest = whole.pop() if data else b""
        for raw in whole:
            line = raw.decode("utf-8", "replace")
            if pattern.search(line):
                matches += 1
                used += len(raw) + 1
                full = full or used > bound
                if not full:
                    lines.append(line)
            if not full:
                end += len(raw) + 1
        if not data:
            return "\n".join(lines), matches, min(end, command.output.kept_bytes)


def _logs_hint(command: Command, end: int) -> str:
    left = command.output.kept_bytes - end
    if left > 0:
        return f"{left} bytes follow; go on with offset={end}."
    if command.running:
        return f"Still running; wait on with offset={end} and wait_seconds."
    beyond = command.output.total_bytes - command.output.kept_bytes
    return f"{beyond} bytes beyond the cap were not kept." if beyond > 0 else ""
