"""What outlives the daemon: workspaces, commands, events and verdicts, in one SQLite database (WAL).

One thread owns the connection; the event loop only waits for it. Writes are in the order of the calls. A
commit is not flushed to the disk at once (`synchronous=NORMAL`): a killed process loses nothing, a power cut
may lose the last moments, which then describe machines that are gone anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pyro_mcp.errors import Conflict
from pyro_mcp.host_errors import of_this_machine
from pyro_mcp.reserve import Reserve
from pyro_mcp.spans import span
from pyro_mcp.store.rows import CommandRow, DepartedRow, EventRow, ServiceRow, SnapshotRow, WorkspaceRow, now
from pyro_mcp.store.schema import migrate
from pyro_mcp.visible import storable

_NEXT_CHANGE = "(SELECT COALESCE(MAX(change), 0) + 1 FROM events)"
"""Counts every beginning and every end of an event, so that who follows sees both."""
EVENTS_KEPT = 20_000
"""Of each workspace: a guest that opens connections without end must not fill the disk."""
DEPARTED_KEPT = 200
T = TypeVar("T")
Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


def _known(cls: type[Any], record: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in record.items() if key in names}


def _connected(path: Path, *, index_in_memory: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if index_in_memory:
            db.execute("PRAGMA locking_mode=EXCLUSIVE")
        migrate(db, path)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA foreign_keys=ON")
        path.chmod(0o600)
    except BaseException:
        db.close()
        raise
    return db


def _attempt(work: Callable[[], T], reserve: Reserve | None, directory: Path) -> T:
    """Do it, with the reserve given up if the disk is full; what this computer refuses comes out in words."""
    try:
        try:
            return work()
        except sqlite3.OperationalError:
            if reserve is None or not reserve.give_up_when_low():
                raise
            return work()
    except sqlite3.Error as error:
        found = of_this_machine(error, directory)
        if found is None:
            raise
        raise found from error


def _tell(outcomes: list[Outcome]) -> None:
    for done, result, error in outcomes:
        if done.done():
            continue  # whoever waited has left
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)


def _unique_name(row: WorkspaceRow) -> str | None:
    """What no two workspaces may have: names clash within a project only. A name holds no space."""
    return f"{row.name} {row.project}" if row.name is not None and row.project is not None else row.name


class Store:
    """Open with `await Store.open(path)`; close with `close()`."""

    def __init__(
        self, connection: sqlite3.Connection, executor: ThreadPoolExecutor, reserve: Reserve | None, directory: Path
    ) -> None:
        self._db = connection
        self._executor = executor
        self._reserve = reserve
        self._directory = directory
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    @classmethod
    async def open(cls, path: Path, reserve: Reserve | None = None) -> Store:
        """The database at `path`, brought to the present schema. `reserve` is given up when its disk is full.

        Raises:
            Conflict: a newer pyro wrote it.
            HostError: it cannot be written, or is damaged.
        """
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")

        def connect() -> sqlite3.Connection:
            try:
                return _connected(path)
            except sqlite3.OperationalError:
                if reserve is not None and reserve.give_up_when_low():
                    with contextlib.suppress(sqlite3.OperationalError):
                        return _connected(path)
                # Not even room for the index of the log, which is then kept in memory: all can be read.
                return _connected(path, index_in_memory=True)

        attempt = functools.partial(_attempt, connect, reserve, path.parent)
        return cls(await asyncio.get_running_loop().run_in_executor(executor, attempt), executor, reserve, path.parent)

    async def _run(self, work: Callable[[], T]) -> T:
        """Do it in the store's thread, in its turn. What is asked for in one turn of the event loop goes over together:
        waking a thread, and it the loop, costs more than most of the writes."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, done))
        if len(self._waiting) == 1:
            loop.call_soon(self._hand_over, loop)
        with span("store"):
            return await done

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        together, self._waiting = self._waiting, []
        try:
            self._executor.submit(self._do, together, loop)
        except RuntimeError as error:  # the store is closed
            _tell([(done, None, error) for _, done in together])

    def _do(
        self, together: list[tuple[Callable[[], Any], asyncio.Future[Any]]], loop: asyncio.AbstractEventLoop
    ) -> None:
        outcomes: list[Outcome] = []
        for work, done in together:
            if done.cancelled():
                continue
            try:
                outcomes.append((done, _attempt(work, self._reserve, self._directory), None))
            except BaseException as error:
                outcomes.append((done, None, error))
        with contextlib.suppress(RuntimeError):  # the loop has ended; nobody waits
            loop.call_soon_threadsafe(_tell, outcomes)

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
                (row.id, _unique_name(row), row.state, row.machine_id, json.dumps(asdict(row))),
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

    # -- snapshots

    async def put_snapshot(self, row: SnapshotRow) -> None:
        await self._run(
            lambda: self._db.execute(
                "INSERT OR REPLACE INTO snapshots (workspace_id, name, record) VALUES (?, ?, ?)",
                (row.workspace_id, row.name, json.dumps(asdict(row))),
            )
        )

    async def snapshots(self, workspace_id: str) -> list[SnapshotRow]:
        """Oldest first."""
        rows = await self._run(
            lambda: self._db.execute("SELECT record FROM snapshots WHERE workspace_id = ?", (workspace_id,)).fetchall()
        )
        found = [SnapshotRow(**_known(SnapshotRow, json.loads(record))) for (record,) in rows]
        return sorted(found, key=lambda row: row.created_at)

    async def remove_snapshot(self, workspace_id: str, name: str) -> None:
        await self._run(
            lambda: self._db.execute("DELETE FROM snapshots WHERE workspace_id = ? AND name = ?", (workspace_id, name))
        )

    # -- services

    async def put_service(self, row: ServiceRow) -> None:
        """Insert or replace; nothing when the workspace was deleted in the meantime."""
        await self._run(
            lambda: self._db.execute(
                "INSERT OR REPLACE INTO services (workspace_id, name, record) "
                "SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = ?)",
                (row.workspace_id, row.name, json.dumps(asdict(row)), row.workspace_id),
            )
        )

    async def services(self, workspace_id: str) -> list[ServiceRow]:
        rows = await self._run(
            lambda: self._db.execute("SELECT record FROM services WHERE workspace_id = ?", (workspace_id,)).fetchall()
        )
        return [ServiceRow(**_known(ServiceRow, json.loads(record))) for (record,) in rows]

    async def remove_service(self, workspace_id: str, name: str) -> None:
        await self._run(
            lambda: self._db.execute("DELETE FROM services WHERE workspace_id = ? AND name = ?", (workspace_id, name))
        )

    # -- workspaces that are gone

    async def remember_departed(self, row: DepartedRow) -> None:
        def work() -> None:
            self._db.execute(
                "INSERT OR REPLACE INTO departed (id, name, at, cause) VALUES (?, ?, ?, ?)",
                (row.id, row.name, row.at, storable(row.cause)),
            )
            self._db.execute(
                "DELETE FROM departed WHERE id NOT IN (SELECT id FROM departed ORDER BY at DESC LIMIT ?)",
                (DEPARTED_KEPT,),
            )

        await self._run(work)

    async def departed(self) -> list[DepartedRow]:
        """Newest first."""
        rows = await self._run(
            lambda: self._db.execute("SELECT id, name, at, cause FROM departed ORDER BY at DESC").fetchall()
        )
        return [DepartedRow(*row) for row in rows]

    # -- events

    async def begin_event(self, workspace_id: str, face: str, operation: str, summary: str) -> int:
        def work() -> int:
            cursor = self._db.execute(
                "INSERT INTO events (workspace_id, at, face, operation, outcome, summary, change) "
                f"SELECT ?, ?, ?, ?, 'running', ?, {_NEXT_CHANGE} WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = ?)",
                (workspace_id, now(), face, operation, storable(summary), workspace_id),
            )
            return int(cursor.lastrowid or 0)

        return await self._run(work)

    async def end_event(self, sequence: int, outcome: str, duration_seconds: float, error: str | None) -> None:
        await self._run(
            lambda: self._db.execute(
                "UPDATE events SET outcome = ?, duration_seconds = ?, error = ?, "
                f"change = {_NEXT_CHANGE} WHERE sequence = ?",
                (outcome, round(duration_seconds, 4), error and storable(error), sequence),
            )
        )

    async def add_event(
        self,
        workspace_id: str,
        face: str,
        operation: str,
        outcome: str,
        *,
        summary: str = "",
        error: str | None = None,
        seconds: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        """An event that begins and ends at once."""

        def work() -> None:
            cursor = self._db.execute(
                "INSERT INTO events "
                "(workspace_id, at, face, operation, outcome, duration_seconds, summary, error, details, change) "
                f"SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, {_NEXT_CHANGE} "
                "WHERE EXISTS (SELECT 1 FROM workspaces WHERE id = ?)",
                (
                    *(workspace_id, now(), face, operation, outcome, seconds),
                    *(storable(summary), error and storable(error)),
                    json.dumps(details) if details else None,
                    workspace_id,
                ),
            )
            if int(cursor.lastrowid or 0) % 500 == 0:
                self._db.execute(
                    "DELETE FROM events WHERE workspace_id = ? AND sequence <= (SELECT sequence FROM events "
                    "WHERE workspace_id = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                    (workspace_id, workspace_id, EVENTS_KEPT),
                )

        await self._run(work)

    async def events(self, workspace_id: str, limit: int, after: int | None = None) -> list[EventRow]:
        """The newest `limit` events, oldest first; with `after`, the oldest ones that changed since that change."""
        where = "workspace_id = ? AND change > ?"
        return await self._events(where, (workspace_id, after or 0), limit, newest=after is None)

    async def feed(self, limit: int, after: int | None = None) -> list[EventRow]:
        """As `events`, of all workspaces."""
        return await self._events("change > ?", (after or 0,), limit, newest=after is None)

    async def latest_change(self) -> int:
        """The change of an event that began or ended last."""
        row = await self._run(lambda: self._db.execute("SELECT MAX(change) FROM events").fetchone())
        return int(row[0] or 0)

    async def _events(self, where: str, values: tuple[Any, ...], limit: int, *, newest: bool) -> list[EventRow]:
        columns = (
            "sequence, workspace_id, at, face, operation, outcome, duration_seconds, summary, error, change, details"
        )
        order = "sequence DESC" if newest else "change"
        query = f"SELECT {columns} FROM events WHERE {where} ORDER BY {order} LIMIT ?"

        def work() -> list[Any]:
            return self._db.execute(query, (*values, limit)).fetchall()

        rows = await self._run(work)
        ordered = reversed(rows) if newest else iter(rows)
        return [replace(EventRow(*row[:-1]), details=json.loads(row[-1]) if row[-1] else None) for row in ordered]

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
