"""What `pyro watch` prints for what the daemon tells. Pure."""

from __future__ import annotations

from typing import Any

from pyro_mcp.cli.watch import Watching


def _told(**more: Any) -> dict[str, Any]:
    workspace = {"id": "ws-1", "name": "fix\x1b[2J"}
    command = {"handle": "1-1", "command": ["make", "a\nb"], "last_line": "step \u202e1"}
    empty: dict[str, Any] = {"workspaces": [], "events": [], "questions": [], "gone": [], "whole": False}
    return {**empty, "workspaces": [{"workspace": workspace, "running": [command]}], **more}


def test_a_line_for_each_thing_once_and_nothing_acts_on_the_terminal() -> None:
    watching = Watching(None)
    event: dict[str, Any] = {
        "at": "2026-11-27T10:00:00.000Z",
        "face": "mcp",
        "operation": "exec_workspace",
        "outcome": "ok",
    }
    event |= {"duration_seconds": 0.2, "error": None, "summary": "make \x1b[31m", "workspace": "ws-1"}
    question = {"id": "q1", "workspace": "ws-1", "host": "pypi.org", "port": 443}
    told = _told(events=[event], questions=[question])
    done, printed, asked = watching.lines(told)
    assert "mcp  exec  ok  200 ms  make" in done
    assert "make" in printed and "| step" in printed
    assert "asks for pypi.org:443" in asked and "pyro allow q1" in asked
    assert not any(c in "".join((done, printed, asked)) for c in "\x1b\u202e\n")
    assert watching.lines(_told(questions=[question])) == []  # told already
    assert len(watching.lines(_told(questions=[{**question, "id": "q2"}]))) == 1


def test_one_workspace_alone_until_it_is_deleted() -> None:
    watching = Watching("ws-2")
    assert watching.lines(_told(gone=["ws-1"])) == [] and not watching.over
    (line,) = watching.lines(_told(workspaces=[], gone=["ws-2"]))
    assert "is deleted" in line and watching.over


def test_one_that_was_deleted_while_the_daemon_did_not_run() -> None:
    watching = Watching("ws-1")
    assert watching.lines(_told(whole=True)) != [] and not watching.over
    (line,) = watching.lines(_told(workspaces=[], whole=True))
    assert "is deleted" in line and watching.over
