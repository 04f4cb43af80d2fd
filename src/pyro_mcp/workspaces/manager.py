"""Creates, resets, adopts, expires and deletes workspaces.

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
import re
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from pyro_mcp import models
from pyro_mcp.errors import Conflict, NotFound, PyroError
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.machines.protocol import Machine, RootTree
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.output import OutputLog
from pyro_mcp.store import CommandRow, DepartedRow, Store, WorkspaceRow, now
from pyro_mcp.workspaces.moments import Images, Moment
from pyro_mcp.workspaces.secrets import NONE, Secrets, Vault
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
NOTICE_SECONDS = 300.0
"""An expiry is announced so long ahead in the history, or at half of the time where that is shorter."""


@dataclass(frozen=True)
class Plan:
    """What `create` is asked for, after its input was checked."""

    environment: str
    engine: str
    name: str | None
    labels: dict[str, str]
    network_policy: str
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int | None
    one_shot: bool = False
    lifetime_seconds: int | None = None
    allow_domains: list[str] = field(default_factory=list)
    secrets: Secrets = NONE


@dataclass(frozen=True)
class PreparedSeed:
    """A seed in the store: read-only, shared by all workspaces that were filled from it."""

    digest: str
    tree: Path
    info: models.SeedInfo


class Network(Protocol):
    """What gives a workspace its way out; see `workspaces.egress`."""

    def environment(self, workspace: Workspace) -> dict[str, str]:
        """Variables of every process in its machine."""

    async def files(self, workspace: Workspace) -> dict[str, str]:
        """Configuration files, for programs that read no variables."""

    async def open(self, machine: Machine) -> None:
        """Have the machine's agent take its connections."""

    async def run(self, workspace: Workspace, machine: Machine, note: Note) -> None:
        """Serve the machine's connections until cancelled; `note` hears of each at its end."""


Note = Callable[[str, str, dict[str, Any]], None]
"""Outcome, summary and details of a connection."""


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


class WorkspaceManager:
    """All workspaces of this user."""

    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        network: Network,
        outputs: Path,
        seed_tree: Callable[[str], Path],
        find_root: Callable[[str, str | None], RootTree],
        vault: Vault,
        images: Images,
    ) -> None:
        self.store = store
        self.fleet = fleet
        self._network = network
        self._outputs = outputs
        self._seed_tree = seed_tree
        self._find_root = find_root
        self.vault = vault
        self.images = images
        self.attached: Attached | None = None
        self._departed: list[DepartedRow] = []
        self._workspaces: dict[str, Workspace] = {}
        self._names: dict[str, str] = {}
        self._expiry_changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._expiry: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[object]] = set()

    # -- looking up

    def get(self, reference: str) -> Workspace:
        """The workspace with this id or name.

        Raises:
            NotFound: there is none; the message lists what there is.
        """
        found = self._workspaces.get(reference) or self._workspaces.get(self._names.get(reference, ""))
        if found is None:
            known = ", ".join((w.row.name or w.id) for w in list(self._workspaces.values())[:10]) or "none"
            gone = next((d for d in self._departed if reference in (d.id, d.name)), None)
            if gone is not None:
                raise NotFound(
                    f"Workspace {reference!r} is gone since {gone.at}: {gone.cause}. There are: {known}.",
                    hint="Create a new one.",
                    code="workspace_gone",
                )
            raise NotFound(
                f"There is no workspace {reference!r}; there are: {known}.",
                hint="`pyro workspace list` shows all.",
                code="unknown_workspace",
            )
        return found

    def all(self) -> list[Workspace]:
        return list(self._workspaces.values())

    def environments_in_use(self) -> set[str]:
        return {w.row.environment_digest for w in self.all()}

    def seeds_in_use(self) -> set[str]:
        return {w.row.seed_digest for w in self.all() if w.row.seed_digest}

    # -- rows

    async def save(self, workspace: Workspace) -> None:
        async with self._writing:
            if workspace.id in self._workspaces:
                await self.store.put_workspace(workspace.row)

    async def change(self, workspace: Workspace, **changes: Any) -> None:
        """Change the row, written first. One at a time: a row that was read before never undoes a later one."""
        async with self._writing:
            self.get(workspace.id)  # it may have been deleted meanwhile
            await self.store.put_workspace(replace(workspace.row, **changes))
            workspace.row = replace(workspace.row, **changes)

    def save_soon(self, workspace: Workspace) -> None:
        """Write the row without waiting."""
        self.spawn(self.save(workspace))

    def spawn(self, work: Awaitable[object]) -> None:
        """Do it without anybody waiting; `close` does."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def update(
        self, workspace: Workspace, changed: WorkspaceRow, name: str | None, labels: dict[str, str]
    ) -> None:
        """Write a changed row, with a name that must be free."""
        old = workspace.row.name
        if name is not None and name != old:
            self._claim_name(name, workspace.id)
        try:
            await self.change(
                workspace,
                name=name,
                labels=labels,
                ttl_seconds=changed.ttl_seconds,
                lifetime_seconds=changed.lifetime_seconds,
                allow_domains=changed.allow_domains,
            )
        except BaseException:
            if name is not None and name != old:
                self._names.pop(name, None)
            raise
        if old is not None and old != name:
            self._names.pop(old, None)
        self._expiry_changed.set()

    def _claim_name(self, name: str, workspace_id: str) -> None:
        if name in self._names or name in self._workspaces:
            raise Conflict(
                f"Another workspace is named {name!r}; names are unique.",
                hint="Choose another name, or delete that workspace.",
                code="name_in_use",
            )
        self._names[name] = workspace_id

    # -- create

    async def create(self, plan: Plan, root: RootTree, seed: Callable[[], Awaitable[PreparedSeed | None]]) -> Workspace:
        """A new workspace; `seed` prepares what fills it, while the machine is being made.

        Whatever goes wrong, cancellation included, leaves nothing behind.
        """
        workspace_id = self._new_id()
        if plan.name is not None:
            self._claim_name(plan.name, workspace_id)
        at = now()
        row = WorkspaceRow(
            id=workspace_id,
            name=plan.name,
            state="creating",
            machine_id=None,
            environment=plan.environment,
            environment_digest=root.digest,
            engine=plan.engine,
            network_policy=plan.network_policy,
            vcpu_count=plan.vcpu_count,
            mem_mib=plan.mem_mib,
            created_at=at,
            last_activity_at=at,
            ttl_seconds=plan.ttl_seconds,
            labels=plan.labels,
            one_shot=plan.one_shot,
            lifetime_seconds=plan.lifetime_seconds,
            allow_domains=plan.allow_domains,
        )
        workspace = self._admit(row)
        workspace.secrets = plan.secrets
        workspace.in_use += 1
        machine: asyncio.Future[Machine] | None = None
        try:
            # Whoever finds it in the list meanwhile waits: to use it, or to delete it.
            async with workspace.lock.exclusive():
                try:
                    await self.save(workspace)
                    await asyncio.to_thread(self.vault.write, workspace_id, plan.secrets)
                    machine = asyncio.ensure_future(self.fleet.take(plan.engine, root, plan.vcpu_count, plan.mem_mib))
                    prepared = await seed()
                    if prepared is not None:
                        workspace.row = replace(
                            workspace.row, seed=prepared.info.model_dump(mode="json"), seed_digest=prepared.digest
                        )
                    await self._move_in(workspace, await machine, prepared.tree if prepared else None)
                except BaseException:
                    # Shielded: a caller that goes away in the middle must not leave half a workspace.
                    await asyncio.shield(self._abandon(workspace, machine))
                    raise
        finally:
            workspace.in_use -= 1
        self._expiry_changed.set()
        return workspace

    def _new_id(self) -> str:
        while True:
            candidate = "ws-" + secrets.token_hex(4)
            if candidate not in self._workspaces:
                return candidate

    def _admit(self, row: WorkspaceRow) -> Workspace:
        workspace = Workspace(row, self._outputs / row.id, self.fleet.isolation(row.engine))
        self._workspaces[row.id] = workspace
        return workspace

    def root_of(self, row: WorkspaceRow) -> RootTree:
        return self._find_root(row.environment, row.environment_digest)

    def seed_of(self, row: WorkspaceRow) -> Path | None:
        return self._seed_tree(row.seed_digest) if row.seed_digest else None

    async def _identity(self, workspace: Workspace) -> dict[str, Any]:
        """What makes a machine this workspace's own; random state is fresh each time."""
        name = workspace.row.name or workspace.id
        return {
            "hostname": re.sub("[^a-z0-9-]", "-", name.lower())[:63].strip("-"),
            # Of the workspace, not of the machine: a reset does not change who it is (machine-id(5)).
            "machine_id": hashlib.sha256(f"pyro {workspace.id}".encode()).hexdigest()[:32],
            "entropy": base64.b64encode(os.urandom(256)).decode(),
            "time_unix_ns": time.time_ns(),
            "env": self._network.environment(workspace),
            "files": await self._network.files(workspace),
        }

    async def _move_in(self, workspace: Workspace, machine: Machine, tree: Path | None) -> None:
        """Make a fresh machine this workspace's own, and write that down."""
        await machine.show_seed(tree)
        lower = "/pyro/seed/tree" if tree is not None else None
        await machine.guest.call("POST", "/v1/setup", json_body={**await self._identity(workspace), "lower": lower})
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
        if workspace.row.network_policy != "off":
            await self._network.open(machine)
        await self.change(workspace, state="running", machine_id=machine.id, cause=None, suspended=moment)
        self.release_machine(workspace)
        old = workspace.machine
        workspace.machine = machine
        self._attend(workspace, machine)
        if old is not None:
            await old.destroy()

    def release_machine(self, workspace: Workspace) -> None:
        """Attend to the workspace's machine no more."""
        for task in (workspace.watcher, workspace.network):
            if task is not None:
                task.cancel()
        workspace.watcher = workspace.network = None
        workspace.terminals.clear()

    def _attend(self, workspace: Workspace, machine: Machine) -> None:
        """Watch the machine's life and serve its connections."""
        workspace.watcher = asyncio.create_task(self._watch(workspace, machine), name=f"watch {workspace.id}")
        if workspace.row.network_policy != "off":

            def note(outcome: str, summary: str, details: dict[str, Any]) -> None:
                self.note(workspace, "guest", "egress", outcome, summary, details)

            workspace.network = asyncio.create_task(
                self._network.run(workspace, machine, note), name=f"network {workspace.id}"
            )

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

    async def _abandon(self, workspace: Workspace, machine: asyncio.Future[Machine] | None) -> None:
        if machine is not None:
            with contextlib.suppress(PyroError, OSError):
                await (await machine).destroy()
        await self._forget(workspace)

    async def _forget(self, workspace: Workspace) -> None:
        self.release_machine(workspace)
        if self.attached is not None:
            await self.attached.forget(workspace)
        # From here on nothing writes its row again; whoever takes its name now writes after the removal.
        self._workspaces.pop(workspace.id, None)
        if workspace.row.name is not None and self._names.get(workspace.row.name) == workspace.id:
            del self._names[workspace.row.name]
        await self.store.remove_workspace(workspace.id)
        workspace.notify_event()
        await asyncio.to_thread(self._remove_files, workspace)

    def _remove_files(self, workspace: Workspace) -> None:
        self.vault.remove(workspace.id)
        self.images.remove_all(workspace.id)
        shutil.rmtree(workspace.outputs, True)

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
        await self._end_all(workspace, f"the machine was lost: {cause}")
        await self.save(workspace)
        self.note(workspace, "daemon", "machine_lost", "error", cause)
        if machine is not None:
            await machine.destroy()
        log.warning("workspace %s: machine lost: %s", workspace.id, cause)

    async def _end_all(self, workspace: Workspace, cause: str, keep_ports: frozenset[str] = frozenset()) -> None:
        """The machine's processes are gone: commands and services end with it."""
        ended = [c for c in workspace.commands.values() if c.row.status in ("running", "suspended")]
        workspace.lose_commands()
        for command in ended:
            await self.store.put_command(command.row, command.number)
        if self.attached is not None:
            await self.attached.let_go(workspace, cause, keep_ports=keep_ports)

    def machines(self) -> list[Machine]:
        """The machines of all workspaces."""
        return [workspace.machine for workspace in self.all() if workspace.machine is not None]

    async def lost_by_machine(self, machine_id: str, cause: str) -> None:
        for workspace in self.all():
            if workspace.machine is not None and workspace.machine.id == machine_id:
                await self.lost(workspace, cause)

    async def reset(self, workspace: Workspace) -> None:
        """A fresh machine at the baseline takes the old one's place, in one write."""
        async with workspace.lock.exclusive():
            self.get(workspace.id)  # it may have been deleted meanwhile
            row, suspended = workspace.row, workspace.row.suspended
            machine = await self.fleet.take(row.engine, self.root_of(row), row.vcpu_count, row.mem_mib)
            try:
                await self._move_in(workspace, machine, self.seed_of(row))
            except BaseException:
                await asyncio.shield(machine.destroy())
                raise
            await self._end_all(workspace, "the workspace was reset to its baseline")
            await self.drop_suspended(workspace, suspended)

    async def drop_suspended(self, workspace: Workspace, suspended: dict[str, Any] | None) -> None:
        """Remove the image of a workspace that was stopped, if there is one."""
        if suspended is not None and suspended.get("image"):
            await asyncio.to_thread(self.images.remove, self.images.path(workspace.id, suspended["image"]))

    async def restored(self, row: WorkspaceRow, image: Path) -> Machine:
        """A machine in the state of an image, of the shape that the row says; nobody's yet."""
        return await self.fleet.revive(
            row.engine, self.root_of(row), row.vcpu_count, row.mem_mib, image, self.seed_of(row)
        )

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
        await self._end_all(workspace, cause, keep_ports=frozenset(same))
        await self.revive(workspace, machine, moment)

    async def revive(self, workspace: Workspace, machine: Machine, moment: Moment) -> None:
        """The commands and services of a moment run again, in a machine that was put back to it."""
        for handle, offset in moment.running.items():
            old = workspace.commands.get(handle)
            if old is None:
                continue
            output = OutputLog.load(workspace.outputs, handle, old.row.stdout_bytes, old.row.stderr_bytes)
            command = old.revived(output, offset, workspace.redactor)
            workspace.commands[handle] = command
            await self.save_command(command)
            command.follow(machine.guest, None, self.command_ended)
        for service in moment.service_rows():
            workspace.services[service.name] = service
            await self.store.put_service(service)
        workspace.row = replace(workspace.row, suspended=None)
        await self.save(workspace)
        if self.attached is not None:
            await self.attached.take_up(workspace)

    async def fork(self, parent: Workspace, name: str | None, image: Path, moment: Moment) -> Workspace:
        """A sibling from an image of `parent`. Whatever goes wrong leaves nothing behind."""
        workspace_id = self._new_id()
        if name is not None:
            self._claim_name(name, workspace_id)
        at = now()
        row = replace(
            parent.row,
            id=workspace_id,
            name=name,
            state="creating",
            machine_id=None,
            created_at=at,
            last_activity_at=at,
            forked_from=parent.id,
            suspended=None,
            cause=None,
        )
        workspace = self._admit(row)
        workspace.secrets = parent.secrets
        workspace.in_use += 1
        machine: asyncio.Future[Machine] | None = None
        try:
            async with workspace.lock.exclusive():
                try:
                    await self.save(workspace)
                    await asyncio.to_thread(self.vault.write, workspace_id, parent.secrets)
                    machine = asyncio.ensure_future(self.restored(row, image))
                    handles = await asyncio.to_thread(self._copy_commands, parent, workspace, moment)
                    for command in workspace.commands.values():
                        await self.save_command(command)
                    moment = moment.of_fork(workspace_id, handles)
                    await self.move_back(workspace, await machine, moment)
                    await self.revive(workspace, await machine, moment)
                except BaseException:
                    await asyncio.shield(self._abandon(workspace, machine))
                    raise
        finally:
            workspace.in_use -= 1
        self._expiry_changed.set()
        return workspace

    def _copy_commands(self, parent: Workspace, child: Workspace, moment: Moment) -> dict[str, str]:
        """Commands that run in the image, with their output so far, under handles of the child's own. Blocks."""
        handles = {}
        for number, old in enumerate(moment.running, 1):
            command = parent.commands.get(old)
            if command is None:
                continue
            handle = handles[old] = f"{child.id.removeprefix('ws-')}-{number}"
            output = OutputLog(child.outputs, handle)
            moment.copy_log(old, command.output, output)
            output.close()
            row = replace(
                command.row,
                handle=handle,
                workspace_id=child.id,
                status="suspended",
                stdout_bytes=output.stdout_bytes,
                stderr_bytes=output.stderr_bytes,
            )
            child.commands[handle] = Command(row, number, output, child.redactor)
        return handles

    async def delete(self, workspace: Workspace, cause: str = "it was deleted") -> None:
        """Remove the workspace. Its name is free at once; processes and files go behind the caller's back."""
        async with workspace.lock.exclusive():
            if workspace.id not in self._workspaces:
                return
            workspace.row = replace(workspace.row, state="deleting")
            await self.save(workspace)
            workspace.lose_commands()
            if workspace.machine is not None:
                await workspace.machine.destroy()
            if not workspace.row.one_shot:
                departed = DepartedRow(workspace.id, workspace.row.name, now(), cause)
                self._departed.insert(0, departed)
                await self.store.remember_departed(departed)
            await self._forget(workspace)

    # -- commands

    async def add_command(
        self,
        workspace: Workspace,
        argv: list[str],
        kind: Literal["exec", "shell", "service"] = "exec",
        size: tuple[int, int] | None = None,
    ) -> Command:
        number = max((c.number for c in workspace.commands.values()), default=0) + 1
        row = CommandRow(
            handle=f"{workspace.id.removeprefix('ws-')}-{number}",
            workspace_id=workspace.id,
            command=[workspace.redactor.text(word) for word in argv],
            status="running",
            started_at=now(),
            kind=kind,
            rows=size[0] if size else None,
            cols=size[1] if size else None,
        )
        command = Command(row, number, OutputLog(workspace.outputs, row.handle), workspace.redactor)
        workspace.commands[row.handle] = command
        return command

    async def command_ended(self, command: Command) -> None:
        workspace = self._workspaces.get(command.row.workspace_id)
        if workspace is None:
            return
        await self.store.put_command(command.row, command.number)
        if self.attached is not None and command.row.kind == "service":
            await self.attached.ended(workspace, command)
        workspace.touch()
        self.save_soon(workspace)
        self._expiry_changed.set()

    async def save_command(self, command: Command) -> None:
        await self.store.put_command(command.row, command.number)

    def drop_command(self, workspace: Workspace, command: Command) -> None:
        """A command that could not be started leaves no trace but its event."""
        workspace.commands.pop(command.row.handle, None)

    # -- adoption and expiry

    async def adopt(self) -> None:
        """Take over what an earlier daemon left: live machines are kept, half-made things are removed."""
        await self.store.interrupt_events("the daemon was ended during this operation")
        rows = await self.store.workspaces()
        self._departed = await self.store.departed()
        keep: set[str] = set()
        images: list[Path] = []
        for row in rows:
            workspace = self._admit(row)
            if row.name is not None:
                self._names[row.name] = row.id
            if row.state in ("creating", "deleting"):
                await self._forget(workspace)
                continue
            workspace.secrets = await asyncio.to_thread(self.vault.read, row.id)
            workspace.snapshots = {found.name: found for found in await self.store.snapshots(row.id)}
            images += [self.images.path(row.id, found.image) for found in workspace.snapshots.values()]
            workspace.services = {found.name: found for found in await self.store.services(row.id)}
            await self._load_commands(workspace)
            if row.state == "stopped" and row.suspended is not None:
                images.append(self.images.path(row.id, row.suspended["image"]))
                for command in workspace.running_commands():
                    command.suspend()
                    await self.save_command(command)
            if row.state == "running" and row.machine_id is not None:
                machine = await self.fleet.adopt(row.engine, row.machine_id)
                if machine is None:
                    await self.lost(workspace, "its processes ended while no daemon ran, or this computer restarted")
                else:
                    keep.add(machine.id)
                    workspace.machine = machine
                    self._attend(workspace, machine)
                    if row.suspended is not None:
                        await self._end_all(workspace, "the machine was put back to an earlier moment")
                        await self.revive(workspace, machine, Moment.load(row.suspended))
                        continue
                    self._follow_again(workspace, machine)
                    if self.attached is not None:
                        await self.attached.take_up(workspace)
        swept = await self.fleet.sweep(keep)
        if swept:
            log.info("ended %d machines that no workspace names", len(swept))
        await asyncio.to_thread(self._sweep_files, images)
        self._expiry = asyncio.create_task(self._expire(), name="expiry")

    def _sweep_files(self, images: list[Path]) -> None:
        for directory in self._outputs.iterdir():
            if directory.name not in self._workspaces:
                shutil.rmtree(directory, True)
        self.vault.sweep(set(self._workspaces))
        self.images.sweep(images)

    async def _load_commands(self, workspace: Workspace) -> None:
        for number, row in enumerate(await self.store.commands(workspace.id), 1):
            live = row.status == "running"
            output = OutputLog.load(
                workspace.outputs, row.handle, None if live else row.stdout_bytes, None if live else row.stderr_bytes
            )
            workspace.commands[row.handle] = Command(row, number, output, workspace.redactor)

    def _follow_again(self, workspace: Workspace, machine: Machine) -> None:
        for command in workspace.running_commands():
            command.follow(machine.guest, None, self.command_ended)

    async def _expire(self) -> None:
        announced: set[str] = set()
        while True:
            self._expiry_changed.clear()
            moment = datetime.now(UTC)
            soonest: float | None = None
            for workspace in self.all():
                expiry = workspace.expires_at()
                if expiry is None or workspace.row.state not in ("running", "stopped", "lost"):
                    announced.discard(workspace.id)
                    continue
                seconds = (expiry[0] - moment).total_seconds()
                if seconds <= 0:
                    await self._expired(workspace, expiry[1])
                    announced.discard(workspace.id)
                    soonest = 0.0
                    continue
                notice = min(NOTICE_SECONDS, (expiry[0] - _since(workspace)).total_seconds() / 2)
                if seconds > notice:
                    announced.discard(workspace.id)
                    seconds -= notice
                elif workspace.id not in announced:
                    announced.add(workspace.id)
                    self.note(
                        workspace,
                        "daemon",
                        "expiry",
                        "ok",
                        f"will be deleted at {expiry[0]:%H:%M:%SZ}: {expiry[1]}",
                    )
                soonest = seconds if soonest is None else min(soonest, seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(soonest):
                    await self._expiry_changed.wait()

    async def _expired(self, workspace: Workspace, cause: str) -> None:
        log.info("workspace %s expired: %s", workspace.id, cause)
        with contextlib.suppress(PyroError, OSError):
            await self.store.add_event(workspace.id, "daemon", "expiry", "ok", summary=f"deleted: {cause}")
            workspace.notify_event()
            await self.delete(workspace, f"it expired ({cause})")

    def activity(self, workspace: Workspace) -> None:
        workspace.touch()
        self.save_soon(workspace)
        self._expiry_changed.set()

    async def close(self) -> None:
        """Let go of everything; machines live on."""
        tasks = [t for w in self.all() for t in (w.watcher, w.network, *w.probes.values()) if t is not None]
        if self._expiry is not None:
            tasks.append(self._expiry)
        for workspace in self.all():
            for command in workspace.running_commands():
                command.leave()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._background, return_exceptions=True)


def _since(workspace: Workspace) -> datetime:
    return datetime.fromisoformat(workspace.row.last_activity_at)
