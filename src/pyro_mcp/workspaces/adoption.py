"""Takes over what an earlier daemon left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from pyro_mcp.errors import EngineError, HostError
from pyro_mcp.machines.protocol import Machine
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.output import OutputLog
from pyro_mcp.workspaces.moments import Images, Moment
from pyro_mcp.workspaces.occupancy import Occupancy
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.secrets import Vault
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
Forget = Callable[[Workspace], Awaitable[None]]


class Adoption:
    """Runs once, before the daemon answers. `forget` removes a workspace that was half made or half deleted."""

    def __init__(self, registry: Registry, occupancy: Occupancy, vault: Vault, images: Images, forget: Forget) -> None:
        self._registry = registry
        self._occupancy = occupancy
        self._vault = vault
        self._images = images
        self._forget = forget

    async def run(self) -> None:
        """Take over what an earlier daemon left: live machines are kept, half-made things are removed."""
        registry, occupancy = self._registry, self._occupancy
        with contextlib.suppress(HostError):  # on a full disk it starts all the same, so that things can be deleted
            await registry.store.interrupt_events("the daemon was ended during this operation")
        rows = await registry.store.workspaces()
        registry.departed = await registry.store.departed()
        keep: set[str] = set()
        images: list[Path] = []
        for row in rows:
            workspace = registry.adopt(row)
            if row.state in ("creating", "deleting") or workspace.is_trial:
                await self._forget(workspace)
                continue
            workspace.secrets = await asyncio.to_thread(self._vault.read, row.id)
            workspace.snapshots = {found.name: found for found in await registry.store.snapshots(row.id)}
            images += [self._images.path(row.id, found.image) for found in workspace.snapshots.values()]
            workspace.services = {found.name: found for found in await registry.store.services(row.id)}
            await self._load_commands(workspace)
            if row.state == "stopped" and row.suspended is not None:
                images.append(self._images.path(row.id, row.suspended["image"]))
                for command in workspace.running_commands():
                    command.suspend()
                    await registry.save_command(command)
            if row.state == "running" and row.machine_id is not None:
                cause = "its processes ended while no daemon was running, or this computer restarted"
                try:
                    machine = await occupancy.fleet.adopt(row.engine, row.machine_id)
                except EngineError as error:
                    machine, cause = None, error.message
                if machine is None:
                    with contextlib.suppress(HostError):
                        await occupancy.lost(workspace, cause)
                else:
                    keep.add(machine.id)
                    workspace.machine = machine
                    occupancy.attend(workspace, machine)
                    if row.suspended is not None:
                        await occupancy.end_all(workspace, "the machine was put back to an earlier moment")
                        await occupancy.revive(workspace, machine, Moment.load(row.suspended))
                        continue
                    self._follow_again(workspace, machine)
                    await occupancy.take_up(workspace)
        swept = await occupancy.fleet.sweep(keep)
        if swept:
            log.info("ended %d machines that no workspace names", len(swept))
        await asyncio.to_thread(self._sweep_files, images)

    async def _load_commands(self, workspace: Workspace) -> None:
        for number, row in enumerate(await self._registry.store.commands(workspace.id), 1):
            live = row.status == "running"
            output = OutputLog.load(
                workspace.outputs, row.handle, None if live else row.stdout_bytes, None if live else row.stderr_bytes
            )
            workspace.keep(Command(row, number, output, workspace.redactor))

    def _follow_again(self, workspace: Workspace, machine: Machine) -> None:
        for command in workspace.running_commands():
            command.follow(machine.guest, None, self._occupancy.command_ended)

    def _sweep_files(self, images: list[Path]) -> None:
        known = {workspace.id for workspace in self._registry.all()}
        for directory in self._registry.outputs.iterdir():
            if directory.name not in known:
                shutil.rmtree(directory, True)
        self._vault.sweep(known)
        self._images.sweep(images)
