"""A workspace at run time: its kept row, its machine, its commands, its lock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyro_mcp import models
from pyro_mcp.errors import Conflict, MachineLost, NotFound
from pyro_mcp.guest.client import Guest
from pyro_mcp.machines.protocol import Machine
from pyro_mcp.store import WorkspaceRow, now
from pyro_mcp.workspaces.command import Command
from pyro_mcp.workspaces.locks import SharedLock


class Workspace:
    """Owned by the manager; changed only under its lock, except for its activity."""

    def __init__(self, row: WorkspaceRow, outputs: Path, isolation: str) -> None:
        self.row = row
        self.machine: Machine | None = None
        self.commands: dict[str, Command] = {}
        self.lock = SharedLock()
        self.outputs = outputs
        self.watcher: asyncio.Task[None] | None = None
        self.network: asyncio.Task[None] | None = None
        self.in_use = 0
        """Operations under way; a workspace in use never expires."""
        self._isolation = isolation

    @property
    def id(self) -> str:
        return self.row.id

    def require_machine(self) -> Machine:
        """The machine.

        Raises:
            MachineLost: it is gone; the message says why.
            Conflict: it is not there yet, or being deleted.
        """
        if self.row.state == "lost":
            raise MachineLost(
                f"The machine of workspace {self.id} is lost: {self.row.cause or 'unknown cause'}.",
                hint="What it had printed is in workspace logs. Reset gives it a fresh machine at its baseline; "
                "or delete it.",
            )
        if self.machine is None or self.row.state != "running":
            raise Conflict(f"Workspace {self.id} is {self.row.state}.", hint="Try again shortly.", code="not_running")
        return self.machine

    @property
    def guest(self) -> Guest:
        return self.require_machine().guest

    def command(self, handle: str) -> Command:
        try:
            return self.commands[handle]
        except KeyError:
            known = ", ".join(list(self.commands)[-5:]) or "none"
            raise NotFound(
                f"Workspace {self.id} has no command {handle!r}; the latest are: {known}.",
                hint="List them with `pyro workspace logs WS` or workspace_logs without a handle.",
                code="unknown_handle",
            ) from None

    def running_commands(self) -> list[Command]:
        return [command for command in self.commands.values() if command.running]

    def touch(self) -> None:
        self.row = replace(self.row, last_activity_at=now())

    def expires_at(self) -> datetime | None:
        """When it will be deleted if nothing happens; None while it is in use or has no TTL."""
        if self.row.ttl_seconds is None or self.in_use or self.running_commands():
            return None
        return datetime.fromisoformat(self.row.last_activity_at) + timedelta(seconds=self.row.ttl_seconds)

    def lose_commands(self) -> None:
        for command in self.running_commands():
            command.lose()

    def record(self) -> models.Workspace:
        row = self.row
        expiry = self.expires_at()
        return models.Workspace(
            id=row.id,
            name=row.name,
            state=row.state,
            environment=row.environment,
            engine=row.engine,
            network_policy=row.network_policy,
            vcpu_count=row.vcpu_count,
            mem_mib=row.mem_mib,
            labels=row.labels,
            created_at=row.created_at,
            last_activity_at=row.last_activity_at,
            expires_at=expiry.isoformat(timespec="milliseconds").replace("+00:00", "Z") if expiry else None,
            seed=_seed(row.seed),
            running_commands=[command.row.handle for command in self.running_commands()],
            isolation=self._isolation,
            limits=self.machine.limits if self.machine else "",
            cause=row.cause,
        )


def _seed(record: dict[str, Any] | None) -> models.SeedInfo | None:
    return models.SeedInfo(**record) if record else None
