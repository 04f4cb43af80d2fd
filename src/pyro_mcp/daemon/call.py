"""What a handler knows of the call it answers: who asks, and where its events go."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Emit = Callable[[dict[str, Any]], Awaitable[None]]


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
