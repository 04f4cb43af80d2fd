"""The engines of this computer, each with its pool of spare machines; a workspace's row names its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pyro_mcp.errors import EngineError
from pyro_mcp.machines.pool import WarmPool
from pyro_mcp.machines.protocol import Engine, Machine, RootTree


class Fleet:
    """Every method that takes an engine's name raises EngineError where this pyro has none of that name."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._pools = {engine.name: WarmPool(engine) for engine in engines}

    def engine(self, name: str) -> Engine:
        try:
            return self._engines[name]
        except KeyError:
            raise EngineError(
                f"This pyro has no engine {name!r}; it has {', '.join(self._engines)}.",
                hint="The workspace was created by another version of pyro; delete it.",
                code="unknown_engine",
            ) from None

    def isolation(self, name: str) -> str:
        """An engine's boundary in words; empty for one that there is not."""
        return self._engines[name].isolation if name in self._engines else ""

    async def take(self, name: str, root: RootTree, vcpu_count: int, mem_mib: int, disk_gib: int) -> Machine:
        """A machine in the template's state that nobody else has."""
        self.engine(name)
        return await self._pools[name].take(root, vcpu_count, mem_mib, disk_gib)

    async def revive(
        self, name: str, root: RootTree, vcpu_count: int, mem_mib: int, image: Path, seed: Path | None
    ) -> Machine:
        """A machine in the state of an image, with the seed that it knew."""
        self.engine(name)
        return await self._pools[name].revive(root, vcpu_count, mem_mib, image, seed)

    async def adopt(self, name: str, machine_id: str) -> Machine | None:
        return await self._engines[name].adopt(machine_id) if name in self._engines else None

    async def sweep(self, keep: set[str]) -> list[str]:
        """End every machine that is not to be kept, of all engines."""
        return [machine for engine in self._engines.values() for machine in await engine.sweep(keep)]

    async def drop(self, digest: str) -> None:
        """End the spares of an environment that is being removed."""
        for pool in self._pools.values():
            for machine in pool.drop(digest):
                await machine.destroy()
        await self.finish_cleaning()

    async def prune_templates(self, digests: set[str]) -> int:
        """Remove the templates of environments that are gone; gives the bytes that were freed."""
        freed = [await asyncio.to_thread(engine.prune_templates, digests) for engine in self._engines.values()]
        return sum(freed)

    async def finish_cleaning(self) -> None:
        """Wait until everything that was destroyed is removed."""
        for engine in self._engines.values():
            await engine.finish_cleaning()

    async def close(self) -> None:
        """End all spares, and leave the others running."""
        for pool in self._pools.values():
            await pool.close()
        for engine in self._engines.values():
            engine.leave()
        await self.finish_cleaning()
