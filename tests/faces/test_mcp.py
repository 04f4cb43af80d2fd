"""The MCP server as a chat host sees it: the official client, over stdio, on real machines."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from pyro_mcp.sdk import Pyro
from tests.support import Installation

TEST = "python3 -B test_calc.py"
Story = Callable[[ClientSession], Awaitable[None]]


def converse(installation: Installation, project: Path, story: Story, *options: str) -> None:
    """Start `pyro mcp serve` in the project, as a host does, and play the story."""

    async def play() -> None:
        # As Codex starts it: nothing of the environment but these.
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **installation.environment}
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "pyro_mcp", "mcp", "serve", *options],
            env=environment,
            cwd=str(project),
        )
        async with (
            asyncio.timeout(120),
            stdio_client(parameters) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            await story(session)

    asyncio.run(play())


async def call(session: ClientSession, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed; text and structured content must hold the same facts."""
    result: Any = await session.call_tool(tool, arguments)
    text = result.content[0].text
    failed = getattr(result, "is_error", None) or getattr(result, "isError", None)
    assert not failed, text
    structured = getattr(result, "structured_content", None) or getattr(result, "structuredContent", None)
    assert isinstance(structured, dict)
    assert json.loads(text) == structured
    return structured


async def refused(session: ClientSession, tool: str, /, **arguments: Any) -> str:
    result: Any = await session.call_tool(tool, arguments)
    assert getattr(result, "is_error", None) or getattr(result, "isError", None), result
    return str(result.content[0].text)


def test_the_core_loop_through_the_server(installation: Installation, pyro: Pyro, project: Path) -> None:
    async def story(session: ClientSession) -> None:
        created = await call(session, "workspace_create")
        ws = created["id"]
        assert created["seed"]["source"] == str(project)
        assert (await call(session, "workspace_exec", workspace=ws, command=TEST))["exit_code"] == 0
        await call(
            session, "workspace_file_write", workspace=ws, path="src/calc.py", text="def add(a, b):\n    return 0\n"
        )
        failed = await call(session, "workspace_exec", workspace=ws, command=TEST)
        assert failed["exit_code"] == 1
        assert "AssertionError" in failed["stderr"]
        patch = (
            "--- a/src/calc.py\n+++ b/src/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return 0\n+    return b + a\n"
        )
        await call(session, "workspace_patch_apply", workspace=ws, patch=patch)
        assert (await call(session, "workspace_exec", workspace=ws, command=TEST))["exit_code"] == 0
        diff = await call(session, "workspace_diff", workspace=ws)
        assert [f["path"] for f in diff["files"]] == ["src/calc.py"]
        exported = await call(session, "workspace_export", workspace=ws, patch=True, output="fix.patch")
        assert exported["output"] == str(project / "fix.patch")
        await call(session, "workspace_reset", workspace=ws)
        assert not (await call(session, "workspace_diff", workspace=ws)).get("files")
        await call(session, "workspace_delete", workspace=ws)

    converse(installation, project, story)
    assert "return b + a" in (project / "fix.patch").read_text()


def test_a_long_command_returns_a_handle_and_is_read_on(installation: Installation, pyro: Pyro, project: Path) -> None:
    async def story(session: ClientSession) -> None:
        ws = (await call(session, "workspace_create", seed_path=""))["id"]
        command = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two"
        begun = await call(session, "workspace_exec", workspace=ws, command=command, wait_seconds=1)
        assert begun["status"] == "running"
        await call(session, "workspace_file_write", workspace=ws, path="go", text="")
        done = await call(session, "workspace_logs", workspace=ws, handle=begun["handle"], wait_seconds=20)
        assert (done["status"], done["output"]) == ("exited", "one\ntwo\n")
        await call(session, "workspace_delete", workspace=ws)

    converse(installation, project, story)


def test_commands_outlive_the_server_that_started_them(installation: Installation, pyro: Pyro, project: Path) -> None:
    handles: list[tuple[str, str]] = []

    async def first(session: ClientSession) -> None:
        ws = (await call(session, "workspace_create", seed_path="", name="outlives"))["id"]
        begun = await call(session, "workspace_exec", workspace=ws, command="sleep 1; echo done", wait_seconds=0)
        handles.append((ws, begun["handle"]))

    async def second(session: ClientSession) -> None:
        ws, handle = handles[0]
        done = await call(session, "workspace_logs", workspace=ws, handle=handle, wait_seconds=20)
        assert done["output"] == "done\n"

    converse(installation, project, first)
    converse(installation, project, second)


def test_errors_are_for_a_model_to_act_on(
    installation: Installation, pyro: Pyro, project: Path, tmp_path: Path
) -> None:
    async def story(session: ClientSession) -> None:
        assert "debian:1" in await refused(session, "workspace_create", environment="debian:99")
        assert "command" in await refused(session, "workspace_exec", workspace="x", comand="ls")
        assert "ws-none" in await refused(session, "workspace_exec", workspace="ws-none", command="ls")
        ws = (await call(session, "workspace_create"))["id"]
        outside = await refused(session, "workspace_sync_push", workspace=ws, path="/etc/passwd")
        assert "path_not_allowed" in outside and "--allow-path" not in outside
        assert "path_not_allowed" in await refused(
            session, "workspace_export", workspace=ws, path="run.sh", output=str(tmp_path / "outside.sh")
        )
        assert "--allow-path /" not in await refused(session, "workspace_create", seed_path="/etc")
        (tmp_path / "beside").mkdir()
        beside = await refused(session, "workspace_create", seed_path=str(tmp_path / "beside"))
        assert f"--allow-path {tmp_path / 'beside'}`" in beside
        assert not (tmp_path / "outside.sh").exists()
        await call(session, "workspace_delete", workspace=ws)

    converse(installation, project, story)


def test_the_user_decides_about_the_network(installation: Installation, pyro: Pyro, project: Path) -> None:
    async def story(session: ClientSession) -> None:
        said = await refused(session, "workspace_create", network_policy="egress")
        assert "--network" in said

    converse(installation, project, story, "--network", "off")


def test_the_smallest_profile_runs_a_command(installation: Installation, pyro: Pyro, project: Path) -> None:
    async def story(session: ClientSession) -> None:
        assert [tool.name for tool in (await session.list_tools()).tools] == ["vm_run"]
        ran = await call(session, "vm_run", command="echo $((6 * 7))")
        assert (ran["exit_code"], ran["stdout"]) == (0, "42\n")

    converse(installation, project, story, "--profile", "vm-run")


@pytest.mark.parametrize("profile", ["workspace-core", "workspace-full"])
def test_every_tool_says_what_it_may_do(installation: Installation, pyro: Pyro, project: Path, profile: str) -> None:
    async def story(session: ClientSession) -> None:
        tools: list[Any] = list((await session.list_tools()).tools)
        assert {"workspace_create", "workspace_exec", "workspace_diff"} <= {tool.name for tool in tools}
        for tool in tools:
            notes = tool.annotations.model_dump(by_alias=True)
            for hint in ("readOnlyHint", "destructiveHint", "openWorldHint"):
                assert isinstance(notes[hint], bool), (tool.name, hint)

    converse(installation, project, story, "--profile", profile)
