"""Snapshots and forks of the whole machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pyro_mcp.models.base import Moment, Record
from pyro_mcp.models.workspaces import Workspace


class Snapshot(Record):
    """A named state of the whole machine: files, memory, processes."""

    workspace: str
    name: str
    created_at: Moment
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


TrialStatus = Literal["waiting", "running", "passed", "failed", "refused", "timed_out", "cancelled"]


class TriedAlternative(Record):
    """What became of one alternative."""

    number: int
    """From 1 on, in the order in which they were given."""
    name: str = ""
    status: TrialStatus
    """failed: by its check; refused: it could not be carried out, so there was no check."""
    exit_code: int | None = None
    """Of the check."""
    seconds: float | None = None
    """In all, with its machine."""
    check_seconds: float | None = None
    files: int | None = None
    """That it changed, without ignored ones; None where they are too many to tell."""
    insertions: int | None = None
    deletions: int | None = None
    """Lines, as a diff counts them."""
    failing: list[str] = Field(default_factory=list)
    """At most 6 lines of output that tell why it failed."""
    error: str = ""


class Tried(Record):
    """Alternatives that were tried side by side, each in a copy of the machine that is gone again."""

    workspace: str
    status: Literal["running", "done"]
    alternatives: list[TriedAlternative] = Field(default_factory=list)
    kept: int | None = None
    """The number of the one that the workspace is now."""
    hint: str = ""
