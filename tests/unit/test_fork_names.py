"""How forks are called."""

from __future__ import annotations

from pyro_mcp.workspaces.whole_machine import fork_names


def test_forks_count_on_and_pass_over_names_that_are_taken() -> None:
    assert fork_names("fix", "ws-1", {"fix", "fix-2"}, 3) == ["fix-1", "fix-3", "fix-4"]
    assert fork_names("fix-2", "ws-1", {"fix", "fix-1", "fix-2"}, 1) == ["fix-3"]
    assert len(fork_names("x" * 64, "ws-1", set(), 1)[0]) <= 64


def test_an_id_of_digits_stays_whole() -> None:
    assert fork_names(None, "ws-98272534", set(), 2) == ["ws-98272534-1", "ws-98272534-2"]
