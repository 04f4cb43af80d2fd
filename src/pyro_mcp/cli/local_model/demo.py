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
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.cli.demo import STOPPING, Stopped
from pyro_mcp.cli.local_model.fence import ENVIRONMENT, PROFILE, Fenced, delete_all
from pyro_mcp.cli.local_model.model import DEFAULT_HOST, Model, Wish, endpoint, printable, replayed, wishes
from pyro_mcp.cli.options import Parser, too_many, usage_error
from pyro_mcp.client.answers import Event, Progress
from pyro_mcp.errors import InvalidInput, PyroError
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.instructions import instructions
from pyro_mcp.mcp.toolbox import Answer, Toolbox, said
from pyro_mcp.visible import shortened

SUMMARY = "Have a local model fix a small project with pyro's tools."
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
        description="A local model fixes a small project with the tools that chat hosts get; the result is checked.\n\n"
        "You need an OpenAI-compatible server with a model that can call tools. Nothing is sent anywhere else.",
    )
    parser.add_argument(
        "--url", metavar="URL", help=f"The server (default: OLLAMA_HOST, else http://{DEFAULT_HOST}/v1)."
    )
    parser.add_argument("--model", metavar="NAME", help="The model (default: the first one the server lists).")
    parser.add_argument(
        "--task", metavar="TEXT", default=TASK, help="The task to give instead; the check stays the same."
    )
    parser.add_argument(
        "--max-turns", metavar="N", type=int, default=MAX_TURNS, help="Maximum number of answers (default: 20)."
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    options, rest = parser.take(list(words))
    if rest or after:
        raise too_many([*rest, *(after or [])][0], prog)
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


def _say(text: str) -> None:
    print(printable(text), flush=True)


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
                    await delete_all(pyro, fenced)
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
        say("\nThe check: the original test, run on what the model left behind.")
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
        messages.append(replayed(text, wished))
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
                return True, "The model fixed the project: its test passes.", workspace, diff
            lines = tested.stderr.strip().splitlines() or ["(no output)"]
            found = (False, f"the project's test does not pass in {workspace}: {lines[-1]}.", workspace, diff)
        first = first or found
    return first or (
        False,
        "the model created no workspace. It may be unable to call tools, or its context may be too short "
        "(OLLAMA_CONTEXT_LENGTH=16384 is enough).",
        None,
        "",
    )


# -- for people


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
