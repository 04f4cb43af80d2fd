"""How forks, and the commands in them, are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pyro_mcp.workspaces.manager import _of_fork
from pyro_mcp.workspaces.whole_machine import fork_names


def test_forks_count_on_and_pass_over_names_that_are_taken() -> None:
    assert fork_names("fix", "ws-1", {"fix", "fix-2"}, 3) == ["fix-1", "fix-3", "fix-4"]
    assert fork_names("fix-2", "ws-1", {"fix", "fix-1", "fix-2"}, 1) == ["fix-3"]
    assert len(fork_names("x" * 64, "ws-1", set(), 1)[0]) <= 64


def test_an_id_of_digits_stays_whole() -> None:
    assert fork_names(None, "ws-98272534", set(), 2) == ["ws-98272534-1", "ws-98272534-2"]


def test_a_fork_names_no_command_of_its_parent() -> None:
    said = SimpleNamespace(setup="cmd-1", setup_status="running", setup_exit_code=None, post_start="cmd-2")
    kept = {"setup": "cmd-1", "started": "cmd-2"}
    row = SimpleNamespace(devcontainer=kept)
    parent = cast(Any, SimpleNamespace(row=row, record=lambda: SimpleNamespace(devcontainer=said)))
    ended = {"status": "running", "exit_code": None}
    assert _of_fork(parent, {"cmd-2": "cmd-9"}) == {"setup": None, "started": "cmd-9", **ended}
    assert _of_fork(parent, {"cmd-1": "cmd-8"}) == {"setup": "cmd-8", "started": "", **ended}
