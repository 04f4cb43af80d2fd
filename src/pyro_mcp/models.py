"""The records that cross a face: what SDK methods return, `--json` prints and MCP tools answer.

All are frozen. Times are ISO 8601 in UTC with milliseconds; sizes are bytes; durations are seconds.
Models are built on first use (`defer_build`), which keeps the command line quick to start.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Workspace, snapshot and service names, and label keys (CONTRACT, "Names, defaults and bounds")."""

NetworkPolicy = Literal["off", "egress", "egress+published-ports"]
WorkspaceState = Literal["creating", "running", "stopped", "lost", "deleting"]
ExecStatus = Literal["running", "exited", "timed_out", "cancelled", "suspended", "lost"]
ServiceState = Literal["starting", "running", "failed", "stopped", "exited", "suspended"]
EngineName = Literal["auto", "firecracker", "gvisor"]


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields, built on first use."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class HostCheck(Record):
    """One thing that was looked at on this machine."""

    name: str
    ok: bool
    required: bool = True
    detail: str
    remedy: str = ""


class Component(Record):
    """A program that pyro uses but does not carry."""

    name: str
    ok: bool
    path: str | None = None
    version: str | None = None
    source: str = "missing"
    """Where it was found: an environment variable, PATH, or `fetched` by pyro."""
    sha256: str | None = None
    remedy: str = ""


class EngineStatus(Record):
    """Whether an engine works on this machine, found out by booting a machine."""

    name: str
    ok: bool
    detail: str
    boot_seconds: float | None = None
    isolation: str = ""
    limits: str = ""
    """How CPU and memory limits are held: cgroup v2, cgroup v1, or the stated fallback."""


class Doctor(Record):
    """What `doctor` found. `ok` is true when workspaces can be created."""

    ok: bool
    default_engine: str | None
    engines: list[EngineStatus]
    components: list[Component]
    checks: list[HostCheck]
    environments: list[Environment]
    daemon: dict[str, Any]
    fixed: list[str] = Field(default_factory=list)


class Environment(Record):
    """A root file system by name."""

    name: str
    description: str
    installed: bool
    size_bytes: int | None = None
    digest: str | None = None
    created_at: str | None = None
    default: bool = False
    packages: list[str] = Field(default_factory=list)
    """The packages asked for; `inspect` lists all that are in it, with versions, in `contents`."""
    contents: dict[str, str] | None = None
    source: str = ""


class EnvironmentList(Record):
    environments: list[Environment]


class Pruned(Record):
    """What a prune removed."""

    removed: list[str]
    freed_bytes: int


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


class SecretInfo(Record):
    """A secret by name; its value is never shown."""

    name: str
    host: str | None = None
    """The only host that gets the value; the guest then holds a placeholder."""


class PublishedPort(Record):
    """A port of this machine that leads to one inside."""

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
    engine: str
    network_policy: str
    vcpu_count: int
    mem_mib: int
    labels: dict[str, str] = Field(default_factory=dict)
    created_at: str
    last_activity_at: str
    expires_at: str | None = None
    expires_because: str = ""
    """Which limit that is: unused for so long, or its lifetime."""
    ttl_seconds: int | None = None
    lifetime_seconds: int | None = None
    seed: SeedInfo | None = None
    running_commands: list[str] = Field(default_factory=list)
    """Handles of commands that still run."""
    services: list[str] = Field(default_factory=list)
    """Those that run or start."""
    shells: list[str] = Field(default_factory=list)
    """Those that are open."""
    published_ports: list[PublishedPort] = Field(default_factory=list)
    allow_domains: list[str] = Field(default_factory=list)
    """The only hosts that egress reaches; empty: all public ones."""
    secrets: list[SecretInfo] = Field(default_factory=list)
    forked_from: str | None = None
    isolation: str = ""
    limits: str = ""
    cause: str | None = None
    """Why the machine was lost, when it was."""
    directory: str = "/workspace"


class WorkspaceList(Record):
    workspaces: list[Workspace]


class Deleted(Record):
    """A workspace that is gone."""

    id: str
    name: str | None = None
    deleted: bool = True


class ExecResult(Record):
    """One command's outcome, or its state so far when it still runs.

    `stdout` and `stderr` hold head and tail when they were too long; `omitted_bytes` counts what was left
    out, and `workspace logs` with `handle` has the rest.
    """

    workspace: str
    handle: str
    status: ExecStatus
    exit_code: int | None = None
    """The command's own status; 128 + N when signal N ended it; 124 after a time-out."""
    stdout: str = ""
    stderr: str = ""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    omitted_bytes: int = 0
    duration_seconds: float = 0.0
    hint: str = ""
    """What to do next: how to wait on, read or cancel a command that still runs."""


class RunResult(ExecResult):
    """The outcome of a one-shot machine."""

    environment: str
    workspace_kept: bool = False
    """True while the command still runs: the machine lives until it ends or its TTL passes."""


class CommandRecord(Record):
    """A past or running command of a workspace."""

    handle: str
    command: list[str]
    status: ExecStatus
    exit_code: int | None = None
    started_at: str
    duration_seconds: float | None = None
    output_bytes: int = 0
    kind: Literal["exec", "shell", "service"] = "exec"


class Logs(Record):
    """A workspace's commands, and the output of one of them from an offset on."""

    workspace: str
    commands: list[CommandRecord] = Field(default_factory=list)
    handle: str | None = None
    status: ExecStatus | None = None
    exit_code: int | None = None
    output: str = ""
    """Standard output and error as they came, from `offset`."""
    offset: int = 0
    next_offset: int = 0
    total_bytes: int = 0
    matches: int | None = None
    hint: str = ""


class HistoryEvent(Record):
    """One operation on a workspace."""

    sequence: int
    at: str
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
    cursor: int = 0
    """For `after`: what begins or ends from here on."""


class Snapshot(Record):
    """A named state of the whole machine: files, memory, processes."""

    workspace: str
    name: str
    created_at: str
    size_bytes: int
    running: list[str] = Field(default_factory=list)
    """Handles of the commands, shells and services that run in it."""


class SnapshotList(Record):
    workspace: str
    snapshots: list[Snapshot]


class SnapshotDeleted(Record):
    workspace: str
    name: str
    deleted: bool = True
    freed_bytes: int = 0


class Forked(Record):
    """Siblings of a workspace, from the same moment."""

    workspace: str
    workspaces: list[Workspace]


class Shell(Record):
    """A terminal in the workspace that outlives calls."""

    workspace: str
    shell: str
    """Its handle."""
    status: ExecStatus
    exit_code: int | None = None
    command: list[str]
    rows: int
    cols: int
    cursor: int = 0
    """The end of its output so far: where a read for what is new begins."""


class ShellOutput(Record):
    """What a shell printed from a cursor on, raw or as the screen that a person would see."""

    workspace: str
    shell: str
    output: str
    cursor: int
    """Where to go on reading."""
    status: ExecStatus
    exit_code: int | None = None
    skipped_bytes: int = 0
    """Output between the asked cursor and what is shown, left out to stay within the bound."""
    alternate_screen: bool = False
    """A full-screen program, such as an editor, owns the screen."""
    cursor_row: int | None = None
    cursor_column: int | None = None
    hint: str = ""


class Service(Record):
    """A long-lived process with a name."""

    workspace: str
    name: str
    state: ServiceState
    """`running` means ready, where a readiness was asked for."""
    exit_code: int | None = None
    handle: str
    command: list[str]
    ready: str = ""
    """How readiness is seen."""
    started_at: str
    ready_seconds: float | None = None
    """From its start until it was ready."""
    published_ports: list[PublishedPort] = Field(default_factory=list)
    failure: str = ""
    log_tail: str = ""
    """The last lines, of one that failed or ended."""
    hint: str = ""


class ServiceList(Record):
    workspace: str
    services: list[Service]


class ServiceLogs(Record):
    workspace: str
    name: str
    state: ServiceState
    exit_code: int | None = None
    output: str
    next_offset: int
    total_bytes: int
    matches: int | None = None
    hint: str = ""


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
    backup_ref: str | None = None
    """Where the branch stood before."""
    undo: str
    """The shell command that takes it back."""


class FileEntry(Record):
    path: str
    kind: Literal["file", "dir", "symlink", "other"]
    size: int
    mode: str
    """Permission bits, octal, such as `0644`."""
    modified_at: str
    link: str | None = None


class FileList(Record):
    workspace: str
    path: str
    entries: list[FileEntry]
    truncated: bool = False
    hint: str = ""


class FileContent(Record):
    """A text file, or a part of one."""

    workspace: str
    path: str
    content: str
    size: int
    """Of the whole file."""
    mode: str
    first_line: int | None = None
    last_line: int | None = None
    total_lines: int | None = None
    offset: int | None = None
    truncated: bool = False
    hint: str = ""


class FileWritten(Record):
    workspace: str
    path: str
    action: Literal["created", "replaced"]
    size: int
    mode: str


class ChangedFile(Record):
    path: str
    status: Literal["added", "modified", "deleted", "renamed", "mode"]
    old_path: str | None = None
    insertions: int = 0
    deletions: int = 0
    binary: bool = False


class PatchApplied(Record):
    workspace: str
    files: list[ChangedFile]


class Diff(Record):
    """What changed since the baseline."""

    workspace: str
    files: list[ChangedFile]
    insertions: int
    deletions: int
    empty_directories: list[str] = Field(default_factory=list)
    """Created directories without a file, which a patch cannot carry."""
    patch: str = ""
    patch_bytes: int = 0
    """Of the whole patch, also when `patch` was cut."""
    truncated: bool = False
    hint: str = ""


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
    """Where it stands on this machine."""
    kind: Literal["file", "directory", "patch"]
    files: int
    bytes: int
