"""Which questions a chat host is asked, and when it is asked again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import mcp_types as types

from pyro_mcp.mcp.asking import Asking
from pyro_mcp.mcp.toolbox import MAX_KNOWN, Toolbox


def known_to_the_daemon(put: list[str]) -> list[str]:
    """What the daemon is told that the host was asked already."""
    told: list[str] = []

    async def call(operation: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        told.extend(arguments["known"])
        return {"questions": []}

    asyncio.run(Toolbox.questions(cast("Toolbox", SimpleNamespace(_pyro=SimpleNamespace(call=call))), put))
    return told


def test_of_many_questions_the_newest_are_known_so_that_nobody_asks_without_end() -> None:
    asking = Asking(cast("Toolbox", SimpleNamespace()))
    for number in range(3 * MAX_KNOWN):
        asking._put[f"q{number}"] = None
    assert known_to_the_daemon(list(asking._put)) == [f"q{number}" for number in range(2 * MAX_KNOWN, 3 * MAX_KNOWN)]


def test_a_question_that_the_end_of_a_call_cut_off_is_put_again() -> None:
    put: list[str] = []

    async def questions(known: list[str]) -> list[dict[str, Any]]:
        if "q1" in known:
            await asyncio.Event().wait()
        return [{"id": "q1", "workspace": "ws", "host": "a.example", "port": 443}]

    async def never(message: str, *_: Any) -> types.ElicitResult:
        put.append(message)
        await asyncio.Event().wait()
        raise AssertionError

    async def play() -> None:
        toolbox = SimpleNamespace(questions=questions, may_ask=lambda tool: True)
        asking = Asking(cast("Toolbox", toolbox))
        session = SimpleNamespace(
            client_capabilities=SimpleNamespace(elicitation=object()), can_send_request=True, elicit_form=never
        )
        for calls in (1, 2):
            async with asking.during(SimpleNamespace(session=session, request_id=1), "workspace_exec"):
                while len(put) < calls:
                    await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(play(), 60))
    assert len(put) == 2
