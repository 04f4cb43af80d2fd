"""What a handler knows of the call it answers: who asks, and where its events go."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pyro_mcp.errors import Conflict

Emit = Callable[[dict[str, Any]], Awaitable[None]]

PATIENCE_SECONDS = float(os.environ.get("PYRO_PATIENCE_SECONDS", 38))
"""How long a call of a chat host waits for what has to be fetched first, all of it, before it says so: no call may last
50 s, and after this a machine is made and the daemon may have had to start before."""


def being_set_up(what: str, doing: str) -> Conflict:
    """What a call of a chat host is told at every stage of the first time: it goes on, so the same call again."""
    return Conflict(
        f"{what} is being fetched for the first time ({doing}). It goes on by itself.",
        hint="Make the same call again now: it waits for the rest, and answers within 50 s each time.",
        code="environment_being_built",
    )


@dataclass
class Call:
    """One call of an operation."""

    face: str
    client: str
    scope: str | None = None
    """The project whose workspaces the caller may see; None: all."""
    emit: Emit | None = None
    """None when the caller does not listen to events."""
    tell: Emit | None = None
    """Where a word goes that a caller is told unasked; those who do not know it pass over it."""
    wants_output: bool = True
    """The caller listens to a command's output, too."""
    begun: float = field(default_factory=time.monotonic)

    @property
    def patience(self) -> float | None:
        """Seconds that are left to wait for what has to be fetched; None: without end."""
        return max(0.0, self.begun + PATIENCE_SECONDS - time.monotonic()) if self.face == "mcp" else None

    async def progress(self, text: str, fraction: float | None = None) -> None:
        if self.emit is not None:
            await self.emit({"type": "progress", "text": text, "fraction": fraction})

    async def started(self, handle: str, workspace: str) -> None:
        if self.emit is not None:
            await self.emit({"type": "started", "handle": handle, "workspace": workspace})

    async def note(self, text: str) -> None:
        if self.tell is not None:
            await self.tell({"type": "note", "text": text})

    @property
    def listens_to_output(self) -> bool:
        return self.emit is not None and self.wants_output

    async def output(self, stream: str, data: bytes) -> None:
        if self.emit is not None and self.wants_output:
            await self.emit({"type": "output", "stream": stream, "data": base64.b64encode(data).decode()})
