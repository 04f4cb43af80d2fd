"""History: one event for each operation, followed live, and what is said of workspaces that are gone."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession

from pyro_mcp.errors import InvalidInput, NotFound, PyroError
from pyro_mcp.models import History, HistoryEvent
from pyro_mcp.sdk import Pyro
from tests.faces.test_mcp import call, converse
from tests.support import Installation, wait_until


def events(pyro: Pyro, ws: str) -> list[HistoryEvent]:
    return pyro.history_workspace(ws, limit=1000).events


def ended(pyro: Pyro, ws: str, count: int) -> list[HistoryEvent]:
    """So many events, all of which have ended."""
    wait_until(lambda: len(found := events(pyro, ws)) >= count and all(e.outcome != "running" for e in found))
    return events(pyro, ws)


def test_every_operation_leaves_one_event_and_a_look_leaves_none(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project), name="told").id
    done: list[tuple[str, Callable[[], Any]]] = [
        ("exec_workspace", lambda: pyro.exec_workspace(ws, "echo hello there")),
        ("write_workspace_file", lambda: pyro.write_workspace_file(ws, "a.txt", "the content of the file\n")),
        ("read_workspace_file", lambda: pyro.read_workspace_file(ws, "a.txt")),
        ("list_workspace_files", lambda: pyro.list_workspace_files(ws)),
        (
            "apply_workspace_patch",
            lambda: pyro.apply_workspace_patch(
                ws, "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-the content of the file\n+b\n"
            ),
        ),
        ("diff_workspace", lambda: pyro.diff_workspace(ws)),
        ("push_workspace_sync", lambda: pyro.push_workspace_sync(ws, str(project / "src"), dest="again")),
        ("export_workspace", lambda: pyro.export_workspace(ws, "a.txt", output=str(tmp_path / "a.txt"))),
        ("land_workspace", lambda: pyro.land_workspace(ws, branch="work")),
        ("update_workspace", lambda: pyro.update_workspace(ws, labels={"a": "b"})),
        ("create_snapshot", lambda: pyro.create_snapshot(ws, "moment")),
        ("delete_snapshot", lambda: pyro.delete_snapshot(ws, "moment")),
        ("start_service", lambda: pyro.start_service(ws, "web", "sleep 60")),
        ("stop_service", lambda: pyro.stop_service(ws, "web")),
        ("reset_workspace", lambda: pyro.reset_workspace(ws)),
    ]
    for _, operation in done:
        operation()
    for look in (
        pyro.status_workspace,
        pyro.history_workspace,
        pyro.logs_workspace,
        pyro.list_snapshots,
        pyro.list_services,
    ):
        look(ws)
    found = ended(pyro, ws, len(done) + 1)
    assert [e.operation for e in found] == ["create_workspace", *(name for name, _ in done)]
    assert {(e.face, e.outcome, e.error) for e in found} == {("sdk", "ok", None)}
    assert all(e.duration_seconds is not None and e.duration_seconds >= 0 for e in found)
    assert [e.sequence for e in found] == sorted({e.sequence for e in found})
    told = {e.operation: e.summary for e in found}
    assert "echo hello there" in told["exec_workspace"]
    assert "a.txt" in told["read_workspace_file"]
    assert "the content of the file" not in json.dumps(told)
    assert "work" in told["land_workspace"]


def test_what_failed_is_told_with_its_reason(pyro: Pyro, workspace: str) -> None:
    for attempt in (
        lambda: pyro.read_workspace_file(workspace, "missing.txt"),
        lambda: pyro.export_workspace(workspace, "missing.txt", output="/nowhere/at/all"),
        lambda: pyro.reset_workspace(workspace, snapshot="none"),
    ):
        with pytest.raises(PyroError):
            attempt()
    failed = ended(pyro, workspace, 4)[1:]
    assert [e.outcome for e in failed] == ["error"] * 3
    assert "missing.txt" in str(failed[0].error)
    assert "/nowhere/at" in str(failed[1].error)
    # A command that fails is an operation that worked.
    assert pyro.exec_workspace(workspace, "exit 3").exit_code == 3
    assert ended(pyro, workspace, 5)[-1].outcome == "ok"


def test_each_face_is_told(installation: Installation, pyro: Pyro, project: Path) -> None:
    # What a person seeds from a project's directory belongs to it, so that its server sees it.
    workspace = pyro.create_workspace("debian:12", seed_path=str(project)).id
    pyro.exec_workspace(workspace, "true")
    subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "workspace", "exec", workspace, "--", "true"],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )

    async def story(session: ClientSession) -> None:
        await call(session, "workspace_exec", workspace=workspace, command="true")

    converse(installation, project, story)
    found = [e for e in ended(pyro, workspace, 4) if e.operation == "exec_workspace"]
    assert [e.face for e in found] == ["sdk", "cli", "mcp"]


def test_after_and_wait_give_what_is_new_as_it_comes(pyro: Pyro, workspace: str) -> None:
    ended(pyro, workspace, 1)
    last = pyro.history_workspace(workspace).cursor
    begun = time.monotonic()
    assert pyro.history_workspace(workspace, after=last, wait_seconds=0.2).events == []
    assert time.monotonic() - begun >= 0.2
    heard: list[History] = []
    with Pyro() as other:
        thread = threading.Thread(
            target=lambda: heard.append(other.history_workspace(workspace, after=last, wait_seconds=30))
        )
        thread.start()
        pyro.exec_workspace(workspace, "echo news")
        thread.join(30)
    assert [e.summary for e in heard[0].events] == ["echo news"]
    begun_and_ended = ended(pyro, workspace, 2)[-1]
    if heard[0].events[0].outcome == "running":
        # It was seen when it began; its end comes next.
        again = pyro.history_workspace(workspace, after=heard[0].cursor)
        assert again.events == [begun_and_ended]
    cursor = pyro.history_workspace(workspace).cursor
    for n in range(3):
        pyro.exec_workspace(workspace, f"echo {n}")
    ended(pyro, workspace, 5)
    assert [e.summary for e in pyro.history_workspace(workspace, after=cursor, limit=2).events] == [
        "echo 0",
        "echo 1",
    ]
    assert [e.summary for e in pyro.history_workspace(workspace, limit=1).events] == ["echo 2"]
    for bad in ({"limit": 0}, {"wait_seconds": 51}, {"after": -1}):
        with pytest.raises(InvalidInput):
            pyro.history_workspace(workspace, **bad)


def test_a_wait_ends_when_the_workspace_is_deleted(pyro: Pyro, workspace: str) -> None:
    ended(pyro, workspace, 1)
    last = pyro.history_workspace(workspace).cursor
    ends: list[object] = []

    def wait() -> None:
        with Pyro() as other:
            try:
                # Deleting is an event, too, which may be seen before it is done.
                after = last
                while True:
                    after = other.history_workspace(workspace, after=after, wait_seconds=30).cursor
            except NotFound as error:
                ends.append(error.code)

    thread = threading.Thread(target=wait)
    thread.start()
    pyro.exec_workspace(workspace, "true")
    pyro.delete_workspace(workspace)
    thread.join(20)
    assert ends == ["workspace_gone"]


@pytest.mark.parametrize("as_json", [True, False])
def test_following_prints_what_comes_and_ends_with_the_workspace(pyro: Pyro, as_json: bool) -> None:
    ws = pyro.create_workspace(name="followed").id
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pyro_mcp",
            "workspace",
            "history",
            "followed",
            "--follow",
            *(["--json"] if as_json else []),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert "create_workspace" in first
    for n in range(3):
        pyro.exec_workspace(ws, f"echo number-{n}")
        line = process.stdout.readline()
        assert f"echo number-{n}" in line
        if as_json:
            assert json.loads(line)["face"] == "sdk"
    pyro.delete_workspace(ws)
    rest, said = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "has been gone since" in said
    assert "Traceback" not in rest + said


def test_a_workspace_that_is_gone_is_said_to_be_by_id_and_by_name(fresh: Installation) -> None:
    with Pyro() as client:
        ws = client.create_workspace(name="was-here").id
        client.delete_workspace(ws)
        for reference in (ws, "was-here"):
            for attempt in (client.status_workspace, client.history_workspace, client.delete_workspace):
                with pytest.raises(NotFound, match=r"has been gone since .*it was deleted") as gone:
                    attempt(reference)
                assert gone.value.code == "workspace_gone"
    fresh.stop_daemon()
    with Pyro() as client:
        with pytest.raises(NotFound, match="has been gone since"):
            client.exec_workspace("was-here", "true")
        # The name is free; whoever takes it is who is meant.
        again = client.create_workspace(name="was-here").id
        assert client.status_workspace("was-here").id == again
        with pytest.raises(NotFound, match="has been gone since"):
            client.status_workspace(ws)
        with pytest.raises(NotFound, match="There is no workspace"):
            client.status_workspace("never-was")
