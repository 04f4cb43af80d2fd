"""What a relay asks of the daemon on another computer, and no person: halves of what ends at the user's files.

They are served beside the operations, and are in no registry.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from pyro_mcp.definitions.operation import Operation
from pyro_mcp.models import LeftOut, Workspace
from pyro_mcp.operations.fields import WorkspaceRef


class Changes(BaseModel):
    """What a landing on another computer is made of, beside the changed files themselves."""

    workspace: str
    name: str | None
    seed: dict[str, Any]
    landed: list[str]
    """Commits of earlier, plain landings on that branch, by `BRANCH COMMIT`."""
    left_out: list[LeftOut] = Field(default_factory=list)
    left_out_files: int = 0


def tell_changes(self: Any, workspace: WorkspaceRef, *, named: bool, include_ignored: bool = False) -> Changes:
    """What a landing would commit, one event for each changed file; `named`: a repository was named for it."""
    raise NotImplementedError


def record_landing(
    self: Any,
    workspace: WorkspaceRef,
    *,
    branch: str,
    commit: Annotated[str, Field(description="Of a plain landing; empty else.")],
) -> Workspace:
    """Remember that the changes were committed on the other computer."""
    raise NotImplementedError


RELAYED = {each.name: each for each in (Operation.defined(f, cli=()) for f in (tell_changes, record_landing))}
