"""What all records share.

All are frozen. Times are datetimes in UTC; sizes are bytes; durations are seconds.
Models are built on first use (`defer_build`), which keeps the command line quick to start.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Workspace, snapshot and service names, and label keys (CONTRACT, "Names, defaults and bounds")."""

NetworkPolicy = Literal["off", "egress", "egress+published-ports"]
WorkspaceState = Literal["creating", "running", "stopped", "lost", "deleting"]
ExecStatus = Literal["running", "exited", "timed_out", "cancelled", "suspended", "lost"]
ServiceState = Literal["starting", "running", "failed", "stopped", "exited", "suspended"]
EngineName = Literal["auto", "firecracker", "gvisor"]


def iso(moment: datetime) -> str:
    """A moment as it is written everywhere: ISO 8601 in UTC, with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[datetime, AwareDatetime, PlainSerializer(iso, return_type=str, when_used="json")]
"""A time with its zone, which is UTC; as JSON text such as 2026-11-27T04:06:36.123Z."""


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields, built on first use."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
