"""The daemon is killed at any moment: afterwards every workspace is whole or gone, and nothing is left over."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pyro_mcp.errors import DaemonUnavailable, PyroError
from pyro_mcp.machines.processes import kill, with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests.support import Installation, chance, wait_until

DELAYS = (0.005, 0.02, 0.06, 0.15)
"""Seconds after the start of the operation: the machine is being restored, moved in, or already there."""


def _machines_with_processes(installation: Installation) -> set[str]:
    base = str(installation.machines) + "/"
    found = set()
    for process in with_word_in_command_line(base.encode()):
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace")
        found.add(line.split(base, 1)[1].split("/", 1)[0])
    return found


def _assert_whole(installation: Installation, pyro: Pyro) -> None:
    """Every workspace answers; machines, directories and processes are those of workspaces or spares."""
    workspaces = pyro.list_workspaces().workspaces
    for workspace in workspaces:
        assert workspace.state == "running"
        assert pyro.exec_workspace(workspace.id, "cat mark").stdout == "seeded\n"
    spares = 1
    wait_until(lambda: len(list(installation.machines.iterdir())) <= len(workspaces) + spares)
    wait_until(lambda: len(_machines_with_processes(installation)) <= len(workspaces) + spares)
    assert len(list(installation.locations.outputs.iterdir())) <= len(workspaces)


@pytest.fixture
def seed(tmp_path: Path) -> str:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "mark").write_text("seeded\n")
    return str(tmp_path / "seed")


@pytest.mark.parametrize("operation", [pytest.param("create", marks=pytest.mark.as_root), "reset", "delete", "exec"])
def test_a_daemon_killed_in_the_middle_leaves_whole_workspaces_or_none(
    fresh: Installation, seed: str, operation: str
) -> None:
    with Pyro() as pyro:
        for number, delay in enumerate(DELAYS):
            existing = pyro.create_workspace(seed_path=seed).id

            def work(target: str = existing, number: int = number) -> None:
                with Pyro() as worker:
                    try:
                        if operation == "create":
                            worker.create_workspace(seed_path=seed, name=f"made-{number}")
                        elif operation == "reset":
                            worker.reset_workspace(target)
                        elif operation == "delete":
                            worker.delete_workspace(target)
                        else:
                            worker.exec_workspace(target, "sleep 0.1; echo done")
                    except PyroError:
                        pass

            thread = threading.Thread(target=work)
            thread.start()
            time.sleep(delay * chance().uniform(0.8, 1.2))
            fresh.kill_daemon()
            thread.join(30)
            assert not thread.is_alive()
            _assert_whole(fresh, pyro)
            if operation in ("create", "exec"):
                assert existing in {w.id for w in pyro.list_workspaces().workspaces}


@pytest.mark.as_root
def test_a_running_command_survives_the_daemon_and_loses_no_output(fresh: Installation, seed: str) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(seed_path=seed).id
        begun = pyro.exec_workspace(
            workspace, "for i in $(seq 1 40); do echo line $i; sleep 0.05; done", wait_seconds=0.3
        )
        assert begun.status == "running"
        fresh.kill_daemon()
        ended = pyro.logs_workspace(workspace, handle=begun.handle, wait_seconds=30)
        assert (ended.status, ended.exit_code) == ("exited", 0)
        assert ended.output == "".join(f"line {i}\n" for i in range(1, 41))


def test_a_call_in_flight_says_that_the_daemon_went_away(fresh: Installation, seed: str) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(seed_path=seed).id
        caught: list[BaseException] = []

        def work() -> None:
            with Pyro() as worker:
                try:
                    worker.exec_workspace(workspace, "sleep 5")
                except PyroError as error:
                    caught.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        wait_until(lambda: bool(pyro.status_workspace(workspace).running_commands))
        fresh.kill_daemon()
        thread.join(30)
        assert isinstance(caught[0], DaemonUnavailable)
        assert "history" in str(caught[0])


@pytest.mark.as_root
def test_a_killed_machine_is_reported_as_lost_and_can_be_reset(fresh: Installation, seed: str) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(seed_path=seed).id
        begun = pyro.exec_workspace(workspace, "sleep 100", wait_seconds=0)
        base = str(fresh.machines) + "/"
        for process in with_word_in_command_line(base.encode()):
            kill(process)
        wait_until(lambda: pyro.status_workspace(workspace).state == "lost")
        status = pyro.status_workspace(workspace)
        assert status.cause
        assert pyro.logs_workspace(workspace, handle=begun.handle).status == "lost"
        with pytest.raises(PyroError, match="lost"):
            pyro.exec_workspace(workspace, "true")
        assert pyro.reset_workspace(workspace).state == "running"
        assert pyro.exec_workspace(workspace, "cat mark").stdout == "seeded\n"


def test_many_clients_start_one_daemon(fresh: Installation) -> None:
    results: list[set[str]] = []

    def work() -> None:
        with Pyro() as client:
            results.append({found.name for found in client.list_environments().environments})

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 12 and all({"debian:12", "debian:13"} <= found == results[0] for found in results)
    fresh.daemon_pid()


def test_an_idle_daemon_leaves_and_leaves_nothing(fresh: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_DAEMON_IDLE_SECONDS", "0.5")
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pid = fresh.daemon_pid()
        time.sleep(1.0)  # with a workspace to own it stays, however quiet
        assert fresh.daemon_pid() == pid
        pyro.delete_workspace(workspace)
    wait_until(lambda: not Path(f"/proc/{pid}/fd").exists() or not list(fresh.machines.iterdir()), 20)
    wait_until(lambda: not fresh.locations.socket.exists(), 20)
    assert _machines_with_processes(fresh) == set()


@pytest.mark.as_root
@pytest.mark.parametrize("delay", [0.0, 0.2, 0.35, 0.5])
def test_a_daemon_that_is_told_to_stop_ends_its_spare_machines_and_no_others(
    fresh: Installation, seed: str, delay: float
) -> None:
    with Pyro() as pyro:
        kept = pyro.create_workspace(seed_path=seed).id
        pyro.delete_workspace(pyro.create_workspace().id)
        time.sleep(delay)  # a spare machine is being restored, or is there
        fresh.stop_daemon()
        assert len(_machines_with_processes(fresh)) == 1
        assert "did not end" not in fresh.locations.daemon_log.read_text()
        assert pyro.exec_workspace(kept, "cat mark").stdout == "seeded\n"


def test_a_second_installation_with_the_same_caches_leaves_the_first_one_whole(fresh: Installation, seed: str) -> None:
    with Pyro() as pyro, Installation() as other:
        workspace = pyro.create_workspace(seed_path=seed).id
        with Pyro(locations=other.locations) as stranger, other.active():
            stranger.list_workspaces()
        assert pyro.exec_workspace(workspace, "cat mark").stdout == "seeded\n"
        pyro.reset_workspace(workspace)
        assert pyro.exec_workspace(workspace, "cat mark").stdout == "seeded\n"
