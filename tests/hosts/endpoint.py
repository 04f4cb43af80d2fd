"""A model endpoint that plays a script for chat hosts: on 127.0.0.1, streamed, in the three dialects they speak.

A script is a list of steps. A step sees the tool results so far and says which tool to call next, or the last words.
Which step is next follows from the request alone (how many results it holds), so that a host may ask twice.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A tool of pyro's by its own name; `own` means a tool of the host's."""

    tool: str
    arguments: Json
    own: bool = False


Step = Callable[[Sequence[Json]], Call | str]
"""From the results so far, as the model reads them, to what the model says next."""


def facts(text: str) -> Json:
    """What a tool answered, out of what a host makes of it; `text` alone when it is not JSON."""
    for at in (match.start() for match in re.finditer(r"\{", text)):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, at)
        except ValueError:
            continue
        if isinstance(found, dict):
            inner = found.get("structuredContent") or found.get("structured_content")
            return {**(inner if isinstance(inner, dict) else found), "_text": text}
    return {"_text": text}


class Endpoint:
    """The server. `requests` holds what was asked, `offered` the tools of the first request that had some."""

    def __init__(self, steps: Sequence[Step], *, code_mode: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.steps = steps
        self.code_mode = code_mode
        self.requests: list[tuple[str, Json]] = []
        self.results: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        playing = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = json.loads(body or b"{}")
                with playing._lock:
                    playing.requests.append((self.path, request))
                    playing.headers.append(dict(self.headers.items()))
                answer = playing.answer(self.path.split("?")[0], request)
                if isinstance(answer, dict):
                    self._send(200, "application/json", json.dumps(answer).encode())
                else:
                    text = "".join(answer)
                    self._send(200, "text/event-stream", text.encode())

            def do_GET(self) -> None:
                self._send(200, "application/json", b'{"object": "list", "data": [], "models": []}')

            def do_HEAD(self) -> None:
                self._send(200, "application/json", b"")

            def _send(self, status: int, kind: str, body: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the host has gone

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, request: Json) -> Json | Iterator[str]:
        if path.endswith("/count_tokens"):
            return {"input_tokens": 100}
        dialect = {"messages": messages, "responses": responses, "completions": completions}[path.rsplit("/", 1)[-1]]
        return dialect(self, request)

    def next(self, texts: Sequence[str], has_tools: bool) -> Call | str:
        """What the model says after these tool results."""
        if not has_tools:
            return "A title"
        results = [facts(text) for text in texts]
        with self._lock:
            if len(results) > len(self.results):
                self.results = results
        return self.steps[len(results)](results) if len(results) < len(self.steps) else "Done."


def event(data: Json, name: str | None = None) -> str:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n"


def flat(content: Any) -> str:
    """The text in a content of any shape."""
    if isinstance(content, list):
        return "\n".join(flat(part) for part in content)
    if isinstance(content, dict):
        return flat(content.get("text") or content.get("content") or "")
    return str(content)


# -- Anthropic Messages (Claude Code)


def messages(model: Endpoint, request: Json) -> Json | Iterator[str]:
    blocks = [b for m in request["messages"] if isinstance(m["content"], list) for b in m["content"]]
    texts = [flat(block.get("content")) for block in blocks if block.get("type") == "tool_result"]
    said = model.next(texts, bool(request.get("tools")))
    if isinstance(said, str):
        block: Json = {"type": "text", "text": said}
    else:
        name = said.tool if said.own else f"mcp__pyro__{said.tool}"
        block = {"type": "tool_use", "id": f"toolu_{len(texts):04}", "name": name, "input": said.arguments}
    reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
    usage = {"input_tokens": 10, "output_tokens": 10}
    message = {
        "id": f"msg_{len(texts):04}",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "m"),
        "content": [block],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage,
    }
    return _messages_stream(message, block, reason) if request.get("stream") else message


def _messages_stream(message: Json, block: Json, reason: str) -> Iterator[str]:
    def send(kind: str, **more: Any) -> str:
        return event({"type": kind, **more}, kind)

    yield send("message_start", message={**message, "content": [], "stop_reason": None})
    if block["type"] == "text":
        yield send("content_block_start", index=0, content_block={"type": "text", "text": ""})
        yield send("content_block_delta", index=0, delta={"type": "text_delta", "text": block["text"]})
    else:
        yield send("content_block_start", index=0, content_block={**block, "input": {}})
        text = json.dumps(block["input"])
        half = len(text) // 2
        for part in (text[:half], text[half:]):
            yield send("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
    yield send("content_block_stop", index=0)
    yield send("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 10})
    yield send("message_stop")


# -- OpenAI Responses (Codex)


def responses(model: Endpoint, request: Json) -> Iterator[str]:
    answers = [
        item for item in request["input"] if item.get("type") in ("function_call_output", "custom_tool_call_output")
    ]
    texts = [flat(item.get("output")) for item in answers]
    has_tools = bool(request.get("tools")) or any(item.get("tools") for item in request["input"])
    said = model.next(texts, has_tools)
    mark = f"{len(texts):04}"
    if isinstance(said, str):
        content = [{"type": "output_text", "text": said, "annotations": []}]
        item: Json = {"type": "message", "id": f"msg_{mark}", "role": "assistant", "content": content}
    elif model.code_mode:
        name = said.tool if said.own else f"mcp__pyro__{said.tool}"
        script = f"const r = await tools.{name}({json.dumps(said.arguments)}); text(r);"
        item = {"type": "custom_tool_call", "id": f"ctc_{mark}", "call_id": f"call_{mark}", "name": "exec"}
        item |= {"namespace": "functions", "input": script}
    else:
        item = {"type": "function_call", "id": f"fc_{mark}", "call_id": f"call_{mark}", "name": said.tool}
        item |= {"arguments": json.dumps(said.arguments)}
        item |= {} if said.own else {"namespace": "mcp__pyro"}
    item["status"] = "completed"
    usage = {"input_tokens": 10, "output_tokens": 10, "total_tokens": 20}
    yield event({"type": "response.created", "response": {"id": f"resp_{mark}"}}, "response.created")
    yield event({"type": "response.output_item.added", "output_index": 0, "item": item}, "response.output_item.added")
    yield event({"type": "response.output_item.done", "output_index": 0, "item": item}, "response.output_item.done")
    done = {"id": f"resp_{mark}", "status": "completed", "output": [item], "usage": usage}
    yield event({"type": "response.completed", "response": done}, "response.completed")


# -- OpenAI chat completions (OpenCode)


def completions(model: Endpoint, request: Json) -> Iterator[str]:
    texts = [flat(message["content"]) for message in request["messages"] if message["role"] == "tool"]
    said = model.next(texts, bool(request.get("tools")))

    def chunk(delta: Json, reason: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        shape = {"id": f"c{len(texts)}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return event({**shape, "choices": [choice], **more})

    if isinstance(said, str):
        yield chunk({"role": "assistant", "content": said})
        reason = "stop"
    else:
        name = said.tool if said.own else f"pyro_{said.tool}"
        call = {"index": 0, "id": f"call_{len(texts):04}", "type": "function"}
        yield chunk({"role": "assistant", "tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]})
        text = json.dumps(said.arguments)
        half = len(text) // 2
        for part in (text[:half], text[half:]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        reason = "tool_calls"
    yield chunk({}, reason, usage={"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20})
    yield "data: [DONE]\n\n"
