"""What outlives the daemon: rows, the schema that holds them, and the queries."""

from pyro_mcp.store.rows import CommandRow, DepartedRow, EventRow, ServiceRow, SnapshotRow, WorkspaceRow, now
from pyro_mcp.store.store import Store

__all__ = [
    "CommandRow",
    "DepartedRow",
    "EventRow",
    "ServiceRow",
    "SnapshotRow",
    "Store",
    "WorkspaceRow",
    "now",
]
