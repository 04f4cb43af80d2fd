"""What has changed since somebody looked last, over all workspaces: counted, never kept.

Everything that is written down about a workspace, and each piece of output, is news of it. Who follows gives the
number up to which they know, and waits for the next; how much came in between costs them one look.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

GONE_KEPT = 1000
"""Workspaces that are gone, of which followers are told; who was away for longer looks at all."""


@dataclass(frozen=True)
class Since:
    """What changed."""

    changed: frozenset[str]
    gone: tuple[str, ...]


class News:
    """Of one daemon. Not thread-safe; of one event loop."""

    def __init__(self) -> None:
        self.daemon = secrets.token_hex(4)
        """Tells the numbers of one daemon from those of the next."""
        self.number = 0
        self._changed: dict[str, int] = {}
        self._gone: dict[str, int] = {}
        self._forgotten = 0
        self._event = asyncio.Event()

    def of(self, workspace_id: str) -> None:
        """Something about this workspace is another than before."""
        self._changed[workspace_id] = self._next()

    def gone(self, workspace_id: str) -> None:
        self._changed.pop(workspace_id, None)
        self._gone[workspace_id] = self._next()
        while len(self._gone) > GONE_KEPT:
            self._forgotten = self._gone.pop(next(iter(self._gone)))

    def stir(self) -> None:
        """Something changed that is not a workspace's, such as what is asked."""
        self._next()

    def since(self, number: int) -> Since | None:
        """What changed after that number; None when too much was forgotten to tell."""
        if number < self._forgotten or number > self.number:
            return None
        return Since(
            frozenset(each for each, at in self._changed.items() if at > number),
            tuple(each for each, at in self._gone.items() if at > number),
        )

    async def after(self, number: int, seconds: float) -> None:
        """Wait until there is news after that number, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while self.number == number:
                    await self._event.wait()
        except TimeoutError:
            pass

    def _next(self) -> int:
        self.number += 1
        event, self._event = self._event, asyncio.Event()
        event.set()
        return self.number
