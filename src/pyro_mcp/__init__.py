"""pyro: the disposable workspace for chat-based coding agents.

`Pyro`, the errors and the result models are found here. They are loaded when first asked for, so that
`import pyro_mcp` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.version import VERSION as __version__

if TYPE_CHECKING:
    from pyro_mcp.aio import AsyncPyro
    from pyro_mcp.errors import (
        Cancelled,
        ComponentMissing,
        Conflict,
        DaemonUnavailable,
        EngineError,
        GuestError,
        GuestUnreachable,
        HostError,
        InternalError,
        InvalidInput,
        MachineLost,
        NotFound,
        NotPermitted,
        PatchMismatch,
        PyroError,
        Unsupported,
    )
    from pyro_mcp.models import (
        NAME_PATTERN,
        ChangedFile,
        CommandRecord,
        Component,
        Deleted,
        Diff,
        Doctor,
        EngineName,
        EngineStatus,
        Environment,
        EnvironmentList,
        ExecResult,
        ExecStatus,
        Exported,
        FileContent,
        FileEdited,
        FileEntry,
        FileList,
        FileRead,
        FileWritten,
        Forked,
        History,
        HistoryEvent,
        HostCheck,
        HunkPlaced,
        Landed,
        LeftOut,
        Logs,
        NetworkPolicy,
        PatchApplied,
        Pruned,
        PublishedPort,
        Record,
        RefusedConnection,
        RunResult,
        SearchResult,
        SecretInfo,
        SeedInfo,
        Service,
        ServiceList,
        ServiceLogs,
        ServiceState,
        Shell,
        ShellOutput,
        Snapshot,
        SnapshotDeleted,
        SnapshotList,
        Synced,
        Workspace,
        WorkspaceList,
        WorkspaceState,
    )
    from pyro_mcp.sdk import Pyro

__all__ = [
    "NAME_PATTERN",
    "AsyncPyro",
    "Cancelled",
    "ChangedFile",
    "CommandRecord",
    "Component",
    "ComponentMissing",
    "Conflict",
    "DaemonUnavailable",
    "Deleted",
    "Diff",
    "Doctor",
    "EngineError",
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
    "GuestError",
    "GuestUnreachable",
    "History",
    "HistoryEvent",
    "HostCheck",
    "HostError",
    "HunkPlaced",
    "InternalError",
    "InvalidInput",
    "Landed",
    "LeftOut",
    "Logs",
    "MachineLost",
    "NetworkPolicy",
    "NotFound",
    "NotPermitted",
    "PatchApplied",
    "PatchMismatch",
    "Pruned",
    "PublishedPort",
    "Pyro",
    "PyroError",
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
    "Unsupported",
    "Workspace",
    "WorkspaceList",
    "WorkspaceState",
    "__version__",
]

_HOMES = {"AsyncPyro": "pyro_mcp.aio", "Pyro": "pyro_mcp.sdk"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        for home in [_HOMES[name]] if name in _HOMES else ["pyro_mcp.errors", "pyro_mcp.models"]:
            module = importlib.import_module(home)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'pyro_mcp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
