"""A model server that plays a script: OpenAI-compatible, on 127.0.0.1, for tests of what drives models.

Each step answers one POST /v1/chat/completions and sees the messages that it holds, so that it can use what tools
answered before. After the last step the model says that it is done.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Reply:
    """What goes back over HTTP; a body of bytes goes as it is, others as JSON."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Step = Callable[[Messages], Reply]


def speaks(content: str | None, *calls: dict[str, Any]) -> Reply:
    """An answer with text and tool calls."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = list(calls)
    reason = "tool_calls" if calls else "stop"
    return Reply({"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": reason}]})


def wants(name: str, arguments: Any, mark: str = "call_1") -> dict[str, Any]:
    """A tool call; arguments that are a text go as they are, others as JSON."""
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": mark, "type": "function", "function": {"name": name, "arguments": raw}}


def calls(name: str, **arguments: Any) -> Step:
    """A step with one call, whose arguments are known beforehand."""
    return lambda messages: speaks(None, wants(name, arguments))


def calls_there(name: str, **arguments: Any) -> Step:
    """A step with one call, in the workspace that was made last."""
    return lambda messages: speaks(None, wants(name, {"workspace": made(messages), **arguments}))


def says(text: str) -> Step:
    return lambda messages: speaks(text)


def answers(messages: Messages) -> list[str]:
    """What tools have answered so far."""
    return [str(message["content"]) for message in messages if message["role"] == "tool"]


def made(messages: Messages) -> str:
    """The id of the workspace that workspace_create gave last."""
    created = [m["content"] for m in messages if m["role"] == "tool" and m["name"] == "workspace_create"]
    return str(json.loads(created[-1])["id"])


class ScriptedModel:
    """The server; `requests` holds the bodies that it got, `paths` what was asked for."""

    def __init__(self, steps: Sequence[Step] = (), models: Sequence[str] = ("scripted",)) -> None:
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self._steps = iter(steps)
        self._models = models
        playing = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                playing.paths.append(f"GET {self.path}")
                self._give(playing.listed() if self.path == "/v1/models" else Reply({}, 404))

            def do_POST(self) -> None:
                playing.paths.append(f"POST {self.path}")
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._give(playing.completed(body) if self.path == "/v1/chat/completions" else Reply({}, 404))

            def _give(self, reply: Reply) -> None:
                data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    self.wfile.write(data)
                except ConnectionError:
                    pass  # whoever asked did not wait for it

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.address}/v1"

    def listed(self) -> Reply:
        data = [{"id": name, "object": "model"} for name in self._models]
        return Reply({"object": "list", "data": data or None})  # null is what Ollama says of none

    def completed(self, body: dict[str, Any]) -> Reply:
        self.requests.append(body)
        step = next(self._steps, None) or says("Done.")
        return step(body["messages"])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
