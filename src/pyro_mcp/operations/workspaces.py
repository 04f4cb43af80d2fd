"""Operations on a workspace as a whole: create, look, change, reset, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, Profile, operation
from pyro_mcp.operations.fields import (
    AllowAddresses,
    AllowDomains,
    AllowHostPorts,
    Engine,
    HostPath,
    IncludeIgnored,
    Labels,
    LifetimeSeconds,
    Name,
    Network,
    Path,
    SshHosts,
    TtlSeconds,
    WorkspaceRef,
)

if TYPE_CHECKING:
    from pyro_mcp.models import Deleted, Exported, History, Landed, Synced, Workspace, WorkspaceList

CORE: tuple[Profile, ...] = ("workspace-core", "workspace-full")


class WorkspaceOperations(Operations):
    @operation(
        cli="workspace create",
        mcp="workspace_create",
        profiles=CORE,
        positional=("environment",),
        hidden=(
            *(
                "engine",
                "include_ignored",
                "no_devcontainer",
                "rebuild",
                "ttl_seconds",
                "lifetime_seconds",
                "vcpu_count",
                "disk_gib",
            ),
            *(
                "allow_domains",
                "allow_host_ports",
                "allow_addresses",
                "ssh_hosts",
                "secrets",
                "secret_files",
                "secret_hosts",
            ),
        ),
        streams=True,
        host_paths=("seed_path", "secret_files"),
        raises={
            "Conflict": "The name is taken, or the environment is being built: call again later.",
            "Unsupported": "The engine that was asked for does not work here, or lacks what was asked of it.",
        },
    )
    def create_workspace(
        self,
        environment: Annotated[
            str | None,
            Field(
                description="Such as debian:12, or an image: node:22; default: devcontainer.json's, else debian:12.",
                min_length=1,
                max_length=512,
            ),
        ] = None,
        *,
        seed_path: Annotated[
            str | None,
            Field(description="Directory, git work tree or tar to start from.", max_length=4096),
        ] = None,
        name: Name | None = None,
        labels: Labels = None,
        network_policy: Network = "off",
        vcpu_count: Annotated[
            int | None, Field(description="1 to 32; default: 1, or what devcontainer.json requires.", ge=1, le=32)
        ] = None,
        mem_mib: Annotated[
            int | None,
            Field(description="MiB, 128 to 65536; default: 1024, or what devcontainer.json asks.", ge=128, le=65536),
        ] = None,
        disk_gib: Annotated[
            int | None,
            Field(description="Disk limit in GiB, 1 to 1024; default: 20, or what it requires.", ge=1, le=1024),
        ] = None,
        ttl_seconds: TtlSeconds = None,
        lifetime_seconds: LifetimeSeconds = None,
        allow_domains: AllowDomains = None,
        allow_host_ports: AllowHostPorts = None,
        allow_addresses: AllowAddresses = None,
        ssh_hosts: SshHosts = None,
        secrets: Annotated[
            dict[str, str] | None,
            Field(description="Name to value, 4 bytes to 64 KiB; a value never shows in any output.", max_length=64),
        ] = None,
        secret_files: Annotated[
            dict[str, str] | None, Field(description="Name to the file that holds the value.", max_length=64)
        ] = None,
        secret_hosts: Annotated[
            dict[str, str] | None,
            Field(
                description="Name to the one host whose requests get the value; the machine holds a placeholder.",
                max_length=64,
            ),
        ] = None,
        include_ignored: Annotated[bool, Field(description="Seed files that .gitignore excludes, too.")] = False,
        no_devcontainer: Annotated[bool, Field(description="Leave the seed's devcontainer.json alone.")] = False,
        rebuild: Annotated[
            bool, Field(description="Run all of its set-up, and keep that in place of what is kept of it.")
        ] = False,
        setup_wait_seconds: Annotated[
            float | None,
            Field(
                description="Seconds to wait for its set-up, 0 to 7200; default: until it ends. It goes on afterwards.",
                ge=0,
                le=7200,
            ),
        ] = None,
        engine: Engine = "auto",
    ) -> Workspace:
        """Create a disposable Linux machine, its /workspace filled from `seed_path`.

        That state is its baseline for diff and reset. A git work tree comes with its history, without ignored files.
        Secrets are mapped into single commands by name (`secret_env`) and deleted with the workspace.
        Where no environment is said, the seed's devcontainer.json counts: its image, variables, size and set-up
        commands. It opens nothing; what of it is not followed, and the log of its set-up, is in `devcontainer`.
        """

    @operation(cli="workspace list", mcp="workspace_list", profiles=CORE, read_only=True, idempotent=True)
    def list_workspaces(
        self, *, labels: Annotated[dict[str, str] | None, Field(description="Only those with these labels.")] = None
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
        """Show state and what runs."""

    @operation(
        cli="workspace update",
        mcp="workspace_update",
        profiles=CORE,
        idempotent=True,
        positional=("workspace",),
        hidden=(
            *("ttl_seconds", "clear_ttl", "lifetime_seconds", "clear_lifetime"),
            *("network_policy", "allow_domains", "allow_host_ports", "allow_addresses", "ssh_hosts"),
        ),
        raises={"Conflict": "The name is taken."},
    )
    def update_workspace(
        self,
        workspace: WorkspaceRef,
        *,
        name: Name | None = None,
        clear_name: Annotated[bool, Field(description="Remove the name.")] = False,
        labels: Annotated[dict[str, str] | None, Field(description="To set.")] = None,
        clear_labels: Annotated[list[str] | None, Field(description="Keys to remove.")] = None,
        ttl_seconds: TtlSeconds = None,
        clear_ttl: Annotated[bool, Field(description="Remove the idle limit.")] = False,
        lifetime_seconds: LifetimeSeconds = None,
        clear_lifetime: Annotated[bool, Field(description="Remove the lifetime limit.")] = False,
        network_policy: Annotated[
            Network | None, Field(description="Open the network, or close it again with all that was allowed.")
        ] = None,
        allow_domains: Annotated[
            list[str] | None, Field(description="More hosts that egress may reach.", max_length=256)
        ] = None,
        allow_host_ports: AllowHostPorts = None,
        allow_addresses: AllowAddresses = None,
        ssh_hosts: SshHosts = None,
    ) -> Workspace:
        """Change name or labels.

        On the command line and from Python also its time limits, and its network, which holds at once: connections
        that are open end when it is closed. Programs that run since before it was opened have no proxy variables.
        """

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

    @operation(
        cli="workspace reset",
        mcp="workspace_reset",
        profiles=CORE,
        idempotent=True,
        positional=("workspace",),
        raises={
            "NotFound": "There is no such workspace or snapshot.",
            "EngineError": "The machine could not be restored.",
        },
    )
    def reset_workspace(
        self,
        workspace: WorkspaceRef,
        snapshot: Annotated[
            str | None,
            Field(description="Instead of the baseline. last: the files of the last checkpoint.", max_length=64),
        ] = None,
    ) -> Workspace:
        """Put the machine back to its baseline: files, memory, processes.

        With `last`, a fresh machine gets the files as they were at the last checkpoint (see rewind), also where the
        old one is lost; `notes` says what is missing.
        """

    @operation(
        cli="workspace history",
        mcp="workspace_history",
        profiles=("workspace-full",),
        read_only=True,
        idempotent=True,
        positional=("workspace",),
        hidden=("after", "wait_seconds"),
    )
    def history_workspace(
        self,
        workspace: WorkspaceRef,
        *,
        limit: Annotated[int, Field(description="The newest events, 1 to 10000.", ge=1, le=10000)] = 200,
        after: Annotated[
            int | None,
            Field(description="Only what has begun or ended since: the cursor of an earlier answer.", ge=0),
        ] = None,
        wait_seconds: Annotated[float, Field(description="Seconds to wait for one, 0 to 50.", ge=0, le=50)] = 0,
    ) -> History:
        """Show what was done on a workspace, its network connections included: when, by whom, how long, outcome."""

    @operation(
        cli="workspace sync push",
        mcp="workspace_sync_push",
        method="push",
        profiles=CORE,
        open_world=True,
        idempotent=True,
        positional=("workspace", "path"),
        hidden=("include_ignored",),
        streams=True,
        host_paths=("path",),
        raises={"Conflict": "A directory is in the way, or the workspace is stopped. Nothing was changed."},
    )
    def push_workspace_sync(
        self,
        workspace: WorkspaceRef,
        path: HostPath,
        *,
        dest: Path = "/workspace",
        include_ignored: Annotated[bool, Field(description="Copy files that .gitignore excludes, too.")] = False,
    ) -> Synced:
        """Copy a file or tree of the user's machine in, all or nothing."""

    @operation(
        cli="workspace export",
        mcp="workspace_export",
        profiles=CORE,
        open_world=True,
        destructive=True,
        positional=("workspace", "path"),
        streams=True,
        host_paths=("output",),
        raises={
            "NotFound": "There is no such workspace or file.",
            "Conflict": "Something stands in the way at `output`, or the workspace is stopped. Nothing was changed.",
        },
    )
    def export_workspace(
        self,
        workspace: WorkspaceRef,
        path: Annotated[str | None, Field(description="Inside; none with `patch`.", max_length=4096)] = None,
        *,
        output: Annotated[str, Field(description="Destination on the user's machine.", min_length=1, max_length=4096)],
        patch: Annotated[bool, Field(description="Export the diff instead.")] = False,
        overwrite: Annotated[bool, Field(description="Replace existing files; a backup is kept.")] = False,
        include_git: Annotated[bool, Field(description="Also .git, without hooks and most settings.")] = False,
        include_ignored: IncludeIgnored = False,
    ) -> Exported:
        """Copy a file, a tree or the diff to the user's machine. An existing folder is a place to put it into.

        Nothing that is there is removed. Files are replaced only with `overwrite`, and kept in a backup that the result
        names; a folder is never replaced by a file, nor a file by a folder. Files that git tracks in the user's project
        are not replaced: `land` is for these. Repositories inside are left out, because their settings and hooks could
        run programs here. Of a folder, what git ignores and what tools made (node_modules, a venv) is left out and
        counted, unless that is the folder that was asked for.
        """

    @operation(
        cli="workspace land",
        positional=("workspace",),
        host_paths=("repo",),
        open_world=True,
        raises={
            "Conflict": "The branch cannot be moved, or the value of a secret would be committed. Nothing was changed.",
            "ComponentMissing": "There is no git on this computer.",
            "EngineError": "git failed; the message says how.",
        },
    )
    def land_workspace(
        self,
        workspace: WorkspaceRef,
        branch: Annotated[str, Field(description="Branch to commit on; created if missing.", min_length=1)],
        *,
        repo: Annotated[
            str | None,
            Field(
                description="The git repository; by default the one it was seeded from.", min_length=1, max_length=4096
            ),
        ] = None,
        message: Annotated[str | None, Field(description="Commit message.", max_length=65536)] = None,
        include_ignored: IncludeIgnored = False,
    ) -> Landed:
        """Commit the workspace's changes as a branch of the git repository it was seeded from.

        Neither its work tree nor its index is touched. Changes are merged three-way; where that conflicts, nothing is
        changed. An existing branch is kept under a backup ref first, and the command that takes it back is printed.
        """
