"""A user's own script against the installed package, as a strict type checker sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1].joinpath("user_script.py").read_text()

WRONG = {
    "Pyro().exec_workspace(3, 'true')": "arg-type",
    "Pyro().status_workspace('w').exec()": "call-arg",
    "Pyro().status_workspace('w').fork('3')": "arg-type",
    "Pyro().status_workspace('w').created_at.strip()": "attr-defined",
}


def _mypy(script: Path, text: str) -> subprocess.CompletedProcess[str]:
    script.write_text(text)
    argv = [sys.executable, "-m", "mypy", "--strict", str(script)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300)


def test_a_users_script_is_clean_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    done = _mypy(tmp_path / "script.py", SCRIPT)
    assert done.returncode == 0, done.stdout
    done = _mypy(tmp_path / "script.py", SCRIPT + "\n" + "\n".join(WRONG) + "\n")
    said = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.rpartition("[")[2].rstrip("]") for line in said] == list(WRONG.values()), done.stdout
