"""`pyro demo` plays to its end on real input and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pyro_mcp.sdk import Pyro


def test_the_demo_holds_what_it_claims_and_leaves_no_workspace(pyro: Pyro, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyro_mcp", "demo", "--keep-patch", str(tmp_path / "kept.patch")]
    played = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "180 passed" in played.stdout
    assert "181 passed" in played.stdout
    assert "test_drop_regression" in (tmp_path / "kept.patch").read_text()
    assert pyro.list_workspaces().workspaces == []
