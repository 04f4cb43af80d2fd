"""`pyro demo ollama`: a local model repairs a small project with the tools that chat hosts get, and is checked.

The model is reached through an OpenAI-compatible endpoint, Ollama's by default. It is not trusted: it reaches the
demo's own workspaces alone, what it says is printed without control characters, and whether it has repaired the
project is found out here, by the test as it was given. The workspaces are deleted at the end, whether the demo came
to its end, failed, or was stopped; should it be killed, the daemon deletes them once unused for `TTL_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import httpx2

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.cli.demo import STOPPING, Stopped
from pyro_mcp.cli.parsing import Parser, usage_error
from pyro_mcp.client.answers import Event, Progress
from pyro_mcp.errors import ComponentMissing, InvalidInput, NotFound, NotPermitted, PyroError
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.instructions import instructions
from pyro_mcp.mcp.toolbox import Answer, Toolbox, said
from pyro_mcp.operations import Operation, Profile

SUMMARY = "Let a local model repair a small project with pyro's tools."
DEFAULT_HOST = "127.0.0.1:11434"
PORTS = {"": 11434, "http": 80, "https": 443}
"""Of an OLLAMA_HOST that names none, by its scheme: as Ollama's envconfig/config.go has it."""
PROFILE: Profile = "workspace-core"
ENVIRONMENT = "debian:12"
LABEL = "pyro-demo-ollama"
TTL_SECONDS = 1800
SETTLE_SECONDS = 10.0
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 600.0
"""For one answer of the model: without a GPU, minutes are usual. The workspaces' TTL outlasts it."""
MAX_TURNS = 20
TEST = "python3 -B -m unittest"
GIVEN_TEST = "python3 -B -X pycache_prefix=/nonexistent -"
"""Runs the test from standard input; byte code that the model's runs have left is not looked at."""
TASK = (
    f"The project has a failing test. Create a workspace, which holds the project in /workspace. Run `{TEST}` there, "
    "find the bug in calc.py, fix it, and run the test again to see that it passes. Leave test_calc.py as it is."
)
PROJECT = {
    "calc.py": '''\
"""Averages."""


def mean(numbers):
    return sum(numbers) / (len(numbers) - 1)


def median(numbers):
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return mean(ordered[middle - 1 : middle + 1])
''',
    "test_calc.py": """\
import unittest

from calc import mean, median


class TestCalc(unittest.TestCase):
    def test_mean(self):
        self.assertEqual(mean([1, 2, 3, 6]), 3)

    def test_median_of_an_odd_count(self):
        self.assertEqual(median([5, 1, 3]), 3)

    def test_median_of_an_even_count(self):
        self.assertEqual(median([4, 1, 3, 2]), 2.5)


if __name__ == "__main__":
    unittest.main()
""",
}
PASSED = re.compile(r"^Ran 3 tests in .*\n\nOK$", re.MULTILINE)
"""What unittest says: an exit status of 0 alone could be that of a `sys.exit` in calc.py."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How it went."""

    solved: bool
    verdict: str
    model: str
    url: str
    turns: int
    tool_calls: int
    workspace: str | None
    """The workspace that was judged; it is gone by now."""
    diff: str


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Play the demo; 0 when the model has repaired the project, 1 when not, 128 + N when signal N stopped it.

    Raises:
        PyroError: the model cannot be reached or used, or the engine failed.
    """
    parser = Parser(
        prog=prog,
        description="A local model repairs a small project with the tools that chat hosts get, and is checked.\n\n"
        "It needs an OpenAI-compatible server with a model that can call tools. Nothing is sent to anywhere else.",
    )
    parser.add_argument(
        "--url", metavar="URL", help=f"The server (default: OLLAMA_HOST, else http://{DEFAULT_HOST}/v1)."
    )
    parser.add_argument("--model", metavar="NAME", help="The model (default: the first that the server lists).")
    parser.add_argument("--task", metavar="TEXT", default=TASK, help="What to ask for instead; the check stays.")
    parser.add_argument("--max-turns", metavar="N", type=int, default=MAX_TURNS, help="Answers at most (default: 20).")
    parser.add_argument("--json", action="store_true", help="Print exactly one JSON object.")
    options, rest = parser.take(list(words))
    if rest or after:
        raise usage_error(f"There is one word too many: {[*rest, *(after or [])][0]!r}.", hint=f"See `{prog} --help`.")
    if options.max_turns < 1:
        raise usage_error(f"--max-turns must be at least 1, not {options.max_turns}.")
    url = endpoint(options.url or os.environ.get("OLLAMA_HOST") or DEFAULT_HOST)
    say: Say = (lambda text: None) if options.json else _say
    try:
        outcome = asyncio.run(_play(url, options.model, options.task, options.max_turns, say))
    except Stopped as stopped:
        print(f"\nStopped by {signal.Signals(stopped.number).name}.", file=sys.stderr)
        return 128 + stopped.number
    if options.json:
        print(json.dumps(asdict(outcome)), flush=True)
    elif outcome.solved:
        print(f"\n{outcome.verdict}")
    else:
        print(f"\nThe demo failed: {outcome.verdict}", file=sys.stderr)
    return 0 if outcome.solved else 1


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
            raise ValueError("credentials would be shown, and are not sent")
    except (ValueError, KeyError):
        raise usage_error(
            f"{text!r} is not the URL of a model server.", hint=f"Such as: --url http://{DEFAULT_HOST}/v1"
        ) from None
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"  # where a server listens, which is not where to call it
    path = parts.path.rstrip("/")
    if not re.search(r"/v\d", path):
        path += "/v1"
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{shown}:{port}", path, "", ""))


def _say(text: str) -> None:
    print(printable(text), flush=True)


def printable(text: str) -> str:
    """The text without what a terminal would act on."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


# -- the model


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
            hint="Fetch one that can call tools, such as `ollama pull qwen3`, or name one with --model.",
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
                hint="The model must be there and able to call tools: `ollama list`, `ollama show NAME`, --model NAME.",
                code="model_failed" if response.status_code >= 500 else "model_refused",
            )
        try:
            record = response.json()
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise PyroError(
                f"What answers at {self.url} is no OpenAI-compatible server: {method} {path} gave no JSON object.",
                hint="Name the right one with --url.",
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
        "The model server answered without a choice, twice.",
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


def _replayed(text: str, calls: list[Wish]) -> dict[str, Any]:
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


# -- what the model reaches


class Fenced(AsyncPyro):
    """The daemon as the model's tools see it: with the workspaces of this demo, and no others of the user's."""

    def __init__(self) -> None:
        super().__init__(face="mcp")
        self.made: dict[str, str | None] = {}
        """Names by id, the oldest first."""
        self.labels = {LABEL: secrets.token_hex(8)}
        self.one_shots: set[str] = set()
        self.asked = False
        """Whether anything was asked of a daemon; else none is started to clean up."""
        self._under_way: set[asyncio.Task[Any]] = set()

    async def call(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        on_event: Callable[[Event], None] | None = None,
        *,
        outputs: bool = True,
    ) -> dict[str, Any]:
        self.asked = True
        ready = self._within(operation, arguments)
        with self._counted():
            record = await super().call(operation, ready, on_event, outputs=outputs)
        if operation.name in ("create_workspace", "update_workspace"):
            self.made[record["id"]] = record.get("name")
        elif record.get("workspace_kept"):
            self.one_shots.add(record["workspace"])
        return record

    def _within(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        if operation.name in ("create_workspace", "list_workspaces"):
            ready = {**arguments, "labels": {**(arguments.get("labels") or {}), **self.labels}}
            return ready if operation.read_only else {**ready, "ttl_seconds": TTL_SECONDS}
        if operation.name == "delete_workspace":
            raise NotPermitted(
                "The workspace is still needed: what you did in it is checked after your last message.",
                hint="It is deleted for you. When the task is done, answer without a tool call.",
            )
        wanted = arguments.get("workspace")
        if wanted is not None and wanted not in self.made and wanted not in self.made.values():
            raise NotFound(
                f"There is no workspace {wanted!r}; there are: {', '.join(self.made) or 'none'}.",
                hint="workspace_create makes one and gives its id.",
                code="workspace_not_found",
            )
        return arguments

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            yield
        finally:
            self._under_way.discard(task)

    async def end_calls(self) -> None:
        """Calls that outlasted their answer go on behind the tools; end them."""
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _delete_all(pyro: AsyncPyro, fenced: Fenced) -> None:
    """Delete what is left; where that cannot be done, say so, and who will do it."""
    try:
        await fenced.end_calls()
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        left = (await pyro.list_workspaces(labels=fenced.labels)).workspaces
        # The daemon abandons one whose caller has left, or has just finished it: no event tells which.
        while any(w.state == "creating" for w in left) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
            left = (await pyro.list_workspaces(labels=fenced.labels)).workspaces
        for workspace in {*fenced.made, *fenced.one_shots, *(w.id for w in left)}:
            with contextlib.suppress(NotFound):
                await pyro.delete_workspace(workspace)
    except PyroError as error:
        print(
            f"The demo's workspaces could not be deleted: {error} "
            f"The daemon deletes them when they have been unused for {TTL_SECONDS} s.",
            file=sys.stderr,
        )


# -- the play


async def _play(url: str, name: str | None, task: str, max_turns: int, say: Say) -> Outcome:
    """The demo, and the end of its workspaces."""
    async with AsyncPyro(on_event=_on_event, face="cli") as pyro, Fenced() as fenced:
        work = asyncio.ensure_future(_worked(pyro, fenced, Model(url, name), task, max_turns, say))
        with _stopped_by_signals(work) as stopped:
            try:
                await asyncio.wait({work})
            finally:
                work.cancel()  # nothing, unless this was cancelled itself
                await asyncio.wait({work})
                if fenced.asked:
                    await _delete_all(pyro, fenced)
    if stopped:
        raise Stopped(stopped[0])
    return work.result()


@contextlib.contextmanager
def _stopped_by_signals(work: asyncio.Future[Any]) -> Iterator[list[int]]:
    """The first signal cancels the work, and is noted; from then on they wait for the cleaning up."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread may set handlers, and gets the signals
        return

    def stop(number: int) -> None:
        if work.cancel() and not stopped:
            stopped.append(number)

    loop = asyncio.get_running_loop()
    # What is ignored stays so: nohup relies on it.
    before = {number: found for number in STOPPING if (found := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _on_event(event: Event) -> None:
    if isinstance(event, Progress) and sys.stderr.isatty():
        done = f" {event.fraction:.0%}" if event.fraction is not None else ""
        print(f"   … {event.text}{done}", file=sys.stderr)


async def _worked(pyro: AsyncPyro, fenced: Fenced, model: Model, task: str, max_turns: int, say: Say) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="pyro-demo-ollama-") as directory:
        project = Path(os.path.realpath(directory)) / "calc"
        project.mkdir()
        for name, text in PROJECT.items():
            (project / name).write_text(text)
        async with model:
            await model.choose()
            say(f"{model.name} at {model.url} gets pyro's tools and a project, {project}.\nThe task: {task}")
            await _prepare(pyro, fenced, say)
            access = Access(project, network="off")
            turns, calls = await converse(model, Toolbox(PROFILE, access, fenced), access, task, max_turns, say)
        say("\nThe check: the test as it was given, on what the model has left.")
        solved, verdict, workspace, diff = await judge(pyro, fenced)
        if workspace is not None:
            say(f"The diff of {workspace}:\n{diff}" if diff else f"{workspace} is unchanged.")
    if not solved and turns == max_turns:
        verdict += f" All {max_turns} turns were used; --max-turns allows more."
    return Outcome(solved, verdict, model.name, model.url, turns, calls, workspace, diff)


async def _prepare(pyro: AsyncPyro, fenced: Fenced, say: Say) -> None:
    """Have the environment, so that the model's first call need not wait for it."""
    fenced.asked = True
    if not (await pyro.inspect_environment(ENVIRONMENT)).installed:
        say(f"First {ENVIRONMENT} is built, once.")
        await pyro.pull_environment(ENVIRONMENT)


async def converse(
    model: Model, toolbox: Toolbox, access: Access, task: str, max_turns: int, say: Say
) -> tuple[int, int]:
    """Let the model work until it answers without a tool call; gives how many turns and calls it took."""
    tools = [
        {
            "type": "function",
            "function": {"name": t["name"], "description": t["description"], "parameters": t["inputSchema"]},
        }
        for t in toolbox.tools
    ]
    rules = (
        "Solve the user's task with the tools alone, one step at a time; nobody answers questions. Leave the workspace "
        "as it is when you are done, neither reset nor deleted, and then say in a sentence what you changed."
    )
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": f"{instructions(PROFILE, access)}\n\n{rules}"},
        {"role": "user", "content": task},
    ]
    calls = 0
    for turn in range(1, max_turns + 1):
        message = await model.reply(messages, tools)
        content = message.get("content")
        text = content if isinstance(content, str) else ""
        wished = wishes(message, turn)
        say(f"\n{turn}. {shortened(text.strip(), 600)}".rstrip())
        if not wished:
            return turn, calls
        messages.append(_replayed(text, wished))
        for wish in wished:
            calls += 1
            say(f"   {wish.name} {shortened(_shown(wish), 160)}")
            answer = await _answered(toolbox, wish)
            say("      " + gist(answer).replace("\n", "\n      "))
            messages.append({"role": "tool", "tool_call_id": wish.id, "name": wish.name, "content": answer.text})
    return max_turns, calls


async def _answered(toolbox: Toolbox, wish: Wish) -> Answer:
    try:
        arguments = wish.arguments()
    except InvalidInput as error:
        return said(error)
    return await toolbox.call(wish.name, arguments)


async def judge(pyro: AsyncPyro, fenced: Fenced) -> tuple[bool, str, str | None, str]:
    """Whether the given test passes in a workspace that the model made, the newest first; why; where; the diff."""
    first: tuple[bool, str, str | None, str] | None = None
    for workspace in reversed(fenced.made):
        diff = ""
        try:
            diff = (await pyro.diff_workspace(workspace)).patch
            tested = await pyro.exec_workspace(
                workspace, GIVEN_TEST, stdin=PROJECT["test_calc.py"], timeout_seconds=40, wait_seconds=45
            )
        except PyroError as error:
            found = (False, f"{workspace} could not be checked: {error}", workspace, diff)
        else:
            if tested.exit_code == 0 and PASSED.search(tested.stderr):
                return True, "The model has repaired the project: its test passes.", workspace, diff
            lines = tested.stderr.strip().splitlines() or ["(no output)"]
            found = (False, f"the project's test does not pass in {workspace}: {lines[-1]}.", workspace, diff)
        first = first or found
    return first or (
        False,
        "the model made no workspace. It may not be able to call tools, or its context may be too short "
        "(OLLAMA_CONTEXT_LENGTH=16384 will do).",
        None,
        "",
    )


# -- for people


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _shown(wish: Wish) -> str:
    """The arguments, on one line."""
    try:
        return json.dumps(wish.arguments(), ensure_ascii=False)
    except InvalidInput:
        return " ".join(str(wish.raw).split())


def gist(answer: Answer) -> str:
    """The first lines of a result: what a command said, or a file holds, where it is such."""
    record = answer.structured or {}
    texts = [str(record[key]).strip() for key in ("stdout", "stderr", "content", "patch", "output") if record.get(key)]
    head = [f"exit status {record['exit_code']}"] if record.get("exit_code") is not None else []
    lines = "\n".join(head + texts).splitlines() if texts or head else [answer.text]
    if len(lines) > 6:
        lines = [*lines[:6], f"… {len(lines) - 6} lines more"]
    return "\n".join(shortened(line, 200) for line in lines)
