"""What workspaces ask the user (network policy `ask`), put to the user by the host while a call is under way.

Only where the host can be asked (MCP elicitation, with a way back); elsewhere the user answers with `pyro allow`. The
answer is the user's: the model sees neither the question nor what was said. Only over standard input and output, for
there the host runs as the user.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import mcp_types as types

from pyro_mcp.errors import PyroError
from pyro_mcp.mcp.toolbox import Toolbox
from pyro_mcp.visible import shortened, visible

log = logging.getLogger(__name__)
ANSWERS = {
    "workspace": "Yes, for this workspace",
    "once": "Yes, for one minute",
    "project": "Yes, always for this project",
    "no": "No",
    "never": "No, and do not ask again in this project",
}
COMMAND_CHARACTERS = 200


class Asking:
    """Puts questions to one host, one after the other."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._put: dict[str, None] = {}
        """Questions that this host was asked already, oldest first: who cancels one is not asked again."""
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def during(self, context: Any, tool: str) -> AsyncIterator[None]:
        """Ask while a call is under way."""
        capabilities = context.session.client_capabilities
        can = capabilities is not None and capabilities.elicitation is not None and context.session.can_send_request
        if not can or not self._toolbox.may_ask(tool):
            yield
            return
        task = asyncio.create_task(self._follow(context))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self, context: Any) -> None:
        try:
            while True:
                for question in await self._toolbox.questions(list(self._put)):
                    async with self._lock:
                        if question["id"] not in self._put:
                            self._put[question["id"]] = None
                            await self._ask(context, question)
        except Exception as error:
            log.info("the host could not be asked: %s", error)

    async def _ask(self, context: Any, question: dict[str, Any]) -> None:
        try:
            said = await context.session.elicit_form(_message(question), _SCHEMA, context.request_id)
        except asyncio.CancelledError:
            del self._put[question["id"]]  # the call ended before the user said anything: the next one asks again
            raise
        answer = (said.content or {}).get("answer") if said.action == "accept" else None
        if said.action == "decline":
            answer = "no"
        if answer not in ANSWERS:
            return  # it stays open, for `pyro allow`
        with contextlib.suppress(PyroError):  # answered meanwhile, or the workspace is gone
            await self._toolbox.answer_question(question["id"], answer)


_SCHEMA: types.ElicitRequestedSchema = {
    "type": "object",
    "properties": {
        "answer": {
            "type": "string",
            "title": "May it?",
            "enum": list(ANSWERS),
            "enumNames": list(ANSWERS.values()),
        }
    },
    "required": ["answer"],
}


def _message(question: dict[str, Any]) -> str:
    command = shortened(visible(" ".join(str(question.get("command") or "").split())), COMMAND_CHARACTERS)
    name = visible(str(question.get("workspace_name") or question["workspace"]))
    during = f" while it runs: {command}" if command else ""
    return f"The workspace {name} wants to reach {question['host']}:{question['port']}{during}"
