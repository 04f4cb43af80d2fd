"""What must hold over both transports and both revisions: work, progress, cancellation, resources, and the end."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from pyro_mcp.sdk import Pyro
from tests.support import Installation

TOKEN = "a-token-of-some-length"
WAYS = [("stdio", "legacy"), ("stdio", "auto"), ("http", "legacy"), ("http", "auto")]
over_both = pytest.mark.parametrize(("transport", "mode"), WAYS)


@contextmanager
def http_server(installation: Installation, project: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pyro_mcp", "mcp", "serve", "--http", "127.0.0.1:0", "--profile", "workspace-full"],
        cwd=project,
        env={**os.environ, **installation.environment, "PYRO_MCP_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert select.select([process.stderr], [], [], 30)[0], "it did not start"
    try:
        yield process.stderr.readline().partition(" at ")[2].partition(";")[0], process
    finally:
        process.terminate()
        process.communicate(timeout=20)


@asynccontextmanager
async def http_client(url: str, mode: str) -> AsyncIterator[Client]:
    http = httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=60)
    async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
        yield client


def played(
    installation: Installation, project: Path, transport: str, mode: str, story: Callable[[Client], Awaitable[None]]
) -> None:
    async def over_stdio() -> None:
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "pyro_mcp", "mcp", "serve", "--profile", "workspace-full"],
            env={**os.environ, **installation.environment},
            cwd=str(project),
        )
        async with asyncio.timeout(90), Client(parameters, mode=mode) as client:
            await story(client)

    async def over_http(url: str) -> None:
        async with asyncio.timeout(90), http_client(url, mode) as client:
            await story(client)

    if transport == "stdio":
        asyncio.run(over_stdio())
    else:
        with http_server(installation, project) as (url, _):
            asyncio.run(over_http(url))


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result: Any = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content[0].text
    found: dict[str, Any] = result.structured_content
    return found


async def running(client: Client, workspace: str) -> dict[str, Any]:
    """The workspace's only command, once there is one."""
    while True:
        found = (await call(client, "workspace_logs", workspace=workspace)).get("commands", [])
        if found:
            command: dict[str, Any] = found[0]
            return command
        await asyncio.sleep(0.05)


@over_both
def test_progress_is_heard_and_cancelling_ends_the_command(
    installation: Installation, pyro: Pyro, project: Path, transport: str, mode: str
) -> None:
    async def story(client: Client) -> None:
        ws = (await call(client, "workspace_create", seed_path=""))["id"]
        heard: asyncio.Queue[str | None] = asyncio.Queue()

        async def hear(progress: float, total: float | None, message: str | None) -> None:
            heard.put_nowait(message)

        command = {"workspace": ws, "command": "echo working hard; sleep 300", "wait_seconds": 45}
        calling = asyncio.create_task(client.call_tool("workspace_exec", command, progress_callback=hear))
        async with asyncio.timeout(20):
            message = ""
            while not message.startswith("working hard ("):
                message = await heard.get() or ""
        handle = (await running(client, ws))["handle"]
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        logs = await call(client, "workspace_logs", workspace=ws, handle=handle, wait_seconds=20)
        assert logs["status"] != "running"
        assert logs["exit_code"] != 0

    played(installation, project, transport, mode, story)


@over_both
def test_diff_and_logs_are_resources(
    installation: Installation, pyro: Pyro, project: Path, transport: str, mode: str
) -> None:
    async def story(client: Client) -> None:
        ws = (await call(client, "workspace_create", name=f"resources-{transport}-{mode}"))["id"]
        ran = await call(client, "workspace_exec", workspace=ws, command="echo said; echo 'return' >> src/calc.py")
        service = "echo serving; exec sleep 60"
        await call(client, "service_start", workspace=ws, name="web", command=service, ready_command="true")
        for address, wanted in (
            (f"pyro://workspaces/{ws}/diff", "+return"),
            (f"pyro://workspaces/resources-{transport}-{mode}/diff", "+return"),
            (f"pyro://workspaces/{ws}/commands/{ran['handle']}/log", "said"),
            (f"pyro://workspaces/{ws}/services/web/log", "serving"),
        ):
            contents: Any = (await client.read_resource(address)).contents
            assert wanted in contents[0].text, address
        listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert f"pyro://workspaces/{ws}/diff" in listed

    played(installation, project, transport, mode, story)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_a_server_that_is_stopped_answers_with_the_handle_and_the_command_goes_on(
    installation: Installation, pyro: Pyro, project: Path, mode: str
) -> None:
    async def first(url: str, process: subprocess.Popen[str]) -> tuple[str, str]:
        async with asyncio.timeout(60), http_client(url, mode) as client:
            ws = (await call(client, "workspace_create", seed_path=""))["id"]
            command = "while [ ! -e go ]; do sleep 0.05; done; echo went on"
            calling = asyncio.create_task(call(client, "workspace_exec", workspace=ws, command=command))
            await running(client, ws)
            process.terminate()
            begun = await calling
            assert begun["status"] == "running"
            return ws, begun["handle"]

    async def second(url: str, ws: str, handle: str) -> None:
        async with asyncio.timeout(60), http_client(url, mode) as client:
            await call(client, "workspace_file_write", workspace=ws, path="go", text="")
            logs = await call(client, "workspace_logs", workspace=ws, handle=handle, wait_seconds=20)
            assert (logs["status"], logs["output"]) == ("exited", "went on\n")

    with http_server(installation, project) as (url, process):
        ws, handle = asyncio.run(first(url, process))
        assert process.wait(15) == 0
    with http_server(installation, project) as (url, _):
        asyncio.run(second(url, ws, handle))


def test_a_host_that_ends_its_session_leaves_its_commands_running(
    installation: Installation, pyro: Pyro, project: Path
) -> None:
    async def story(url: str) -> None:
        async with asyncio.timeout(60), http_client(url, "auto") as other:
            async with http_client(url, "legacy") as client:
                ws = (await call(client, "workspace_create", seed_path=""))["id"]
                command = "while [ ! -e go ]; do sleep 0.05; done"
                leaving = asyncio.create_task(_ignore(client, ws, command))
                handle = (await running(other, ws))["handle"]
            await leaving
            logs = await call(other, "workspace_logs", workspace=ws, handle=handle)
            assert logs["status"] == "running"
            await call(other, "workspace_cancel", workspace=ws, handle=handle)

    with http_server(installation, project) as (url, _):
        asyncio.run(story(url))


async def _ignore(client: Client, workspace: str, command: str) -> None:
    """Its answer will not come: the session ends before."""
    with suppress(Exception):
        await call(client, "workspace_exec", workspace=workspace, command=command)
