"""What outlives the daemon: workspaces, commands, events and verdicts, in one SQLite database (WAL).

One thread owns the connection; the event loop only waits for it. Writes are in the order of the calls. A
commit is not flushed to the disk at once (`synchronous=NORMAL`): a killed process loses nothing, a power cut
may lose the last moments, which then describe machines that are gone anyway.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pyro_mcp.errors import Conflict, InternalError

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE workspaces (
    id TEXT PRIMARY KEY, name TEXT UNIQUE, state TEXT NOT NULL, machine_id TEXT, record TEXT NOT NULL
) STRICT;
CREATE TABLE commands (
    handle TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
    number INTEGER NOT NULL, record TEXT NOT NULL
) STRICT;
CREATE INDEX commands_of ON commands (workspace_id, number);
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE,
    at TEXT NOT NULL, face TEXT NOT NULL, operation TEXT NOT NULL, outcome TEXT NOT NULL,
    duration_seconds REAL, summary TEXT NOT NULL, error TEXT
) STRICT;
CREATE INDEX events_of ON events (workspace_id, sequence);
CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
T = TypeVar("T")


def now() -> str:
    """This moment, as records hold it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class WorkspaceRow:
    """A workspace as it is kept. `machine_id` is the one machine that is its own at this moment."""

    id: str
    name: str | None
    state: str
    machine_id: str | None
    environment: str
    environment_digest: str
    engine: str
    network_policy: str
    vcpu_count: int
    mem_mib: int
    created_at: str
    last_activity_at: str
    ttl_seconds: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    seed: dict[str, Any] | None = None
    """A `models.SeedInfo`, dumped."""
    seed_digest: str | None = None
    cause: str | None = None
    one_shot: bool = False
    """Made by `run`: deleted as soon as its command has ended."""


@dataclass(frozen=True)
class CommandRow:
    """A command as it is kept."""

    handle: str
    workspace_id: str
    command: list[str]
    status: str
    started_at: str
    process_id: str | None = None
    exit_code: int | None = None
    duration_seconds: float | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0


@dataclass(frozen=True)
class EventRow:
    sequence: int
    workspace_id: str
    at: str
    face: str
    operation: str
    outcome: str
    duration_seconds: float | None
    summary: str
    error: str | None


def _known(cls: type[Any], record: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in record.items() if key in names}


class Store:
    """Open with `await Store.open(path)`; close with `close()`."""

    def __init__(self, connection: sqlite3.Connection, executor: ThreadPoolExecutor) -> None:
        self._db = connection
        self._executor = executor

    @classmethod
    async def open(cls, path: Path) -> Store:
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

        def connect() -> sqlite3.Connection:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA foreign_keys=ON")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            elif version != SCHEMA_VERSION:
                raise InternalError(
                    f"{path} has schema {version}; this pyro knows {SCHEMA_VERSION}.",
                    hint="Use the pyro that wrote it to delete its workspaces, then remove the file.",
                    code="unknown_schema",
                )
            path.chmod(0o600)
            return db

        db = await asyncio.get_running_loop().run_in_executor(executor, connect)
        return cls(db, executor)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def close(self) -> None:
        await self._run(self._db.close)
        self._executor.shutdown(wait=False)

    # -- workspaces

    async def workspaces(self) -> list[WorkspaceRow]:
        rows = await self._run(lambda: self._db.execute("SELECT record FROM workspaces").fetchall())
        return [WorkspaceRow(**_known(WorkspaceRow, json.loads(record))) for (record,) in rows]

    async def put_workspace(self, row: WorkspaceRow) -> None:
        """Insert or replace.

        Raises:
            Conflict: another workspace has the name.
        """

        def work() -> None:
            self._db.execute(
                "INSERT INTO workspaces (id, name, state, machine_id, record) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET name = excluded.name, state = excluded.state, "
                "machine_id = excluded.machine_id, record = excluded.record",
                (row.id, row.name, row.state, row.machine_id, json.dumps(asdict(row))),
            )

        try:
            await self._run(work)
        except sqlite3.IntegrityError:
            raise Conflict(
                f"Another workspace is named {row.name!r}; names are unique.",
                hint="Choose another name, or delete that workspace.",
                code="name_in_use",
            ) from None

    async def remove_workspace(self, workspace_id: str) -> None:
        """Remove the workspace with its commands and events."""
        await self._run(lambda: self._db.execute("DELETE FROM workspaces WHERE id = ?", (workspace_id,)))

    # -- commands

    async def put_command(self, row: CommandRow, number: int) -> None:
        """Insert or replace; nothing when the workspace was deleted in the meantime."""
        await self._run(
            lambda: self._db.execute(
                "INSERT INTO commands (handle, workspace_id, number, record) "
                "SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = ?) "
                "ON CONFLICT (handle) DO UPDATE SET record = excluded.record",
                (row.handle, row.workspace_id, number, json.dumps(asdict(row)), row.workspace_id),
            )
        )

    async def commands(self, workspace_id: str) -> list[CommandRow]:
        rows = await self._run(
            lambda: self._db.execute(
                "SELECT record FROM commands WHERE workspace_id = ? ORDER BY number", (workspace_id,)
            ).fetchall()
        )
        return [CommandRow(**_known(CommandRow, json.loads(record))) for (record,) in rows]

    # -- events

    async def begin_event(self, workspace_id: str, face: str, operation: str, summary: str) -> int:
        def work() -> int:
            cursor = self._db.execute(
                "INSERT INTO events (workspace_id, at, face, operation, outcome, summary) "
                "SELECT ?, ?, ?, ?, 'running', ? WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = ?)",
                (workspace_id, now(), face, operation, summary, workspace_id),
            )
            return int(cursor.lastrowid or 0)

        return await self._run(work)

    async def end_event(self, sequence: int, outcome: str, duration_seconds: float, error: str | None) -> None:
        await self._run(
            lambda: self._db.execute(
                "UPDATE events SET outcome = ?, duration_seconds = ?, error = ? WHERE sequence = ?",
                (outcome, round(duration_seconds, 4), error, sequence),
            )
        )

    async def events(self, workspace_id: str, limit: int) -> list[EventRow]:
        """The newest `limit` events, oldest first."""
        rows = await self._run(
            lambda: self._db.execute(
                "SELECT sequence, workspace_id, at, face, operation, outcome, duration_seconds, summary, error "
                "FROM events WHERE workspace_id = ? ORDER BY sequence DESC LIMIT ?",
                (workspace_id, limit),
            ).fetchall()
        )
        return [EventRow(*row) for row in reversed(rows)]

    async def interrupt_events(self, cause: str) -> None:
        """What an earlier daemon had begun and not ended."""
        await self._run(
            lambda: self._db.execute(
                "UPDATE events SET outcome = 'error', error = ? WHERE outcome = 'running'", (cause,)
            )
        )

    # -- facts

    async def fact(self, key: str) -> Any | None:
        row = await self._run(lambda: self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone())
        return json.loads(row[0]) if row else None

    async def put_fact(self, key: str, value: Any) -> None:
        await self._run(
            lambda: self._db.execute(
                "INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, json.dumps(value)),
            )
        )
