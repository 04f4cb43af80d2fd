"""Operations on a workspace as a whole: create, look, change, reset, delete."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pyro_mcp.models import Deleted, Exported, History, Synced, Workspace, WorkspaceList
from pyro_mcp.operations._base import Operations, Profile, operation
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

CORE: tuple[Profile, ...] = ("workspace-core", "workspace-full")


class WorkspaceOperations(Operations):
    @operation(
        cli="workspace create",
        mcp="workspace_create",
        profiles=CORE,
        positional=("environment",),
        hidden=("engine", "include_ignored", "ttl_seconds", "vcpu_count"),
        streams=True,
        host_paths=("seed_path",),
    )
    def create_workspace(
        self,
        environment: EnvironmentName = "debian:12",
        *,
        seed_path: Annotated[
            str | None,
            Field(description="Directory, git work tree or tar to start from.", max_length=4096),
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

        That state is its baseline for diff and reset. A git work tree comes with its history, without ignored files.
        """

    @operation(cli="workspace list", mcp="workspace_list", profiles=CORE, read_only=True, idempotent=True)
    def list_workspaces(
        self, *, labels: Annotated[dict[str, str] | None, Field(description="Only those that have these.")] = None
    ) -> WorkspaceList:
        """List workspaces, last used first."""

    @operation(
        cli="workspace status",
        mcp="workspace_status",
        profiles=CORE,
        read_only=True,
        idempotent=True,
        positional=("workspace",),
    )
    def status_workspace(self, workspace: WorkspaceRef) -> Workspace:
        """Show a workspace's state and running commands."""

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
        clear_name: Annotated[bool, Field(description="Remove the name.")] = False,
        labels: Annotated[dict[str, str] | None, Field(description="To set.")] = None,
        clear_labels: Annotated[list[str] | None, Field(description="Keys to remove.")] = None,
    ) -> Workspace:
        """Change a workspace's name or labels."""

    @operation(
        cli="workspace delete",
        mcp="workspace_delete",
        profiles=CORE,
        destructive=True,
        idempotent=True,
        positional=("workspace",),
    )
    def delete_workspace(self, workspace: WorkspaceRef) -> Deleted:
        """Delete a workspace and all in it."""

    @operation(cli="workspace reset", mcp="workspace_reset", profiles=CORE, idempotent=True, positional=("workspace",))
    def reset_workspace(self, workspace: WorkspaceRef) -> Workspace:
        """Put the machine back to its baseline: files, memory, processes."""

    @operation(cli="workspace history", read_only=True, idempotent=True, positional=("workspace",))
    def history_workspace(
        self,
        workspace: WorkspaceRef,
        *,
        limit: Annotated[int, Field(description="The newest events, 1 to 10000.", ge=1, le=10000)] = 200,
    ) -> History:
        """Show every operation on a workspace: when, by which face, how long, outcome."""

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
        """Copy a file or tree of the user's machine into the workspace, whole or not at all."""

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
        path: Annotated[
            str | None, Field(description="File or tree in the workspace; none with `patch`.", max_length=4096)
        ] = None,
        *,
        output: Annotated[str, Field(description="Where to, on the user's machine.", min_length=1, max_length=4096)],
        patch: Annotated[bool, Field(description="Export the diff instead.")] = False,
        overwrite: Annotated[bool, Field(description="Replace what is there.")] = False,
    ) -> Exported:
        """Write a file, a tree or the diff to the user's machine."""
