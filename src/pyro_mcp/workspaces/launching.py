"""Starts a command in a workspace: what exec, shells, services and one-shot runs have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Literal

from pyro_mcp.errors import InvalidInput, Unsupported
from pyro_mcp.processes.command import Command
from pyro_mcp.vocabulary import ROOT_USER
from pyro_mcp.workspaces.occupancy import BASH, Occupancy
from pyro_mcp.workspaces.workspace import Workspace


def shell_of(runtime: Mapping[str, Any]) -> str:
    """The shell of an environment: bash, or what an image has.

    Raises:
        Unsupported: it has none.
    """
    shell = runtime.get("shell", BASH)
    if not isinstance(shell, str):
        raise Unsupported(
            "This environment's image has no shell, so it cannot run a command line.",
            hint='Give the program and its arguments as a list, such as ["/app/server", "--version"].',
            code="no_shell",
        )
    return shell


def argv_of(command: str | list[str], runtime: Mapping[str, Any]) -> list[str]:
    """A shell command line, or a program with its arguments.

    Raises:
        InvalidInput: it is empty.
        Unsupported: it is a command line, and the environment has no shell.
    """
    if isinstance(command, str):
        if not command.strip():
            raise InvalidInput("The command is empty.", hint="Give a command line, such as `ls`.", code="empty_command")
        return [shell_of(runtime), "-c", command]
    if not command or not command[0]:
        raise InvalidInput("The command is empty.", hint="Give a program and its arguments.", code="empty_command")
    return command


def runs_as(workspace: Workspace, user: str | None) -> dict[str, str]:
    """Who a process runs as, for the agent: the call's user, else the workspace's. Nothing is root."""
    said = user or workspace.user
    return {} if said in ROOT_USER else {"user": said}


async def launch(
    occupancy: Occupancy,
    workspace: Workspace,
    argv: list[str],
    *,
    cwd: str,
    user: str | None = None,
    shown: list[str] | None = None,
    env: dict[str, str] | None = None,
    secret_env: dict[str, str] | None = None,
    stdin: str | None = None,
    stdin_open: bool = False,
    stdin_held: bool = False,
    timeout_seconds: float | None = None,
    kind: Literal["exec", "shell", "service"] = "exec",
    size: tuple[int, int] | None = None,
) -> Command:
    """Start a command and follow it. With a size in rows and columns it gets a terminal; lists say `shown` of it.

    An input that is held stays open until the caller closes it at the agent, whichever daemon that is.

    The caller shields this: a command that runs must be known.
    """
    variables = {**(env or {}), **workspace.secrets.variables(secret_env)}
    async with workspace.lock.shared():
        guest = workspace.guest
        command = await occupancy.registry.add_command(workspace, shown or argv, kind, size)
        request: dict[str, Any] = {
            "argv": argv,
            "cwd": cwd if cwd.startswith("/") else f"/workspace/{cwd}",
            "env": variables,
            "stdin": "pipe" if stdin is not None or stdin_open or stdin_held else "none",
            "timeout_ms": 0 if timeout_seconds is None else max(1, int(timeout_seconds * 1000)),
            "label": command.row.handle,
            **runs_as(workspace, user),
        }
        if size is not None:
            request |= {"tty": {"rows": size[0], "cols": size[1]}}
        try:
            # The row is written beside the start, not before it: a follower finds a process by its label.
            saved = asyncio.ensure_future(occupancy.registry.save_command(command))
            stream = await guest.start_process(request, keeps=kind == "exec" and workspace.keeps)
            await saved
        except BaseException:
            occupancy.registry.drop_command(workspace, command)
            raise
        command.ending = workspace.command_changed
        command.follow(guest, stream, occupancy.command_ended)
    if stdin_open:
        command.open_input()
    elif stdin is not None:
        command.feed(stream, stdin.encode())
    return command
