"""When workspaces are deleted because their time is over, and what is said ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyro_mcp.errors import EngineError
from pyro_mcp.models.base import iso
from pyro_mcp.store import Store, WorkspaceRow
from pyro_mcp.workspaces.expiry import Expiry
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.workspace import Workspace

LIMIT = 60.0
"""Seconds that a test waits at most for what must come."""


def row(
    number: int, *, unused: float = 0.0, age: float = 0.0, ttl: int | None = None, life: int | None = None
) -> WorkspaceRow:
    """A workspace that was last used, and made, so many seconds ago."""
    used, made = (iso(datetime.now(UTC) - timedelta(seconds=seconds)) for seconds in (unused, max(age, unused)))
    found = WorkspaceRow(
        *(f"ws-{number}", None, "running", None, "debian:12", "d", "gvisor", "off", 1, 1024, made, used)
    )
    return replace(found, ttl_seconds=ttl, lifetime_seconds=life)


class Scene:
    """Workspaces whose expiry runs; `deleted` says which went, and why."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.deleted: dict[str, str] = {}
        self.changed = asyncio.Event()
        self.stuck: set[str] = set()
        self.tries = 0

    async def delete(self, workspace: Workspace, cause: str) -> None:
        if workspace.id in self.stuck:
            self.tries += 1
            raise EngineError("its machine does not end")
        await self.registry.remove(workspace)
        self.deleted[workspace.id] = cause
        self.changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


def play(home: Path, rows: list[WorkspaceRow], act: Callable[[Scene], Awaitable[None]]) -> None:
    async def main() -> None:
        store = await Store.open(home / "db")
        registry = Registry(store, home / "outputs", lambda engine: "")
        for each in rows:
            await store.put_workspace(each)
            registry.adopt(each)
        scene = Scene(registry)
        running = asyncio.create_task(Expiry(registry, scene.delete).run())
        try:
            await act(scene)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await registry.close()
            await store.close()

    asyncio.run(main())


def test_those_whose_time_is_over_go_at_once_and_no_others(tmp_path: Path) -> None:
    rows = [
        row(0, unused=11, ttl=10),
        row(1, unused=1, ttl=3600),
        row(2, age=40, life=30),
        row(3, unused=40, age=40, ttl=30, life=20),
        row(4, unused=10**6),
    ]

    async def act(scene: Scene) -> None:
        await scene.until(lambda: len(scene.deleted) == 3)
        assert scene.deleted == {
            "ws-0": "it expired (unused for 10 s)",
            "ws-2": "it expired (lifetime of 30 s)",
            "ws-3": "it expired (lifetime of 20 s)",
        }
        assert {w.id for w in scene.registry.all()} == {"ws-1", "ws-4"}

    play(tmp_path, rows, act)


def test_one_in_use_stays_until_it_is_not(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        used = scene.registry.get("ws-0")
        await scene.until(lambda: "ws-1" in scene.deleted)
        assert "ws-0" not in scene.deleted
        used.in_use -= 1
        scene.registry.times_changed.set()
        await scene.until(lambda: "ws-0" in scene.deleted)

    async def begin(scene: Scene) -> None:
        scene.registry.get("ws-0").in_use += 1
        await act(scene)

    play(tmp_path, [row(0, unused=100, ttl=10), row(1, unused=100, ttl=10)], begin)


def test_an_end_is_announced_once_ahead(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        workspace = scene.registry.get("ws-0")
        store = scene.registry.store
        for _ in range(3):  # whatever else changes meanwhile
            scene.registry.times_changed.set()
            await asyncio.sleep(0)
        async with asyncio.timeout(LIMIT):
            while not (events := await store.events("ws-0", 10)):
                await asyncio.sleep(0)
        assert [(e.operation, e.summary.split(" at ")[0]) for e in events] == [("expiry", "will be deleted")]
        assert "unused for 600 s" in events[0].summary
        workspace.touch()  # used again: announced anew when that is over
        scene.registry.times_changed.set()
        await asyncio.sleep(0)
        assert len(await store.events("ws-0", 10)) == 1 and scene.deleted == {}

    play(tmp_path, [row(0, unused=590, ttl=600)], act)


def test_one_that_cannot_be_deleted_holds_up_no_other_and_fills_no_history(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        scene.stuck.add("ws-0")
        await scene.until(lambda: "ws-1" in scene.deleted)
        for _ in range(50):  # the loop goes round, whatever wakes it
            scene.registry.times_changed.set()
            await scene.registry.store.fact("nothing")
        assert scene.tries == 1, "it is tried again without a pause"
        assert len(await scene.registry.store.events("ws-0", 100)) == 1

    play(tmp_path, [row(0, unused=20, ttl=10), row(1, unused=20, ttl=10)], act)
