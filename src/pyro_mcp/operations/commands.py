"""Operations that run commands: in a workspace, or in a machine that is gone afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, Profile, operation
from pyro_mcp.operations.fields import (
    DEFAULT_WAIT_SECONDS,
    FILE_TEXT_CAP,
    MAX_TIMEOUT_SECONDS,
    MAX_WAIT_SECONDS,
    RESULT_TEXT_DEFAULT,
    Command,
    Env,
    EnvironmentName,
    MaxOutput,
    MemMib,
    OneShotNetwork,
    Raw,
    SecretEnv,
    Stdin,
    StdinOpen,
    UntilText,
    User,
    VcpuCount,
    WaitSeconds,
    WorkspaceRef,
)
from pyro_mcp.vocabulary import NAME_PATTERN

if TYPE_CHECKING:
    from pyro_mcp.models import CommandRecord, ExecResult, Logs, RunResult

CORE: tuple[Profile, ...] = ("workspace-core", "workspace-full")


class CommandOperations(Operations):
    @operation(
        cli="workspace exec",
        mcp="workspace_exec",
        profiles=CORE,
        positional=("workspace", "command"),
        hidden=("env", "stdin", "stdin_open", "max_output_bytes", "raw"),
        streams=True,
        raises={"Unsupported": "The machine has no bash, and the call needs one: a session, or a command line for it."},
    )
    def exec_workspace(
        self,
        workspace: WorkspaceRef,
        command: Command,
        *,
        cwd: Annotated[
            str | None,
            Field(description="Default: /workspace, or the session's directory.", max_length=4096),
        ] = None,
        session: Annotated[
            str | None,
            Field(
                description="Any name; cd, export and functions persist across calls with the same name.",
                pattern=NAME_PATTERN,
            ),
        ] = None,
        background: Annotated[
            bool, Field(description="Return a handle at once and let it run: servers, watchers.")
        ] = False,
        until: UntilText = None,
        user: User = None,
        env: Env = None,
        secret_env: SecretEnv = None,
        stdin: Stdin = None,
        stdin_open: StdinOpen = False,
        timeout_seconds: Annotated[
            float | None,
            Field(
                description="Timeout in seconds, at most 86400. Default: 1800; in the background, 86400.",
                gt=0,
                le=MAX_TIMEOUT_SECONDS,
            ),
        ] = None,
        wait_seconds: WaitSeconds = DEFAULT_WAIT_SECONDS,
        max_output_bytes: MaxOutput = RESULT_TEXT_DEFAULT,
        raw: Raw = False,
    ) -> ExecResult:
        """Run a command, as root unless the image, devcontainer.json or `user` says otherwise.
        If it outlives `wait_seconds`, it keeps running: status `running`, and a handle for logs and cancel.
        """

    @operation(
        cli="workspace feed",
        method="feed",
        positional=("workspace", "handle"),
        raises={"Conflict": "The command does not take input, or has not read what it was sent for 30 s."},
    )
    def feed_workspace_exec(
        self,
        workspace: WorkspaceRef,
        handle: Annotated[str, Field(description="The command's handle.", max_length=64)],
        *,
        data: Annotated[str, Field(description="Base64, at most 1 MiB.", max_length=FILE_TEXT_CAP)] = "",
        end: Annotated[bool, Field(description="This is the last piece.")] = False,
    ) -> CommandRecord:
        """Give a running command a piece of its standard input.

        The command must have been started with `stdin_open`. Waits at most 30 s for it to read earlier input.
        Its input is closed after 90 s without a call.
        """

    @operation(
        cli="workspace cancel",
        mcp="workspace_cancel",
        method="cancel",
        profiles=CORE,
        idempotent=True,
        positional=("workspace", "handle"),
    )
    def cancel_workspace_exec(
        self,
        workspace: WorkspaceRef,
        handle: Annotated[str, Field(description="The command's handle.", max_length=64)],
    ) -> CommandRecord:
        """End a running command: INT (as Ctrl-C does), then TERM, then KILL, 2 s apart."""

    @operation(
        cli="workspace logs",
        mcp="workspace_logs",
        profiles=CORE,
        read_only=True,
        idempotent=True,
        positional=("workspace",),
        hidden=("limit", "max_output_bytes", "raw"),
        streams=True,
    )
    def logs_workspace(
        self,
        workspace: WorkspaceRef,
        handle: Annotated[str | None, Field(description="One command's handle.", max_length=64)] = None,
        *,
        offset: Annotated[
            int | None, Field(description="First byte; negative: from the end.", ge=-(2**40), le=2**40)
        ] = None,
        wait_seconds: WaitSeconds = 0,
        until: UntilText = None,
        grep: Annotated[str | None, Field(description="Only lines that match this regex.", max_length=1000)] = None,
        max_output_bytes: MaxOutput = RESULT_TEXT_DEFAULT,
        raw: Raw = False,
        limit: Annotated[int, Field(description="Commands to list, 1 to 1000.", ge=1, le=1000)] = 20,
    ) -> Logs:
        """List commands, or read the output of one by `handle`."""

    @operation(
        cli="run",
        mcp="vm_run",
        profiles=("vm-run", "workspace-core", "workspace-full"),
        positional=("environment", "command"),
        hidden=("vcpu_count", "mem_mib", "env", "stdin", "stdin_open", "max_output_bytes", "raw"),
        streams=True,
        raises={
            "Conflict": "The environment is being built; try again later.",
            "Unsupported": "The requested engine does not work here.",
        },
    )
    def run_in_vm(
        self,
        environment: EnvironmentName = "debian:12",
        command: Command | None = None,
        *,
        handle: Annotated[str | None, Field(description="Keep waiting for this run instead.", max_length=64)] = None,
        user: User = None,
        env: Env = None,
        stdin: Stdin = None,
        stdin_open: StdinOpen = False,
        network_policy: OneShotNetwork = "off",
        vcpu_count: VcpuCount = 1,
        mem_mib: MemMib = 1024,
        timeout_seconds: Annotated[float, Field(description="Timeout in seconds, at most 3600.", gt=0, le=3600)] = 600,
        wait_seconds: WaitSeconds = MAX_WAIT_SECONDS - 5,
        max_output_bytes: MaxOutput = RESULT_TEXT_DEFAULT,
        raw: Raw = False,
    ) -> RunResult:
        """Run a command in a fresh, throwaway Linux machine."""
