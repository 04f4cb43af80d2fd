"""A few machines restored ahead of need, so that a create does not wait for a restore.

Spare machines belong to nobody and hold no state of a workspace; a daemon that starts ends the spares of
an earlier one, because it could not show them a seed any more (their mounts follow the old enclosure).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.machines.protocol import DISK_GIB, Engine, Machine, MachineSpec, RootTree
from pyro_mcp.machines.warming import warm

log = logging.getLogger(__name__)
SPARES = 1
"""Spare machines for each shape; an idle one costs 12-20 MB."""
SHAPES = 2
"""Shapes that have spares: those that were asked for last. An idle machine costs memory and a little CPU."""
REFILL_DELAY_SECONDS = 0.3, 3.0
REFILL_DELAY_RESTORES = 3
"""A refill starts as long after the last machine was taken as so many restores take here, within bounds, so that it
does not race the first commands for the CPU."""
REFILL_WAIT_SECONDS = 30.0
"""For so long a refill gives way to those who wait for a machine; then it takes its turn among them."""
Shape = tuple[str, int, int, int]


def new_machine_id() -> str:
    return "m" + os.urandom(5).hex()


class WarmPool:
    """Gives machines fresh from an environment's template; see the module's text."""

    def __init__(self, engine: Engine, spares: int = SPARES) -> None:
        self._engine = engine
        self._spares = spares
        self._ready: dict[Shape, deque[Machine]] = {}
        self._refills: dict[Shape, asyncio.Task[None]] = {}
        # More restores at once than cores only delay each other.
        self._restores = asyncio.Semaphore(max(2, os.cpu_count() or 1))
        self._closed = False
        self._restore_seconds = 0.0
        self._waiting = 0
        self._nobody_waits = asyncio.Event()
        self._nobody_waits.set()
        self._taken = 0.0
        self._recent: list[Shape] = []

    async def take(self, root: RootTree, vcpu_count: int, mem_mib: int, disk_gib: int = DISK_GIB) -> Machine:
        """A machine in the template's state that nobody else has."""
        shape = (root.digest, vcpu_count, mem_mib, disk_gib)
        ready = self._ready.setdefault(shape, deque())
        await self._asked_for(shape)
        while ready:
            machine = ready.popleft()
            if machine.alive():
                self._refill_later(root, shape)
                return machine
            await machine.destroy()
        with self._waited_for():
            machine = await self._restore(root, vcpu_count, mem_mib, disk_gib)
        self._refill_later(root, shape)
        return machine

    @contextlib.contextmanager
    def _waited_for(self) -> Iterator[None]:
        """Meanwhile somebody waits for a machine, and no spare is made."""
        self._waiting += 1
        self._nobody_waits.clear()
        try:
            yield
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self._nobody_waits.set()

    async def _asked_for(self, shape: Shape) -> None:
        """Remember the shape; one that was not asked for lately has no spares any more."""
        self._recent = [shape, *(other for other in self._recent if other != shape)][:SHAPES]
        for other, spares in list(self._ready.items()):
            while other not in self._recent and spares:
                await spares.popleft().destroy()

    async def _restore(self, root: RootTree, vcpu_count: int, mem_mib: int, disk_gib: int) -> Machine:
        template = await self._engine.template(root, vcpu_count, disk_gib)
        async with self._restores:
            begun = time.monotonic()
            spec = MachineSpec(new_machine_id(), root, vcpu_count, mem_mib, disk_gib)
            machine = await self._engine.restore(spec, template)
            self._restore_seconds = time.monotonic() - begun
            return machine

    async def revive(self, root: RootTree, vcpu_count: int, mem_mib: int, image: Path, seed: Path | None) -> Machine:
        """A machine in the state of an image, with the seed that it knew."""
        with self._waited_for():
            async with self._restores:
                return await self._engine.restore(MachineSpec(new_machine_id(), root, vcpu_count, mem_mib), image, seed)

    def _refill_later(self, root: RootTree, shape: Shape) -> None:
        self._taken = time.monotonic()
        if shape not in self._refills and not self._closed and self._spares:
            task = asyncio.create_task(self._refill(root, shape), name=f"refill {root.name}")
            self._refills[shape] = task
            task.add_done_callback(lambda _: self._refills.pop(shape, None))

    async def _refill(self, root: RootTree, shape: Shape) -> None:
        ready = self._ready[shape]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFILL_WAIT_SECONDS):
                await self._quiet()
        try:
            while len(ready) < self._spares and not self._closed and shape in self._recent:
                machine = await self._restore(root, *shape[1:])
                try:
                    await warm(machine.guest)
                except BaseException:
                    await machine.destroy()
                    raise
                ready.append(machine)
        except (PyroError, OSError) as error:
            log.warning("no spare machine could be restored: %s", error)

    async def _quiet(self) -> None:
        """Wait until nobody waits for a machine, and the last one was taken a while ago."""
        least, most = REFILL_DELAY_SECONDS
        while True:
            await self._nobody_waits.wait()
            delay = min(most, max(least, REFILL_DELAY_RESTORES * self._restore_seconds))
            left = self._taken + delay - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(left)

    async def close(self) -> None:
        """End all spares."""
        self._closed = True
        for task in list(self._refills.values()):
            task.cancel()
        await asyncio.gather(*self._refills.values(), return_exceptions=True)
        for ready in self._ready.values():
            while ready:
                await ready.popleft().destroy()

    def drop(self, digest: str) -> list[Machine]:
        """Take the spares of an environment out, because it is being removed."""
        dropped: list[Machine] = []
        for shape, ready in list(self._ready.items()):
            if shape[0] == digest:
                dropped += ready
                ready.clear()
        return dropped
