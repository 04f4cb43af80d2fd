"""Operations on files below /workspace, patches, and the diff."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, Profile, operation
from pyro_mcp.operations.fields import (
    FILE_READ_DEFAULT,
    FILE_TEXT_CAP,
    RESULT_TEXT_DEFAULT,
    ByteOffset,
    Encoding,
    IncludeIgnored,
    LineCount,
    Lines,
    OptionalPath,
    Path,
    ReadBytes,
    WorkspaceRef,
)

if TYPE_CHECKING:
    from pyro_mcp.models import (
        Diff,
        FileContent,
        FileEdited,
        FileList,
        FileWritten,
        PatchApplied,
        Rewound,
        SearchResult,
    )

CORE: tuple[Profile, ...] = ("workspace-core", "workspace-full")


class FileOperations(Operations):
    @operation(
        cli="workspace file list",
        mcp="workspace_file_list",
        profiles=CORE,
        read_only=True,
        idempotent=True,
        positional=("workspace", "path"),
        raises={"NotFound": "There is no such workspace or file."},
    )
    def list_workspace_files(
        self,
        workspace: WorkspaceRef,
        path: Path = "/workspace",
        *,
        recursive: Annotated[bool, Field(description="Include subdirectories.")] = False,
        limit: Annotated[int, Field(description="1 to 20000.", ge=1, le=20000)] = 200,
    ) -> FileList:
        """List a directory."""

    @operation(
        cli="workspace file read",
        mcp="workspace_file_read",
        method="read",
        profiles=CORE,
        read_only=True,
        idempotent=True,
        positional=("workspace", "path"),
        mcp_defaults={"max_bytes": RESULT_TEXT_DEFAULT},
        cli_defaults={"max_bytes": FILE_TEXT_CAP},
        raises={"NotFound": "There is no such workspace or file."},
    )
    def read_workspace_file(
        self,
        workspace: WorkspaceRef,
        path: OptionalPath = None,
        *,
        paths: Annotated[
            list[str] | None, Field(description="Several files in one call, at most 20.", max_length=20)
        ] = None,
        offset: Lines = None,
        limit: LineCount = None,
        number_lines: Annotated[bool, Field(description="Number the lines, as `cat -n` does.")] = False,
        grep: Annotated[
            str | None,
            Field(description="Only lines that match this regex, as number:line.", max_length=1000),
        ] = None,
        byte_offset: ByteOffset = None,
        encoding: Encoding = None,
        max_bytes: ReadBytes = FILE_READ_DEFAULT,
    ) -> FileContent:
        """Read text files or parts of them. Lists a directory; shows a picture."""

    @operation(
        cli="workspace search",
        mcp="workspace_search",
        profiles=CORE,
        read_only=True,
        idempotent=True,
        positional=("workspace", "pattern"),
        raises={
            "NotFound": "There is no such workspace or directory.",
            "GuestError": "The search could not be carried out; the message says why.",
        },
    )
    def search_workspace(
        self,
        workspace: WorkspaceRef,
        pattern: Annotated[
            str | None,
            Field(description="Regular expression (RE2) for a line. Omit to find files by name.", max_length=4096),
        ] = None,
        *,
        path: Annotated[str, Field(description="Only below this path.", max_length=4096)] = "/workspace",
        glob: Annotated[
            list[str] | None,
            Field(description="Only files like *.py or src/**; !docs excludes.", max_length=64),
        ] = None,
        literal: Annotated[bool, Field(description="The pattern is plain text.")] = False,
        ignore_case: Annotated[bool, Field(description="Ignore case.")] = False,
        context: Annotated[int, Field(description="Lines around each match, 0 to 20.", ge=0, le=20)] = 0,
        files_only: Annotated[bool, Field(description="List only files, with counts.")] = False,
        include_ignored: Annotated[bool, Field(description="Also search ignored files and node_modules.")] = False,
        limit: Annotated[int, Field(description="Matches or files to return, 1 to 10000.", ge=1, le=10000)] = 100,
        max_bytes: Annotated[
            int, Field(description="Bytes of content, 200 to 1048576.", ge=200, le=FILE_TEXT_CAP)
        ] = RESULT_TEXT_DEFAULT,
    ) -> SearchResult:
        """Search file contents, or find files by name."""

    @operation(
        cli="workspace file write",
        mcp="workspace_file_write",
        method="write",
        profiles=CORE,
        idempotent=True,
        positional=("workspace", "path"),
    )
    def write_workspace_file(
        self,
        workspace: WorkspaceRef,
        path: Path,
        text: Annotated[str, Field(description="At most 1 MiB.", max_length=FILE_TEXT_CAP)],
        *,
        executable: Annotated[bool | None, Field(description="Default: unchanged.")] = None,
        encoding: Encoding = None,
    ) -> FileWritten:
        """Write a whole text file, creating its directories."""

    @operation(
        cli="workspace edit",
        mcp="workspace_edit",
        method="edit",
        profiles=CORE,
        positional=("workspace", "path"),
        raises={
            "NotFound": "There is no such workspace or file.",
            "PatchMismatch": "The text is not in the file, or occurs more than once. Nothing was changed.",
        },
    )
    def edit_workspace_file(
        self,
        workspace: WorkspaceRef,
        path: Path,
        old_string: Annotated[
            str | None,
            Field(description="Exact text, once in the file; empty creates a new file.", max_length=FILE_TEXT_CAP),
        ] = None,
        new_string: Annotated[str | None, Field(description="What replaces it.", max_length=FILE_TEXT_CAP)] = None,
        *,
        replace_all: Annotated[bool, Field(description="Replace every occurrence.")] = False,
        edits: Annotated[
            list[dict[str, Any]] | None,
            Field(
                description="Instead: several edits in order, all or none: [{old_string, new_string, replace_all}].",
                max_length=200,
            ),
        ] = None,
    ) -> FileEdited:
        """Replace exact text in a file. Whitespace counts; include enough lines to be unique."""

    @operation(
        cli="workspace patch apply",
        mcp="workspace_patch_apply",
        profiles=CORE,
        positional=("workspace",),
        raises={"PatchMismatch": "The patch does not fit; the message says where. Nothing was changed."},
    )
    def apply_workspace_patch(
        self,
        workspace: WorkspaceRef,
        patch: Annotated[
            str,
            Field(
                description="Unified diff or `*** Begin Patch`, at most 1 MiB; @@ may name the function.",
                max_length=FILE_TEXT_CAP,
            ),
        ],
    ) -> PatchApplied:
        """Apply a patch, all or nothing: create, modify, delete, rename."""

    @operation(
        cli="workspace rewind",
        mcp="workspace_rewind",
        method="rewind",
        profiles=CORE,
        positional=("workspace", "to"),
    )
    def rewind_workspace(
        self,
        workspace: WorkspaceRef,
        to: Annotated[
            int | None,
            Field(description="Checkpoint number, 0 to 1000000. Omit to list them.", ge=0, le=1_000_000),
        ] = None,
        *,
        limit: Annotated[int, Field(description="Checkpoints to list, 1 to 200.", ge=1, le=200)] = 20,
    ) -> Rewound:
        """Undo: put files back as they were after an earlier command or edit, or list these checkpoints.

        Checkpoints are made automatically: at most 200, 256 MiB, 7 days. A reset keeps them. Processes and memory are
        untouched, and so are files over 8 MiB, .git and tool-made files (node_modules). Undo a rewind with another.
        """

    @operation(
        cli="workspace diff",
        mcp="workspace_diff",
        profiles=CORE,
        read_only=True,
        idempotent=True,
        positional=("workspace",),
    )
    def diff_workspace(
        self,
        workspace: WorkspaceRef,
        path: Annotated[str | None, Field(description="Only below this path.", max_length=4096)] = None,
        *,
        summary: Annotated[bool, Field(description="File names only.")] = False,
        max_bytes: Annotated[
            int, Field(description="Bytes of patch, 200 to 1048576.", ge=200, le=FILE_TEXT_CAP)
        ] = RESULT_TEXT_DEFAULT * 2,
        include_ignored: IncludeIgnored = False,
    ) -> Diff:
        """Show what changed since the baseline, as a patch for `git apply`."""
