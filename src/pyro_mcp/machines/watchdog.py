"""Keeps machines within their memory where the kernel does not do it gently.

Twice a second each machine's memory file is looked at (one stat each; the kernel offers no event for its
growth). Over the limit, the agent ends the largest guest process. A machine that goes on growing to half
as much again is ended, and its workspace says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from pyro_mcp.errors import PyroError
from pyro_mcp.guest.client import Guest

log = logging.getLogger(__name__)
INTERVAL_SECONDS = 0.5
FATAL_FACTOR = 1.5


class Measured(Protocol):
    id: str
    guest: Guest

    @property
    def memory_limit_bytes(self) -> int: ...

    def memory_bytes(self) -> int: ...


class MemoryWatchdog:
    """Watches what `machines` gives; `lost(id, cause)` is called for a machine that had to be ended."""

    def __init__(
        self, machines: Callable[[], Iterable[Measured]], lost: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._machines = machines
        self._lost = lost

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            for machine in list(self._machines()):
                await self._look(machine)

    async def _look(self, machine: Measured) -> None:
        limit = machine.memory_limit_bytes
        try:
            used = machine.memory_bytes()
        except OSError:
            return  # it ended; its watcher says so
        if used <= limit:
            return
        if used > limit * FATAL_FACTOR:
            await self._lost(machine.id, f"it used {used >> 20} MiB of the {limit >> 20} MiB it may")
            return
        try:
            async with asyncio.timeout(5):
                answer = await machine.guest.call("POST", "/v1/relieve", json_body={})
            log.warning("machine %s over its memory: ended %s", machine.id, answer.json())
        except (PyroError, TimeoutError) as error:
            log.warning("machine %s over its memory and its agent did not help: %s", machine.id, error)
