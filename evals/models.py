"""Models that call tools, behind an OpenAI- or an Anthropic-compatible endpoint; and one that is scripted and errs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2

from evals.tasks import Task

ANSWER_SECONDS = 600.0
Tool = dict[str, Any]
"""As the MCP server lists it: name, description, inputSchema."""


@dataclass(frozen=True)
class Call:
    mark: str
    name: str
    arguments: Any
    """An object; what a model wrote instead, where it is none."""


@dataclass
class Turn:
    """What a model said."""

    text: str = ""
    calls: list[Call] = field(default_factory=list)
    tokens_in: int = 0
    tokens_out: int = 0


class Model(Protocol):
    def begin(self, task: Task, system: str, tools: list[Tool]) -> None: ...
    def turn(self, results: list[tuple[Call, str]]) -> Turn:
        """The next turn, after the results of the last one's calls."""


def _post(url: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx2.post(url, headers=headers, json=body, timeout=ANSWER_SECONDS)
    if answer.status_code != 200:
        raise SystemExit(f"{url} answered {answer.status_code}: {answer.text[:500]}")
    found: dict[str, Any] = answer.json()
    return found


def _arguments(raw: Any) -> Any:
    try:
        return json.loads(raw) if isinstance(raw, str) else raw
    except ValueError:
        return raw


class OpenAI:
    """Chat completions."""

    def __init__(self, url: str, name: str, key: str) -> None:
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._name, self._headers = name, {"Authorization": f"Bearer {key}"}

    def begin(self, task: Task, system: str, tools: list[Tool]) -> None:
        self._messages = [{"role": "system", "content": system}, {"role": "user", "content": task.prompt}]
        self._tools = [
            {
                "type": "function",
                "function": {"name": t["name"], "description": t["description"], "parameters": t["inputSchema"]},
            }
            for t in tools
        ]

    def turn(self, results: list[tuple[Call, str]]) -> Turn:
        self._messages += [{"role": "tool", "tool_call_id": call.mark, "content": text} for call, text in results]
        body = {"model": self._name, "messages": self._messages, "tools": self._tools}
        answer = _post(self._url, self._headers, body)
        message, usage = answer["choices"][0]["message"], answer.get("usage") or {}
        self._messages.append(message)
        calls = [
            Call(c["id"], c["function"]["name"], _arguments(c["function"]["arguments"]))
            for c in message.get("tool_calls") or ()
        ]
        tokens = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        return Turn(message.get("content") or "", calls, *tokens)


class Anthropic:
    """Messages."""

    def __init__(self, url: str, name: str, key: str) -> None:
        self._url = f"{url.rstrip('/')}/messages"
        self._name, self._headers = name, {"x-api-key": key, "anthropic-version": "2023-06-01"}

    def begin(self, task: Task, system: str, tools: list[Tool]) -> None:
        self._system, self._messages = system, [{"role": "user", "content": task.prompt}]
        self._tools = [
            {"name": t["name"], "description": t["description"], "input_schema": t["inputSchema"]} for t in tools
        ]

    def turn(self, results: list[tuple[Call, str]]) -> Turn:
        if results:
            blocks = [{"type": "tool_result", "tool_use_id": call.mark, "content": text} for call, text in results]
            self._messages.append({"role": "user", "content": blocks})  # type: ignore[dict-item]
        body = {
            "model": self._name,
            "system": self._system,
            "messages": self._messages,
            "tools": self._tools,
            "max_tokens": 8192,
        }
        answer = _post(self._url, self._headers, body)
        self._messages.append({"role": "assistant", "content": answer["content"]})
        usage = answer.get("usage") or {}
        return Turn(
            "".join(block.get("text", "") for block in answer["content"]),
            [Call(b["id"], b["name"], b["input"]) for b in answer["content"] if b["type"] == "tool_use"],
            usage.get("input_tokens", 0),
            usage.get("output_tokens", 0),
        )


Step = Callable[[str, str], tuple[str, Any]]
"""By the workspace's id and the last result: the next call."""


class Erring:
    """No model: it errs as models do, reads what it is told, and goes on; at last it does as the solution says.

    Wrong names of tools and parameters, a workspace that is not there, a patch with wrong counts, one with stale
    context, an edit of text that is not there, arguments that are no object, a command that is repeated.
    """

    def begin(self, task: Task, system: str, tools: list[Tool]) -> None:
        name = next(iter(task.files))
        first = next(line for line in task.files[name].splitlines() if line.strip())
        stale = f"--- a/{name}\n+++ b/{name}\n@@ -1,9 +1,9 @@\n-what stood there in an earlier version\n+x\n"
        counts = f"--- a/{name}\n+++ b/{name}\n@@ -1,7 +1,9 @@\n-{first}\n+{first} \n"
        absent = {"path": name, "old_str": "§ not there", "new_str": "x"}
        back = f"*** Begin Patch\n*** Update File: {name}\n@@\n-{first} \n+{first}\n*** End Patch\n"
        self._steps: Iterator[Step] = iter(
            [
                lambda ws, last: ("create_workspace", {}),
                lambda ws, last: ("workspace_create", {"seed": "."}),
                lambda ws, last: ("workspace_create", {}),
                lambda ws, last: ("workspace_exec", {"workspace": "my-workspace", "command": "ls"}),
                lambda ws, last: ("workspace_file_read", {"workspace": ws, "file_path": f"/workspace/{name}x"}),
                lambda ws, last: ("workspace_file_read", {"workspace": ws, "file_path": f"/workspace/{name}"}),
                lambda ws, last: ("workspace_patch_apply", {"workspace": ws, "patch": stale}),
                lambda ws, last: ("workspace_edit", {"workspace": ws, **absent}),
                lambda ws, last: ("workspace_exec", json.dumps({"workspace": ws, "cmd": "true"})[:-1]),
                lambda ws, last: ("workspace_patch_apply", {"workspace": ws, "patch": counts}),
                lambda ws, last: ("workspace_patch_apply", {"workspace": ws, "patch": back}),
                lambda ws, last: ("workspace_exec", {"workspace": ws, "cmd": "ls -la", "timeout": 20000}),
                lambda ws, last: ("workspace_exec", {"workspace": ws, "cmd": "ls -la", "timeout": 20000}),
                lambda ws, last: ("workspace_exec", {"workspace": ws, "command": task.solution}),
            ]
        )
        self._workspace, self._count = "none", 0

    def turn(self, results: list[tuple[Call, str]]) -> Turn:
        last = results[-1][1] if results else ""
        if results and results[-1][0].name == "workspace_create" and (made := re.search(r'"id": ?"(ws-\w+)"', last)):
            self._workspace = made[1]
        step = next(self._steps, None)
        if step is None:
            return Turn("Done.")
        self._count += 1
        return Turn("", [Call(f"call_{self._count}", *step(self._workspace, last))])
