"""One daemon for a user, whoever starts it, dies over it or comes while another leaves; no client hears of it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from pyro_mcp import ownership
from pyro_mcp.errors import Conflict
from pyro_mcp.machines.processes import with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests.support import Installation, wait_until

LIST = "from pyro_mcp.sdk import Pyro; Pyro().list_workspaces()"


def daemons(installation: Installation) -> set[int]:
    """Every process that is or is to become a daemon of this installation, children that look like it left out."""
    mark = f"XDG_STATE_HOME={installation.root}/state\0".encode()
    found = {p.pid for p in with_word_in_command_line(b"pyro_mcp.daemon") if mark in _read(p.pid, "environ")}
    return {pid for pid in found if int(_read(pid, "stat").rpartition(b")")[2].split()[1]) not in found}


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b") x 0"


def _list() -> int:
    with Pyro() as pyro:
        return len(pyro.list_workspaces().workspaces)


def _waits_for_a_lock(pid: int) -> bool:
    return any(b"->" in line and b" %d " % pid in line for line in Path("/proc/locks").read_bytes().splitlines())


def test_a_client_killed_while_it_starts_the_daemon_leaves_one_daemon_to_the_next(fresh: Installation) -> None:
    starter = subprocess.Popen([sys.executable, "-c", LIST], process_group=0)
    wait_until(lambda: len(daemons(fresh)) == 1)
    (first,) = daemons(fresh)
    os.kill(first, signal.SIGSTOP)
    try:
        starter.kill()
        starter.wait()
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(_list) for _ in range(4)]
            assert not wait(calls, timeout=1).done
            assert daemons(fresh) == {first}
            os.kill(first, signal.SIGCONT)
            assert [call.result(60) for call in calls] == [0] * 4
    finally:
        os.kill(first, signal.SIGCONT)
    assert daemons(fresh) == {first}


def test_a_call_while_the_daemon_leaves_waits_for_the_next_one(fresh: Installation) -> None:
    assert _list() == 0
    fresh.stop_daemon()
    # The one that leaves has taken its socket away and still holds what only one may hold.
    leaving = os.open(fresh.locations.daemon_lock, os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(leaving, fcntl.LOCK_EX)
    try:
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(_list)
            wait_until(lambda: call.done() or any(map(_waits_for_a_lock, daemons(fresh))))
            fcntl.flock(leaving, fcntl.LOCK_UN)
            assert call.result(60) == 0
    finally:
        os.close(leaving)
    assert len(daemons(fresh)) == 1


def test_a_state_has_one_daemon_wherever_its_clients_look_for_it(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As from a login and from cron, `sudo -u` or a chat host that passes no XDG_RUNTIME_DIR on.
    assert _list() == 0
    first = daemons(fresh)
    here, elsewhere = fresh.root / "run", fresh.root / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(elsewhere))
    assert (
        subprocess.run([sys.executable, "-m", "pyro_mcp", "daemon", "status"], stdout=subprocess.DEVNULL).returncode
        == 0
    )
    assert _list() == 0 and daemons(fresh) == first
    fresh.stop_daemon()
    starters = [
        subprocess.Popen([sys.executable, "-c", LIST], env={**os.environ, "XDG_RUNTIME_DIR": str(place)})
        for place in (here, elsewhere, here, elsewhere)
    ]
    assert [starter.wait(60) for starter in starters] == [0] * 4
    (second,) = daemons(fresh)
    with pytest.raises(Conflict, match=f"`kill {second}` ends it"):
        ownership.own(fresh.locations.ownership, 0)
    # One that nobody reaches any more, because its runtime directory went with the login, hands over.
    for place in (here, elsewhere):
        (place / "pyro" / "daemon.sock").unlink(missing_ok=True)
    assert _list() == 0
    (third,) = daemons(fresh)
    assert third != second
