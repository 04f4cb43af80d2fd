"""The records that cross a face: what SDK methods return, `--json` prints and MCP tools answer."""

from __future__ import annotations

from pyro_mcp.models.base import Record
from pyro_mcp.models.commands import CommandRecord, ExecResult, Logs, RefusedConnection, RunResult
from pyro_mcp.models.files import (
    ChangedFile,
    Diff,
    FileContent,
    FileEdited,
    FileEntry,
    FileList,
    FileRead,
    FileWritten,
    HunkPlaced,
    LeftOut,
    PatchApplied,
    SearchResult,
)
from pyro_mcp.models.machines import Forked, Snapshot, SnapshotDeleted, SnapshotList
from pyro_mcp.models.services import Service, ServiceList, ServiceLogs
from pyro_mcp.models.shells import Shell, ShellOutput
from pyro_mcp.models.system import Component, Doctor, EngineStatus, Environment, EnvironmentList, HostCheck, Pruned
from pyro_mcp.models.workspaces import (
    Deleted,
    Exported,
    History,
    HistoryEvent,
    Landed,
    PublishedPort,
    SecretInfo,
    SeedInfo,
    Synced,
    Workspace,
    WorkspaceList,
)
from pyro_mcp.vocabulary import (
    NAME_PATTERN,
    EngineName,
    ExecStatus,
    NetworkPolicy,
    ServiceState,
    WorkspaceState,
)

__all__ = [
    "NAME_PATTERN",
    "ChangedFile",
    "CommandRecord",
    "Component",
    "Deleted",
    "Diff",
    "Doctor",
    "EngineName",
    "EngineStatus",
    "Environment",
    "EnvironmentList",
    "ExecResult",
    "ExecStatus",
    "Exported",
    "FileContent",
    "FileEdited",
    "FileEntry",
    "FileList",
    "FileRead",
    "FileWritten",
    "Forked",
    "History",
    "HistoryEvent",
    "HostCheck",
    "HunkPlaced",
    "Landed",
    "LeftOut",
    "Logs",
    "NetworkPolicy",
    "PatchApplied",
    "Pruned",
    "PublishedPort",
    "Record",
    "RefusedConnection",
    "RunResult",
    "SearchResult",
    "SecretInfo",
    "SeedInfo",
    "Service",
    "ServiceList",
    "ServiceLogs",
    "ServiceState",
    "Shell",
    "ShellOutput",
    "Snapshot",
    "SnapshotDeleted",
    "SnapshotList",
    "Synced",
    "Workspace",
    "WorkspaceList",
    "WorkspaceState",
]
