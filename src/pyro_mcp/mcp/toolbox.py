"""Runs the tools of a profile: checks, guards, calls the daemon, and shapes the answer. Knows no MCP library.

Text and structured content are the same JSON, each complete on its own, for one host shows only the one and
the next only the other. An error is one line that a model can act on.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client import place
from pyro_mcp.client.answers import Event, Output, Progress, Started
from pyro_mcp.client.launch import accepts
from pyro_mcp.errors import InternalError, InvalidInput, PyroError
from pyro_mcp.mcp import habits
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.schema import NOTE, offered, operations_of, output_schema, tool, without_empty
from pyro_mcp.operations import REGISTRY, Operation, Profile
from pyro_mcp.operations.validation import validated
from pyro_mcp.processes.seen import last_line
from pyro_mcp.visible import json_text, shortened, storable_record, visible_lines
from pyro_mcp.vocabulary import asks

log = logging.getLogger(__name__)
CALL_SECONDS = 49.0
"""No call lasts longer: Codex and OpenCode give a tool 60 s, and 50 s is what we promise (shared contract)."""
WAIT_SECONDS = 45.0
"""The longest wait that is passed on, so that the rest of the call fits within `CALL_SECONDS`."""
LINE_CHARACTERS = 120
"""Of a command's last line, in a word of progress."""
LISTED_WORKSPACES = 100
MAX_KNOWN = 256
"""Questions of which the daemon is told that they are known: those that are open are the newest."""
SHOWN_NAME = 100
"""Characters of a name that there is not, in the words that refuse it."""
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Answer:
    """What a tool call gives."""

    text: str
    structured: dict[str, Any] | None = None
    is_error: bool = False
    pictures: tuple[tuple[str, str], ...] = ()
    """Media type and base64. Never beside structured content, which Codex shows instead."""


def said(error: PyroError) -> Answer:
    """An error as text: message, next step, code."""
    return Answer(f"{visible_lines(str(error))} [{error.code}]", is_error=True)


def _understood(operation: Operation) -> list[str]:
    """The parameters that a tool takes: those that it shows, and what models give a command unasked."""
    return [p.name for p in offered(operation)] + (["env"] if operation.name == "exec_workspace" else [])


def _noted(answer: Answer, notes: list[str]) -> Answer:
    """An answer that also says what became of arguments by other names."""
    if not notes or answer.structured is None:
        return answer
    hint = " ".join(filter(None, (answer.structured.get("hint"), f"({'; '.join(notes)})")))
    structured = {**answer.structured, "hint": hint}
    return replace(answer, text=json_text(structured), structured=structured)


def _with_the_persons(answer: Answer, told: Sequence[str]) -> Answer:
    """An answer that also says what the person noted for the agent, in text and in what is structured."""
    if not told:
        return answer
    note = "\n".join(map(visible_lines, told))
    if answer.structured is None:
        return replace(answer, text=f"{answer.text}\n\n{note}")
    structured = {**answer.structured, NOTE: note}
    return replace(answer, text=json_text(structured), structured=structured)


def _pictures(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Takes the pictures out of what was read: they go beside the text."""
    files = record.get("files")  # in other results a number
    for file in (record, *(files if isinstance(files, list) else ())):
        if isinstance(file, dict) and file.get("media_type") and "data" in file:
            yield file["media_type"], file.pop("data")


def _something_there() -> bool:
    """Whether any environment and any engine's program are here, as far as a look at names tells."""
    where = place.locations()
    if where.on:
        return True  # on another computer its own daemon knows
    cache = where.cache
    try:
        programs = [*cache.glob("components/runsc-*"), *cache.glob("components/firecracker-*")]
        named = os.environ.get("PYRO_RUNSC") or shutil.which("runsc")
        return any(cache.glob("environments/names/*.json")) and bool(programs or named)
    except OSError:
        return True  # the first call says what is wrong


class Toolbox:
    """The tools of one profile, within what the user allowed."""

    def __init__(self, profile: Profile, access: Access, pyro: AsyncPyro) -> None:
        self.profile: Profile = profile
        self._access = access
        self._pyro = pyro
        self._operations = {str(op.mcp): op for op in operations_of(profile)}
        self.tools = [tool(op) for op in self._operations.values()]
        self._schemas = {name: output_schema(op.result) for name, op in self._operations.items()}
        self._left: set[asyncio.Task[Any]] = set()
        self.leaving = False
        """The host is going: calls that are cancelled now are not what it wants ended."""
        self._hurry: asyncio.Event = asyncio.Event()
        self.active = 0
        """Calls under way."""

    def leave(self) -> None:
        """The server is going: calls under way answer with what they know, and their commands run on."""
        self.leaving = True
        self._hurry.set()

    def looks_at_host(self, name: str) -> bool:
        """Whether a tool may reach a path of the user's computer."""
        operation = self._operations.get(name)
        return operation is not None and bool(operation.host_paths)

    def take_roots(self, folders: Sequence[Path]) -> None:
        """What the host says its project is."""
        self._access = self._access.with_roots(folders)

    def changes(self, name: str) -> Literal["workspaces", "one"] | None:
        """What a tool changes: which workspaces there are, something in one, or nothing."""
        operation = self._operations.get(name)
        if operation is None or operation.read_only:
            return None
        listed = ("create_workspace", "delete_workspace", "fork_workspace", "update_workspace")
        return "workspaces" if operation.name in listed else "one"

    async def workspaces(self) -> list[dict[str, Any]]:
        """The workspaces of a daemon that runs, last used first; none is started for that."""
        if not accepts(place.locations()):
            return []
        listed = await self._pyro.call(REGISTRY["list_workspaces"], {})
        return list(listed["workspaces"][:LISTED_WORKSPACES])

    def may_ask(self, name: str) -> bool:
        """Whether a workspace may ask the user for something while this tool is called."""
        operation = self._operations.get(name)
        return asks(self._access.network) and operation is not None and operation.takes_workspace

    async def begin_to_fetch(self) -> None:
        """Have what a first workspace needs fetched before anybody asks; it goes on without us."""
        if await asyncio.to_thread(_something_there):
            return
        try:
            await self._pyro.call(REGISTRY["pull_environment"], {})
        except PyroError as error:
            log.info("what a first workspace needs: %s", error)

    async def questions(self, known: Sequence[str]) -> list[dict[str, Any]]:
        """What workspaces of this project ask the user; waits until there is one that is not known."""
        found = await self._pyro.call(
            REGISTRY["list_questions"], {"wait_seconds": WAIT_SECONDS, "known": list(known)[-MAX_KNOWN:]}
        )
        return [question for question in found["questions"] if question["id"] not in known]

    async def answer_question(self, question: str, answer: str) -> None:
        """Pass on what the user said."""
        await self._pyro.call(REGISTRY["answer_question"], {"asked": question, "answer": answer})

    async def carry_out(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run a read-only operation by its own name, for a resource."""
        operation = REGISTRY[name]
        validated(operation, arguments)
        return await self._pyro.call(operation, arguments)

    async def call(
        self,
        name: str,
        arguments: dict[str, Any] | None,
        on_progress: OnProgress | None = None,
        *,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Run a tool; every failure is an answer, only cancellation passes through.

        A cancelled call ends its command, unless it was `interrupted` rather than cancelled by its host.
        """
        self.active += 1
        try:
            return await self._called(name, arguments, on_progress, interrupted)
        finally:
            self.active -= 1

    async def _called(
        self,
        name: str,
        arguments: dict[str, Any] | None,
        on_progress: OnProgress | None,
        interrupted: Callable[[], bool],
    ) -> Answer:
        try:
            operation = self._find(name)
            names = _understood(operation)
            can_note = "hint" in self._schemas[str(operation.mcp)]["properties"]
            meant, notes = habits.taken(arguments or {}, names, can_note=can_note)
            ready = self._ready(operation, meant)
            told: list[str] = []
            try:
                answer = _noted(await self._carried_out(operation, ready, on_progress, interrupted, told), notes)
            except PyroError as error:
                answer = said(error)
            return _with_the_persons(answer, told)
        except PyroError as error:
            return said(error)
        except Exception as error:
            log.exception("tool %s failed", name)
            return said(
                InternalError(
                    f"{name} failed because of a bug in pyro ({type(error).__name__}: {error}).",
                    hint="workspace_status and workspace_diff show whether it was carried out.",
                )
            )

    def _find(self, name: str) -> Operation:
        found = self._operations.get(name)
        if found is None:
            name = shortened(name, SHOWN_NAME)
            near = difflib.get_close_matches(name, self._operations, 1, 0.4)
            raise InvalidInput(
                f"There is no tool {name!r}; the tools are: {', '.join(self._operations)}.",
                hint=f"Did you mean {near[0]!r}?" if near else "",
                code="unknown_tool",
            )
        return found

    def _ready(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the daemon gets them: known, valid, within what is allowed."""
        names = [p.name for p in offered(operation)]
        understood = _understood(operation)
        for name in arguments:
            if name not in understood:
                name = shortened(name, SHOWN_NAME)
                hint = habits.instead(name, names)
                if not hint:
                    near = difflib.get_close_matches(name, names, 1)
                    hint = f"Did you mean {near[0]!r}?" if near else "Omit it, if the call means the same without it."
                raise InvalidInput(
                    f"{operation.mcp} has no parameter {name!r}; it has: {', '.join(names) or 'none'}.",
                    hint=hint,
                    code="unknown_parameter",
                )
        own = {p.name: p for p in operation.listed}
        given = {
            name: habits.shaped(value, own[name].kind, own[name].of_objects)
            for name, value in arguments.items()
            if value is not None and not (name in ("path", "cwd") and value == "" and not own[name].required)
        }
        given = {**operation.mcp_defaults, **given}
        try:
            checked = validated(operation, given)
        except InvalidInput as error:
            message = error.message.replace(operation.name, str(operation.mcp), 1)
            raise InvalidInput(message, hint=error.hint, code=error.code) from None
        ready = {name: checked[name] for name in given}
        if operation.name == "create_workspace":
            self._choose_seed(ready)
        if checked.get("wait_seconds", 0) > WAIT_SECONDS:
            ready["wait_seconds"] = WAIT_SECONDS
        granted = self._access.granted(operation, ready)
        if operation.name == "create_workspace":
            granted |= self._access.imposed(checked["network_policy"])
        return granted

    def _choose_seed(self, arguments: dict[str, Any]) -> None:
        """Unsaid, a workspace begins with the project directory; an empty path asks for an empty one."""
        if "seed_path" not in arguments:
            if self._access.project is not None:
                arguments["seed_path"] = str(self._access.project)
        elif not arguments["seed_path"]:
            del arguments["seed_path"]

    async def _carried_out(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        on_progress: OnProgress | None,
        interrupted: Callable[[], bool],
        told: list[str],
    ) -> Answer:
        handle: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def heard(event: Event) -> None:
            if isinstance(event, Started) and not handle.done():
                handle.set_result(event.handle)
            elif isinstance(event, Progress) and on_progress is not None:
                on_progress(event)
            elif (
                isinstance(event, Output)
                and on_progress is not None
                and (line := last_line(event.data, LINE_CHARACTERS))
            ):
                on_progress(Progress(line))

        listens = operation.streams and (on_progress is not None or operation.name in ("exec_workspace", "run_in_vm"))
        work = asyncio.ensure_future(
            self._pyro.call(
                operation,
                arguments,
                on_event=heard if listens else None,
                outputs=on_progress is not None,
                on_note=told.append,
            )
        )
        hurry = asyncio.ensure_future(self._hurry.wait())
        try:
            await asyncio.wait({work, hurry}, timeout=CALL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._give_up(operation, arguments, work, handle, self.leaving or interrupted())
            raise
        finally:
            hurry.cancel()
        if not work.done():
            return self._not_yet(operation, arguments, work, handle.result() if handle.done() else None)
        return self._answer(operation, work.result())

    def _answer(self, operation: Operation, record: dict[str, Any]) -> Answer:
        structured = storable_record(without_empty(record, self._schemas[str(operation.mcp)]))
        pictures = tuple(_pictures(structured))
        return Answer(json_text(structured), None if pictures else structured, pictures=pictures)

    def _not_yet(
        self, operation: Operation, arguments: dict[str, Any], work: asyncio.Task[Any], handle: str | None
    ) -> Answer:
        """The call lasted too long: answer with what is known, and let it go on."""
        if operation.name == "run_in_vm" and handle is None:
            work.cancel()  # closing the connection ends the machine, so that it cannot run twice
            return Answer(
                "The machine was not ready in time, probably because its environment is still being built. Nothing "
                "was run. Call vm_run again. [not_ready]",
                is_error=True,
            )
        self._keep(work)
        if operation.name == "run_in_vm":
            return Answer(
                f"Still running. Wait with vm_run(handle={handle!r}, wait_seconds=45). [still_running]", is_error=True
            )
        if operation.name == "exec_workspace" and handle is not None:
            record = {
                "workspace": arguments["workspace"],
                "handle": handle,
                "status": "running",
                "hint": f"Still running. Wait with workspace_logs(handle={handle!r}, wait_seconds=45).",
            }
            return self._answer(operation, record)
        return Answer(
            f"{operation.mcp} is still running. "
            "Do not repeat it; check the outcome later with workspace_list or workspace_status. [still_running]",
            is_error=True,
        )

    def _give_up(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        work: asyncio.Task[Any],
        handle: asyncio.Future[str],
        leaving: bool,
    ) -> None:
        """The host cancelled the call: end the command that it started.

        A one-shot machine ends with its connection. When the host itself goes, commands run on: it may come back.
        """
        if operation.name != "exec_workspace" or leaving or work.done():
            work.cancel()
            return

        async def end() -> None:
            await asyncio.wait({work, handle}, return_when=asyncio.FIRST_COMPLETED)
            if handle.done() and not work.done():
                place = {"workspace": arguments["workspace"], "handle": handle.result()}
                await self._pyro.call(REGISTRY["cancel_workspace_exec"], place)

        self._keep(work)
        self._keep(asyncio.ensure_future(end()))

    def _keep(self, work: asyncio.Task[Any]) -> None:
        """Let a task go on by itself; its failure is of no interest any more."""
        self._left.add(work)

        def ended(task: asyncio.Task[Any]) -> None:
            self._left.discard(task)
            if not task.cancelled() and task.exception() is not None:
                log.info("a call that nobody waited for failed: %s", task.exception())

        work.add_done_callback(ended)
