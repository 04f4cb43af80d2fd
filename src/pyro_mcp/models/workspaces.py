"""A workspace as a whole, its history, and what goes in and out of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pyro_mcp.models.base import Moment, Record
from pyro_mcp.models.files import Checkpoint, LeftOut
from pyro_mcp.vocabulary import WorkspaceState


class SeedInfo(Record):
    """What a workspace was filled with at its creation."""

    source: str
    kind: Literal["directory", "git", "archive"]
    files: int
    bytes: int
    skipped: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    commit: str | None = None
    """Of a git work tree: HEAD at that moment."""
    prefix: str = ""
    """Of a git work tree: the seeded directory below its top."""


class Devcontainer(Record):
    """What became of the project's devcontainer.json."""

    path: str
    followed: bool
    """False: the workspace begins with the default environment and without set-up; the first note says why."""
    setup: str | None = None
    """Handle of the command that ran its set-up (onCreateCommand and what follows); its log is under it."""
    setup_status: Literal["running", "done", "failed"] | None = None
    setup_exit_code: int | None = None
    post_start: str = ""
    """Handle of the command that ran postStartCommand when the workspace was last started again."""
    prepared: str = ""
    """The name under which what its set-up made is kept; with `restored`, what this workspace began with."""
    restored: bool = False
    """The workspace began with what was kept of an earlier set-up: onCreateCommand did not run again."""
    passed_over: list[str] = Field(default_factory=list)
    """What of it is not followed, by name."""
    notes: list[str] = Field(default_factory=list)
    hint: str = ""
    """What to do about a set-up that still runs, or failed."""


class SecretInfo(Record):
    """A secret by name; its value is never shown."""

    name: str
    host: str | None = None
    """The only host that gets the value; the guest then holds a placeholder."""


class PublishedPort(Record):
    """A port of this computer that leads to one inside."""

    host: str
    host_port: int
    guest_port: int
    problem: str = ""
    """Why it does not listen, when it does not."""


class Workspace(Record):
    """A workspace, as measured when the call was answered."""

    id: str
    name: str | None = None
    state: WorkspaceState
    environment: str
    user: str = "root"
    """Who commands run as, unless the call says otherwise; the seed's files are theirs."""
    engine: str
    network_policy: str
    vcpu_count: int
    mem_mib: int
    disk_gib: int = 20
    labels: dict[str, str] = Field(default_factory=dict)
    created_at: Moment
    last_activity_at: Moment
    expires_at: Moment | None = None
    expires_because: str = ""
    """Which limit that is: unused for so long, or its lifetime."""
    ttl_seconds: int | None = None
    lifetime_seconds: int | None = None
    seed: SeedInfo | None = None
    devcontainer: Devcontainer | None = None
    """Where the seed's devcontainer.json was used."""
    running_commands: list[str] = Field(default_factory=list)
    """Handles of commands that still run."""
    services: list[str] = Field(default_factory=list)
    """Those that run or start."""
    shells: list[str] = Field(default_factory=list)
    """Those that are open."""
    published_ports: list[PublishedPort] = Field(default_factory=list)
    allow_domains: list[str] = Field(default_factory=list)
    """The only hosts that egress reaches; empty: all public ones; `none` alone: no public one."""
    allow_host_ports: list[str] = Field(default_factory=list)
    """Ports of this computer's loopback that it reaches, as `host.pyro.internal:PORT`."""
    allow_addresses: list[str] = Field(default_factory=list)
    """Addresses of this computer's network that it reaches."""
    ssh_hosts: list[str] = Field(default_factory=list)
    """Servers at which the user's ssh keys log in for it; no key is inside."""
    secrets: list[SecretInfo] = Field(default_factory=list)
    forked_from: str | None = None
    isolation: str = ""
    limits: str = ""
    cause: str | None = None
    """Why the machine was lost, when it was."""
    directory: str = "/workspace"
    notes: list[str] = Field(default_factory=list)
    """What is to be said of this call alone: after a reset to the last checkpoint, what is missing."""

    def __hash__(self) -> int:
        return hash(self.id)  # so that it may stand in sets and as a key; equal ones have the same id


class WorkspaceList(Record):
    workspaces: list[Workspace]


class Deleted(Record):
    """A workspace that is gone."""

    id: str
    name: str | None = None
    deleted: bool = True


class HistoryEvent(Record):
    """One operation on a workspace."""

    sequence: int
    at: Moment
    face: str
    """cli, sdk or mcp; `guest` for its network connections, `daemon` for what pyro did by itself."""
    operation: str
    outcome: Literal["ok", "error", "running"]
    duration_seconds: float | None = None
    summary: str = ""
    error: str | None = None
    details: dict[str, Any] | None = None
    """Of a network connection: protocol, host, port, verdict, bytes up and down."""


class History(Record):
    workspace: str
    events: list[HistoryEvent]
    checkpoints: list[Checkpoint] = Field(default_factory=list)
    """Of the files, in the time of these events, in order; not with `after`."""
    cursor: int = 0
    """For `after`: what begins or ends from here on."""


class Landed(Record):
    """A workspace's changes as a commit of the user's repository."""

    workspace: str
    repository: str
    branch: str
    commit: str
    parent: str
    created: bool
    """The branch is new."""
    files: int
    insertions: int
    deletions: int
    empty_directories: list[str] = Field(default_factory=list)
    """git cannot hold them; the commit's message names them."""
    left_out: list[LeftOut] = Field(default_factory=list)
    """The largest 20 groups of changed files that were not committed."""
    left_out_files: int = 0
    backup_ref: str | None = None
    """Where the branch stood before."""
    undo: str
    """The shell command that takes it back."""


class Synced(Record):
    workspace: str
    source: str
    destination: str
    files: int
    bytes: int
    skipped: list[str] = Field(default_factory=list)


class Exported(Record):
    workspace: str
    path: str
    output: str
    """Where it stands on this computer."""
    kind: Literal["file", "directory", "patch"]
    files: int
    bytes: int
    empty_directories: list[str] = Field(default_factory=list)
    """Of a patch: new directories without a file, which it cannot carry."""
    left_out_files: int = 0
    """Files, FIFOs, sockets and devices that are not in it; `left_out` has the largest groups."""
    left_out: list[str] = Field(default_factory=list)
    """At most 100 git repositories, or parts of them, that were not brought out, groups of ignored files, and FIFOs,
    sockets and devices."""
    replaced: list[str] = Field(default_factory=list)
    """At most 100 files that were there and were replaced, relative to `output`; its own name for itself."""
    backup: str | None = None
    """Where on this computer what was replaced is kept: 30 days, at least 7."""
    hint: str = ""
