"""What all records share.

All are frozen. Times are datetimes in UTC; sizes are bytes; durations are seconds.
Models are built on first use (`defer_build`), which keeps the command line quick to start.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, PlainSerializer


def iso(moment: datetime) -> str:
    """A moment as it is written everywhere: ISO 8601 in UTC, with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_of(seconds: float) -> str:
    """As `iso`, of seconds since 1970."""
    return iso(datetime.fromtimestamp(seconds, UTC))


Moment = Annotated[datetime, AwareDatetime, PlainSerializer(iso, return_type=str, when_used="json")]
"""A time with its zone, which is UTC; as JSON text such as 2026-11-27T04:06:36.123Z."""


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields, built on first use."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
