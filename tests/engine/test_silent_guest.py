"""A guest that stops, or whose agent is silent, costs only itself: every call ends in bounded time, nothing hangs.

Sandboxes are stopped from outside, so that the machine as a whole says nothing more, whatever guards its agent inside.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp.errors import GuestUnreachable, NotFound, PyroError
from pyro_mcp.machines.processes import with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests.support import Installation, slowness, wait_until

BOUND_SECONDS = 45.0
"""No call of a chat host may last 50 s."""


def sandboxes(installation: Installation) -> set[int]:
    return {p.pid for p in with_word_in_command_line((str(installation.machines) + "/").encode())}


class Stopped:
    """The processes of a workspace's machine, stopped while this is open."""

    def __init__(self, pids: set[int]) -> None:
        self.pids = pids

    def go_on(self) -> None:
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
        self.pids = set()


@pytest.fixture
def stop(fresh: Installation) -> Iterator[Callable[[set[int]], Stopped]]:
    made: list[Stopped] = []

    def now(others: set[int]) -> Stopped:
        pids = sandboxes(fresh) - others
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        made.append(Stopped(pids))
        return made[-1]

    yield now
    for each in made:
        each.go_on()


def _ended(call: Callable[[], object]) -> tuple[float, BaseException | None]:
    begun = time.monotonic()
    try:
        call()
    except PyroError as error:
        return time.monotonic() - begun, error
    return time.monotonic() - begun, None


@pytest.mark.as_root
def test_calls_of_a_stopped_machine_end_with_a_clear_error_and_reset_and_delete_work_at_once(
    fresh: Installation, stop: Callable[[set[int]], Stopped], tmp_path: Path
) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pyro.write_workspace_file(workspace, "a.txt", "a\n")
        neighbour = pyro.create_workspace().id
        stopped = stop(_others(fresh, workspace))
        running = pyro.exec_workspace(neighbour, "echo here").stdout
        assert running == "here\n"
        calls: dict[str, Callable[[], object]] = {
            "exec": lambda: pyro.exec_workspace(workspace, "true"),
            "read": lambda: pyro.read_workspace_file(workspace, "a.txt"),
            "write": lambda: pyro.write_workspace_file(workspace, "b.txt", "b"),
            "diff": lambda: pyro.diff_workspace(workspace),
            "export": lambda: pyro.export_workspace(workspace, "a.txt", output=str(tmp_path / "out")),
            "snapshot": lambda: pyro.create_snapshot(workspace, "s"),
            "shell": lambda: pyro.open_shell(workspace),
        }
        with ThreadPoolExecutor(len(calls)) as pool:
            pending = {name: pool.submit(_ended, call) for name, call in calls.items()}
            results = {name: future.result(120) for name, future in pending.items()}
        for name, (seconds, error) in results.items():
            assert isinstance(error, PyroError), name
            assert error.code in ("guest_silent", "guest_unreachable", "freeze_timeout"), (name, error)
            assert seconds < BOUND_SECONDS * slowness(), (name, seconds)
            assert "bug in pyro" not in str(error)
        seconds, error = _ended(lambda: pyro.exec_workspace(neighbour, "true"))
        assert error is None and seconds < 5 * slowness()
        seconds, error = _ended(lambda: pyro.reset_workspace(workspace))
        assert error is None and seconds < 5 * slowness()
        assert pyro.exec_workspace(workspace, "echo new").stdout == "new\n"
        del stopped


def _others(fresh: Installation, workspace: str) -> set[int]:
    """Processes of the installation's machines that are not this workspace's."""
    import sqlite3

    with Pyro() as pyro:  # an idle machine would be stopped already, and continued by the next call
        pyro.exec_workspace(workspace, "setsid sleep 1000 > /dev/null 2>&1 < /dev/null &")
    with sqlite3.connect(fresh.locations.database) as db:
        (machine,) = db.execute("SELECT machine_id FROM workspaces WHERE id = ?", (workspace,)).fetchone()
    mine = {p.pid for p in with_word_in_command_line(f"{fresh.machines}/{machine}/".encode())}
    return sandboxes(fresh) - mine


@pytest.mark.parametrize("operation", ["reset", "delete"])
def test_reset_and_delete_end_what_waits_for_a_stopped_guest(
    fresh: Installation, stop: Callable[[set[int]], Stopped], operation: str
) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        stop(_others(fresh, workspace))
        caught: list[BaseException | None] = []
        waiting = threading.Thread(target=lambda: caught.append(_ended(lambda: Pyro().diff_workspace(workspace))[1]))
        waiting.start()
        wait_until(lambda: any(e.operation == "diff_workspace" for e in pyro.history_workspace(workspace).events))
        act = pyro.reset_workspace if operation == "reset" else pyro.delete_workspace
        seconds, error = _ended(lambda: act(workspace))
        assert error is None and seconds < 5 * slowness()
        waiting.join(5)
        if operation == "reset":
            assert isinstance(caught[0], GuestUnreachable) and "being reset" in str(caught[0])
        else:
            assert isinstance(caught[0], NotFound) and "has been deleted in the meantime" in str(caught[0])


def test_a_caller_who_leaves_lets_go_of_the_workspace(fresh: Installation, stop: Callable[[set[int]], Stopped]) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        stopped = stop(_others(fresh, workspace))
        child = os.fork()
        if child == 0:
            try:
                Pyro().diff_workspace(workspace)
            finally:
                os._exit(0)
        wait_until(lambda: any(e.operation == "diff_workspace" for e in pyro.history_workspace(workspace).events))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        wait_until(lambda: all(e.outcome != "running" for e in pyro.history_workspace(workspace).events), BOUND_SECONDS)
        stopped.go_on()
        # Whoever needs the workspace alone gets it.
        pyro.create_snapshot(workspace, "after")
        assert pyro.exec_workspace(workspace, "echo on").stdout == "on\n"


def test_a_command_of_a_machine_that_was_stopped_for_a_while_goes_on(
    fresh: Installation, stop: Callable[[set[int]], Stopped]
) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        begun = pyro.exec_workspace(workspace, "sleep 1; echo first; sleep 4; echo second", wait_seconds=0.1)
        stopped = stop(_others(fresh, workspace))
        waiting = pyro.logs_workspace(workspace, handle=begun.handle, wait_seconds=19)
        assert waiting.status == "running"
        stopped.go_on()
        ended = pyro.logs_workspace(workspace, handle=begun.handle, wait_seconds=40)
        assert (ended.status, ended.output) == ("exited", "first\nsecond\n")


def test_a_command_that_reads_no_input_does_not_keep_its_caller(fresh: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        begun = time.monotonic()
        result = pyro.exec_workspace(workspace, "sleep 60", stdin="x" * 1_000_000, wait_seconds=1)
        assert result.status == "running"
        assert time.monotonic() - begun < 10 * slowness()
        pyro.cancel_workspace_exec(workspace, result.handle)
