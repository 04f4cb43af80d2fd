"""What those who look on are told: by one call, when it happens, and without a trace."""

from __future__ import annotations

import threading
import time

from pyro_mcp.models import Activity
from pyro_mcp.sdk import Pyro
from tests.support import Installation


def _until(pyro: Pyro, activity: Activity, fits: object) -> Activity:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        activity = pyro.follow_activity(after=activity.cursor, wait_seconds=20)
        if fits(activity):  # type: ignore[operator]
            return activity
    raise AssertionError("it was never told")


def test_a_running_command_its_last_line_and_its_end_are_told(pyro: Pyro, workspace: str) -> None:
    begun = pyro.follow_activity()
    assert begun.whole and [w.workspace.id for w in begun.workspaces].count(workspace) == 1
    assert [e.operation for e in begun.events if e.workspace == workspace] == ["create_workspace"]
    run = "echo first; echo 'the \x1b[31mlast\x1b[0m line'; sleep 600"
    handle = pyro.exec_workspace(workspace, ["sh", "-c", run], wait_seconds=0, timeout_seconds=900).handle

    def prints(said: Activity) -> bool:
        lines = [r.last_line for w in said.workspaces if w.workspace.id == workspace for r in w.running]
        return lines == ["the last line"]

    told = _until(pyro, begun, prints)
    assert not told.whole and [w.workspace.id for w in told.workspaces] == [workspace]
    (busy,) = told.workspaces
    assert busy.running[0].handle == handle and busy.memory_bytes and busy.cpu_seconds is not None

    heard: list[Activity] = []
    waiting = threading.Thread(target=lambda: heard.append(_until(pyro, told, lambda a: not a.workspaces[0].running)))
    waiting.start()
    pyro.cancel_workspace_exec(workspace, handle)
    waiting.join(60)
    assert heard and heard[0].workspaces[0].running == []
    # Looking on leaves nothing behind.
    done = [e.operation for e in pyro.history_workspace(workspace).events]
    assert "follow_activity" not in done and done.count("exec_workspace") == 1


def test_what_is_deleted_is_told_and_a_cursor_of_another_daemon_begins_anew(
    fresh: Installation,
) -> None:
    with Pyro() as pyro:
        first, second = pyro.create_workspace("debian:12").id, pyro.create_workspace("debian:12").id
        here = pyro.follow_activity()
        pyro.delete_workspace(first)
        told = _until(pyro, here, lambda a: a.gone)
        assert told.gone == [first] and not any(w.workspace.id == first for w in told.workspaces)
        before = told.cursor
        for limit in (1, 3):  # however few at once, every event is told, each once
            pyro.exec_workspace(second, ["true"])
            seen, cursor = [], before
            while (some := pyro.follow_activity(after=cursor, limit=limit)).events:
                seen += [(e.sequence, e.outcome) for e in some.events]
                cursor = some.cursor
            assert len(seen) == len(set(seen)) and seen[-1][1] == "ok"
        fresh.kill_daemon()
        anew = pyro.follow_activity(after=before, wait_seconds=50)
        assert anew.whole and [w.workspace.id for w in anew.workspaces] == [second]
        assert "exec_workspace" in [e.operation for e in anew.events]  # those since, by whichever daemon
    assert "activity" not in "".join(e.operation for e in anew.events)
