"""Files of a workspace, and what changed in them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pyro_mcp.models.base import Moment, Record


class FileEntry(Record):
    path: str
    kind: Literal["file", "dir", "symlink", "other"]
    size: int
    mode: str
    """Permission bits, octal, such as `0644`."""
    modified_at: Moment
    link: str | None = None


class FileList(Record):
    workspace: str
    path: str
    entries: list[FileEntry]
    truncated: bool = False
    hint: str = ""


class FileRead(Record):
    """A file, or a part of one; a directory's names; or a picture."""

    path: str = ""
    kind: Literal["file", "directory", "image"] = "file"
    content: str = ""
    """Text; of a directory, a name a line, with `/` behind directories."""
    size: int = 0
    """Bytes of the whole file."""
    mode: str = ""
    encoding: str = ""
    """That `content` was read in."""
    first_line: int | None = None
    last_line: int | None = None
    total_lines: int | None = None
    """Unknown of a file over 16 MiB."""
    byte_offset: int | None = None
    """Where `content` begins, when it was read by bytes."""
    media_type: str = ""
    """Of a picture, such as `image/png`."""
    data: str = ""
    """A picture's bytes, in base64."""
    width: int | None = None
    height: int | None = None
    truncated: bool = False
    hint: str = ""
    error: str = ""
    """Why this one of several could not be read."""


class FileContent(FileRead):
    """What was read: one file, or several in `files`."""

    workspace: str
    files: list[FileRead] = Field(default_factory=list)


class FileWritten(Record):
    workspace: str
    path: str
    action: Literal["created", "replaced"]
    size: int
    mode: str


class SearchResult(Record):
    """Lines or files that were found, as text: `path:line:text`, with `path-line-text` for lines of context."""

    workspace: str
    content: str = ""
    """Paths are relative to /workspace. Of a search for files alone: a path a line, with `:` and the count of its
    matching lines where there was a pattern."""
    matches: int = 0
    """Matching lines in all, also those that are not shown."""
    files: int = 0
    """Files with a match, or that were found by name."""
    shown: int = 0
    """Matches, or files, in `content`."""
    searched_files: int = 0
    skipped_binary: int = 0
    skipped_large: int = 0
    """Files over 16 MiB."""
    skipped_ignored: int = 0
    """Files and directories that ignore rules name; without any rule, those that a tool made (node_modules, venvs)."""
    truncated: bool = False
    hint: str = ""


class Checkpoint(Record):
    """The files as they were after something happened."""

    number: int
    at: Moment
    after: str
    """The command or edit."""
    files: int
    """How many it changed."""
    paths: list[str] = Field(default_factory=list)
    """The first 5 of them."""


class Rewound(Record):
    """The checkpoints of a workspace, and what became of the files."""

    workspace: str
    rewound_to: int | None = None
    changed_files: int = 0
    """Files that were put back, or taken away."""
    left: list[str] = Field(default_factory=list)
    """The first 20 that stay as they are: too large to be kept, at present or then."""
    left_files: int = 0
    checkpoints: list[Checkpoint] = Field(default_factory=list)
    """Newest first."""
    hint: str = ""


class FileEdited(Record):
    workspace: str
    path: str
    replacements: int
    """How many places were changed, over all edits."""
    insertions: int
    deletions: int
    """Lines, as a diff counts them."""
    created: bool = False


class ChangedFile(Record):
    path: str
    status: Literal["added", "modified", "deleted", "renamed", "mode"]
    old_path: str | None = None
    insertions: int = 0
    deletions: int = 0
    binary: bool = False


class HunkPlaced(Record):
    """A hunk that was applied elsewhere than its header says, or in spite of context that differs."""

    path: str
    hunk: int
    """From 1 on, within the file's part of the patch."""
    line: int
    """Where it was applied, from 1 on."""
    offset: int
    """Lines further down than its header says."""
    fuzz: int
    """Lines of context at each end that did not fit, at most 2."""


class LeftOut(Record):
    """Changed files that were not taken."""

    path: str
    """A file, or a directory with a slash at its end."""
    files: int
    why: Literal["ignored", "made", "repository", "name", "special", "prepared"]
    """Ignored by git, made by a tool, in a repository of its own, under a name that git refuses, no file, directory
    or link (a FIFO, socket or device), or made by the project's set-up before the workspace began."""


class PatchApplied(Record):
    workspace: str
    files: list[ChangedFile]
    placed: list[HunkPlaced] = Field(default_factory=list)
    """Hunks that did not fit exactly where they say; empty when all did."""


class Diff(Record):
    """What changed since the baseline."""

    workspace: str
    files: list[ChangedFile]
    insertions: int
    deletions: int
    empty_directories: list[str] = Field(default_factory=list)
    """Created directories without a file, which a patch cannot carry."""
    left_out: list[LeftOut] = Field(default_factory=list)
    """The largest 20 groups."""
    left_out_files: int = 0
    patch: str = ""
    patch_bytes: int = 0
    """Of the whole patch, also when `patch` was cut."""
    truncated: bool = False
    hint: str = ""
