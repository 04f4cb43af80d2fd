"""The connections that `pyro up` made are taken out again, and the user's file is as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp import hosts
from pyro_mcp.hosts import connect
from pyro_mcp.hosts.ours import Ours

MINE = '# mine\nmodel = "gpt"\n'


@pytest.mark.parametrize("mine", [None, MINE])
@pytest.mark.parametrize("touched", [False, True])
def test_an_entry_that_was_renewed_is_taken_out(
    mine: str | None, touched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    config = tmp_path / "codex" / "config.toml"
    config.parent.mkdir()
    if mine is not None:
        config.write_text(mine)
    ours, project = Ours(tmp_path / "up"), tmp_path
    for command in ("/gone/python", "/now/python"):  # pyro was installed anew, in another place
        argv = (command, "-m", "pyro_mcp", "mcp", "serve")
        ours.make(connect.plan(hosts.host("codex"), argv, "user", project), project)
        if touched:
            config.write_text(config.read_text() + "\n# more\n")
    assert ours.leave("codex", project)[0] == "removed"
    if touched:
        assert "pyro" not in config.read_text() and (mine or "") in config.read_text()
        assert config.read_text().count("# more") == 2
    else:
        assert (config.read_text() if config.exists() else None) == mine
