"""When spare machines are made: after those who wait have theirs. What a machine is does not matter here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from pyro_mcp.errors import GuestUnreachable
from pyro_mcp.machines import pool as pool_module
from pyro_mcp.machines.pool import WarmPool
from pyro_mcp.machines.protocol import Engine, RootTree


class _Nothing:
    """Stands for a machine; it cannot be warmed, so a spare that was begun is not kept."""

    @property
    def guest(self) -> Any:
        raise GuestUnreachable("it is no machine")

    def alive(self) -> bool:
        return True

    async def destroy(self) -> None: ...


class _Restores:
    """Stands for an engine: each restore begins when it is asked for, and ends when the test says so."""

    def __init__(self) -> None:
        self.begun: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def template(self, root: RootTree, vcpu_count: int, disk_gib: int) -> Path:
        return Path("/template")

    async def restore(self, spec: object, template: Path, seed: Path | None = None) -> _Nothing:
        end = asyncio.Event()
        self.begun.put_nowait(end)
        await end.wait()
        return _Nothing()


ROOT = cast(RootTree, type("Root", (), {"digest": "d", "name": "debian:12"})())


@pytest.mark.parametrize("late", [False, True])
def test_no_spare_is_made_while_somebody_waits(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    monkeypatch.setattr(pool_module, "REFILL_DELAY_SECONDS", (0.0, 0.0))
    monkeypatch.setattr(pool_module, "REFILL_WAIT_SECONDS", 0.05 if late else 60.0)

    async def play() -> None:
        engine = _Restores()
        pool = WarmPool(cast(Engine, engine), spares=1)
        async with asyncio.timeout(20):
            takes = [asyncio.create_task(pool.take(ROOT, 1, 512)) for _ in range(2)]
            ends = [await engine.begun.get() for _ in takes]
            ends[0].set()
            await takes[0]
            if late:  # it takes its turn at last, whoever waits
                spare = await engine.begun.get()
                assert not takes[1].done()
            else:
                for _ in range(100):  # whatever was due by now has had its turn
                    await asyncio.sleep(0)
                assert engine.begun.empty() and not takes[1].done()
            ends[1].set()
            await takes[1]
            if not late:
                spare = await engine.begun.get()
            spare.set()
            await pool.close()

    asyncio.run(play())


def test_who_gives_up_waiting_holds_no_spare_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "REFILL_DELAY_SECONDS", (0.0, 0.0))

    async def play() -> None:
        engine = _Restores()
        pool = WarmPool(cast(Engine, engine), spares=1)
        async with asyncio.timeout(20):
            takes = [asyncio.create_task(pool.take(ROOT, 1, 512)) for _ in range(2)]
            ends = [await engine.begun.get() for _ in takes]
            takes[1].cancel()
            ends[0].set()
            await takes[0]
            (await engine.begun.get()).set()
            await pool.close()

    asyncio.run(play())
