"""A word on the user's desktop, where there is one."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from asyncio.subprocess import DEVNULL

log = logging.getLogger(__name__)
MILLISECONDS = 60_000
PATIENCE_SECONDS = 10.0


async def tell_desktop(title: str, text: str) -> None:
    """Show a notification; without a desktop, or where it fails, nothing happens.

    Both texts are of names that were checked: nothing in them is markup.
    """
    program = shutil.which("notify-send") if os.environ.get("DBUS_SESSION_BUS_ADDRESS") else None
    if program is None:
        return
    try:
        words = (program, "--app-name=pyro", f"--expire-time={MILLISECONDS}", "--", title, text)
        process = await asyncio.create_subprocess_exec(*words, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    except (OSError, TimeoutError) as error:
        log.info("no notification: %s", error)
