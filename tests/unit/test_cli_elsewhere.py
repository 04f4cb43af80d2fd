"""Commands of their own go where every other one does: to the computer that --on or PYRO_ON names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyro_mcp.cli import watch_screen
from pyro_mcp.cli.app import run
from pyro_mcp.cli.steps import Remembered


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYRO_HOME", str(tmp_path))
    monkeypatch.setenv("PYRO_ON", "ssh://me@box")
    return "ssh://me@box"


def test_the_small_screen_shows_the_computer_that_is_meant(elsewhere: str) -> None:
    for start in (True, False):
        with watch_screen._connection(start=start) as pyro:
            assert pyro._transport._locations.on == elsewhere


def test_what_up_remembers_is_of_the_computer_that_is_meant(elsewhere: str, tmp_path: Path) -> None:
    with Remembered(tmp_path).held() as there:
        there.write(environments_before=[])
        connections = there.folder
        written = list(tmp_path.rglob("up/*.json"))
        assert len(written) == 1
        written[0].write_text(json.dumps(["damaged"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYRO_ON")
        with Remembered(tmp_path).held() as here:
            assert here.facts == {} and here.folder == connections
    with Remembered(tmp_path).held() as there:
        assert there.facts == {}


def test_the_place_may_stand_before_or_after_the_form_of_the_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--on", "local", "--json"], ["--json", "--on=local"]):
        monkeypatch.setenv("PYRO_ON", "ssh://me@box")
        assert run([*words, "--version"]) == 0
        assert "version" in json.loads(capsys.readouterr().out) and os.environ["PYRO_ON"] == "local"
