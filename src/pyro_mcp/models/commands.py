"""Commands: outcomes, and what they printed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pyro_mcp.models.base import Moment, Record
from pyro_mcp.vocabulary import ExecStatus


class RefusedConnection(Record):
    """A connection out that did not come about while a command ran."""

    host: str
    port: int
    """0 where only its name was asked for."""
    why: Literal["off", "not_allowed", "private", "failed"]
    """`off`: the network is; `not_allowed`: the user may allow it; `private`: no public host; `failed`: it does not
    answer."""
    allow_with: str = ""
    """The command that the user runs to allow it; empty where there is none."""


class ExecResult(Record):
    """One command's outcome, or its state so far when it still runs.

    `stdout` and `stderr` are what a person would have seen (unless `raw`): progress bars in their last state, no
    escapes. They hold head and tail when they were too long; `omitted_bytes` counts what was left out, and
    `workspace logs` with `handle` has the rest. `stdout_bytes` and `stderr_bytes` count what was printed.
    """

    workspace: str
    handle: str
    status: ExecStatus
    exit_code: int | None = None
    """The command's own status; 128 + N when signal N ended it; 124 after a timeout."""
    stdout: str = ""
    stderr: str = ""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    omitted_bytes: int = 0
    duration_seconds: float = 0.0
    cause: str = ""
    """Why it ended, where the exit status alone does not say it: a limit with its figures, a signal, a timeout."""
    changed: list[str] = Field(default_factory=list)
    """Files of /workspace that were changed while it ran, the first 20, relative; a directory ends with `/`. What
    tools make (node_modules, a venv, caches) is one entry, and `.git` none."""
    changed_files: int | None = None
    """How many there are; None where a command ended before they could be looked for cheaply, or still runs."""
    reached: bool | None = None
    """Whether what `until` names came about; None without it."""
    refused: list[RefusedConnection] = Field(default_factory=list)
    """Connections of the workspace that were refused or failed while it ran, each once, at most 16."""
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
    started_at: Moment
    duration_seconds: float | None = None
    output_bytes: int = 0
    kind: Literal["exec", "shell", "service"] = "exec"
    cause: str = ""


class Logs(Record):
    """A workspace's commands, and the output of one of them from an offset on."""

    workspace: str
    commands: list[CommandRecord] = Field(default_factory=list)
    handle: str | None = None
    status: ExecStatus | None = None
    exit_code: int | None = None
    cause: str = ""
    output: str = ""
    """Standard output and error in their order, from `offset`, as a person would have seen them (unless `raw`)."""
    offset: int = 0
    next_offset: int = 0
    total_bytes: int = 0
    matches: int | None = None
    reached: bool | None = None
    """Whether what `until` names came about; None without it."""
    refused: list[RefusedConnection] = Field(default_factory=list)
    """As in the result of the command."""
    hint: str = ""
