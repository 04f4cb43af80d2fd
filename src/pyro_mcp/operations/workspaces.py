"""Operations on a workspace as a whole: create, look, change, reset, delete."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pyro_mcp.models import Deleted, Exported, History, Synced, Workspace, WorkspaceList
from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.operations.fields import (
    Engine,
    EnvironmentName,
    HostPath,
    Labels,
    MemMib,
    Name,
    Network,
    Path,
    TtlSeconds,
    VcpuCount,
    WorkspaceRef,
)

CORE = ("workspace-core", "workspace-full")


class WorkspaceOperations(Operations):
    @operation(
        cli="workspace create",
        mcp="workspace_create",
        profiles=CORE,
        positional=("environment",),
        hidden=("engine", "include_ignored"),
        streams=True,
        host_paths=("seed_path",),
    )
    def create_workspace(
        self,
        environment: EnvironmentName = "debian:12",
        *,
        seed_path: Annotated[
            str | None,
            Field(description="Directory, git work tree or tar to fill /workspace from.", max_length=4096),
        ] = None,
        name: Name | None = None,
        labels: Labels = None,
        network_policy: Network = "off",
        vcpu_count: VcpuCount = 1,
        mem_mib: MemMib = 1024,
        ttl_seconds: TtlSeconds = None,
        include_ignored: Annotated[bool, Field(description="Seed files that .gitignore excludes, too.")] = False,
        engine: Engine = "auto",
    ) -> Workspace:
        """Create a disposable Linux machine, its /workspace filled from `seed_path`.

        The state it starts with is its baseline, for diff and reset. A git work tree brings its tracked files,
        the untracked ones that are not ignored, and its history.
        """
        ...

    @operation(cli="workspace list", mcp="workspace_list", profiles=CORE, read_only=True, idempotent=True)
    def list_workspaces(
        self, *, labels: Annotated[dict[str, str] | None, Field(description="Only those with these labels.")] = None
    ) -> WorkspaceList:
        """List workspaces, last used first."""
        ...

    @operation(
        cli="workspace status",
        mcp="workspace_status",
        profiles=CORE,
        read_only=True,
        idempotent=True,
        positional=("workspace",),
    )
    def status_workspace(self, workspace: WorkspaceRef) -> Workspace:
        """Show a workspace's measured state and its running commands."""
        ...

    @operation(
        cli="workspace update",
        mcp="workspace_update",
        profiles=CORE,
        idempotent=True,
        positional=("workspace",),
    )
    def update_workspace(
        self,
        workspace: WorkspaceRef,
        *,
        name: Name | None = None,
        clear_name: Annotated[bool, Field(description="Take the name away.")] = False,
        labels: Annotated[dict[str, str] | None, Field(description="Labels to set.")] = None,
        clear_labels: Annotated[list[str] | None, Field(description="Label keys to remove.")] = None,
    ) -> Workspace:
        """Change a workspace's name or labels."""
        ...

    @operation(
        cli="workspace delete",
        mcp="workspace_delete",
        profiles=CORE,
        destructive=True,
        idempotent=True,
        positional=("workspace",),
    )
    def delete_workspace(self, workspace: WorkspaceRef) -> Deleted:
        """Delete a workspace with all that is in it. Export first what must stay."""
        ...

    @operation(
        cli="workspace reset", mcp="workspace_reset", profiles=CORE, idempotent=True, positional=("workspace",)
    )
    def reset_workspace(self, workspace: WorkspaceRef) -> Workspace:
        """Put the whole machine back to its baseline: files, memory and processes. The id stays."""
        ...

    @operation(cli="workspace history", read_only=True, idempotent=True, positional=("workspace",))
    def history_workspace(
        self,
        workspace: WorkspaceRef,
        *,
        limit: Annotated[int, Field(description="The newest events, 1 to 10000.", ge=1, le=10000)] = 200,
    ) -> History:
        """Show every operation on a workspace: when, by which face, how long, outcome."""
        ...

    @operation(
        cli="workspace sync push",
        mcp="workspace_sync_push",
        profiles=CORE,
        open_world=True,
        idempotent=True,
        positional=("workspace", "path"),
        hidden=("include_ignored",),
        streams=True,
        host_paths=("path",),
    )
    def push_workspace_sync(
        self,
        workspace: WorkspaceRef,
        path: HostPath,
        *,
        dest: Path = "/workspace",
        include_ignored: Annotated[bool, Field(description="Copy files that .gitignore excludes, too.")] = False,
    ) -> Synced:
        """Copy a file or tree of this machine into the workspace, all of it or nothing. Adds and replaces files."""
        ...

    @operation(
        cli="workspace export",
        mcp="workspace_export",
        profiles=CORE,
        open_world=True,
        destructive=True,
        positional=("workspace", "path"),
        streams=True,
        host_paths=("output",),
    )
    def export_workspace(
        self,
        workspace: WorkspaceRef,
        path: Annotated[str | None, Field(description="File or tree to export; none with `patch`.", max_length=4096)] = None,
        *,
        output: Annotated[str, Field(description="Where to write on this machine.", min_length=1, max_length=4096)],
        patch: Annotated[bool, Field(description="Export the diff as a patch for `git apply`.")] = False,
        overwrite: Annotated[bool, Field(description="Replace what is at `output`.")] = False,
    ) -> Exported:
        """Write a file, a tree or the whole patch to this machine. Refuses to overwrite unless told."""
        ...
