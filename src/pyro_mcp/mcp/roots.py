"""The project directory that the host names by MCP roots: a hint, asked for once and never waited on for long.

Only over standard input and output: there the host runs as the user, on the same machine. The directory that the host
names becomes the project; the one in which the server was started stays within reach.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mcp_types as types

from pyro_mcp.mcp.toolbox import Toolbox

log = logging.getLogger(__name__)
ASK_SECONDS = 3.0


def folder(uri: str) -> Path | None:
    """The directory that a root names; None where it names none of this computer."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        return None
    path = unquote(parts.path)
    return None if "\0" in path else Path(path)


class Roots:
    """What one host says of its roots."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._asked = False
        self._lock = asyncio.Lock()

    async def changed(self, context: Any, params: Any) -> None:
        self._asked = False

    async def ask(self, context: Any) -> None:
        """Ask once, where the host has roots and can be asked at all; without an answer all stays as it is."""
        async with self._lock:
            offered = context.session.client_capabilities
            if self._asked or offered is None or offered.roots is None or not context.session.can_send_request:
                return
            self._asked = True
            try:
                async with asyncio.timeout(ASK_SECONDS):
                    said = await context.session.send_request(types.ListRootsRequest(), types.ListRootsResult)
            except Exception as error:
                log.info("the host did not say its roots: %s", error)
                return
            folders = [found for root in said.roots if (found := folder(str(root.uri))) is not None]
            self._toolbox.take_roots(folders)
