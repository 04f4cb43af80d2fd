"""`pyro up` and `pyro down` wait for another one of the same project, and not for ever."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from pyro_mcp.cli import steps
from pyro_mcp.errors import Conflict
from pyro_mcp.hosts import ours


def test_one_that_is_at_work_for_ever_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(steps, "OTHERS_SECONDS", 0.1)
    with steps.Remembered(tmp_path).held() as first:
        first.write(environments_before=[])
        with pytest.raises(Conflict, match="still at work"), steps.Remembered(tmp_path).held():
            pass
    with steps.Remembered(tmp_path).held() as later:
        assert later.facts["environments_before"] == []


def test_nor_is_one_that_changes_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "OTHERS_SECONDS", 0.1)
    known = ours.Ours(tmp_path)
    with open(tmp_path / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="nothing was changed"):
            known.used_by(tmp_path)
    assert known.used_by(tmp_path) == []
