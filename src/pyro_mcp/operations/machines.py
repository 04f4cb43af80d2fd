"""Operations on a workspace's whole machine: snapshots, forks, stop and start, and a look at a stopped one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, Profile, operation
from pyro_mcp.operations.fields import (
    FILE_READ_DEFAULT,
    FILE_TEXT_CAP,
    RESULT_TEXT_DEFAULT,
    ByteOffset,
    LineCount,
    Lines,
    Path,
    ReadBytes,
    SnapshotName,
    WorkspaceRef,
)

if TYPE_CHECKING:
    from pyro_mcp.models import (
        Exported,
        FileContent,
        FileList,
        Forked,
        Snapshot,
        SnapshotDeleted,
        SnapshotList,
        Tried,
        Workspace,
    )

FULL: tuple[Profile, ...] = ("workspace-full",)


class MachineOperations(Operations):
    @operation(
        cli="workspace snapshot create",
        mcp="snapshot_create",
        method="snapshot",
        profiles=FULL,
        positional=("workspace", "name"),
        raises={"Conflict": "The name is taken, or the workspace has the most snapshots it may have."},
    )
    def create_snapshot(self, workspace: WorkspaceRef, name: SnapshotName) -> Snapshot:
        """Save the whole machine's state under a name: files, memory, running processes.

        The machine keeps running. Open connections into it (published ports) and out of it (egress) are
        cut.
        """

    @operation(
        cli="workspace snapshot list",
        mcp="snapshot_list",
        profiles=FULL,
        read_only=True,
        idempotent=True,
        positional=("workspace",),
    )
    def list_snapshots(self, workspace: WorkspaceRef) -> SnapshotList:
        """List a workspace's snapshots; baseline always exists."""

    @operation(
        cli="workspace snapshot delete",
        mcp="snapshot_delete",
        profiles=FULL,
        destructive=True,
        positional=("workspace", "name"),
    )
    def delete_snapshot(self, workspace: WorkspaceRef, name: SnapshotName) -> SnapshotDeleted:
        """Delete a snapshot. The machine is not affected."""

    @operation(
        cli="workspace fork",
        mcp="workspace_fork",
        profiles=FULL,
        positional=("workspace",),
        raises={
            "Conflict": "The name is taken, or the workspace is stopped.",
            "EngineError": "The machine could not be copied.",
        },
    )
    def fork_workspace(
        self,
        workspace: WorkspaceRef,
        count: Annotated[int, Field(description="1 to 16.", ge=1, le=16)] = 1,
        *,
        snapshot: Annotated[
            str | None, Field(description="Fork from this snapshot instead of now.", max_length=64)
        ] = None,
    ) -> Forked:
        """Make independent copies of the machine, running processes included.

        Each copy has its own id, a numbered name, its own history and copies of the secrets; its published ports get
        free ports of this computer. A fork keeps its parent's baseline for diff and reset.
        """

    @operation(
        cli="workspace try",
        mcp="workspace_try",
        method="try_alternatives",
        profiles=FULL,
        positional=("workspace",),
        streams=True,
        mcp_defaults={"wait_seconds": 45},
        raises={
            "Conflict": "The workspace tries something already, or is stopped.",
            "NotFound": "There is no such workspace, or no alternative of that number to keep.",
        },
    )
    def try_workspace(
        self,
        workspace: WorkspaceRef,
        alternatives: Annotated[
            list[dict[str, Any]] | None,
            Field(
                description="1 to 8, each {patch: text} or {commands: [text]}, with a name if you like. Without them: "
                "the last try."
            ),
        ] = None,
        *,
        check: Annotated[
            str | list[str] | None, Field(description="The command that must succeed, such as the tests.")
        ] = None,
        keep: Annotated[
            int | None,
            Field(
                description="1 to 8: make this one the workspace if it passes; 0: the first that does. Also "
                "afterwards, alone.",
                ge=0,
                le=8,
            ),
        ] = None,
        timeout_seconds: Annotated[float, Field(description="Seconds for all, at most 3600.", gt=0, le=3600)] = 600,
        wait_seconds: Annotated[
            float | None, Field(description="Seconds to wait, 0 to 3600; then it goes on.", ge=0, le=3600)
        ] = None,
    ) -> Tried:
        """Try several fixes at once, each in a fork of this moment, and see which passes the check.

        For each: whether it passed, exit status, time, telling lines, size of its diff. The workspace stays as it is,
        unless `keep` says which is to take its place: files, memory and processes, as after the check. One that
        cannot be carried out is refused by name, and the others go on. The forks are always deleted. What passed can
        be kept until the next try or reset.
        """

    @operation(
        cli="workspace stop",
        mcp="workspace_stop",
        profiles=FULL,
        idempotent=True,
        positional=("workspace",),
        raises={"EngineError": "The machine could not be saved; it keeps running."},
    )
    def stop_workspace(self, workspace: WorkspaceRef) -> Workspace:
        """Suspend the machine to disk, processes included; it then uses no memory."""

    @operation(
        cli="workspace start",
        mcp="workspace_start",
        profiles=FULL,
        idempotent=True,
        positional=("workspace",),
        raises={"EngineError": "The machine could not be restored; it stays stopped."},
    )
    def start_workspace(self, workspace: WorkspaceRef) -> Workspace:
        """Resume a stopped workspace as it was."""

    @operation(
        cli="workspace disk list",
        mcp="workspace_disk_list",
        profiles=FULL,
        read_only=True,
        idempotent=True,
        positional=("workspace", "path"),
        raises={"NotFound": "There is no such workspace or file.", "Conflict": "The workspace is not stopped."},
    )
    def list_workspace_disk(
        self,
        workspace: WorkspaceRef,
        path: Path = "/workspace",
        *,
        recursive: Annotated[bool, Field(description="Include subdirectories.")] = False,
        limit: Annotated[int, Field(description="1 to 20000.", ge=1, le=20000)] = 200,
    ) -> FileList:
        """List files of a stopped workspace without starting it."""

    @operation(
        cli="workspace disk read",
        mcp="workspace_disk_read",
        profiles=FULL,
        read_only=True,
        idempotent=True,
        positional=("workspace", "path"),
        mcp_defaults={"max_bytes": RESULT_TEXT_DEFAULT},
        cli_defaults={"max_bytes": FILE_TEXT_CAP},
        raises={"NotFound": "There is no such workspace or file.", "Conflict": "The workspace is not stopped."},
    )
    def read_workspace_disk(
        self,
        workspace: WorkspaceRef,
        path: Path,
        *,
        offset: Lines = None,
        limit: LineCount = None,
        byte_offset: ByteOffset = None,
        max_bytes: ReadBytes = FILE_READ_DEFAULT,
    ) -> FileContent:
        """Read a text file of a stopped workspace."""

    @operation(
        cli="workspace disk export",
        mcp="workspace_disk_export",
        profiles=FULL,
        open_world=True,
        destructive=True,
        positional=("workspace", "path"),
        host_paths=("output",),
        raises={
            "NotFound": "There is no such workspace or file.",
            "Conflict": "The workspace is not stopped, or something stands in the way at `output`.",
        },
    )
    def export_workspace_disk(
        self,
        workspace: WorkspaceRef,
        path: Path,
        *,
        output: Annotated[str, Field(description="Destination on the user's computer.", min_length=1, max_length=4096)],
        overwrite: Annotated[bool, Field(description="Replace existing files; a backup is kept.")] = False,
    ) -> Exported:
        """Copy a file or tree of a stopped workspace to the user's computer."""
