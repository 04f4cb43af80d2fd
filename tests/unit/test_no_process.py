"""tests/unit/conftest.py holds."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable

import pytest


async def _by_asyncio() -> None:
    await asyncio.create_subprocess_exec("true")


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run(["true"]),
        lambda: asyncio.run(_by_asyncio()),
        lambda: os.system("true"),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        os.fork,
    ],
)
def test_no_test_here_starts_a_process(start: Callable[[], object]) -> None:
    with pytest.raises(AssertionError, match="starts a process"):
        start()
