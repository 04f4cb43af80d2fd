"""How long anybody waits for a guest: the one place for it, through which every wait of `client` goes.

Three limits, because a guest may be slow, silent by right, or hostile:

- Where an answer is owed, it is there within the call's seconds, or the call is given up.
- Whoever waits in silence, for an answer or for the output of a command that may rightly print nothing, has the agent
  asked after `BEAT_SECONDS`, on a connection of its own, whether it is there. One question serves all who wait. An
  agent that is stopped or starved does not answer it, and all are told.
- What comes, comes at some pace: a byte now and then is not an answer.

A gate shut by `closed` ends every wait at once: reset and delete need no guest.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from pyro_mcp.errors import GuestUnreachable

CONNECT_SECONDS = 15.0
"""Until the agent is there at all; it may be about to come back from a snapshot."""
BEAT_SECONDS = 6.0
"""Of silence, until the agent is asked whether it is there."""
ANSWER_SECONDS = 10.0
"""The longest that it may take to say so; a tenth of a millisecond is usual."""
DOUBTED_BEAT_SECONDS = 1.0
DOUBTED_ANSWER_SECONDS = 3.0
"""The same, of an agent that was silent when it was asked last: who comes next need not wait so long again."""
SLOW_SECONDS = 20.0
"""Of waiting for what an answer holds, until its pace is looked at."""
SLOW_BYTES = 512
"""A second, of an answer that took longer: below that nothing useful comes."""
T = TypeVar("T")


def silent(seconds: float) -> GuestUnreachable:
    return GuestUnreachable(
        f"The agent in the machine did not answer within {seconds:.0f} s, so pyro gave up on the call.",
        hint="Something in the workspace may have stopped or starved it. Try again in a moment; reset and delete "
        "always "
        "work.",
        code="guest_silent",
    )


class Gate:
    """All waits for one guest. `ask` has its agent say that it is there."""

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._waits: set[asyncio.Timeout] = set()
        self._shut: str | None = None
        self.doubted = False
        """The agent was silent when it was asked last, and nothing has come from it since."""

    @contextlib.contextmanager
    def closed(self, why: str) -> Iterator[None]:
        """Meanwhile every wait ends at once, with `why`."""
        self._shut = why
        moment = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(moment)
        try:
            yield
        finally:
            self._shut = None

    def check(self) -> None:
        if self._shut is not None:
            raise GuestUnreachable(f"pyro gave up on the call: {self._shut}.", hint="Call again.", code="given_up")

    async def within(self, step: Callable[[], Awaitable[T]], seconds: float) -> T:
        """A step, or TimeoutError after so many seconds; GuestUnreachable when the gate is shut meanwhile."""
        self.check()
        try:
            async with asyncio.timeout(None if seconds == math.inf else seconds) as limit:
                self._waits.add(limit)
                try:
                    return await step()
                finally:
                    self._waits.discard(limit)
        except TimeoutError:
            self.check()
            raise

    async def alive(self) -> None:
        """Raises GuestUnreachable unless the agent says soon that it is there."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._answered())
            self._asking.add_done_callback(_heard)
        asking = self._asking
        await self.within(lambda: asyncio.shield(asking), math.inf)

    async def _answered(self) -> None:
        seconds = DOUBTED_ANSWER_SECONDS if self.doubted else ANSWER_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await self._ask()
        except TimeoutError:
            self.doubted = True
            raise silent(seconds) from None
        self.doubted = False


def _heard(task: asyncio.Task[None]) -> None:
    """Nobody may be left to hear how it ended."""
    if not task.cancelled():
        task.exception()


class Patience:
    """The waits of one connection. An answer that is owed comes within `seconds`; None: nothing is owed."""

    def __init__(self, gate: Gate | None, seconds: float | None, *, asks: bool = True) -> None:
        self._gate = gate
        self._asks = asks
        self._seconds = math.inf if seconds is None else seconds

    def deadline(self) -> float:
        """The moment (`time.monotonic`) until which something that is asked for now is owed."""
        return time.monotonic() + self._seconds

    async def connected(self, connect: Callable[[], Awaitable[T]]) -> T:
        """A connection, or GuestUnreachable. The next one is waited for less long when this one did not come."""
        seconds = DOUBTED_ANSWER_SECONDS if self._gate is not None and self._gate.doubted else CONNECT_SECONDS
        try:
            return await self.within(connect, seconds)
        except GuestUnreachable:
            if self._gate is not None:
                self._gate.doubted = True
            raise

    async def wait(self, step: Callable[[], Awaitable[T]], until: float | None = None) -> T:
        """A step towards what is owed: a read, or a write that the other side takes.

        `step` is begun again after each question whether the agent lives, so it loses nothing when it is cancelled.
        """
        until = self.deadline() if until is None else until
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise silent(self._seconds)
            beat = min(self._beat(), left)
            try:
                done = await self._within(step, beat)
            except TimeoutError:
                if beat < left and self._gate is not None:
                    await self._gate.alive()
                continue
            if self._gate is not None:
                self._gate.doubted = False
            return done

    def _beat(self) -> float:
        if not self._asks or self._gate is None:
            return math.inf
        return DOUBTED_BEAT_SECONDS if self._gate.doubted else BEAT_SECONDS

    async def within(self, step: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        """A step that asks after the agent itself, within `seconds`, or those of an answer that is owed."""
        seconds = self._seconds if seconds is None else seconds
        try:
            return await self._within(step, seconds)
        except TimeoutError:
            raise silent(seconds) from None

    async def _within(self, step: Callable[[], Awaitable[T]], seconds: float) -> T:
        if self._gate is not None:
            return await self._gate.within(step, seconds)
        async with asyncio.timeout(None if seconds == math.inf else seconds):
            return await step()


class Pace:
    """How fast an answer comes, while somebody waits for it."""

    def __init__(self) -> None:
        self._bytes = 0
        self._seconds = 0.0

    def count(self, size: int, seconds: float) -> None:
        """Raises GuestUnreachable when it is a trickle."""
        self._bytes += size
        self._seconds += seconds
        if self._seconds > SLOW_SECONDS and self._bytes < self._seconds * SLOW_BYTES:
            raise GuestUnreachable(
                f"The agent is answering too slowly: {self._bytes} bytes in {self._seconds:.0f} s.",
                hint="Try again; reset and delete always work.",
                code="guest_silent",
            )
