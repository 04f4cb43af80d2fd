"""The operation for those who look on: a page, `pyro watch`, a program of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.operations.fields import WorkspaceRef

if TYPE_CHECKING:
    from pyro_mcp.models import Activity, Noted


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

    @operation(
        cli="workspace note",
        positional=("workspace", "text"),
        raises={"Conflict": "So many notes wait already that the agent has not been told."},
    )
    def note_workspace(
        self,
        workspace: WorkspaceRef,
        text: Annotated[str, Field(description="What to tell it.", min_length=1, max_length=8192)],
        *,
        path: Annotated[str | None, Field(description="The file that it is about.", max_length=4096)] = None,
        line: Annotated[int | None, Field(description="The line of it, from 1.", ge=1, le=2**40)] = None,
    ) -> Noted:
        """Tell the agent that works in a workspace something: its next tool call says it as your note.

        For example: `pyro note fix-add "use a set here" --path calc.py --line 12`. Only an agent over MCP gets it.
        """
