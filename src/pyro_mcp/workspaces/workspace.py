"""A workspace at run time: its kept row, its machine, its commands, its lock."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyro_mcp import models
from pyro_mcp.errors import Conflict, MachineLost, NotFound
from pyro_mcp.guest.client import Guest
from pyro_mcp.machines.protocol import Machine
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.models.base import iso
from pyro_mcp.network.published import Listener
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.screen import Screen
from pyro_mcp.store import ServiceRow, SnapshotRow, WorkspaceRow, now
from pyro_mcp.visible import as_typed
from pyro_mcp.vocabulary import online
from pyro_mcp.workspaces.keeping import KEEPS, Keeper
from pyro_mcp.workspaces.locks import SharedLock
from pyro_mcp.workspaces.secrets import NONE, Secrets

RUN_AS = "run_as"
"""Where the row's `runtime` keeps who commands run as; the image's own word, `user`, is kept beside it."""


class Commands(dict[str, Command]):
    """By handle, in the order of their numbers. Those that run are known without a look at all that ever ran."""

    def __init__(self) -> None:
        super().__init__()
        self._live: dict[str, Command] = {}

    def __setitem__(self, handle: str, command: Command) -> None:
        super().__setitem__(handle, command)
        self._live[handle] = command

    def running(self) -> list[Command]:
        """Those that run; what has ended never runs again under the same object."""
        self._live = {h: c for h, c in self._live.items() if c.running and self.get(h) is c}
        return list(self._live.values())


class Workspace:
    """Owned by the manager; changed only under its lock, except for its activity."""

    def __init__(self, row: WorkspaceRow, outputs: Path, isolation: str) -> None:
        self.row = row
        self.machine: Machine | None = None
        self.commands = Commands()
        self.lock = SharedLock()
        self.outputs = outputs
        self.keeper = Keeper(self)
        """The checkpoints of its files."""
        self.watcher: asyncio.Task[None] | None = None
        self.network: asyncio.Task[None] | None = None
        self.trying: asyncio.Task[None] | None = None
        """Alternatives that are being tried; see `trying`."""
        self.in_use = 0
        """Operations under way; a workspace in use never expires."""
        self.secrets: Secrets = NONE
        self.snapshots: dict[str, SnapshotRow] = {}
        self.services: dict[str, ServiceRow] = {}
        self.listeners: dict[str, list[Listener]] = {}
        """Published ports by the service's name."""
        self.probes: dict[str, asyncio.Task[None]] = {}
        """Readiness checks under way, by the service's name."""
        self.terminals: dict[str, Screen] = {}
        """What the screens of shells show, by handle; made when first asked for."""
        self.changes = 0
        """How often an operation changed files itself, since this daemon began; commands are counted by themselves."""
        self.doomed = False
        """It is being deleted, which ends what others do with it."""
        self.heard: Callable[[], None] = lambda: None
        """Called when something about it is another than before."""
        self._event_kept = asyncio.Event()
        self._isolation = isolation

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def is_trial(self) -> bool:
        """A fork in which an alternative is tried: nobody's, and gone afterwards."""
        return self.row.one_shot and self.row.forked_from is not None

    @property
    def user(self) -> str:
        """Who commands run as unless the call says otherwise, and whom the seed belongs to; empty is root."""
        return str(self.row.runtime.get(RUN_AS, ""))

    @property
    def hostname(self) -> str:
        """Its machine's own name for itself."""
        return re.sub("[^a-z0-9-]", "-", (self.row.name or self.id).lower())[:63].strip("-")

    def require_machine(self) -> Machine:
        """The machine.

        Raises:
            MachineLost: it is gone; the message says why.
            Conflict: it is not there yet, or being deleted.
        """
        if self.row.state == "lost":
            raise MachineLost(
                f"The machine of workspace {self.id} is lost: {self.row.cause or 'unknown cause'}.",
                hint="What it had printed is in workspace logs. Reset gives it a fresh machine: with snapshot `last` "
                "its files as at the last checkpoint, else its baseline; or delete it.",
            )
        if self.row.state == "stopped":
            raise Conflict(
                f"Workspace {self.id} is stopped.",
                hint="Start it first with `pyro workspace start` or workspace_start. You can read its disk with "
                "workspace disk.",
                code="stopped",
            )
        if self.machine is None or self.row.state != "running":
            raise Conflict(f"Workspace {self.id} is {self.row.state}.", hint="Try again shortly.", code="not_running")
        return self.machine

    @property
    def guest(self) -> Guest:
        return self.require_machine().guest

    @contextlib.asynccontextmanager
    async def taken_over(self, why: str) -> AsyncIterator[None]:
        """Its lock, alone and before all others. Nobody who has it waits for the guest meanwhile: `why` tells them."""
        with self.machine.guest.barred(why) if self.machine is not None else contextlib.nullcontext():
            async with self.lock.exclusive(urgent=True):
                yield

    async def before_change(self) -> None:
        """Have what went before kept; what is typed into a shell has no end that would tell of it."""
        if self.row.state == "running" and self._running("shell"):
            self.keeper.happened("shell")
        await self.keeper.in_hand()

    def command_changed(self, command: Command) -> None:
        """A command ended: keep the files, unless it is known to have changed none."""
        delta, command.delta = command.delta, None
        if command.changed_files != 0 and self.row.state == "running" and not self.row.one_shot:
            self.keeper.happened(as_typed(command.row.command), delta)

    @property
    def keeps(self) -> bool:
        """Whether its files are kept as they are after each change."""
        return KEEPS and not self.row.one_shot

    def command(self, handle: str) -> Command:
        try:
            return self.commands[handle]
        except KeyError:
            known = ", ".join(list(self.commands)[-5:]) or "none"
            raise NotFound(
                f"Workspace {self.id} has no command {handle!r}. Latest commands: {known}.",
                hint="List them with `pyro workspace logs WS` or workspace_logs without a handle.",
                code="unknown_handle",
            ) from None

    def keep(self, command: Command) -> None:
        """One more command of this workspace, or the same one again."""
        command.heard = self.heard
        self.commands[command.row.handle] = command

    def running_commands(self) -> list[Command]:
        return self.commands.running()

    # -- its history, for those who follow it

    @property
    def event_kept(self) -> asyncio.Event:
        """Set when the next event is kept; taken before looking."""
        return self._event_kept

    def notify_event(self) -> None:
        waiting, self._event_kept = self._event_kept, asyncio.Event()
        waiting.set()
        self.heard()

    @property
    def redactor(self) -> Redactor:
        return self.secrets.redactor

    # -- its time

    def touch(self) -> None:
        self.row = replace(self.row, last_activity_at=now())

    def busy(self, *, services: bool) -> bool:
        """Whether it is in use: an operation is under way or a command runs; with `services`, also a service."""
        kinds = ("exec", "service") if services else ("exec",)
        return bool(self.in_use) or any(command.row.kind in kinds for command in self.running_commands())

    def expires_at(self) -> tuple[datetime, str] | None:
        """When it will be deleted if nothing happens, and why; None while it is in use or has no limit.

        A running service counts as use, but does not prolong a lifetime for ever.
        """
        limits: list[tuple[datetime, str]] = []
        if self.row.ttl_seconds is not None and not self.busy(services=True):
            idle = timedelta(seconds=self.row.ttl_seconds)
            limits.append(
                (datetime.fromisoformat(self.row.last_activity_at) + idle, f"unused for {self.row.ttl_seconds} s")
            )
        if self.row.lifetime_seconds is not None and not self.busy(services=False):
            lifetime = timedelta(seconds=self.row.lifetime_seconds)
            limits.append(
                (datetime.fromisoformat(self.row.created_at) + lifetime, f"lifetime of {self.row.lifetime_seconds} s")
            )
        return min(limits, default=None)

    def lose_commands(self) -> None:
        for command in self.commands.values():
            if command.row.status in ("running", "suspended"):
                command.lose()

    def _running(self, kind: str) -> list[str]:
        return [command.row.handle for command in self.running_commands() if command.row.kind == kind]

    def _runs(self, handle: str) -> bool:
        return handle in self.commands and self.commands[handle].running

    def published_ports(self) -> list[models.PublishedPort]:
        return [
            models.PublishedPort(**port)
            for service in self.services.values()
            if self._runs(service.handle)
            for port in service.published
        ]

    def _devcontainer(self) -> models.Devcontainer | None:
        kept = self.row.devcontainer
        if kept is None:
            return None
        handle: str | None = kept.get("setup")
        status, exit_code = kept.get("status"), kept.get("exit_code")
        if handle is not None and handle in self.commands:
            command = self.commands[handle].row
            status = "running" if command.status in ("running", "suspended") else "failed"
            exit_code = command.exit_code
            if command.status == "exited" and exit_code == 0:
                status = "done"
        hint = str(kept.get("failure", ""))
        if kept.get("script") and handle is None and status is None and not hint:
            hint = "Its set-up has not run, or is just starting. If the daemon ended before it started, "
            hint += f"`pyro workspace reset {self.id}` or workspace_reset runs it from the start."
        if status == "running":
            hint = (
                f"Its set-up is still running. Wait for it: `pyro workspace logs {self.id} --handle {handle} "
                "--follow`, or "
            )
            hint += f"workspace_logs(handle={handle!r}, wait_seconds=45)."
        elif status == "failed" and handle:
            ended = "did not end" if exit_code is None else f"ended with exit status {exit_code}"
            hint = f"Its set-up {ended}; the log says why: `pyro workspace logs {self.id} --handle {handle}`, or "
            hint += f"workspace_logs(handle={handle!r}). The workspace can be used."
            if not online(self.row.network_policy):
                hint += " Its network is off; a set-up that fetches packages needs network_policy egress."
        return models.Devcontainer(
            path=kept["path"],
            followed=kept["followed"],
            setup=handle,
            setup_status=status,
            setup_exit_code=exit_code,
            post_start=str(kept.get("started", "")),
            passed_over=kept.get("passed_over", []),
            notes=[*kept.get("notes", []), *filter(None, [kept.get("unkept")])],
            hint=hint,
            prepared=str(kept.get("kept") or (kept.get("prepared") or {}).get("name", "")),
            restored="prepared" in kept,
        )

    def record(self) -> models.Workspace:
        row = self.row
        expiry = self.expires_at()
        return models.Workspace(
            id=row.id,
            name=row.name,
            state=row.state,
            environment=row.environment,
            user=self.user or "root",
            engine=row.engine,
            network_policy=row.network_policy,
            vcpu_count=row.vcpu_count,
            mem_mib=row.mem_mib,
            disk_gib=row.disk_gib,
            labels=row.labels,
            created_at=row.created_at,
            last_activity_at=row.last_activity_at,
            expires_at=iso(expiry[0]) if expiry else None,
            expires_because=expiry[1] if expiry else "",
            ttl_seconds=row.ttl_seconds,
            lifetime_seconds=row.lifetime_seconds,
            seed=_seed(row.seed),
            devcontainer=self._devcontainer(),
            running_commands=self._running("exec"),
            services=[name for name, service in self.services.items() if self._runs(service.handle)],
            shells=self._running("shell"),
            published_ports=self.published_ports(),
            allow_domains=row.allow_domains,
            allow_host_ports=row.allow_host_ports,
            allow_addresses=row.allow_addresses,
            ssh_hosts=row.ssh_hosts,
            secrets=[models.SecretInfo(name=s.name, host=s.host) for s in self.secrets.by_name.values()],
            forked_from=row.forked_from,
            isolation=self._isolation,
            limits=self.machine.limits if self.machine else "",
            cause=row.cause,
        )


def _seed(record: dict[str, Any] | None) -> models.SeedInfo | None:
    return models.SeedInfo(**record) if record else None
