"""What crosses between two computers of one user, and no face."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pyro_mcp.models.base import Record
from pyro_mcp.models.files import LeftOut


class Changes(Record):
    """What a landing on another computer is made of, beside the changed files themselves."""

    workspace: str
    name: str | None
    seed: dict[str, Any]
    landed: list[str]
    """Commits of earlier, plain landings on that branch, by `BRANCH COMMIT`."""
    left_out: list[LeftOut] = Field(default_factory=list)
    left_out_files: int = 0
