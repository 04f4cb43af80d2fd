"""What all records share.

All are frozen. Times are ISO 8601 in UTC with milliseconds; sizes are bytes; durations are seconds.
Models are built on first use (`defer_build`), which keeps the command line quick to start.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Workspace, snapshot and service names, and label keys (CONTRACT, "Names, defaults and bounds")."""

NetworkPolicy = Literal["off", "egress", "egress+published-ports"]
WorkspaceState = Literal["creating", "running", "stopped", "lost", "deleting"]
ExecStatus = Literal["running", "exited", "timed_out", "cancelled", "suspended", "lost"]
ServiceState = Literal["starting", "running", "failed", "stopped", "exited", "suspended"]
EngineName = Literal["auto", "firecracker", "gvisor"]


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields, built on first use."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
