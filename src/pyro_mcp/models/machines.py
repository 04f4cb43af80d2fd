"""Snapshots and forks of the whole machine."""

from __future__ import annotations

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
