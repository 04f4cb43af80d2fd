"""The first call on a machine that has nothing yet: no engine's program, no environment, no daemon."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from pyro_mcp.client.launch import accepts
from tests.support import Installation, wait_until

HOST_SECONDS = 60
"""What Codex and OpenCode give a tool."""
SLOW = """#!/bin/sh
# The real one, once the gate is open: a mirror that answers slowly.
echo "$$" >> {asked}
until [ -e {gate} ]; do [ -e {asked} ] || exit 1; sleep 0.1; done  # not longer than the test
exec {real} "$@"
"""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[tuple[Installation, dict[str, str]]]:
    """Nothing is there, and what would fetch it waits at a gate."""
    real = shutil.which("mmdebstrap", path=os.environ["PATH"] + ":/usr/bin")
    if real is None:
        pytest.skip("there is no mmdebstrap here")
    with Installation() as installation:
        tools, cache = installation.root / "tools", installation.root / "cache"
        tools.mkdir()
        slow = tools / "mmdebstrap"
        slow.write_text(SLOW.format(asked=installation.root / "asked", gate=installation.root / "gate", real=real))
        slow.chmod(0o755)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYRO_")},
            **installation.environment,
            "XDG_CACHE_HOME": str(cache),
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYRO_PATIENCE_SECONDS": "3",
        }
        yield installation, environment
        installation.stop_daemon()


def test_it_begins_before_anyone_asks_and_each_call_says_the_same(
    empty: tuple[Installation, dict[str, str]], tmp_path: Path
) -> None:
    installation, environment = empty
    asked = installation.root / "asked"
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async def story() -> None:
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "pyro_mcp", "mcp", "serve"], env=environment, cwd=str(tmp_path)
        )
        async with stdio_client(parameters) as (reading, writing), ClientSession(reading, writing) as session:
            await session.initialize()
            with anyio.fail_after(40):
                while not asked.exists():
                    await anyio.sleep(0.05)
            told: list[str] = []
            calls: tuple[tuple[str, dict[str, Any]], ...] = (
                ("workspace_create", {}),
                ("workspace_create", {"environment": "debian:12"}),
                ("vm_run", {"command": "true"}),
            )
            for tool, arguments in calls:
                begun = time.monotonic()
                answer: Any = await session.call_tool(
                    tool, arguments, read_timeout_seconds=HOST_SECONDS, progress_callback=hear
                )
                assert time.monotonic() - begun < 50
                assert answer.is_error
                told.append(answer.content[0].text)
            for text in told:
                assert "fetched for the first time" in text and "goes on by itself" in text, text
                assert "Make the same call again now" in text and text.endswith("[environment_being_built]"), text
            listed: Any = await session.call_tool("workspace_list", {})
            assert not listed.is_error and not listed.structured_content.get("workspaces")

    anyio.run(story)
    assert any("runsc" in word or "debian:12" in word for word in heard), heard
    # The host is gone; what was begun goes on in the daemon, once for all who asked.
    assert accepts(installation.locations)
    waiting = asked.read_text().split()
    assert len(waiting) == len(set(waiting)) <= 2
    wait_until(lambda: all(Path(f"/proc/{pid}").exists() for pid in waiting))
