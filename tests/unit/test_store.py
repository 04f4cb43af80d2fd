"""What the store keeps: every row as it was written, whatever stands in it, and nothing of what is gone."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import Conflict
from pyro_mcp.store import CommandRow, DepartedRow, ServiceRow, SnapshotRow, Store, WorkspaceRow
from pyro_mcp.store.store import DEPARTED_KEPT

AT = "2026-01-01T00:00:00.000Z"
ROW = WorkspaceRow(*("ws-0", None, "running", "m-0", "debian:12", "d", "gvisor", "off", 1, 1024, AT, AT))
WORDS = st.text(max_size=20)
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS, lambda x: st.lists(x, max_size=3))


def with_store(act: Callable[[Store], Awaitable[None]], home: Path | None = None) -> None:
    async def main(place: Path) -> None:
        store = await Store.open(place / "db")
        try:
            await act(store)
        finally:
            await store.close()

    if home is not None:
        asyncio.run(main(home))
        return
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(main(Path(made)))


@settings(max_examples=60, deadline=None)
@given(
    labels=st.dictionaries(WORDS, WORDS, max_size=3),
    seed=st.dictionaries(WORDS, JSON, max_size=3),
    words=st.lists(WORDS, max_size=3),
    domains=st.lists(WORDS, max_size=2),
)
def test_rows_come_back_as_they_were_written(
    labels: dict[str, str], seed: dict[str, Any], words: list[str], domains: list[str]
) -> None:
    workspace = replace(ROW, labels=labels, seed=seed, allow_domains=domains)
    command = CommandRow("c-1", ROW.id, words, "running", AT, cause="".join(words))
    snapshot = SnapshotRow(ROW.id, "s", AT, 3, "image", {"running": seed})
    service = ServiceRow(ROW.id, "web", "c-1", {"http": "8000/"}, published=[{"host": "".join(words)}])

    async def act(store: Store) -> None:
        for _ in range(2):  # written again, they replace themselves
            await store.put_workspace(workspace)
            await store.put_command(command, 1)
            await store.put_snapshot(snapshot)
            await store.put_service(service)
        assert await store.workspaces() == [workspace]
        assert await store.commands(ROW.id) == [command]
        assert await store.snapshots(ROW.id) == [snapshot]
        assert await store.services(ROW.id) == [service]

    with_store(act)


def test_with_a_workspace_goes_all_that_was_its_own_and_nothing_of_it_comes_back(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        other = replace(ROW, id="ws-1")
        for row in (ROW, other):
            await store.put_workspace(row)
            await store.put_command(CommandRow(f"c-{row.id}", row.id, ["ls"], "running", AT), 1)
            await store.put_snapshot(SnapshotRow(row.id, "s", AT, 1, "i"))
            await store.put_service(ServiceRow(row.id, "web", "c-1"))
            await store.add_event(row.id, "cli", "exec_workspace", "ok")
        begun = await store.begin_event(ROW.id, "cli", "exec_workspace", "make")
        await store.remove_workspace(ROW.id)
        # What was under way ends now, and finds nothing.
        await store.end_event(begun, "ok", 1.0, None)
        await store.put_command(CommandRow("c-late", ROW.id, ["ls"], "running", AT), 2)
        await store.put_service(ServiceRow(ROW.id, "late", "c-late"))
        await store.add_event(ROW.id, "cli", "exec_workspace", "ok")
        assert await store.begin_event(ROW.id, "cli", "exec_workspace", "ls") in (0, begun)
        for kept in (store.commands, store.snapshots, store.services):
            assert await kept(ROW.id) == []
            assert len(await kept("ws-1")) == 1
        assert await store.events(ROW.id, 10) == []
        assert len(await store.events("ws-1", 10)) == 1
        assert await store.workspaces() == [other]

    with_store(act, tmp_path)


def test_names_are_unique_within_a_project_and_a_refused_one_changes_nothing(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.put_workspace(replace(ROW, name="try"))
        with pytest.raises(Conflict, match="'try'"):
            await store.put_workspace(replace(ROW, id="ws-1", name="try"))
        await store.put_workspace(replace(ROW, id="ws-2", name="try", project="/a"))
        await store.put_workspace(replace(ROW, id="ws-3", name="try", project="/b"))
        with pytest.raises(Conflict):
            await store.put_workspace(replace(ROW, id="ws-3", name="try", project="/a"))
        assert {(row.id, row.project) for row in await store.workspaces()} == {
            ("ws-0", None),
            ("ws-2", "/a"),
            ("ws-3", "/b"),
        }

    with_store(act, tmp_path)


def test_who_follows_sees_each_beginning_and_each_end_once_in_order(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.put_workspace(ROW)
        numbers = [await store.begin_event(ROW.id, "cli", "exec_workspace", f"c{n}") for n in range(5)]
        seen = [(e.sequence, e.outcome) for e in await store.events(ROW.id, 3, after=0)]
        assert seen == [(number, "running") for number in numbers[:3]]
        last = max(e.change for e in await store.events(ROW.id, 3, after=0))
        await store.end_event(numbers[0], "ok", 0.5, None)
        later = await store.events(ROW.id, 10, after=last)
        assert [(e.sequence, e.outcome) for e in later] == [
            (numbers[3], "running"),
            (numbers[4], "running"),
            (numbers[0], "ok"),
        ]
        assert await store.events(ROW.id, 10, after=later[-1].change) == []
        assert [e.sequence for e in await store.events(ROW.id, 2)] == numbers[3:], "the newest, oldest first"

    with_store(act, tmp_path)


def test_many_writers_at_once_are_all_heard(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        await store.put_workspace(ROW)
        await asyncio.gather(*(store.add_event(ROW.id, "cli", "x", "ok", summary=str(n)) for n in range(200)))
        found = await store.events(ROW.id, 1000)
        assert sorted(int(e.summary) for e in found) == list(range(200))
        assert len({e.change for e in found}) == 200

    with_store(act, tmp_path)


def test_of_what_is_gone_the_latest_is_remembered(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        for number in range(DEPARTED_KEPT + 20):
            await store.remember_departed(DepartedRow(f"ws-{number}", None, f"2026-01-01T00:00:{number:06d}Z", "gone"))
        found = await store.departed()
        assert [row.id for row in found] == [f"ws-{n}" for n in range(DEPARTED_KEPT + 19, 19, -1)]

    with_store(act, tmp_path)


def test_what_was_written_outlives_its_daemon(tmp_path: Path) -> None:
    async def write(store: Store) -> None:
        await store.put_workspace(replace(ROW, labels={"k": "ü"}))
        await store.put_fact("verdict", {"ok": True})
        await store.begin_event(ROW.id, "cli", "exec_workspace", "make \udcff")

    async def read(store: Store) -> None:
        (row,) = await store.workspaces()
        assert row.labels == {"k": "ü"}
        assert await store.fact("verdict") == {"ok": True} and await store.fact("none") is None
        await store.interrupt_events("ended")
        (event,) = await store.events(ROW.id, 10)
        assert (event.outcome, event.error) == ("error", "ended") and event.summary.startswith("make ")

    with_store(write, tmp_path)
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o600
    with_store(read, tmp_path)


def test_what_is_asked_for_in_one_turn_is_done_in_order_each_for_itself(tmp_path: Path) -> None:
    async def act(store: Store) -> None:
        first, second = replace(ROW, id="ws-1", name="a"), replace(ROW, id="ws-2", name="a")
        left = asyncio.ensure_future(store.put_fact("k", 0))
        left.cancel()
        outcomes = await asyncio.gather(
            *(store.put_workspace(first), store.put_workspace(second), store.put_fact("k", 1), store.fact("k")),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], Conflict), "what one may not do is no matter of the others"
        assert [outcomes[0], *outcomes[2:]] == [None, None, 1]
        assert [row.id for row in await store.workspaces()] == ["ws-1"]

    with_store(act, tmp_path)


def test_a_store_that_is_closed_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        store = await Store.open(tmp_path / "db")
        await store.close()
        with pytest.raises(RuntimeError):
            await store.put_fact("k", 3)

    asyncio.run(main())
