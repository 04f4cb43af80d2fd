"""What goes on, for all open pages at once: one call follows the daemon while anybody looks.

A page that begins is given everything; then what changes. One that does not read falls behind, and is given
everything again. While the daemon does not run, pages are told so, and nothing starts it: only what a person does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.errors import DaemonUnavailable, PyroError
from pyro_mcp.operations import REGISTRY

WAIT_SECONDS = 45.0
GATHER_SECONDS = 0.05
"""What happens within so short a time is told at once, as one."""
AGAIN_SECONDS = 1.0
"""Until a daemon that does not run is looked for again."""
FIGURES_SECONDS = 5.0
EVENTS = 300
"""Events that a page is given when it begins."""
BEHIND = 64
"""Records that wait for one page."""
Message = dict[str, Any]


class Feed:
    """Follows the daemon by `pyro`, which starts none. Of one event loop."""

    def __init__(self, pyro: AsyncPyro) -> None:
        self._pyro = pyro
        self._pages: set[asyncio.Queue[Message]] = set()
        self._work: list[asyncio.Task[None]] = []
        self._workspaces: dict[str, Message] = {}
        self._events: deque[Message] = deque(maxlen=EVENTS)
        self._questions: list[Message] = []
        self._problem: str | None = None
        self._known = False

    async def listen(self) -> AsyncGenerator[Message, None]:
        """Everything, then what changes, until the page goes."""
        queue: asyncio.Queue[Message] = asyncio.Queue(BEHIND)
        self._pages.add(queue)
        try:
            self._begin()
            if self._known:
                yield self._whole()
            while True:
                message = await queue.get()
                yield self._whole() if message["kind"] == "behind" else message
        finally:
            self._pages.discard(queue)
            if not self._pages:
                self._end()

    def close(self) -> None:
        self._end()

    def _begin(self) -> None:
        if not self._work:
            self._known = False
            self._work = [asyncio.create_task(self._follow()), asyncio.create_task(self._measure())]

    def _end(self) -> None:
        work, self._work = self._work, []
        for task in work:
            task.cancel()

    def _whole(self) -> Message:
        return {
            "kind": "whole",
            "workspaces": list(self._workspaces.values()),
            "events": list(self._events),
            "questions": self._questions,
            "problem": self._problem,
        }

    def _tell(self, message: Message) -> None:
        for queue in self._pages:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                message = {"kind": "behind"}
            queue.put_nowait(message)

    async def _follow(self) -> None:
        cursor: str | None = None
        while True:
            arguments: Message = {"wait_seconds": WAIT_SECONDS, "limit": EVENTS}
            try:
                said = await self._pyro.call(
                    REGISTRY["follow_activity"], arguments | ({"after": cursor} if cursor else {"wait_seconds": 0})
                )
            except PyroError as error:
                running = not isinstance(error, DaemonUnavailable)
                self._said(error.message if running else "The daemon does not run.")
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            cursor = said["cursor"]
            self._take(said)
            await asyncio.sleep(GATHER_SECONDS)

    def _said(self, problem: str) -> None:
        if problem != self._problem or not self._known:
            self._problem, self._known = problem, True
            self._tell({"kind": "problem", "problem": problem})

    def _take(self, said: Message) -> None:
        workspaces = {each["workspace"]["id"]: each for each in said["workspaces"]}
        first = not self._known or self._problem is not None or said["whole"]
        self._known, self._problem = True, None
        if said["whole"]:
            self._workspaces = workspaces
        else:
            self._workspaces |= workspaces
            for gone in said["gone"]:
                self._workspaces.pop(gone, None)
        self._events.extend(said["events"])
        news = bool(workspaces or said["gone"] or said["events"] or said["questions"] != self._questions)
        self._questions = said["questions"]
        if first:
            self._tell(self._whole())
        elif news:
            kept = ("gone", "events", "questions")
            change = {name: said[name] for name in kept}
            self._tell({"kind": "change", "workspaces": list(workspaces.values()), **change})

    async def _measure(self) -> None:
        """Memory and processor time, which are no news of their own."""
        while True:
            await asyncio.sleep(FIGURES_SECONDS * (1 + len(self._workspaces) / 50))
            with contextlib.suppress(PyroError):
                said = await self._pyro.call(REGISTRY["follow_activity"], {"limit": 0})
                names = ("memory_bytes", "cpu_seconds", "changed_files")
                figures = {e["workspace"]["id"]: {name: e[name] for name in names} for e in said["workspaces"]}
                for known, each in figures.items():
                    if known in self._workspaces:
                        self._workspaces[known] |= each
                self._tell({"kind": "figures", "figures": figures})
