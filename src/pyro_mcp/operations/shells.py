"""Operations on shells: terminals that outlive calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, Profile, operation
from pyro_mcp.operations.fields import Command, Cwd, Env, SecretEnv, User, WorkspaceRef
from pyro_mcp.operations.fields import Shell as ShellRef

if TYPE_CHECKING:
    from pyro_mcp.models import Shell, ShellOutput

FULL: tuple[Profile, ...] = ("workspace-full",)
Rows = Annotated[int, Field(description="1 to 500.", ge=1, le=500)]
Cols = Annotated[int, Field(description="1 to 500.", ge=1, le=500)]
Signal = Literal["HUP", "INT", "QUIT", "TERM", "KILL", "TSTP", "CONT"]


class ShellOperations(Operations):
    @operation(
        cli="workspace shell open",
        mcp="shell_open",
        profiles=FULL,
        positional=("workspace", "command"),
        hidden=("env",),
        raises={"Unsupported": "The machine has no shell."},
    )
    def open_shell(
        self,
        workspace: WorkspaceRef,
        command: Command | None = None,
        *,
        cwd: Cwd = "/workspace",
        user: User = None,
        env: Env = None,
        secret_env: SecretEnv = None,
        rows: Rows = 30,
        cols: Cols = 120,
    ) -> Shell:
        """Open a terminal that persists across calls, running an interactive bash or a command."""

    @operation(
        cli="workspace shell read",
        mcp="shell_read",
        profiles=FULL,
        read_only=True,
        positional=("workspace", "shell"),
    )
    def read_shell(
        self,
        workspace: WorkspaceRef,
        shell: ShellRef,
        *,
        cursor: Annotated[
            int | None, Field(description="From the last result; returns only what is new since then.", ge=0, le=2**40)
        ] = None,
        plain: Annotated[
            bool, Field(description="As a person sees it: without control sequences, the screen and what scrolled off.")
        ] = False,
        max_bytes: Annotated[int, Field(description="200 to 65536.", ge=200, le=65536)] = 16384,
        wait_for_idle_ms: Annotated[
            int, Field(description="Wait until nothing is printed for this many ms, 0 to 10000.", ge=0, le=10000)
        ] = 300,
        wait_for: Annotated[
            str | None, Field(description="Wait until what is new matches this regex.", max_length=1000)
        ] = None,
        wait_seconds: Annotated[float, Field(description="Seconds to wait for wait_for, 0 to 50.", ge=0, le=50)] = 30,
    ) -> ShellOutput:
        """Read a shell's output."""

    @operation(
        cli="workspace shell write",
        mcp="shell_write",
        profiles=FULL,
        positional=("workspace", "shell", "text"),
        raises={"Conflict": "The shell has ended, or its program is not reading input."},
    )
    def write_shell(
        self,
        workspace: WorkspaceRef,
        shell: ShellRef,
        text: Annotated[str, Field(description="Keys, such as ls or \\u0003 for Ctrl-C.", max_length=65536)],
        *,
        enter: Annotated[bool, Field(description="Press Enter after it.")] = False,
    ) -> Shell:
        """Type into a shell; then read from the returned cursor."""

    @operation(
        cli="workspace shell signal",
        mcp="shell_signal",
        profiles=FULL,
        positional=("workspace", "shell", "signal"),
        raises={"Conflict": "The shell has ended."},
    )
    def signal_shell(
        self,
        workspace: WorkspaceRef,
        shell: ShellRef,
        signal: Annotated[Signal, Field(description="Signal for the foreground program.")] = "INT",
    ) -> Shell:
        """Send a signal to a shell's foreground program."""

    @operation(
        cli="workspace shell resize",
        mcp="shell_resize",
        profiles=FULL,
        idempotent=True,
        positional=("workspace", "shell"),
        raises={"Conflict": "The shell has ended."},
    )
    def resize_shell(self, workspace: WorkspaceRef, shell: ShellRef, *, rows: Rows, cols: Cols) -> Shell:
        """Change a shell's size."""

    @operation(
        cli="workspace shell close",
        mcp="shell_close",
        profiles=FULL,
        idempotent=True,
        positional=("workspace", "shell"),
    )
    def close_shell(self, workspace: WorkspaceRef, shell: ShellRef) -> Shell:
        """End a shell and everything running in it."""
