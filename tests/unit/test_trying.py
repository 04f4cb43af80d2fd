"""What a try holds on disk has a name or is gone, whenever it is cancelled and whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyro_mcp.errors import NotFound
from pyro_mcp.store import SnapshotRow, now
from pyro_mcp.workspaces.alternatives import Alternative
from pyro_mcp.workspaces.locks import SharedLock
from pyro_mcp.workspaces.moments import Images, Moment
from pyro_mcp.workspaces.trying import Attempt, Outcome, Trying
from pyro_mcp.workspaces.whole_machine import WholeMachine


def row_of(name: str) -> SnapshotRow:
    return SnapshotRow("ws-1", name, now(), 0, name, {})


class Parent:
    id, in_use, trying = "ws-1", 0, None
    row = SimpleNamespace(runtime={})

    def require_machine(self) -> None: ...


class Machines:
    """Writes down what gets a name, and what is removed; either waits until it may."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.removed: list[str] = []
        self.naming, self.may_name = asyncio.Event(), asyncio.Event()
        self.removing, self.may_remove = threading.Event(), threading.Event()

    async def drop_tried(self, workspace: Any) -> None: ...

    @contextlib.asynccontextmanager
    async def moment_of(self, workspace: Any) -> AsyncIterator[tuple[Path, Moment]]:
        yield Path("/nonexistent"), Moment()

    async def name_tried(self, workspace: Any, row: SnapshotRow) -> None:
        self.naming.set()
        await self.may_name.wait()
        self.named.append(row.name)

    def remove_image(self, workspace: Any, row: SnapshotRow) -> None:
        self.removing.set()
        assert self.may_remove.wait(10)
        self.removed.append(row.name)


class AllPass(Trying):
    async def _all(self, workspace: Any, attempt: Attempt, image: Path, moment: Moment) -> None:
        for outcome in attempt.outcomes:
            outcome.status = "passed"
            attempt.images.append(row_of(f".try-{outcome.number}"))


def begun(machines: Machines, workspace: Parent) -> asyncio.Task[None]:
    ways = [Alternative("", None, ("true",))] * 3
    trying = AllPass(None, None, machines)  # type: ignore[arg-type]
    task = trying.begin(workspace, ways, "true", None, 60).task  # type: ignore[arg-type]
    assert task is not None
    return task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def played(act: Callable[[Machines, Parent, asyncio.Task[None]], Awaitable[None]]) -> tuple[Machines, Parent]:
    async def play() -> tuple[Machines, Parent]:
        machines, workspace = Machines(), Parent()
        task = begun(machines, workspace)
        await machines.naming.wait()
        await act(machines, workspace, task)
        await until(lambda: len({*machines.named, *machines.removed}) == 3)
        return machines, workspace

    return asyncio.run(play())


def test_what_is_being_named_when_a_try_is_cancelled_is_not_removed() -> None:
    async def act(machines: Machines, workspace: Parent, task: asyncio.Task[None]) -> None:
        task.cancel()
        machines.may_remove.set()
        await asyncio.wait({task})
        machines.may_name.set()

    machines, _ = played(act)
    assert sorted(machines.named + machines.removed) == [".try-1", ".try-2", ".try-3"]
    assert len(machines.named) == 1


def test_a_try_that_is_cancelled_twice_does_not_keep_its_workspace_in_use() -> None:
    async def act(machines: Machines, workspace: Parent, task: asyncio.Task[None]) -> None:
        task.cancel()
        await until(machines.removing.is_set)
        task.cancel()
        await asyncio.wait({task})
        machines.may_remove.set()
        machines.may_name.set()

    _, workspace = played(act)
    assert workspace.in_use == 0


def test_one_that_ends_while_another_is_told_of_is_told_of_next() -> None:
    attempt = Attempt([], "true", None, 60, [Outcome(1, ""), Outcome(2, "")])
    told: list[str] = []

    async def tell(text: str) -> None:
        told.append(text)
        if len(told) == 1:
            ends(0)

    def ends(index: int) -> None:
        attempt.outcomes[index].status = "passed"
        attempt.stir()

    async def play() -> None:
        attempt.task = asyncio.create_task(asyncio.sleep(60))
        waiting = asyncio.create_task(attempt.wait(None, tell))
        await asyncio.sleep(0)
        ends(1)
        await until(lambda: len(told) == 2)
        waiting.cancel()
        await asyncio.wait({waiting, attempt.task})

    asyncio.run(play())
    assert told == ["alternative 2 of 2 passed", "alternative 1 of 2 passed"]


def machines_with(images: Images, registry: Any = None) -> WholeMachine:
    return WholeMachine(None, SimpleNamespace(registry=registry, images=images))  # type: ignore[arg-type]


def test_an_image_that_cannot_be_measured_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def snapshot(image: Path) -> None:
        image.mkdir()

    def size(image: Path) -> int:
        assert image.is_dir()
        raise OSError("it went")

    images = Images(tmp_path)
    monkeypatch.setattr(images, "size", size)
    machine = SimpleNamespace(guest=None, snapshot=snapshot)
    fork: Any = SimpleNamespace(id="ws-2", lock=SharedLock(), machine=machine, services={})
    fork.require_machine, fork.running_commands = lambda: machine, list
    with pytest.raises(OSError, match="it went"):
        asyncio.run(machines_with(images).tried(Parent(), fork, 1, Moment()))  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*try*"))


def test_an_image_that_gets_no_row_is_removed(tmp_path: Path) -> None:
    def get(reference: str) -> None:
        raise NotFound(f"There is no {reference}.")

    images = Images(tmp_path)
    image = images.new("ws-1", ".try-1")
    image.mkdir()
    machines = machines_with(images, SimpleNamespace(get=get))
    with pytest.raises(NotFound):
        asyncio.run(machines.name_tried(Parent(), row_of(image.name)))  # type: ignore[arg-type]
    assert not image.exists()
