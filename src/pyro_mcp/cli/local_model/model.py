"""A chat model behind an OpenAI-compatible endpoint, and its tool calls as it writes them.

Neither the server nor the model is trusted: what they say is bounded, and printed without control characters.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import httpx2

from pyro_mcp.cli.options import usage_error
from pyro_mcp.errors import ComponentMissing, InvalidInput, PyroError
from pyro_mcp.visible import shortened

DEFAULT_HOST = "127.0.0.1:11434"
PORTS = {"": 11434, "http": 80, "https": 443}
"""Of an OLLAMA_HOST that names none, by its scheme: as Ollama's envconfig/config.go has it."""
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 600.0
"""For one answer of the model: without a GPU, minutes are usual. The workspaces' TTL outlasts it."""


def endpoint(text: str) -> str:
    """The base URL that an OLLAMA_HOST or a URL means, with its /v1.

    Raises:
        InvalidInput: it is neither.
    """
    scheme, _, rest = text.strip().rpartition("://")
    try:
        parts = urlsplit(f"{scheme or 'http'}://{rest}")
        host, port = parts.hostname or "127.0.0.1", parts.port or PORTS[scheme.lower()]
        if parts.username is not None:
            raise ValueError("it contains credentials, which would be shown and are not sent")
    except (ValueError, KeyError):
        raise usage_error(
            f"{text!r} is not a model server's URL.", hint=f"For example: --url http://{DEFAULT_HOST}/v1"
        ) from None
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"  # where a server listens, which is not where to call it
    path = parts.path.rstrip("/")
    if not re.search(r"/v\d", path):
        path += "/v1"
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{shown}:{port}", path, "", ""))


def printable(text: str) -> str:
    """The text without what a terminal would act on."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


class Model:
    """A chat model behind an OpenAI-compatible endpoint. No proxy, no redirect: only that server hears of anything."""

    def __init__(self, url: str, name: str | None) -> None:
        self.url = url
        self.name = name or ""
        timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        self._client = httpx2.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def choose(self) -> None:
        """Unless a model was named, take the first that the server lists."""
        if self.name:
            return
        data = (await self._request("GET", "/models")).get("data")
        for entry in data if isinstance(data, list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry["id"]:
                self.name = entry["id"]
                return
        raise ComponentMissing(
            f"The server at {self.url} has no models.",
            hint="Fetch one that can call tools, for example with `ollama pull qwen3`, or name one with --model.",
            code="no_models",
        )

    async def reply(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
        """The model's next message; asked twice, for a slip of the model may make a server fail."""
        body = {"model": self.name, "messages": messages, "tools": tools, "stream": False}
        try:
            return _message(await self._request("POST", "/chat/completions", body))
        except PyroError as error:
            if error.code != "model_failed":
                raise
        return _message(await self._request("POST", "/chat/completions", body))

    async def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        try:
            response = await self._client.request(
                method, self.url + path, content=content, headers={"Content-Type": "application/json"}
            )
        except (httpx2.ReadTimeout, httpx2.WriteTimeout):
            raise PyroError(
                f"The model server at {self.url} did not answer within {ANSWER_SECONDS:.0f} s.",
                hint="A smaller model may do: --model NAME.",
                code="model_timeout",
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ComponentMissing(
                f"The model server at {self.url} cannot be reached: {str(error) or type(error).__name__}.",
                hint="Is Ollama running? Start it with `ollama serve`, or name another server with --url.",
                code="model_server_unreachable",
            ) from None
        if response.status_code != 200:
            raise PyroError(
                f"The model server answered {method} {path} with HTTP {response.status_code}: {_reason(response)}",
                hint="The model must exist and be able to call tools: see `ollama list` and `ollama show NAME`, or "
                "use --model NAME.",
                code="model_failed" if response.status_code >= 500 else "model_refused",
            )
        try:
            record = response.json()
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise PyroError(
                f"The server at {self.url} is not OpenAI-compatible: {method} {path} did not return a JSON object.",
                hint="Give the right URL with --url.",
                code="model_failed",
            )
        return record


def _reason(response: httpx2.Response) -> str:
    """What the server says went wrong."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return printable(str(response.json()["error"]["message"]))[:400]
    return printable(response.text.strip())[:400] or "no reason given"


def _message(record: dict[str, Any]) -> dict[str, Any]:
    with contextlib.suppress(LookupError, TypeError):
        if isinstance(message := record["choices"][0]["message"], dict):
            return message
    raise PyroError(
        "The model server returned no choices, twice.",
        hint="Try another model: --model NAME.",
        code="model_failed",
    )


@dataclass(frozen=True)
class Wish:
    """A tool call as the model wrote it."""

    id: str
    name: str
    raw: Any

    def arguments(self) -> dict[str, Any]:
        """Raises InvalidInput: the arguments are no JSON object."""
        found = self.raw
        try:
            if isinstance(found, str):
                found = json.loads(found or "{}")
        except (ValueError, RecursionError) as error:
            raise self._bad(f": {error}") from None
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise self._bad("")
        return found

    def _bad(self, why: str) -> InvalidInput:
        shown = shortened(str(self.raw), 200)
        return InvalidInput(
            f"The arguments of {self.name} are not a JSON object{why}. They were: {shown}",
            hint="Call it again with a JSON object.",
            code="bad_arguments",
        )


def wishes(message: dict[str, Any], turn: int) -> list[Wish]:
    """The tool calls of a message, each with an id and a name, whatever the model wrote."""
    calls = message.get("tool_calls")
    found = []
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        call = call if isinstance(call, dict) else {}
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        wished = call.get("id")
        mark = wished if isinstance(wished, str) and wished else f"call_{turn}_{number}"
        found.append(Wish(mark, str(function.get("name") or ""), function.get("arguments")))
    return found


def replayed(text: str, calls: list[Wish]) -> dict[str, Any]:
    """The model's message as it goes back: servers, Ollama too, refuse a history with arguments that are no JSON."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": wish.id, "type": "function", "function": {"name": wish.name, "arguments": _sound(wish)}}
            for wish in calls
        ]
    return message


def _sound(wish: Wish) -> str:
    try:
        return json.dumps(wish.arguments())
    except InvalidInput:
        return "{}"
