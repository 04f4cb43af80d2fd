"""A machine in which nothing happens is stopped, and nobody notices but this computer's CPU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.machines.gvisor.record import MachineRecord
from pyro_mcp.sdk import Pyro
from tests.support import Installation, slowness, wait_until


@pytest.fixture(autouse=True)
def of_gvisor(engine: str) -> None:
    if engine != "gvisor":
        pytest.skip("a virtual machine that sleeps costs nothing anyway")


def records(installation: Installation) -> list[MachineRecord]:
    found = (MachineRecord.read(entry) for entry in installation.machines.iterdir())
    return [record for record in found if record is not None]


def stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def stopped(record: MachineRecord) -> bool:
    return all(stat(process.pid)[0] == "T" for process in (record.sandbox, record.gofer))


def ticks(record: MachineRecord) -> int:
    """CPU of the machine's processes, in clock ticks (proc(5), stat: utime, stime)."""
    return sum(sum(map(int, stat(process.pid)[11:13])) for process in (record.sandbox, record.gofer))


def awake(installation: Installation) -> int:
    return sum(not stopped(record) for record in records(installation))


@pytest.fixture
def workspace(fresh: Installation) -> Iterator[str]:
    with Pyro() as pyro:
        made = pyro.create_workspace().id
        wait_until(lambda: len(records(fresh)) == 2)  # a spare stands beside it
        yield made


def test_an_idle_machine_costs_nothing_and_answers_at_once(fresh: Installation, workspace: str) -> None:
    with Pyro() as pyro:
        pyro.exec_workspace(workspace, "echo $$ > /tmp/x; date +%s.%N")
        wait_until(lambda: awake(fresh) == 0)
        before = [ticks(record) for record in records(fresh)]
        time.sleep(2)  # what is measured
        assert [ticks(record) for record in records(fresh)] == before
        begun = time.time()
        answer = pyro.exec_workspace(workspace, "date +%s.%N")
        assert time.time() - begun < 2 * slowness()
        assert begun - 0.1 < float(answer.stdout) < time.time() + 0.1  # its clock went on
        wait_until(lambda: awake(fresh) == 0)
        pyro.write_workspace_file(workspace, "a.txt", "a\n")
        assert pyro.read_workspace_file(workspace, "a.txt").content == "a\n"
        forked = pyro.fork_workspace(workspace).workspaces[0].id
        wait_until(lambda: awake(fresh) == 0)
        assert pyro.exec_workspace(forked, "cat a.txt /tmp/x").exit_code == 0
        pyro.reset_workspace(workspace)
        wait_until(lambda: awake(fresh) == 0)
        pyro.delete_workspace(workspace)
        pyro.delete_workspace(forked)


@pytest.mark.parametrize("command", ["sleep 1000 &", "setsid sleep 1000 > /dev/null 2>&1 < /dev/null & disown"])
def test_a_process_that_a_command_left_behind_keeps_it_awake_as_long_as_it_runs(
    fresh: Installation, workspace: str, command: str
) -> None:
    with Pyro() as pyro:
        late = "(for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo $i >> /workspace/beats; done) > /dev/null 2>&1 &"
        pyro.exec_workspace(workspace, f"{late} {command}")
        wait_until(lambda: awake(fresh) == 1)  # the spare rests
        begun = time.monotonic()
        while time.monotonic() - begun < 5:
            assert awake(fresh) == 1
            time.sleep(0.1)
        assert pyro.read_workspace_file(workspace, "beats").content.split()[-1] == "8"
        pyro.exec_workspace(workspace, "pkill sleep")
        wait_until(lambda: awake(fresh) == 0)


def test_a_workspace_with_the_network_rests_and_reaches_it_afterwards(fresh: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(network_policy="egress", allow_domains=["example.com"]).id
        wait_until(lambda: len(records(fresh)) == 2)
        wait_until(lambda: awake(fresh) == 0)
        # Nobody asks after it: it stays so.
        before = [ticks(record) for record in records(fresh)]
        time.sleep(8)
        assert [ticks(record) for record in records(fresh)] == before
        asked = "CONNECT no.example.org:443 HTTP/1.1\\r\\nHost: no.example.org:443\\r\\n\\r\\n"
        said = pyro.exec_workspace(
            workspace,
            f"exec 3<>/dev/tcp/127.0.0.1/3128; printf '{asked}' >&3; head -1 <&3",
        )
        assert "403" in said.stdout, said


def test_a_daemon_that_is_killed_leaves_a_machine_that_the_next_one_wakes(fresh: Installation, workspace: str) -> None:
    with Pyro() as pyro:
        pyro.exec_workspace(workspace, "echo kept > /tmp/kept")
        wait_until(lambda: awake(fresh) == 0)
        fresh.kill_daemon()
        assert awake(fresh) == 0
    with Pyro() as pyro:
        assert pyro.exec_workspace(workspace, "cat /tmp/kept").stdout == "kept\n"
        wait_until(lambda: awake(fresh) == 0)
    fresh.stop_daemon()
    assert awake(fresh) == len(records(fresh)) == 1  # one that leaves in good order stops nothing
    with Pyro() as pyro:
        assert pyro.exec_workspace(workspace, "cat /tmp/kept").stdout == "kept\n"
