"""Which machine is whose: moving in, watching over it, losing it, putting it back to an earlier moment.

The rule that makes every crash harmless: a workspace's row names its one machine. A machine is made first
and then named by the row in a single write, so at any moment a workspace is whole, or it is not there; what
no row names is ended when the next daemon starts.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from pyro_mcp.errors import HostError
from pyro_mcp.guest.said import wire_name
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.machines.protocol import Machine, RootTree
from pyro_mcp.processes.command import Command, plain
from pyro_mcp.processes.output import OutputLog
from pyro_mcp.store import WorkspaceRow
from pyro_mcp.workspaces.moments import Images, Moment
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
BASH = "/bin/bash"
Note = Callable[[str, str, dict[str, Any]], None]
"""Outcome, summary and details of a connection."""


def image_variables(row: WorkspaceRow) -> dict[str, str]:
    """The variables that a workspace's image gives every command, and a SHELL that is there."""
    shell = row.runtime.get("shell", BASH)
    there = {"SHELL": shell} if isinstance(shell, str) and shell != BASH else {}
    return there | {str(name): str(value) for name, value in row.runtime.get("env", {}).items()}


class Network(Protocol):
    """What gives a workspace its way out; see `workspaces.egress`."""

    def environment(self, workspace: Workspace) -> dict[str, str]:
        """Variables of every process in its machine."""

    async def files(self, workspace: Workspace) -> dict[str, str]:
        """Configuration files, for programs that read no variables."""

    async def open(self, workspace: Workspace, machine: Machine) -> None:
        """Have the machine's agent take its connections, or fail its names where the network is off."""

    async def run(self, workspace: Workspace, machine: Machine, note: Note) -> None:
        """Serve the machine's connections until cancelled; `note` hears of each at its end."""


class Attached(Protocol):
    """What belongs to a machine's processes beyond their output: services, with their ports; see `services`."""

    async def ended(self, workspace: Workspace, command: Command) -> None:
        """A command ended."""

    async def let_go(self, workspace: Workspace, cause: str, *, keep_ports: frozenset[str] = frozenset()) -> None:
        """The machine goes; services end with it. Ports of the services named are kept open."""

    async def take_up(self, workspace: Workspace) -> None:
        """The machine is there again, and services with it."""

    async def forget(self, workspace: Workspace) -> None:
        """The workspace goes."""


class Occupancy:
    """The machines of all workspaces."""

    def __init__(
        self,
        registry: Registry,
        fleet: Fleet,
        attached: Attached,
        network: Network,
        images: Images,
        *,
        seed_tree: Callable[[str], Path],
        find_root: Callable[[str, str | None], RootTree],
    ) -> None:
        self.registry = registry
        self.fleet = fleet
        self.images = images
        self._attached = attached
        self._network = network
        self._seed_tree = seed_tree
        self._find_root = find_root

    # -- whose a machine is

    async def root_of(self, row: WorkspaceRow) -> RootTree:
        """What its machines' root is; looked at, unless this daemon did. Raises Conflict when it is damaged."""
        return await asyncio.to_thread(self._find_root, row.environment, row.environment_digest)

    async def seed_of(self, row: WorkspaceRow) -> Path | None:
        """The tree of its seed, looked at each time. Raises Conflict when it is damaged or gone."""
        return await asyncio.to_thread(self._seed_tree, row.seed_digest) if row.seed_digest else None

    async def _identity(self, workspace: Workspace) -> dict[str, Any]:
        """What makes a machine this workspace's own; random state is fresh each time."""
        return {
            "hostname": workspace.hostname,
            # Of the workspace, not of the machine: a reset does not change who it is (machine-id(5)).
            "machine_id": hashlib.sha256(f"pyro {workspace.id}".encode()).hexdigest()[:32],
            "entropy": base64.b64encode(os.urandom(256)).decode(),
            "time_unix_ns": time.time_ns(),
            "env": {**image_variables(workspace.row), **self._network.environment(workspace)},
            "files": await self._network.files(workspace),
        }

    async def move_in(self, workspace: Workspace, machine: Machine, tree: Path | None) -> None:
        """Make a fresh machine this workspace's own, and write that down."""
        await machine.show_seed(tree)
        lower = "/pyro/seed/tree" if tree is not None else None
        row = workspace.row
        shape = {"mem_mib": row.mem_mib, "vcpu_count": row.vcpu_count, "disk_gib": row.disk_gib}
        body = {**await self._identity(workspace), **shape, "lower": lower}
        prepared = (row.devcontainer or {}).get("prepared")
        if prepared and tree is not None:
            body |= {"prepared": True, "gone": [wire_name(path) for path in prepared["gone"]]}
        await machine.guest.call("POST", "/v1/setup", json_body=body)
        await self._take_over(workspace, machine)

    async def move_back(self, workspace: Workspace, machine: Machine, moment: Moment) -> None:
        """Make a machine that was restored from an image of a workspace this workspace's own.

        Its row names the moment until `revive` is through, so that a daemon that is killed in between leaves that
        to the next one.
        """
        await machine.guest.call("POST", "/v1/identify", json_body=await self._identity(workspace))
        await self._take_over(workspace, machine, moment.dump())

    async def _take_over(self, workspace: Workspace, machine: Machine, moment: dict[str, Any] | None = None) -> None:
        """The one write after which the machine is the workspace's; a machine before it is ended."""
        await self._network.open(workspace, machine)
        await self.registry.change(workspace, state="running", machine_id=machine.id, cause=None, suspended=moment)
        self.release_machine(workspace)
        old = workspace.machine
        workspace.machine = machine
        self.attend(workspace, machine)
        if old is not None:
            await old.destroy()

    def release_machine(self, workspace: Workspace) -> None:
        """Attend to the workspace's machine no more."""
        for task in (workspace.watcher, workspace.network):
            if task is not None:
                task.cancel()
        workspace.watcher = workspace.network = None
        workspace.terminals.clear()

    def attend(self, workspace: Workspace, machine: Machine) -> None:
        """Watch the machine's life, hold it to its disk, and serve its connections."""
        machine.hold_disk(workspace.row.disk_gib << 30)
        workspace.watcher = asyncio.create_task(self._watch(workspace, machine), name=f"watch {workspace.id}")
        self._attend_network(workspace, machine)

    def _attend_network(self, workspace: Workspace, machine: Machine) -> None:
        def note(outcome: str, summary: str, details: dict[str, Any]) -> None:
            self.registry.note(workspace, "guest", "egress", outcome, summary, details)

        if workspace.network is not None:
            workspace.network.cancel()
        workspace.network = asyncio.create_task(
            self._network.run(workspace, machine, note), name=f"network {workspace.id}"
        )

    async def change_network(self, workspace: Workspace, network: dict[str, Any]) -> None:
        """What the workspace may reach from now on; connections that are open end when its policy changes.

        The caller holds the workspace's lock alone. When the machine does not take it, nothing has changed.
        """
        before = workspace.row
        await self.registry.change(workspace, **network)
        machine = workspace.machine
        if machine is None or workspace.row.state != "running":
            return  # the next machine begins with it
        try:
            secrets, row = workspace.secrets.authority, workspace.row
            if before.network_policy != row.network_policy or before.ssh_hosts != row.ssh_hosts or secrets:
                await machine.guest.call("POST", "/v1/identify", json_body=await self._identity(workspace))
            await self._network.open(workspace, machine)
        except BaseException:
            await asyncio.shield(self.registry.change(workspace, **{name: getattr(before, name) for name in network}))
            raise
        if before.network_policy != workspace.row.network_policy:
            self._attend_network(workspace, machine)

    # -- the machine's life

    async def _watch(self, workspace: Workspace, machine: Machine) -> None:
        how = await machine.wait_gone()
        if workspace.machine is machine and workspace.row.state == "running":
            await self.lost(workspace, how)

    async def lost(self, workspace: Workspace, cause: str) -> None:
        """Record that the machine is gone; the workspace stays, to be looked at, reset or deleted."""
        machine, workspace.machine = workspace.machine, None
        workspace.row = replace(workspace.row, state="lost", cause=cause, machine_id=None, suspended=None)
        if workspace.network is not None:
            workspace.network.cancel()
        if machine is not None:
            await machine.destroy()
        with contextlib.suppress(HostError):  # on a full disk; the next daemon finds it out again
            await self.end_all(workspace, f"the machine was lost: {cause}")
            await self.registry.save(workspace)
        self.registry.note(workspace, "daemon", "machine_lost", "error", cause)
        log.warning("workspace %s: machine lost: %s", workspace.id, cause)

    async def lost_by_machine(self, machine_id: str, cause: str) -> None:
        for workspace in self.registry.all():
            if workspace.machine is not None and workspace.machine.id == machine_id:
                await self.lost(workspace, cause)

    async def relieved(self, machine_id: str, why: str) -> None:
        """Record that something in the machine was ended for want of memory."""
        for workspace in self.registry.all():
            if workspace.machine is not None and workspace.machine.id == machine_id:
                self.registry.note(workspace, "daemon", "memory_limit", "error", workspace.redactor.text(plain(why)))

    async def end_all(self, workspace: Workspace, cause: str, keep_ports: frozenset[str] = frozenset()) -> None:
        """The machine's processes are gone: commands and services end with it."""
        ended = [c for c in workspace.commands.values() if c.row.status in ("running", "suspended")]
        workspace.lose_commands()
        for command in ended:
            await self.registry.store.put_command(command.row, command.number)
        await self._attached.let_go(workspace, cause, keep_ports=keep_ports)

    async def command_ended(self, command: Command) -> None:
        if not self.registry.holds(command.row.workspace_id):
            return
        workspace = self.registry.get(command.row.workspace_id)
        await self.registry.store.put_command(command.row, command.number)
        if command.row.kind == "service":
            await self._attached.ended(workspace, command)
        if command.ending is None:
            workspace.command_changed(command)
        self.registry.activity(workspace)

    # -- from an image

    async def restored(self, row: WorkspaceRow, image: Path) -> Machine:
        """A machine in the state of an image, of the shape that the row says; nobody's yet."""
        root, seed = await self.root_of(row), await self.seed_of(row)
        return await self.fleet.revive(row.engine, root, row.vcpu_count, row.mem_mib, image, seed)

    async def brought_back(self, workspace: Workspace, image: Path, moment: Moment) -> Machine:
        """The workspace's machine, restored from an image; its commands are not taken up yet."""
        machine = await self.restored(workspace.row, image)
        try:
            await self.move_back(workspace, machine, moment)
        except BaseException:
            await asyncio.shield(machine.destroy())
            raise
        return machine

    async def put_back(self, workspace: Workspace, image: Path, moment: Moment, cause: str) -> None:
        """A machine restored from an image takes the present one's place, with the commands that ran in it.

        The caller holds the workspace's lock alone.
        """
        machine = await self.brought_back(workspace, image, moment)
        services = {service.name: service for service in moment.service_rows()}
        same = {
            name
            for name, service in services.items()
            if name in workspace.services and workspace.services[name].published == service.published
        }
        await self.end_all(workspace, cause, keep_ports=frozenset(same))
        await self.revive(workspace, machine, moment)

    async def revive(self, workspace: Workspace, machine: Machine, moment: Moment) -> None:
        """The commands and services of a moment run again, in a machine that was put back to it."""
        for handle, offset in moment.running.items():
            old = workspace.commands.get(handle)
            if old is None:
                continue
            output = OutputLog.load(workspace.outputs, handle, old.row.stdout_bytes, old.row.stderr_bytes)
            command = old.revived(output, offset, workspace.redactor)
            workspace.keep(command)
            await self.registry.save_command(command)
            command.follow(machine.guest, None, self.command_ended)
        for service in moment.service_rows():
            workspace.services[service.name] = service
            await self.registry.store.put_service(service)
        workspace.row = replace(workspace.row, suspended=None)
        await self.registry.save(workspace)
        await self._attached.take_up(workspace)

    async def drop_suspended(self, workspace: Workspace, suspended: dict[str, Any] | None) -> None:
        """Remove the image of a workspace that was stopped, if there is one."""
        if suspended is not None and suspended.get("image"):
            await asyncio.to_thread(self.images.remove, self.images.path(workspace.id, suspended["image"]))

    async def let_go(self, workspace: Workspace) -> None:
        """The machine is stopped; what is attached to it waits."""
        await self._attached.let_go(workspace, "")

    async def take_up(self, workspace: Workspace) -> None:
        """The machine runs and is attended to; what is attached to it goes on."""
        await self._attached.take_up(workspace)

    async def forget(self, workspace: Workspace) -> None:
        """The workspace goes, and with it all that was attached to it."""
        self.release_machine(workspace)
        await self._attached.forget(workspace)
