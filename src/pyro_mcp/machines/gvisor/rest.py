"""Stops a machine in which nothing happens, so that it costs no CPU; the next who speaks to it has it go on.

The sentry of this release spins a little even when its guest sleeps: 2 % of a core for each machine. After a second
without a request the agent is asked whether anything runs but itself (`GET /v1/idle`); if not, the machine's processes
are stopped (SIGSTOP), and continued before a connection of its agent is taken. What could happen in there on its own,
such as a background process, a server or a timer, is a process, so nothing is missed.

A daemon that is killed leaves machines stopped; the next one continues what it adopts.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from pyro_mcp.errors import NotFound, PyroError
from pyro_mcp.machines import processes
from pyro_mcp.machines.processes import ProcessId

log = logging.getLogger(__name__)
IDLE_SECONDS = 1.0
"""Without a request, until the agent is asked."""
MOST_SECONDS = 30.0
"""Between two questions to a machine that is busy by itself."""
ASK_SECONDS = 5.0


class Rest:
    """Of one machine.

    Args:
        parts: its processes on this computer, in the order in which they are stopped.
        idle: asks its agent whether nothing runs in there. May raise PyroError.
    """

    def __init__(self, parts: Sequence[ProcessId], idle: Callable[[], Awaitable[bool]]) -> None:
        self._parts = tuple(parts)
        self._idle = idle
        self._uses = 0
        self._last = 0.0
        self._pause = IDLE_SECONDS
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None
        self._asking: asyncio.Task[None] | None = None
        self._closed = False
        self.stopped = False

    def used(self) -> None:
        """Somebody is about to speak to the machine, or has just done so: it runs, for a while at least."""
        self._uses += 1
        self._pause = IDLE_SECONDS
        if self.stopped:
            self._go_on()
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        self._last = loop.time()
        if self._timer is not None and self._timer.when() > self._last + IDLE_SECONDS:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_later(IDLE_SECONDS, self._due)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile it runs."""
        self._held += 1
        self.used()
        try:
            yield
        finally:
            self._held -= 1
            self.used()

    def go_on(self) -> None:
        """Continue it, whoever has stopped it."""
        self._go_on()

    def close(self) -> None:
        """It runs from now on, if it does at all; nothing stops it any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asking is not None:
            self._asking.cancel()
        if self.stopped:
            self._go_on()

    def _go_on(self) -> None:
        self.stopped = False
        for part in reversed(self._parts):
            processes.send(part, signal.SIGCONT)

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._last + IDLE_SECONDS - loop.time()
        if left > 0.001:
            self._timer = loop.call_later(left, self._due)
            return
        self._timer = None
        if self._held == 0 and self._asking is None:
            self._asking = asyncio.create_task(self._ask(), name="idle?")
            self._asking.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled() and task.exception() is not None:
            log.error("a machine could not be put to rest", exc_info=task.exception())

    async def _ask(self) -> None:
        uses = self._uses
        try:
            async with asyncio.timeout(ASK_SECONDS):
                idle = await self._idle()
        except NotFound:
            self._closed = True  # an agent of an earlier pyro, which cannot tell
            return
        except (PyroError, TimeoutError, OSError):
            idle = False
        if self._closed or not all(map(processes.runs, self._parts)):
            return
        if idle and uses == self._uses and self._held == 0:
            self.stopped = True
            for part in self._parts:
                processes.send(part, signal.SIGSTOP)
            return
        if uses == self._uses:
            self._pause = min(2 * self._pause, MOST_SECONDS)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._due)
