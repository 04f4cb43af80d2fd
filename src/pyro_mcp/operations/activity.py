"""The operation for those who look on: a page, `pyro watch`, a program of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.operations.field import Field

if TYPE_CHECKING:
    from pyro_mcp.models import Activity


class ActivityOperations(Operations):
    @operation(cli="activity", read_only=True, idempotent=True)
    def follow_activity(
        self,
        *,
        after: Annotated[
            str | None, Field(description="Only what changed since: the cursor of an earlier answer.", max_length=64)
        ] = None,
        wait_seconds: Annotated[
            float, Field(description="Seconds to wait until something changes, 0 to 50.", ge=0, le=50)
        ] = 0,
        limit: Annotated[int, Field(description="The newest events, 0 to 1000.", ge=0, le=1000)] = 50,
    ) -> Activity:
        """Show what goes on in all workspaces: what runs, its last line, what was done, what is asked.

        Without `after`, all workspaces and the newest events; with it, what changed since. It leaves no trace in any
        history and keeps no workspace in use. A cursor of an earlier daemon gives everything again.
        """
