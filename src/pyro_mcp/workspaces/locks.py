"""A lock with many users or one: operations on a workspace share it, reset and delete have it alone.

Nothing is awaited on the way out, so whoever is cancelled, even twice, has let go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class SharedLock:
    """Fair to the exclusive side: while one waits, no new sharer enters."""

    def __init__(self) -> None:
        self._sharers = 0
        self._alone = False
        self._waiting: deque[tuple[asyncio.Future[None], bool]] = deque()
        """Who waits, and whether alone, in the order in which they get it."""

    @property
    def held_alone(self) -> bool:
        return self._alone

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        await self._enter(alone=False)
        try:
            yield
        finally:
            self._sharers -= 1
            self._pass_on()

    @asynccontextmanager
    async def exclusive(self, *, urgent: bool = False) -> AsyncIterator[None]:
        """Alone; `urgent` before all who wait, and after none but those who have it."""
        await self._enter(alone=True, urgent=urgent)
        try:
            yield
        finally:
            self._alone = False
            self._pass_on()

    async def _enter(self, *, alone: bool, urgent: bool = False) -> None:
        mine = asyncio.get_running_loop().create_future()
        if urgent:
            self._waiting.appendleft((mine, alone))
        else:
            self._waiting.append((mine, alone))
        self._pass_on()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                # It was ours in the moment in which we were cancelled.
                if alone:
                    self._alone = False
                else:
                    self._sharers -= 1
            elif (mine, alone) in self._waiting:
                self._waiting.remove((mine, alone))
            self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            future, alone = self._waiting[0]
            if self._alone or (alone and self._sharers):
                return
            self._waiting.popleft()
            if future.done():
                continue  # cancelled; it takes itself out, or was taken out here
            if alone:
                self._alone = True
            else:
                self._sharers += 1
            future.set_result(None)
