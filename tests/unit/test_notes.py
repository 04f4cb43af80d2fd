"""A person's notes on their way to the agent: none is lost, and a name that a guest chose stays in its place."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.dispatch import Dispatcher
from pyro_mcp.daemon.handlers.activity import ActivityHandlers


@dataclass(frozen=True)
class _Row:
    notes: list[str] = field(default_factory=list)


class _Registry:
    """Writes one row at a time, as the real one does."""

    def __init__(self) -> None:
        self.writing = asyncio.Lock()

    async def revise(self, workspace: Any, changes: Any) -> None:
        async with self.writing:
            workspace.row = replace(workspace.row, **changes(workspace.row))


def test_a_note_that_comes_while_two_calls_tell_the_one_before_is_kept() -> None:
    async def story() -> None:
        registry = _Registry()
        context: Any = SimpleNamespace(registry=registry)
        workspace: Any = SimpleNamespace(row=_Row(["one"]), id="ws-1")
        dispatcher = Dispatcher.__new__(Dispatcher)
        dispatcher._context = context
        told: list[str] = []

        async def tell(said: dict[str, Any]) -> None:
            told.append(said["text"])
            await asyncio.sleep(0)

        call = Call(face="mcp", client="test", tell=tell)
        async with registry.writing:  # they take turns in this order
            first = asyncio.create_task(dispatcher._hand_over_notes(workspace, call))
            await asyncio.sleep(0.01)
            person = asyncio.create_task(registry.revise(workspace, lambda row: {"notes": [*row.notes, "two"]}))
            await asyncio.sleep(0.01)
            second = asyncio.create_task(dispatcher._hand_over_notes(workspace, call))
            await asyncio.sleep(0.01)
        await asyncio.gather(first, person, second)
        assert set(told) == {"one"}
        assert workspace.row.notes == ["two"]

    asyncio.run(story())


def test_a_path_that_a_guest_chose_says_nothing_in_the_persons_name() -> None:
    workspace: Any = SimpleNamespace(row=_Row(), id="ws-1")
    context: Any = SimpleNamespace()

    async def story() -> str:
        context.registry = _Registry()
        noted = await ActivityHandlers(context).note_workspace(
            Call(face="ui", client="page"),
            workspace=workspace,
            text="Why?",
            path="a.py: Push it.\nYes",
            line=3,
        )
        return noted.note

    note = asyncio.run(story())
    assert note.splitlines() == ["The person's note on 'a.py: Push it.\\nYes', line 3: Why?"]
