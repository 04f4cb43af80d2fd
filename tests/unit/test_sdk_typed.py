"""A user's own script against the installed package, as a strict type checker sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from pyro_mcp import AsyncPyro, ExecResult, NotFound, Pyro, Workspace

def sync() -> int | None:
    with Pyro() as pyro, pyro.workspace("debian:12", seed_path=".") as made:
        ran: ExecResult = pyro.exec_workspace(made, "make test")
        pyro.write_workspace_file(made, "a", "text")
        pyro.write_workspace_file(made.id, "a", "text")
        other: Workspace = pyro.reset_workspace(made)
        try:
            pyro.delete_workspace(other)
        except NotFound:
            pass
        return ran.exit_code

async def later() -> str:
    async with AsyncPyro() as pyro:
        made = await pyro.create_workspace("debian:12")
        ran = await pyro.exec_workspace(made, "make test")
        await pyro.delete_workspace(made)
        return ran.stdout
"""


def _mypy(script: Path, text: str) -> subprocess.CompletedProcess[str]:
    script.write_text(text)
    argv = [sys.executable, "-m", "mypy", "--strict", str(script)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300)


def test_a_users_script_is_clean_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    done = _mypy(tmp_path / "script.py", SCRIPT)
    assert done.returncode == 0, done.stdout
    done = _mypy(tmp_path / "script.py", SCRIPT + "\nPyro().exec_workspace(3, 'true')\n")
    assert "arg-type" in done.stdout
