"""A first command ahead of the first: what every command needs is in memory by the time somebody waits for one."""

from __future__ import annotations

import asyncio
import contextlib

from pyro_mcp.errors import PyroError
from pyro_mcp.guest.client import Guest

ARGVS = (["/bin/bash", "-c", ":"], ["/bin/sh", "-c", ":"])
"""What nearly every command starts with; an image may have only the second, or neither. It needs no workspace, and
leaves none of itself."""
WARMING_SECONDS = 20.0


async def warm(guest: Guest) -> None:
    """Run a command that does nothing, and have the agent forget it. A machine that cannot is only slower at first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WARMING_SECONDS):
            for argv in ARGVS:
                with contextlib.suppress(PyroError):
                    process_id, _ = await guest.run_process({"argv": argv, "cwd": "/", "stdin": "none"})
                    await guest.call("DELETE", f"/v1/processes/{process_id}")
                    return
