"""A workspace whose machine is lost, or whose work is to be had without its processes: its files as at its last
checkpoint, in a fresh machine, and in words what is not there any more."""

from __future__ import annotations

from collections.abc import Awaitable

from pyro_mcp.errors import PyroError
from pyro_mcp.files.checkpoints import Checkpoint
from pyro_mcp.models.base import iso_of
from pyro_mcp.paths import show
from pyro_mcp.workspaces.workspace import Workspace

NAMED = 20


async def brought_back(workspace: Workspace, last: Checkpoint, reset: Awaitable[None]) -> list[str]:
    """Reset to the baseline, then put the files back, all of them or none. Gives what is to be said of it."""
    await reset
    try:
        changed, left = await workspace.keeper.bring_back(last.number)
    except PyroError as error:
        error.message = f"The machine is fresh, at its baseline, and the files could not be put back: {error.message}"
        error.hint = f"Ask for it again before anything else: `pyro workspace reset {workspace.id} --snapshot last`."
        raise
    notes = [
        f"A fresh machine, with {changed} files as at checkpoint {last.number}, {iso_of(last.at)[:19]} ({last.what}). "
        "Missing: what was changed after that, processes and memory, what was installed outside /workspace, commits "
        "and other changes in .git, what tools make (node_modules, a venv), files that hold a secret."
    ]
    if left:
        named = ", ".join(show(path) for path in left[:NAMED])
        notes.append(f"Also missing, because they are not kept ({len(left)}): {named}.")
    return notes
