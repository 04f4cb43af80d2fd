"""Shells."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.errors import Conflict, GuestError, NotFound
from pyro_mcp.operations.fields import MAX_WAIT_SECONDS
from pyro_mcp.processes.command import BEGIN_SECONDS
from pyro_mcp.workspaces import shells
from pyro_mcp.workspaces.launching import argv_of, launch, shell_of
from pyro_mcp.workspaces.workspace import Workspace

TERMINAL = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
PROCESS_SECONDS = 5.0


class ShellHandlers:
    def __init__(self, context: Context) -> None:
        self._occupancy = context.occupancy
        self._registry = context.registry

    async def open_shell(
        self,
        call: Call,
        *,
        workspace: Workspace,
        command: str | list[str] | None,
        cwd: str,
        user: str | None,
        env: dict[str, str] | None,
        secret_env: dict[str, str] | None,
        rows: int,
        cols: int,
    ) -> models.Shell:
        runtime = workspace.row.runtime
        opened = await asyncio.shield(
            asyncio.ensure_future(
                launch(
                    self._occupancy,
                    workspace,
                    [shell_of(runtime), "-i"] if command is None else argv_of(command, runtime),
                    cwd=cwd,
                    user=user,
                    env={**TERMINAL, **(env or {})},
                    secret_env=secret_env,
                    kind="shell",
                    size=(rows, cols),
                )
            )
        )
        await opened.begun(BEGIN_SECONDS)
        await self._registry.save_command(opened)
        return shells.record(workspace, opened)

    async def read_shell(
        self,
        call: Call,
        *,
        workspace: Workspace,
        shell: str,
        cursor: int | None,
        plain: bool,
        max_bytes: int,
        wait_for_idle_ms: int,
        wait_for: str | None,
        wait_seconds: float,
    ) -> models.ShellOutput:
        command = shells.find(workspace, shell)
        if wait_for is not None:
            await shells.wait_for(command, wait_for, cursor or 0, min(wait_seconds, MAX_WAIT_SECONDS - 2))
        await shells.wait_idle(command, wait_for_idle_ms)
        # A reset may have put another command in its place meanwhile.
        command = shells.find(workspace, shell)
        return await shells.read(workspace, command, cursor, max_bytes, plain=plain)

    async def write_shell(
        self, call: Call, *, workspace: Workspace, shell: str, text: str, enter: bool
    ) -> models.Shell:
        command = await shells.require_open(workspace, shell)
        record = shells.record(workspace, command)
        data = text.encode() + (b"\r" if enter else b"")
        async with workspace.lock.shared():
            try:
                async with asyncio.timeout(PROCESS_SECONDS):
                    await workspace.guest.call("PUT", f"/v1/processes/{command.row.process_id}/stdin", body=data)
            except TimeoutError:
                raise Conflict(
                    f"Shell {shell} is not reading its input; only part of the text was accepted.",
                    hint="The program in it may be busy: read its output, or send a signal.",
                    code="shell_busy",
                ) from None
            except (NotFound, GuestError) as error:
                raise Conflict(f"Shell {shell} no longer takes input.", code="shell_ended") from error
        return record

    async def signal_shell(self, call: Call, *, workspace: Workspace, shell: str, signal: str) -> models.Shell:
        command = await shells.require_open(workspace, shell)
        before = shells.record(workspace, command)  # its cursor shows what the signal did
        await workspace.guest.call(
            "POST",
            f"/v1/processes/{command.row.process_id}/signal",
            json_body={"signal": signal, "foreground": True},
        )
        return before

    async def resize_shell(self, call: Call, *, workspace: Workspace, shell: str, rows: int, cols: int) -> models.Shell:
        command = await shells.require_open(workspace, shell)
        cursor = command.output.kept_bytes
        # As a terminal does: first the screen, then the program hears of it, so what it draws anew finds the new size.
        before = await shells.resize(workspace, command, rows, cols)
        try:
            await workspace.guest.call(
                "POST", f"/v1/processes/{command.row.process_id}/resize", json_body={"rows": rows, "cols": cols}
            )
        except BaseException:
            await asyncio.shield(shells.resize(workspace, command, *before))
            raise
        command.row = replace(command.row, rows=rows, cols=cols)
        await self._registry.save_command(command)
        return shells.record(workspace, command).model_copy(update={"cursor": cursor})

    async def close_shell(self, call: Call, *, workspace: Workspace, shell: str) -> models.Shell:
        command = shells.find(workspace, shell)
        if command.running:
            # As a terminal does that is closed: its programs get HUP, and then they are ended.
            await command.signal(workspace.guest, "HUP")
            await command.wait_ended(0.2)
            await asyncio.shield(asyncio.ensure_future(command.cancel(workspace.guest)))
        workspace.terminals.pop(shell, None)
        return shells.record(workspace, command)
