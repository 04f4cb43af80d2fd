"""`pyro up` and `pyro down` in a project, with an empty home: each step once, repeated, killed in between, undone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.sdk import Pyro
from tests.faces.test_attach import at_terminal
from tests.faces.test_cli import pyro_command

MINE = '# mine\nmodel = "gpt" # good\n\n[mcp_servers.other]\ncommand = "x"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, with a Codex on the PATH; `up` looks for the program and edits its file."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "codex").write_text("#!/bin/sh\necho codex 0\n")
    (home / "bin" / "codex").chmod(0o755)
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "OPENCODE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{home / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin")
    return home


def told(*words: str, cwd: Path, status: int = 0) -> dict[str, Any]:
    done = pyro_command(*words, "--json", cwd=cwd)
    assert done.returncode == status, (done.stdout, done.stderr)
    said: dict[str, Any] = json.loads(done.stdout)
    if "steps" in said:
        said["outcomes"] = [(step["step"], step["outcome"]) for step in said["steps"]]
    return said


def killed_after(lines: int, *words: str, cwd: Path) -> None:
    """Run it until it has said so many lines, and kill it there and then."""
    process = subprocess.Popen([sys.executable, "-m", "pyro_mcp", *words], cwd=cwd, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_project_goes_up_and_down(pyro: Pyro, project: Path, home: Path) -> None:
    config = home / ".codex" / "config.toml"
    # Nobody can be asked, so nothing of the user's is changed; all else is made ready.
    said = told("up", cwd=project)
    assert said["outcomes"] == [
        ("computer", "already"),
        ("codex", "open"),
        ("codex", "skipped"),
        ("workspace", "done"),
    ]
    assert said["next"] == "pyro up --yes" and not config.exists()
    assert "+[mcp_servers.pyro]" in said["steps"][1]["more"][0]
    (made,) = pyro.list_workspaces().workspaces
    assert (made.name, made.state) == ("project", "running")
    said = told("up", "--yes", cwd=project)
    assert said["outcomes"] == [("computer", "already"), ("codex", "done"), ("workspace", "already")]
    assert said["next"] == "codex"
    written = config.read_text()
    pyro.stop_workspace(made.id)
    said = told("up", cwd=project / "src")  # below its top it is the same project
    assert said["outcomes"] == [("computer", "already"), ("codex", "already"), ("workspace", "done")]
    assert said["next"] == f"cd {project} && codex" and config.read_text() == written

    # What is nowhere else is named, and nothing is deleted; what a branch has may go.
    pyro.write_workspace_file(made.id, "new\u202e.txt", "one\n")
    pyro.edit_workspace_file(made.id, "src/calc.py", "a + b", "b + a")
    error = told("down", cwd=project, status=1)["error"]
    assert error["code"] == "not_landed" and "project: 2 changed files" in error["message"]
    shown = pyro_command("down", cwd=project)
    assert shown.returncode == 1 and "src/calc.py" in shown.stderr and "\u202e" not in shown.stderr
    pyro.stop_workspace(made.id)
    assert "2 changed files" in told("down", cwd=project, status=1)["error"]["message"]
    assert [w.state for w in pyro.list_workspaces().workspaces] == ["stopped"] and config.read_text() == written
    pyro.start_workspace(made.id)
    pyro.land_workspace(made.id, branch="kept")
    pyro.write_workspace_file(made.id, "later", "two\n")
    assert "3 changed files" in told("down", cwd=project, status=1)["error"]["message"]
    pyro.land_workspace(made.id, branch="kept")
    said = told("down", cwd=project)
    assert ("workspace", "done") in said["outcomes"] and ("codex", "done") in said["outcomes"]
    assert not config.exists() and pyro.list_workspaces().workspaces == []
    assert "engine's programs" in said["steps"][-1]["said"]
    said = told("down", cwd=project)
    assert said["outcomes"][0] == ("workspace", "already") and "codex" not in dict(said["outcomes"])
    assert "is not a project" in told("up", cwd=home, status=2)["error"]["message"]


def test_what_two_projects_use_goes_with_the_second_and_a_kill_loses_nothing(
    pyro: Pyro, project: Path, home: Path, tmp_path: Path
) -> None:
    config = home / ".codex" / "config.toml"
    config.parent.mkdir()
    config.write_text(MINE)
    other = tmp_path / "other"
    other.mkdir()
    (other / ".devcontainer.json").write_text(json.dumps({"onCreateCommand": "touch /opt/set-up"}))
    with at_terminal("up", cwd=other) as someone:
        someone.sees(b"+[mcp_servers.pyro]", 60)
        someone.sees(b"Connect Codex? [Y/n]", 60)
        someone.type(b"\r")
        someone.sees(b"Next: codex", 90)
        assert someone.leaves() == 0
    for lines in (1, 2):
        killed_after(lines, "up", "--yes", cwd=project)
    said = told("up", "--yes", cwd=project)
    assert not {"failed", "open", "skipped"} & {outcome for _, outcome in said["outcomes"]}
    assert len(pyro.list_workspaces().workspaces) == 2
    pyro.exec_workspace("other", "test -e /opt/set-up && echo new > a")
    # No repository: what was changed is nowhere else.
    with at_terminal("down", cwd=other) as someone:
        someone.sees(b"other: 1 changed file (a)", 60)
        someone.sees(b"[y/N]", 60)
        someone.type(b"\r")
        someone.sees(b"Nothing was deleted", 60)
        assert someone.leaves() == 1
    killed_after(1, "down", "--force", cwd=other)
    prepared = [each.name for each in pyro.list_environments().prepared if each.project == str(other)]
    assert prepared
    said = told("down", "--force", "--all", cwd=other)
    assert ("fetched", "done") in said["outcomes"] and f"{prepared[0]} is removed" in str(said["steps"])
    assert not [each for each in pyro.list_environments().prepared if each.project == str(other)]
    assert said["outcomes"][0] == ("workspace", "already")
    assert dict(said["outcomes"])["codex"] == "kept" and "mcp_servers.pyro" in config.read_text()
    assert [w.name for w in pyro.list_workspaces().workspaces] == ["project"]
    assert told("down", cwd=project)["outcomes"][:2] == [("workspace", "done"), ("codex", "done")]
    assert config.read_text() == MINE and [path.name for path in config.parent.iterdir()] == ["config.toml"]

    # What the user connected, or changed since, is the user's.
    assert pyro_command("host", "connect", "codex", "--network", "off", cwd=project).returncode == 0
    mine = config.read_text()
    assert dict(told("up", "--yes", cwd=project)["outcomes"])["codex"] == "already"
    assert dict(told("down", cwd=project)["outcomes"])["codex"] == "kept"
    assert config.read_text() == mine and os.listdir(project / "src") == ["calc.py"]
