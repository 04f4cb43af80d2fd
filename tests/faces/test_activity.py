"""What those who look on are told: by one call, when it happens, and without a trace."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

from mcp import ClientSession

from pyro_mcp.models import Activity
from pyro_mcp.sdk import Pyro
from tests.faces.test_mcp import call, converse, refused
from tests.support import Installation


def _until(pyro: Pyro, activity: Activity, fits: object) -> Activity:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        activity = pyro.follow_activity(after=activity.cursor, wait_seconds=20)
        if fits(activity):  # type: ignore[operator]
            return activity
    raise AssertionError("it was never told")


def test_a_running_command_its_last_line_and_its_end_are_told(pyro: Pyro, workspace: str) -> None:
    assert pyro.follow_activity(after=pyro.follow_activity(limit=0).cursor).events == []  # nothing again
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


def test_watch_prints_lines_into_a_pipe_and_ends_with_its_workspace(pyro: Pyro) -> None:
    made = pyro.create_workspace("debian:12", name="watched").id
    command = [sys.executable, "-m", "pyro_mcp", "watch", "watched", "--past", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        pyro.note_workspace(made, "look here")
        assert any("note" in line for line in watch.stdout)
        pyro.delete_workspace(made)
        assert "is deleted" in watch.stdout.read()
    assert watch.returncode == 0


def test_the_agent_is_told_a_note_once_with_its_next_answer_or_error(
    installation: Installation, pyro: Pyro, project: Path
) -> None:
    async def story(session: ClientSession) -> None:
        ws = (await call(session, "workspace_create", seed_path=""))["id"]
        noted = pyro.note_workspace(ws, "Use a set\x1b[2J here.", path="a.py", line=3)
        assert noted.waiting == 1
        await call(session, "workspace_list")  # of no workspace
        ran = await call(session, "workspace_exec", workspace=ws, command="true")
        assert ran["persons_note"] == "The person's note on a.py, line 3: Use a set\\x1b[2J here."
        assert "persons_note" not in await call(session, "workspace_exec", workspace=ws, command="true")
        pyro.note_workspace(ws, "one")
        pyro.note_workspace(ws, "two")
        said = await refused(session, "workspace_file_read", workspace=ws, path="missing")
        assert said.endswith("The person's note: one\nThe person's note: two")
        assert "persons_note" not in await call(session, "workspace_status", workspace=ws)

    converse(installation, project, story)
