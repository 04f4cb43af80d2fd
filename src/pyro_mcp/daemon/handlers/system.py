"""doctor and the environments."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import replace
from pathlib import Path

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.devcontainers.suggest import suggest
from pyro_mcp.environments import names
from pyro_mcp.environments.catalog import DEFAULT, definition
from pyro_mcp.errors import InvalidInput
from pyro_mcp.machines.host_checks import find_tools, host_checks
from pyro_mcp.paths import show
from pyro_mcp.version import VERSION
from pyro_mcp.workspaces.workspace import Workspace


class SystemHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def doctor(self, call: Call, *, fix: bool) -> models.Doctor:
        context = self._context
        fixed: list[str] = []
        if fix:
            fixed += await context.engines.fix(call)
            if not any(environment.installed for environment in context.environments.describe_all()):
                await context.environments.pull(call, definition(DEFAULT))
                fixed.append(f"built environment {DEFAULT}")
        engines = await context.engines.statuses()
        working = [engine.name for engine in engines if engine.ok]
        checks = await asyncio.to_thread(host_checks)
        tools = await asyncio.to_thread(find_tools)
        return models.Doctor(
            ok=bool(working),
            default_engine=working[0] if working else None,
            engines=engines,
            components=[*await context.engines.components(), *tools],
            checks=checks,
            environments=await asyncio.to_thread(context.environments.describe_all),
            daemon={
                "pid": os.getpid(),
                "version": VERSION,
                "socket": str(context.info.socket),
                "log": str(context.info.log),
                "state": str(context.locations.state),
                "cache": str(context.locations.cache),
                "workspaces": len(context.registry.all()),
                "memory_bytes": _resident_bytes(),
            },
            fixed=fixed,
        )

    async def list_environments(self, call: Call) -> models.EnvironmentList:
        environments = self._context.environments
        return models.EnvironmentList(
            environments=await asyncio.to_thread(environments.describe_all),
            prepared=await asyncio.to_thread(environments.prepared),
        )

    async def inspect_environment(self, call: Call, *, environment: str) -> models.Environment:
        return await asyncio.to_thread(self._context.environments.describe, environment, True)

    async def pull_environment(self, call: Call, *, environment: str, force: bool) -> models.Environment:
        environments = self._context.environments
        wanted = await asyncio.to_thread(names.meaning, environment, environments.cache)
        if call.face == "mcp":
            # A server at its start: nobody waits for it yet, and it goes on when that server is gone.
            await self._context.engines.begin_to_fetch(call)
            await environments.require(replace(call, begun=-math.inf), wanted.name)
        else:
            await environments.pull(call, wanted, force=force)
        return await asyncio.to_thread(environments.describe, wanted.name)

    async def suggest_environment(self, call: Call, *, path: str) -> models.SuggestedEnvironment:
        place = Path(path)
        if not await asyncio.to_thread(os.path.isdir, path):
            raise InvalidInput(f"{show(path)} is not a directory.", hint="Give the project directory.", code="bad_path")
        suggestion = await asyncio.to_thread(suggest, await asyncio.to_thread(place.resolve))
        return models.SuggestedEnvironment(path=path, content=suggestion.content, found=list(suggestion.found))

    async def save_environment(
        self, call: Call, *, workspace: Workspace, name: str, overwrite: bool
    ) -> models.Environment:
        environments = self._context.environments
        await environments.save(call, workspace, name, overwrite)
        return await asyncio.to_thread(environments.describe, name)

    async def export_environment(self, call: Call, *, environment: str, output: str) -> models.EnvironmentExported:
        place = output.removeprefix("oci:")
        size = await self._context.environments.export(call, environment, place)
        return models.EnvironmentExported(
            environment=environment, output=place, image=f"oci:{place}:latest", bytes=size
        )

    async def remove_environment(self, call: Call, *, environment: str) -> models.Pruned:
        return await self._context.environments.remove(environment)

    async def prune_environments(self, call: Call, *, all: bool, keep_gib: float | None) -> models.Pruned:
        return await self._context.environments.prune(all, keep_gib)


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
