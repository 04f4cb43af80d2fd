"""Terminals that outlive calls."""

from __future__ import annotations

from pyro_mcp.models.base import Record
from pyro_mcp.vocabulary import ExecStatus


class Shell(Record):
    """A terminal in the workspace that outlives calls."""

    workspace: str
    shell: str
    """Its handle."""
    status: ExecStatus
    exit_code: int | None = None
    command: list[str]
    rows: int
    cols: int
    cursor: int = 0
    """The end of its output so far: where a read for what is new begins."""


class ShellOutput(Record):
    """What a shell printed from a cursor on, raw or as the screen that a person would see."""

    workspace: str
    shell: str
    output: str
    cursor: int
    """Where to go on reading."""
    status: ExecStatus
    exit_code: int | None = None
    skipped_bytes: int = 0
    """Output between the asked cursor and what is shown, left out to stay within the bound."""
    alternate_screen: bool = False
    """A full-screen program, such as an editor, owns the screen."""
    cursor_row: int | None = None
    cursor_column: int | None = None
    hint: str = ""
