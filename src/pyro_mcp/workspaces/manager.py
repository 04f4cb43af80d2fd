"""Creates, resets, adopts, expires and deletes workspaces.

The rule that makes every crash harmless: a workspace's row names its one machine. A machine is made first
and then named by the row in a single write, so at any moment a workspace is whole, or it is not there; what
no row names is ended when the next daemon starts.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pyro_mcp import models
from pyro_mcp.errors import Conflict, NotFound, PyroError
from pyro_mcp.machines.pool import WarmPool
from pyro_mcp.machines.protocol import Engine, Machine, RootTree
from pyro_mcp.store import CommandRow, Store, WorkspaceRow, now
from pyro_mcp.workspaces.command import Command
from pyro_mcp.workspaces.output import OutputLog
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What `create` is asked for, after its input was checked."""

    environment: str
    name: str | None
    labels: dict[str, str]
    network_policy: str
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int | None
    one_shot: bool = False


@dataclass(frozen=True)
class PreparedSeed:
    """A seed in the store: read-only, shared by all workspaces that were filled from it."""

    digest: str
    tree: Path
    info: models.SeedInfo


class Network(Protocol):
    """What gives a workspace its way out; see `workspaces.egress`."""

    def environment(self, policy: str) -> dict[str, str]:
        """Variables of every process in a machine with this policy."""

    def files(self, policy: str) -> dict[str, str]:
        """Configuration files, for programs that read no variables."""

    async def open(self, machine: Machine) -> None:
        """Have the machine's agent take its connections."""

    async def run(self, workspace: Workspace, machine: Machine) -> None:
        """Serve the machine's connections until cancelled."""


class WorkspaceManager:
    """All workspaces of this user."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        pool: WarmPool,
        network: Network,
        outputs: Path,
        seed_tree: Callable[[str], Path],
        find_root: Callable[[str, str | None], RootTree],
    ) -> None:
        self._store = store
        self._engine = engine
        self._pool = pool
        self._network = network
        self._outputs = outputs
        self._seed_tree = seed_tree
        self._find_root = find_root
        self._workspaces: dict[str, Workspace] = {}
        self._names: dict[str, str] = {}
        self._expiry_changed = asyncio.Event()
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
        await self._store.put_workspace(workspace.row)

    def save_soon(self, workspace: Workspace) -> None:
        """Write the row without waiting; writes stay in order."""
        if workspace.id in self._workspaces:
            self.spawn(self._store.put_workspace(workspace.row))

    def spawn(self, work: Awaitable[object]) -> None:
        """Do it without anybody waiting; `close` does."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def rename(self, workspace: Workspace, name: str | None, labels: dict[str, str]) -> None:
        old = workspace.row.name
        if name is not None and name != old:
            self._claim_name(name, workspace.id)
        try:
            changed = replace(workspace.row, name=name, labels=labels)
            await self._store.put_workspace(changed)
        except BaseException:
            if name is not None and name != old:
                self._names.pop(name, None)
            raise
        workspace.row = changed
        if old is not None and old != name:
            self._names.pop(old, None)

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
            engine=self._engine.name,
            network_policy=plan.network_policy,
            vcpu_count=plan.vcpu_count,
            mem_mib=plan.mem_mib,
            created_at=at,
            last_activity_at=at,
            ttl_seconds=plan.ttl_seconds,
            labels=plan.labels,
            one_shot=plan.one_shot,
        )
        workspace = Workspace(row, self._outputs / workspace_id, self._engine.isolation)
        self._workspaces[workspace_id] = workspace
        workspace.in_use += 1
        machine: asyncio.Future[Machine] | None = None
        try:
            # Whoever finds it in the list meanwhile waits: to use it, or to delete it.
            async with workspace.lock.exclusive():
                try:
                    await self.save(workspace)
                    machine = asyncio.ensure_future(self._pool.take(root, plan.vcpu_count, plan.mem_mib))
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

    async def _move_in(self, workspace: Workspace, machine: Machine, tree: Path | None) -> None:
        """Make a fresh machine this workspace's own, and write that down."""
        await machine.show_seed(tree)
        await machine.guest.call(
            "POST",
            "/v1/setup",
            json_body={
                "hostname": (workspace.row.name or workspace.id).lower()[:63].replace("_", "-").replace(".", "-"),
                "machine_id": secrets.token_hex(16),
                "entropy": base64.b64encode(os.urandom(256)).decode(),
                "lower": "/pyro/seed/tree" if tree is not None else None,
                "env": self._network.environment(workspace.row.network_policy),
                "files": self._network.files(workspace.row.network_policy),
            },
        )
        if workspace.row.network_policy != "off":
            await self._network.open(machine)
        row = replace(workspace.row, state="running", machine_id=machine.id, cause=None)
        await self._store.put_workspace(row)
        workspace.row = row
        workspace.machine = machine
        self._attend(workspace, machine)

    def _attend(self, workspace: Workspace, machine: Machine) -> None:
        """Watch the machine's life and serve its connections."""
        workspace.watcher = asyncio.create_task(self._watch(workspace, machine), name=f"watch {workspace.id}")
        if workspace.row.network_policy != "off":
            workspace.network = asyncio.create_task(
                self._network.run(workspace, machine), name=f"network {workspace.id}"
            )

    async def _abandon(self, workspace: Workspace, machine: asyncio.Future[Machine] | None) -> None:
        if machine is not None:
            with contextlib.suppress(PyroError, OSError):
                await (await machine).destroy()
        await self._forget(workspace)

    async def _forget(self, workspace: Workspace) -> None:
        for task in (workspace.watcher, workspace.network):
            if task is not None:
                task.cancel()
        await self._store.remove_workspace(workspace.id)
        self._workspaces.pop(workspace.id, None)
        if workspace.row.name is not None and self._names.get(workspace.row.name) == workspace.id:
            del self._names[workspace.row.name]
        await asyncio.to_thread(shutil.rmtree, workspace.outputs, True)

    # -- the machine's life

    async def _watch(self, workspace: Workspace, machine: Machine) -> None:
        how = await machine.wait_gone()
        if workspace.machine is machine and workspace.row.state == "running":
            await self.lost(workspace, how)

    async def lost(self, workspace: Workspace, cause: str) -> None:
        """Record that the machine is gone; the workspace stays, to be looked at, reset or deleted."""
        machine, workspace.machine = workspace.machine, None
        workspace.row = replace(workspace.row, state="lost", cause=cause, machine_id=None)
        if workspace.network is not None:
            workspace.network.cancel()
        workspace.lose_commands()
        await self.save(workspace)
        for command in workspace.commands.values():
            await self._store.put_command(command.row, command.number)
        if machine is not None:
            await machine.destroy()
        log.warning("workspace %s: machine lost: %s", workspace.id, cause)

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
            row = workspace.row
            root = self._find_root(row.environment, row.environment_digest)
            tree = self._seed_tree(row.seed_digest) if row.seed_digest else None
            machine = await self._pool.take(root, row.vcpu_count, row.mem_mib)
            old, watcher, network = workspace.machine, workspace.watcher, workspace.network
            try:
                await self._move_in(workspace, machine, tree)
            except BaseException:
                await asyncio.shield(machine.destroy())
                raise
            for task in (watcher, network):
                if task is not None:
                    task.cancel()
            workspace.lose_commands()
            for command in workspace.commands.values():
                self.spawn(self._store.put_command(command.row, command.number))
            if old is not None:
                await old.destroy()

    async def delete(self, workspace: Workspace) -> None:
        """Remove the workspace. Its name is free at once; processes and files go behind the caller's back."""
        async with workspace.lock.exclusive():
            if workspace.id not in self._workspaces:
                return
            workspace.row = replace(workspace.row, state="deleting")
            await self.save(workspace)
            workspace.lose_commands()
            if workspace.machine is not None:
                await workspace.machine.destroy()
            await self._forget(workspace)

    # -- commands

    async def add_command(self, workspace: Workspace, argv: list[str]) -> Command:
        number = max((c.number for c in workspace.commands.values()), default=0) + 1
        row = CommandRow(
            handle=f"{workspace.id.removeprefix('ws-')}-{number}",
            workspace_id=workspace.id,
            command=argv,
            status="running",
            started_at=now(),
        )
        command = Command(row, number, OutputLog(workspace.outputs, row.handle))
        workspace.commands[row.handle] = command
        return command

    async def command_ended(self, command: Command) -> None:
        workspace = self._workspaces.get(command.row.workspace_id)
        if workspace is None:
            return
        await self._store.put_command(command.row, command.number)
        workspace.touch()
        self.save_soon(workspace)
        self._expiry_changed.set()

    async def save_command(self, command: Command) -> None:
        await self._store.put_command(command.row, command.number)

    def drop_command(self, workspace: Workspace, command: Command) -> None:
        """A command that could not be started leaves no trace but its event."""
        workspace.commands.pop(command.row.handle, None)

    # -- adoption and expiry

    async def adopt(self) -> None:
        """Take over what an earlier daemon left: live machines are kept, half-made things are removed."""
        await self._store.interrupt_events("the daemon was ended during this operation")
        rows = await self._store.workspaces()
        keep: set[str] = set()
        for row in rows:
            workspace = Workspace(row, self._outputs / row.id, self._engine.isolation)
            self._workspaces[row.id] = workspace
            if row.name is not None:
                self._names[row.name] = row.id
            if row.state in ("creating", "deleting"):
                await self._forget(workspace)
                continue
            await self._load_commands(workspace)
            if row.state == "running" and row.machine_id is not None:
                machine = await self._engine.adopt(row.machine_id)
                if machine is None:
                    await self.lost(workspace, "its processes ended while no daemon ran, or this computer restarted")
                else:
                    keep.add(machine.id)
                    workspace.machine = machine
                    self._attend(workspace, machine)
                    self._follow_again(workspace, machine)
        swept = await self._engine.sweep(keep)
        if swept:
            log.info("ended %d machines that no workspace names", len(swept))
        for directory in self._outputs.iterdir():
            if directory.name not in self._workspaces:
                await asyncio.to_thread(shutil.rmtree, directory, True)
        self._expiry = asyncio.create_task(self._expire(), name="expiry")

    async def _load_commands(self, workspace: Workspace) -> None:
        for number, row in enumerate(await self._store.commands(workspace.id), 1):
            live = row.status == "running"
            output = OutputLog.load(
                workspace.outputs, row.handle, None if live else row.stdout_bytes, None if live else row.stderr_bytes
            )
            workspace.commands[row.handle] = Command(row, number, output)

    def _follow_again(self, workspace: Workspace, machine: Machine) -> None:
        for command in workspace.running_commands():
            command.follow(machine.guest, None, self.command_ended)

    async def _expire(self) -> None:
        while True:
            self._expiry_changed.clear()
            moment = datetime.now(UTC)
            due: list[Workspace] = []
            soonest: float | None = None
            for workspace in self.all():
                expiry = workspace.expires_at()
                if expiry is None or workspace.row.state not in ("running", "lost"):
                    continue
                seconds = (expiry - moment).total_seconds()
                if seconds <= 0:
                    due.append(workspace)
                else:
                    soonest = seconds if soonest is None else min(soonest, seconds)
            for workspace in due:
                log.info("workspace %s expired", workspace.id)
                with contextlib.suppress(PyroError, OSError):
                    await self.delete(workspace)
            if not due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(soonest):
                        await self._expiry_changed.wait()

    def activity(self, workspace: Workspace) -> None:
        workspace.touch()
        self.save_soon(workspace)
        self._expiry_changed.set()

    async def close(self) -> None:
        """Let go of everything; machines live on."""
        tasks = [t for w in self.all() for t in (w.watcher, w.network) if t is not None]
        if self._expiry is not None:
            tasks.append(self._expiry)
        for workspace in self.all():
            for command in workspace.running_commands():
                command.leave()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._background, return_exceptions=True)
