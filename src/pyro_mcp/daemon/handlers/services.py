"""Services."""

from __future__ import annotations

import asyncio

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers.following import piece, wait_and_pass_on
from pyro_mcp.processes.command import Command
from pyro_mcp.workspaces.launching import argv_of, launch
from pyro_mcp.workspaces.readiness import Readiness
from pyro_mcp.workspaces.services import last_lines
from pyro_mcp.workspaces.workspace import Workspace


class ServiceHandlers:
    def __init__(self, context: Context) -> None:
        self._occupancy = context.occupancy
        self._services = context.services

    async def start_service(
        self,
        call: Call,
        *,
        workspace: Workspace,
        name: str,
        command: str | list[str],
        cwd: str,
        user: str | None,
        env: dict[str, str] | None,
        secret_env: dict[str, str] | None,
        ready_file: str | None,
        ready_tcp: int | None,
        ready_http: str | None,
        ready_command: str | None,
        ready_timeout_seconds: float,
        publish: list[str] | None,
        wait_seconds: float,
    ) -> models.Service:
        argv = argv_of(command, workspace.row.runtime)

        async def start() -> Command:
            return await launch(
                self._occupancy, workspace, argv, cwd=cwd, user=user, env=env, secret_env=secret_env, kind="service"
            )

        readiness = Readiness(ready_file, ready_tcp, ready_http, ready_command, user)
        await asyncio.shield(
            asyncio.ensure_future(
                self._services.start(workspace, name, readiness, ready_timeout_seconds, publish or [], start)
            )
        )
        row = await self._services.settled(workspace, name, wait_seconds)
        return self._services.record(workspace, row)

    async def list_services(self, call: Call, *, workspace: Workspace) -> models.ServiceList:
        found = [self._services.record(workspace, row) for row in workspace.services.values()]
        return models.ServiceList(workspace=workspace.id, services=found)

    async def status_service(
        self, call: Call, *, workspace: Workspace, name: str, wait_seconds: float
    ) -> models.Service:
        self._services.find(workspace, name)
        row = await self._services.settled(workspace, name, wait_seconds)
        return self._services.record(workspace, row)

    async def logs_service(
        self,
        call: Call,
        *,
        workspace: Workspace,
        name: str,
        tail: int,
        offset: int | None,
        grep: str | None,
        wait_seconds: float,
        max_output_bytes: int,
        raw: bool,
    ) -> models.ServiceLogs:
        row = self._services.find(workspace, name)
        command = workspace.commands[row.handle]
        output = command.output
        if offset is None:
            begin = await asyncio.to_thread(last_lines, output, tail, max_output_bytes) if grep is None else 0
        else:
            begin = offset
        if wait_seconds > 0 and begin >= output.kept_bytes and call.emit is None:
            change = command.change
            if command.running and begin >= output.kept_bytes:
                try:
                    async with asyncio.timeout(wait_seconds):
                        await change.wait()
                except TimeoutError:
                    pass
        else:
            await wait_and_pass_on(call, command, wait_seconds if call.emit is not None else 0, begin)
        text, matches, end = await piece(command, begin, max_output_bytes, grep, raw=raw)
        left = output.kept_bytes - end
        return models.ServiceLogs(
            workspace=workspace.id,
            name=name,
            state=self._services.state(workspace, row),
            exit_code=None if command.running else command.row.exit_code,
            output=text,
            next_offset=end,
            total_bytes=output.total_bytes,
            matches=matches,
            hint=f"{left} bytes follow; continue with offset={end}." if left > 0 else "",
        )

    async def stop_service(
        self, call: Call, *, workspace: Workspace, name: str, grace_seconds: float
    ) -> models.Service:
        row = await asyncio.shield(asyncio.ensure_future(self._services.stop(workspace, name, grace_seconds)))
        return self._services.record(workspace, row)
