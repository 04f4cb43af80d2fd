"""The rows: what is kept of a workspace and of all that belongs to one, and the way time is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pyro_mcp.models.base import iso
from pyro_mcp.vocabulary import NetworkPolicy


def now() -> str:
    """This moment, as records hold it: ISO 8601, UTC, milliseconds."""
    return iso(datetime.now(UTC))


@dataclass(frozen=True)
class WorkspaceRow:
    """A workspace as it is kept. `machine_id` is the one machine that is its own at this moment."""

    id: str
    name: str | None
    state: str
    machine_id: str | None
    environment: str
    environment_digest: str
    engine: str
    network_policy: NetworkPolicy
    vcpu_count: int
    mem_mib: int
    created_at: str
    last_activity_at: str
    ttl_seconds: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    seed: dict[str, Any] | None = None
    """A `models.SeedInfo`, dumped."""
    seed_digest: str | None = None
    cause: str | None = None
    one_shot: bool = False
    """Made by `run`: deleted as soon as its command has ended."""
    lifetime_seconds: int | None = None
    """Seconds after its creation at which it is deleted."""
    allow_domains: list[str] = field(default_factory=list)
    """The only hosts that egress reaches; empty: every public one."""
    allow_host_ports: list[str] = field(default_factory=list)
    """`network.grants.HostPort`s, as text."""
    allow_addresses: list[str] = field(default_factory=list)
    """`network.grants.LanAddress`es, as text."""
    ssh_hosts: list[str] = field(default_factory=list)
    """`network.ssh_agent.SshHost`s, as text."""
    forked_from: str | None = None
    project: str | None = None
    """The directory, resolved, of the MCP server that made it, or that a person seeded it from; "" for a server without
    one. A server sees the workspaces of its own project only."""
    landed: dict[str, str] = field(default_factory=dict)
    """Branch to the commits of its latest plain landings, separated by spaces."""
    disk_gib: int = 20
    notes: list[str] = field(default_factory=list)
    """What the person noted for the agent, which its next call is told."""
    runtime: dict[str, Any] = field(default_factory=dict)
    """Of its environment; see `machines.protocol.RootTree`."""
    devcontainer: dict[str, Any] | None = None
    """Of the seed's devcontainer.json: what was followed and noted, the script of its set-up and that one's handle."""
    suspended: dict[str, Any] | None = None
    """Of a stopped workspace: its `Moment`, dumped, and the directory of its image."""


@dataclass(frozen=True)
class CommandRow:
    """A command as it is kept."""

    handle: str
    workspace_id: str
    command: list[str]
    status: str
    started_at: str
    process_id: str | None = None
    exit_code: int | None = None
    duration_seconds: float | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    kind: Literal["exec", "shell", "service"] = "exec"
    offset_shift: int = 0
    """Where our log stands ahead of the agent's count of output: a machine that was put back counts anew."""
    rows: int | None = None
    cols: int | None = None
    """Of a shell's terminal."""
    cause: str = ""
    """Why it ended, where its exit status alone does not say it."""


@dataclass(frozen=True)
class SnapshotRow:
    """A snapshot as it is kept; its image is a directory."""

    workspace_id: str
    name: str
    created_at: str
    size_bytes: int
    image: str
    """The directory's name below the workspace's images."""
    moment: dict[str, Any] = field(default_factory=dict)
    """A `Moment`, dumped: what ran."""


@dataclass(frozen=True)
class ServiceRow:
    """A service as it is kept. Its process is the command of that handle."""

    workspace_id: str
    name: str
    handle: str
    ready: dict[str, Any] = field(default_factory=dict)
    """How its readiness is seen."""
    ready_timeout_seconds: float = 30.0
    ready_at: str | None = None
    failure: str | None = None
    """Why it counts as failed: it was not ready in time, or ended before it was."""
    stopped: bool = False
    """Its end was asked for."""
    cause: str | None = None
    """Why it ended when nobody asked: a reset, a lost machine."""
    published: list[dict[str, Any]] = field(default_factory=list)
    """`models.PublishedPort`s, dumped."""


@dataclass(frozen=True)
class DepartedRow:
    """What is remembered of a workspace that is gone."""

    id: str
    name: str | None
    at: str
    cause: str


@dataclass(frozen=True)
class EventRow:
    sequence: int
    workspace_id: str
    at: str
    face: str
    operation: str
    outcome: str
    duration_seconds: float | None
    summary: str
    error: str | None
    change: int = 0
    """Counts over all events; it grows when an event begins, and when it ends."""
    details: dict[str, Any] | None = None

    def told(self) -> dict[str, Any]:
        """The fields of a `models.HistoryEvent`."""
        names = ("sequence", "at", "face", "operation", "outcome", "duration_seconds", "summary", "error", "details")
        return {name: getattr(self, name) for name in names}
