"""Keeps machines within their memory where the kernel does not do it gently.

Four times a second each machine's memory file is looked at (one stat each; the kernel offers no event for
its growth). Over the limit, the agent ends the largest guest process. A machine that stays over it although
that was done again and again is ended, and its workspace says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from pyro_mcp.errors import PyroError
from pyro_mcp.guest.client import Guest

log = logging.getLogger(__name__)
INTERVAL_SECONDS = 0.25
SOON_SECONDS = 0.05
"""The next look, while a machine fills its memory: a copy in memory writes a GiB within half a second."""
FAST = 16
"""What part of the limit is much for one interval."""
PATIENCE = 20
"""How many looks in a row may find a machine over its limit: 5 s, in which as many processes were ended."""


class Measured(Protocol):
    id: str
    guest: Guest

    @property
    def memory_limit_bytes(self) -> int: ...

    def memory_bytes(self) -> int: ...

    def settle_disk(self) -> None: ...


class MemoryWatchdog:
    """Watches what `machines` gives; `lost(id, cause)` is called for a machine that had to be ended,
    `relieved(id, why)` for one in which something was ended."""

    def __init__(
        self,
        machines: Callable[[], Iterable[Measured]],
        lost: Callable[[str, str], Awaitable[None]],
        relieved: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._machines = machines
        self._lost = lost
        self._relieved = relieved
        self._over: dict[str, int] = {}
        self._falling: dict[str, int] = {}
        self._used: dict[str, int] = {}
        self._filling = False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SOON_SECONDS if self._filling else INTERVAL_SECONDS)
            before, self._used, self._filling = self._used, {}, False
            # At the same time: a machine whose agent does not answer must not keep the others waiting.
            await asyncio.gather(*(self._look(machine, before.get(machine.id)) for machine in self._machines()))

    async def _look(self, machine: Measured, last: int | None) -> None:
        machine.settle_disk()
        limit = machine.memory_limit_bytes
        try:
            used = machine.memory_bytes()
        except OSError:
            return  # it ended; its watcher says so
        self._used[machine.id] = used
        if used <= limit:
            self._filling = self._filling or (last is not None and used - last > limit // FAST)
            self._over.pop(machine.id, None)
            self._falling.pop(machine.id, None)
            return
        self._over[machine.id] = self._over.get(machine.id, 0) + 1
        if self._over[machine.id] > PATIENCE:
            del self._over[machine.id]
            await self._lost(machine.id, f"it used {used >> 20} MiB of its {limit >> 20} MiB")
            return
        before = self._falling.pop(machine.id, None)
        if before is not None and used <= before:
            return  # what was ended just now gives its memory back a moment later; nobody else is to die for it
        try:
            async with asyncio.timeout(5):
                answer = await machine.guest.call(
                    "POST", "/v1/relieve", json_body={"used_bytes": used, "limit_bytes": limit}
                )
            why = answer.record().text("why")
            self._falling[machine.id] = used
            log.warning("machine %s over its memory: %.500r", machine.id, why)
            await self._relieved(machine.id, why)
        except (PyroError, TimeoutError) as error:
            log.warning("machine %s over its memory and its agent did not help: %s", machine.id, error)
