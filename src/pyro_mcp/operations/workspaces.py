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
                "user",
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
            "Conflict": "The name is taken, or the environment is being built; try again later.",
            "Unsupported": "The requested engine does not work here, or cannot do what was asked.",
        },
    )
    def create_workspace(
        self,
        environment: Annotated[
            str | None,
            Field(
                description="For example debian:12, or an image: node:22. Default: devcontainer.json's, else "
                "debian:12.",
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
        user: Annotated[
            str | None,
            Field(
                description="Owner of the project, as whom commands run: name, uid or uid:gid. Default: "
                "devcontainer.json's, else the image's, else root.",
                min_length=1,
                max_length=256,
            ),
        ] = None,
        network_policy: Network = "off",
        vcpu_count: Annotated[
            int | None, Field(description="1 to 32; default: 1, or what devcontainer.json requires.", ge=1, le=32)
        ] = None,
        mem_mib: Annotated[
            int | None,
            Field(
                description="MiB, 128 to 65536; default: 1024, or what devcontainer.json requires.", ge=128, le=65536
            ),
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
            Field(description="Name to value, 4 bytes to 64 KiB; values never appear in output.", max_length=64),
        ] = None,
        secret_files: Annotated[
            dict[str, str] | None, Field(description="Name to the file with the value.", max_length=64)
        ] = None,
        secret_hosts: Annotated[
            dict[str, str] | None,
            Field(
                description="Name to the only host whose requests get the value; the machine gets a placeholder.",
                max_length=64,
            ),
        ] = None,
        include_ignored: Annotated[bool, Field(description="Also seed files that .gitignore excludes.")] = False,
        no_devcontainer: Annotated[bool, Field(description="Ignore the seed's devcontainer.json.")] = False,
        rebuild: Annotated[
            bool, Field(description="Run all of its set-up, and keep that in place of what is kept of it.")
        ] = False,
        setup_wait_seconds: Annotated[
            float | None,
            Field(
                description="Seconds to wait for its set-up, 0 to 7200; default: until it ends. The set-up "
                "continues afterwards.",
                ge=0,
                le=7200,
            ),
        ] = None,
        engine: Engine = "auto",
    ) -> Workspace:
        """Create a disposable Linux machine, its /workspace filled from `seed_path`.

        That state is the baseline for diff and reset. A git work tree comes with its history, without ignored files.
        Map secrets into single commands by name (`secret_env`); they are deleted with the workspace.
        Without `environment`, the seed's devcontainer.json sets the image, variables, size and set-up
        commands. It cannot open the network; `devcontainer` lists what was ignored and has the set-up's log.
        """

    @operation(cli="workspace list", mcp="workspace_list", profiles=CORE, read_only=True, idempotent=True)
    def list_workspaces(
        self,
        *,
        labels: Annotated[dict[str, str] | None, Field(description="Only workspaces with these labels.")] = None,
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
        """Show a workspace's state and what is running."""

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
        labels: Annotated[dict[str, str] | None, Field(description="Labels to set.")] = None,
        clear_labels: Annotated[list[str] | None, Field(description="Keys to remove.")] = None,
        ttl_seconds: TtlSeconds = None,
        clear_ttl: Annotated[bool, Field(description="Remove the idle limit.")] = False,
        lifetime_seconds: LifetimeSeconds = None,
        clear_lifetime: Annotated[bool, Field(description="Remove the lifetime limit.")] = False,
        network_policy: Annotated[
            Network | None, Field(description="Open the network, or close it again and drop everything allowed.")
        ] = None,
        allow_domains: Annotated[
            list[str] | None, Field(description="More hosts that egress may reach.", max_length=256)
        ] = None,
        allow_host_ports: AllowHostPorts = None,
        allow_addresses: AllowAddresses = None,
        ssh_hosts: SshHosts = None,
    ) -> Workspace:
        """Change name or labels.

        From the command line and Python, also its time limits and its network. That takes effect at once: closing it
        ends open connections. Programs started before it was opened have no proxy variables.
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
        """Delete a workspace and everything in it."""

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
            Field(description="Only what started or ended since this cursor from an earlier result.", ge=0),
        ] = None,
        wait_seconds: Annotated[float, Field(description="Seconds to wait for an event, 0 to 50.", ge=0, le=50)] = 0,
    ) -> History:
        """Show what was done in a workspace, including network connections: when, by whom, how long, outcome."""

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
        include_ignored: Annotated[bool, Field(description="Also copy files that .gitignore excludes.")] = False,
    ) -> Synced:
        """Copy a file or tree from the user's computer in, all or nothing."""

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
        path: Annotated[
            str | None, Field(description="Path in the workspace; omit with `patch`.", max_length=4096)
        ] = None,
        *,
        output: Annotated[str, Field(description="Destination on the user's computer.", min_length=1, max_length=4096)],
        patch: Annotated[bool, Field(description="Export the diff as a patch instead.")] = False,
        overwrite: Annotated[bool, Field(description="Replace existing files; a backup is kept.")] = False,
        include_git: Annotated[bool, Field(description="Also .git, without hooks and most settings.")] = False,
        include_ignored: IncludeIgnored = False,
    ) -> Exported:
        """Copy a file, a tree or the diff to the user's computer. An existing directory receives it.

        Nothing is ever removed. Files are replaced only with `overwrite`, and kept in a backup that the result names. A
        directory never replaces a file, nor a file a directory. Files that git tracks in the user's project are not
        replaced: use `land` for these. Git repositories are left out, because their settings and hooks could run
        programs here. Ignored and tool-made files (node_modules, a venv) in a directory are left out and counted,
        unless you export that directory itself.
        """

    @operation(
        cli="workspace land",
        positional=("workspace",),
        host_paths=("repo",),
        open_world=True,
        raises={
            "Conflict": "The branch cannot be moved, or the value of a secret would be committed. Nothing was changed.",
            "ComponentMissing": "git is not on this computer.",
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
                description="The git repository; default: the one it was seeded from.", min_length=1, max_length=4096
            ),
        ] = None,
        message: Annotated[str | None, Field(description="Commit message.", max_length=65536)] = None,
        include_ignored: IncludeIgnored = False,
    ) -> Landed:
        """Commit the workspace's changes to a branch of the git repository it was seeded from.

        Your work tree and index are not touched. Changes are merged three-way; on a conflict nothing is
        changed. An existing branch is first saved under a backup ref, and the command that undoes it is printed.
        """
