"""What all records share.

All are frozen. Times are ISO 8601 in UTC with milliseconds; sizes are bytes; durations are seconds.
Models are built on first use (`defer_build`), which keeps the command line quick to start.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields, built on first use."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
