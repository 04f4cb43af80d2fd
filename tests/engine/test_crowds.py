"""Fork bombs. One of a shell costs the command that lit it, and it says so.

One that ignores signals and leaves its session, in a language whose processes take megabytes each, may fill the memory
of a gVisor machine within the tenth of a second in which the agent does not look. Then the machine is lost, and says
so: what holds is that it costs nobody else, and that a reset cures it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pyro_mcp.sdk import Pyro
from tests.conftest import ENVIRONMENT
from tests.support import Installation, to_the_end, wait_until

SHELL = ":(){ :|:& };:; sleep 50"
SLEEPS = "while :; do sleep 100 & done"
STUBBORN = """python3 -c '
import os, signal
for number in (1, 2, 3, 10, 12, 13, 14, 15, 17): signal.signal(number, signal.SIG_IGN)
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass
'"""
ESCAPED = "mkdir /c; mount -t cgroup -o pids none /c; echo 0 > /c/cgroup.procs; exec " + STUBBORN


@pytest.fixture(scope="module")
def small(session_installation: Installation, engine: str) -> Iterator[str]:
    """A workspace that these tests share: each leaves it alive, without a reset."""
    if engine != "gvisor":
        pytest.skip("the limit of a virtual machine is its kernel's")
    with session_installation.active(), Pyro() as pyro:
        workspace = pyro.create_workspace(ENVIRONMENT, mem_mib=512).id
        yield workspace
        pyro.delete_workspace(workspace)


def works(pyro: Pyro, workspace: str) -> None:
    assert to_the_end(pyro, workspace, "echo well; cat kept", seconds=40).output == "well\nwork\n"


def test_a_bomb_costs_the_command_that_lit_it(pyro: Pyro, small: str) -> None:
    pyro.exec_workspace(small, "echo work > kept")
    result = to_the_end(pyro, small, SHELL, seconds=45)
    assert re.search(r"(process|memory) limit: ", result.cause)  # memory may be full first, or all may have to end
    works(pyro, small)  # what else runs goes on, unless it had to be ended as well; that is said
    assert pyro.logs_workspace(small, handle=result.handle).cause == result.cause


def test_many_quiet_processes_run_on_until_they_are_cancelled_whole(pyro: Pyro, small: str) -> None:
    pyro.exec_workspace(small, "echo work > kept")
    running = pyro.exec_workspace(small, f"setsid bash -c '{SLEEPS}' & {SLEEPS}", background=True)

    def sleeping() -> int:
        # A look may be hung up where all is stopped for a moment, and then says nothing.
        return int(pyro.exec_workspace(small, "pgrep -c sleep").stdout or -1)

    wait_until(lambda: sleeping() > 80, seconds=60)
    works(pyro, small)
    pyro.cancel_workspace_exec(small, running.handle)
    wait_until(lambda: sleeping() == 0, seconds=20)


@pytest.mark.parametrize("bomb", [STUBBORN, ESCAPED], ids=["stubborn", "escaped"])
def test_a_stubborn_bomb_costs_its_own_machine_at_most(pyro: Pyro, small: str, workspace: str, bomb: str) -> None:
    result = to_the_end(pyro, small, bomb, seconds=45)
    assert pyro.exec_workspace(workspace, "echo well").stdout == "well\n"
    if pyro.status_workspace(small).state == "running":
        assert "limit: " in result.cause or "All that ran" in result.cause
    else:
        assert pyro.status_workspace(small).cause
    pyro.reset_workspace(small)
    pyro.exec_workspace(small, "echo work > kept")
    works(pyro, small)


def test_a_bomb_of_a_service_ends_it_and_is_said(pyro: Pyro, small: str) -> None:
    pyro.start_service(small, "bomb", STUBBORN)
    wait_until(lambda: pyro.status_service(small, "bomb").state != "running", seconds=90)
    told = pyro.status_service(small, "bomb").model_dump_json()
    assert " limit: it" in told or "the machine was lost" in told
    pyro.reset_workspace(small)
    pyro.exec_workspace(small, "echo work > kept")
    works(pyro, small)
