"""pyro: the disposable workspace for chat-based coding agents.

`Pyro` and `AsyncPyro`, the workspaces and other results that they give, the errors, and `create_server` are found here.
They are loaded when first asked for, so that `import pyro_mcp` costs next to nothing.
"""

from __future__ import annotations

from pyro_mcp.version import VERSION as __version__

TYPE_CHECKING = False  # `typing` takes longer to import than all that is needed before Ctrl-C is ours (see `entry`)
if TYPE_CHECKING:
    from pyro_mcp.aio import AsyncExecStream, AsyncPyro
    from pyro_mcp.client.answers import Event, Output, Progress, Started
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
    from pyro_mcp.handles import AsyncForked, AsyncWorkspace, AsyncWorkspaceList, Forked, Workspace, WorkspaceList
    from pyro_mcp.mcp.embedded import create_server
    from pyro_mcp.models import (
        NAME_PATTERN,
        Activity,
        ActivityEvent,
        BusyWorkspace,
        CachedAnswer,
        CacheInfo,
        CacheList,
        ChangedFile,
        Checkpoint,
        CommandRecord,
        Component,
        Decision,
        DecisionList,
        Deleted,
        Devcontainer,
        Diff,
        Doctor,
        EngineName,
        EngineStatus,
        Environment,
        EnvironmentExported,
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
        History,
        HistoryEvent,
        HostCheck,
        HunkPlaced,
        Landed,
        LeftOut,
        Logs,
        NetworkPolicy,
        Noted,
        PatchApplied,
        PreparedSetup,
        Pruned,
        PublishedPort,
        Question,
        QuestionAnswered,
        QuestionList,
        Record,
        RefusedConnection,
        Rewound,
        RunningCommand,
        RunResult,
        SearchResult,
        SecretInfo,
        SeedInfo,
        Service,
        ServiceGlance,
        ServiceList,
        ServiceLogs,
        ServiceState,
        Shell,
        ShellOutput,
        Snapshot,
        SnapshotDeleted,
        SnapshotList,
        SuggestedEnvironment,
        Synced,
        TrialStatus,
        Tried,
        TriedAlternative,
        WorkspaceState,
    )
    from pyro_mcp.sdk import ExecStream, Pyro

__all__ = [
    "NAME_PATTERN",
    "Activity",
    "ActivityEvent",
    "AsyncExecStream",
    "AsyncForked",
    "AsyncPyro",
    "AsyncWorkspace",
    "AsyncWorkspaceList",
    "BusyWorkspace",
    "CacheInfo",
    "CacheList",
    "CachedAnswer",
    "Cancelled",
    "ChangedFile",
    "Checkpoint",
    "CommandRecord",
    "Component",
    "ComponentMissing",
    "Conflict",
    "DaemonUnavailable",
    "Decision",
    "DecisionList",
    "Deleted",
    "Devcontainer",
    "Diff",
    "Doctor",
    "EngineError",
    "EngineName",
    "EngineStatus",
    "Environment",
    "EnvironmentExported",
    "EnvironmentList",
    "Event",
    "ExecResult",
    "ExecStatus",
    "ExecStream",
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
    "Noted",
    "Output",
    "PatchApplied",
    "PatchMismatch",
    "PreparedSetup",
    "Progress",
    "Pruned",
    "PublishedPort",
    "Pyro",
    "PyroError",
    "Question",
    "QuestionAnswered",
    "QuestionList",
    "Record",
    "RefusedConnection",
    "Rewound",
    "RunResult",
    "RunningCommand",
    "SearchResult",
    "SecretInfo",
    "SeedInfo",
    "Service",
    "ServiceGlance",
    "ServiceList",
    "ServiceLogs",
    "ServiceState",
    "Shell",
    "ShellOutput",
    "Snapshot",
    "SnapshotDeleted",
    "SnapshotList",
    "Started",
    "SuggestedEnvironment",
    "Synced",
    "TrialStatus",
    "Tried",
    "TriedAlternative",
    "Unsupported",
    "Workspace",
    "WorkspaceList",
    "WorkspaceState",
    "__version__",
    "create_server",
]

_HANDLES = ("AsyncForked", "AsyncWorkspace", "AsyncWorkspaceList", "Forked", "Workspace", "WorkspaceList")
_HOMES = {
    "AsyncExecStream": "pyro_mcp.aio",
    "AsyncPyro": "pyro_mcp.aio",
    "ExecStream": "pyro_mcp.sdk",
    "Pyro": "pyro_mcp.sdk",
    "create_server": "pyro_mcp.mcp.embedded",
    **dict.fromkeys(("Event", "Output", "Progress", "Started"), "pyro_mcp.client.answers"),
}
"""Where names live that are neither errors nor records."""


def __getattr__(name: str) -> object:
    if name in __all__:
        import importlib

        if name in _HANDLES:
            # With the client that gives them, which is what puts the methods in.
            client = "pyro_mcp.aio" if name.startswith("Async") else "pyro_mcp.sdk"
            importlib.import_module(client)
            return getattr(importlib.import_module("pyro_mcp.handles"), name)
        for home in [_HOMES[name]] if name in _HOMES else ["pyro_mcp.errors", "pyro_mcp.models"]:
            module = importlib.import_module(home)
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'pyro_mcp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
