"""Plays one task: a model, the tools of `pyro mcp serve` over stdio, and the check in the workspace that it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from evals.models import Model
from evals.tasks import Task

MOST_TURNS = 60
TASK_SECONDS = 1800.0
SYSTEM = "Do the task in the project with the tools at hand, then say in one sentence what you did."


@dataclass
class Outcome:
    """What became of a task."""

    task: str
    kind: str
    solved: bool = False
    calls: int = 0
    errors: int = 0
    """Calls that were answered with an error."""
    repeats: int = 0
    """Calls with the same name and arguments as an earlier one."""
    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    why: str = ""
    codes: tuple[str, ...] = ()
    """Of the errors, in their order."""


async def play(task: Task, model: Model, *, profile: str = "workspace-core") -> Outcome:
    """Play a task in a project of its own. The workspaces that it made are deleted."""
    outcome, begun = Outcome(task.name, task.kind), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pyro-eval-") as work:
        task.write(Path(work) / "project")
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "pyro_mcp", "mcp", "serve", "--profile", profile],
            env=dict(os.environ),
            cwd=f"{work}/project",
        )
        async with asyncio.timeout(TASK_SECONDS), Client(server) as client:
            try:
                await _converse(client, task, model, outcome)
                outcome.solved, outcome.why = await _check(client, task)
            finally:
                for workspace in await _made(client):
                    await client.call_tool("workspace_delete", {"workspace": workspace})
    outcome.seconds = round(time.monotonic() - begun, 1)
    return outcome


async def _converse(client: Client, task: Task, model: Model, outcome: Outcome) -> None:
    tools = [tool.model_dump(by_alias=True, exclude_none=True) for tool in (await client.list_tools()).tools]
    model.begin(task, f"{SYSTEM}\n\n{client.instructions or ''}", tools)
    said: Counter[str] = Counter()
    results: list[Any] = []
    while outcome.turns < MOST_TURNS:
        turn = await asyncio.to_thread(model.turn, results)
        outcome.turns += 1
        outcome.tokens_in += turn.tokens_in
        outcome.tokens_out += turn.tokens_out
        if not turn.calls:
            return
        results = []
        for call in turn.calls:
            key = json.dumps([call.name, call.arguments], sort_keys=True)
            outcome.calls += 1
            outcome.repeats += said[key] > 0
            said[key] += 1
            failed, text = await _called(client, call.name, call.arguments)
            if failed:
                outcome.errors += 1
                outcome.codes += (text.rpartition("[")[2].rstrip("]"),)
            results.append((call, text))


async def _called(client: Client, name: str, arguments: Any) -> tuple[bool, str]:
    if not isinstance(arguments, dict):
        return True, "The arguments are no JSON object: write them again, whole. [invalid_json]"  # as hosts say it
    try:
        answer: Any = await client.call_tool(name, arguments)
    except Exception as error:  # the protocol's own errors are the model's as well
        return True, f"{error} [protocol]"
    return bool(answer.is_error), "\n".join(getattr(block, "text", "(a picture)") for block in answer.content)


async def _made(client: Client) -> list[str]:
    listed: Any = await client.call_tool("workspace_list", {})
    return [workspace["id"] for workspace in (listed.structured_content or {}).get("workspaces", [])]


async def _check(client: Client, task: Task) -> tuple[bool, str]:
    """In the workspace that was used last."""
    found = await _made(client)
    if not found:
        return False, "no workspace was left"
    arguments = {"workspace": found[0], "command": task.check, "timeout_seconds": 40}
    answer: Any = await client.call_tool("workspace_exec", arguments)
    record = answer.structured_content or {}
    good = record.get("exit_code") == 0
    return good, "" if good else f"the check says: {(record.get('stderr') or record.get('stdout') or '')[-300:]}"
