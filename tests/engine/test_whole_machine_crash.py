"""The daemon is killed in the middle of a snapshot, a reset to one, a fork, a stop, a start.

Afterwards every workspace is whole in one of the two legal states, and nothing is left over.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.machines.processes import with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests.engine.test_snapshots import count_inside, start_counter, start_ticking, ticks, wait_ticks
from tests.support import Installation, chance, wait_until

DELAYS = (0.004, 0.03, 0.07, 0.12, 0.2)
"""Seconds after the start of the operation: the agent is asked, the image written, a machine made or named."""


def named_images(installation: Installation) -> set[Path]:
    """What the rows name."""
    root = installation.locations.images
    with closing(sqlite3.connect(f"file:{installation.locations.database}?mode=ro", uri=True)) as database:
        rows = [json.loads(record) for (record,) in database.execute("SELECT record FROM workspaces")]
        kept = [json.loads(record) for (record,) in database.execute("SELECT record FROM snapshots")]
    found = {root / str(row["id"]) / str(row["suspended"]["image"]) for row in rows if row.get("suspended")}
    return found | {root / str(row["workspace_id"]) / str(row["image"]) for row in kept}


def assert_tidy(installation: Installation, pyro: Pyro) -> None:
    """Images, machines and processes are those that rows name, and a spare one."""
    workspaces = pyro.list_workspaces().workspaces
    assert set(installation.locations.images.glob("*/*")) == named_images(installation)
    machines = installation.machines
    most = len([w for w in workspaces if w.state == "running"]) + 1
    wait_until(lambda: len(list(machines.iterdir())) <= most)
    word = os.fsencode(f"{machines}/")
    known = {p.name for p in machines.iterdir()}
    lines = [_line(process.pid) for process in with_word_in_command_line(word)]
    assert all(any(f"{machines}/{name}/" in line for name in known) for line in lines if line)


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def killed_during(
    installation: Installation, operation: str, delay: float, *arguments: object, **options: object
) -> None:
    """Begin the operation, and kill the daemon so much later."""

    def work() -> None:
        with Pyro() as worker:
            try:
                getattr(worker, operation)(*arguments, **options)
            except PyroError:
                pass

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(delay * chance().uniform(0.7, 1.3))
    installation.kill_daemon()
    thread.join(30)
    assert not thread.is_alive()


def assert_ticks_on(pyro: Pyro, workspace: str, handle: str) -> list[int]:
    wait_ticks(pyro, workspace, handle, 10)
    return ticks(pyro, workspace, handle)


@pytest.mark.parametrize(
    "operation",
    [pytest.param("create_snapshot", marks=pytest.mark.as_root), "reset_workspace", "fork_workspace", "stop", "start"],
)
def test_a_daemon_killed_in_the_middle_leaves_one_of_the_two_states(fresh: Installation, operation: str) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pyro.exec_workspace(workspace, "echo before > mark")
        handle = start_ticking(pyro, workspace)
        start_counter(pyro, workspace)
        token, number = count_inside(pyro, workspace)
        pyro.create_snapshot(workspace, "point")
        pyro.exec_workspace(workspace, "echo after > mark")
        for turn, delay in enumerate(DELAYS):
            if operation == "create_snapshot":
                killed_during(fresh, "create_snapshot", delay, workspace, f"turn-{turn}")
                made = f"turn-{turn}" in {s.name for s in pyro.list_snapshots(workspace).snapshots}
                assert count_inside(pyro, workspace)[0] == token
                if made:
                    pyro.reset_workspace(workspace, snapshot=f"turn-{turn}")
                    pyro.delete_snapshot(workspace, f"turn-{turn}")
            elif operation == "reset_workspace":
                count = count_inside(pyro, workspace)
                killed_during(fresh, "reset_workspace", delay, workspace, snapshot="point")
                mark = pyro.exec_workspace(workspace, "cat mark").stdout
                # Files, memory and commands are of the same moment.
                assert (mark, count_inside(pyro, workspace)) in (
                    ("after\n", (token, count[1] + 1)),
                    ("before\n", (token, number + 1)),
                )
                pyro.exec_workspace(workspace, "echo after > mark")
            elif operation == "fork_workspace":
                killed_during(fresh, "fork_workspace", delay, workspace, count=2)
                for fork in pyro.list_workspaces().workspaces:
                    assert fork.state == "running"
                    assert count_inside(pyro, fork.id)[0] == token
                    if fork.id != workspace:
                        assert fork.forked_from == workspace
                        (theirs,) = [
                            c.handle for c in pyro.logs_workspace(fork.id).commands if "itertools" in str(c.command)
                        ]
                        assert theirs in fork.running_commands
                        numbers = assert_ticks_on(pyro, fork.id, theirs)
                        assert numbers == list(range(len(numbers)))
                        pyro.delete_workspace(fork.id)
            else:
                count = count_inside(pyro, workspace)
                if operation == "start":
                    pyro.stop_workspace(workspace)
                killed_during(fresh, f"{operation}_workspace", delay, workspace)
                status = pyro.status_workspace(workspace)
                assert status.state in ("running", "stopped")
                expected = "running" if status.state == "running" else "suspended"
                assert pyro.logs_workspace(workspace, handle=handle).status == expected
                if status.state == "stopped":
                    assert status.running_commands == []
                    assert_tidy(fresh, pyro)
                    pyro.start_workspace(workspace)
                assert count_inside(pyro, workspace) == (token, count[1] + 1)
            assert pyro.status_workspace(workspace).state == "running"
            assert pyro.logs_workspace(workspace, handle=handle).status == "running"
            assert_ticks_on(pyro, workspace, handle)
            assert_tidy(fresh, pyro)
        # What it was before is still there.
        pyro.reset_workspace(workspace, snapshot="point")
        assert count_inside(pyro, workspace) == (token, number + 1)
        assert pyro.exec_workspace(workspace, "cat mark").stdout == "before\n"
        assert pyro.history_workspace(workspace).events[-1].outcome == "ok"


def test_rows_that_are_written_at_the_same_time_do_not_undo_each_other(fresh: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pyro.create_snapshot(workspace, "point")
        ends = threading.Event()

        def work(key: str) -> None:
            with Pyro() as other:
                number = 0
                while not ends.is_set():
                    number += 1
                    other.update_workspace(workspace, labels={key: str(number)})

        # One key for each would be lost to the other one's older row, or the machine to theirs.
        thread = threading.Thread(target=work, args=("a",))
        thread.start()
        for _ in range(4):
            pyro.reset_workspace(workspace, snapshot="point")
        pyro.stop_workspace(workspace)
        pyro.start_workspace(workspace)
        ends.set()
        thread.join(30)
        labels = pyro.status_workspace(workspace).labels
        fresh.kill_daemon()
        status = pyro.status_workspace(workspace)
        assert (status.state, status.labels) == ("running", labels)
        assert pyro.exec_workspace(workspace, "echo on").stdout == "on\n"


def test_a_machine_that_was_named_but_not_taken_up_yet_gets_its_commands_from_the_next_daemon(
    fresh: Installation,
) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        handle = start_ticking(pyro, workspace)
        ended = pyro.exec_workspace(workspace, "sleep 300", wait_seconds=0).handle
        pyro.create_snapshot(workspace, "point")
        pyro.cancel_workspace_exec(workspace, ended)
        pyro.reset_workspace(workspace, snapshot="point")
        late = pyro.exec_workspace(workspace, "sleep 300", wait_seconds=0).handle
        fresh.kill_daemon()
        # As the row stands between the write that names the machine and the last one of a reset.
        with closing(sqlite3.connect(fresh.locations.database)) as database, database:
            (moment,) = database.execute("SELECT record FROM snapshots").fetchone()
            (record,) = database.execute("SELECT record FROM workspaces").fetchone()
            row = json.loads(record) | {"suspended": json.loads(moment)["moment"]}
            database.execute("UPDATE workspaces SET record = ?", [json.dumps(row)])
            for text, found in database.execute("SELECT record, handle FROM commands").fetchall():
                command = json.loads(text) | ({"status": "cancelled", "exit_code": 143} if found == ended else {})
                database.execute("UPDATE commands SET record = ? WHERE handle = ?", [json.dumps(command), found])
        assert set(pyro.status_workspace(workspace).running_commands) == {handle, ended}
        assert pyro.logs_workspace(workspace, handle=late).status == "lost"
        assert_ticks_on(pyro, workspace, handle)
        fresh.kill_daemon()
        assert set(pyro.status_workspace(workspace).running_commands) == {handle, ended}


def test_a_deleted_workspace_is_not_written_again(fresh: Installation) -> None:
    with Pyro() as pyro:
        for _ in range(6):
            workspace = pyro.create_workspace(name="again").id
            for _ in range(3):
                pyro.exec_workspace(workspace, "sleep 300", wait_seconds=0)

            def work(workspace: str = workspace) -> None:
                with Pyro() as other:
                    try:
                        while True:
                            other.update_workspace(workspace, labels={"a": "b"})
                    except PyroError:
                        pass

            threads = [threading.Thread(target=work) for _ in range(2)]
            for thread in threads:
                thread.start()
            pyro.delete_workspace(workspace)
            for thread in threads:
                thread.join(30)
        fresh.kill_daemon()
        assert pyro.list_workspaces().workspaces == []
