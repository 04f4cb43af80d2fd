"""The database's schema, as numbered steps forward; there is no way back.

A new database takes all of the steps, an older one those that it lacks, all in one transaction. A step that was
released is never changed: what it made is in the databases of users.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pyro_mcp.errors import Conflict

_TO_1 = """
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
_TO_2 = """
ALTER TABLE events ADD COLUMN details TEXT;
CREATE TABLE snapshots (
    workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE, name TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (workspace_id, name)
) STRICT;
CREATE TABLE services (
    workspace_id TEXT NOT NULL REFERENCES workspaces(id) ON DELETE CASCADE, name TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (workspace_id, name)
) STRICT;
CREATE TABLE departed (
    id TEXT PRIMARY KEY, name TEXT, at TEXT NOT NULL, cause TEXT NOT NULL
) STRICT;
"""
_TO_3 = """
ALTER TABLE events ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
UPDATE events SET change = sequence;
CREATE INDEX events_changed ON events (change);
"""
STEPS = (_TO_1, _TO_2, _TO_3)
"""Each brings a database from the version that is its index to the next one."""
SCHEMA_VERSION = len(STEPS)


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the database to this pyro's version; all of the steps, or none.

    Raises:
        Conflict: a newer pyro wrote it.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise Conflict(
            f"{path} was written by a newer pyro (schema {version}; this one knows {SCHEMA_VERSION}). "
            "Nothing was changed.",
            hint="Use the newer pyro, which owns these workspaces, or give this one its own directory with PYRO_HOME.",
            code="newer_schema",
        )
    if version < SCHEMA_VERSION:
        steps = "".join(STEPS[version:])
        try:
            db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
