"""The schema's steps: each database that was ever released is brought to the present, whole."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict
from pyro_mcp.store import Store
from pyro_mcp.store.schema import SCHEMA_VERSION, STEPS, migrate

RECORD = (
    '{"id": "ws-1", "name": "n", "state": "lost", "machine_id": null, "environment": "debian:12", '
    '"environment_digest": "d", "engine": "gvisor", "network_policy": "off", "vcpu_count": 1, "mem_mib": 1024, '
    '"created_at": "2026-01-01T00:00:00Z", "last_activity_at": "2026-01-01T00:00:00Z", "of_a_later_pyro": 1}'
)


def _old(path: Path, version: int) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript("".join(STEPS[:version]) + f"PRAGMA user_version={version};")
    db.execute(
        "INSERT INTO workspaces (id, name, state, machine_id, record) VALUES ('ws-1', 'n', 'lost', NULL, ?)", (RECORD,)
    )
    db.execute(
        "INSERT INTO events (workspace_id, at, face, operation, outcome, summary) "
        "VALUES ('ws-1', '2026-01-01T00:00:00Z', 'cli', 'exec_workspace', 'ok', 'ls')"
    )
    if version >= 3:
        db.execute("UPDATE events SET change = sequence")
    db.close()


def _shape(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return {
        (table, str(column[1]), str(column[2]))
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for column in db.execute(f"PRAGMA table_info({table})")
    }


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_database_of_every_version_is_brought_forward(tmp_path: Path, version: int) -> None:
    path = tmp_path / "db"
    _old(path, version)

    async def main() -> None:
        store = await Store.open(path)
        assert [row.name for row in await store.workspaces()] == ["n"]
        assert [e.operation for e in await store.events("ws-1", 10)] == ["exec_workspace"]
        await store.add_event("ws-1", "cli", "x", "ok", details={"a": 1})
        await store.close()

    asyncio.run(main())
    new = sqlite3.connect(":memory:")
    migrate(new, path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert _shape(db) == _shape(new)


def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _old(path, 1)
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("CREATE TABLE departed (x TEXT)")  # the step to 2 makes one, too
        before = _shape(db)
        with pytest.raises(sqlite3.OperationalError):
            migrate(db, path)
        assert _shape(db) == before
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_newer_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "db"
    _old(path, SCHEMA_VERSION)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(Conflict, match="newer pyro"):
        asyncio.run(Store.open(path))
    assert path.read_bytes() == before
