"""`pyro workspace shell attach`: a person's live terminal, under a real pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.sdk import Pyro
from tests.faces.test_cli import pyro_command
from tests.support import wait_until

DETACH = b"\x1d"


class Person:
    """Someone at a terminal in which the command runs."""

    def __init__(self, *words: str, cwd: Path | None = None) -> None:
        self.master, slave = pty.openpty()
        self.size(30, 100)
        self.before = termios.tcgetattr(slave)
        self.seen = b""
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pyro_mcp", *words],
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={key: value for key, value in os.environ.items() if key not in ("LINES", "COLUMNS")},
        )

    def size(self, rows: int, cols: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def sees(self, wanted: bytes, seconds: float = 20.0) -> None:
        """Wait until it is on the terminal; what was seen up to it is forgotten."""
        deadline = time.monotonic() + seconds
        while wanted not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{wanted!r} did not come, but {self.seen[-2000:]!r}"
            self.seen += os.read(self.master, 65536)
        self.seen = self.seen.partition(wanted)[2]

    def leaves(self) -> int:
        """Wait for the end of the command: its status; the terminal is as it was."""
        status = self.process.wait(20)
        assert termios.tcgetattr(self.slave) == self.before
        return status


@contextlib.contextmanager
def at_terminal(*words: str, cwd: Path | None = None) -> Iterator[Person]:
    someone = Person(*words, cwd=cwd)
    try:
        yield someone
    finally:
        someone.process.kill()
        someone.process.wait()
        os.close(someone.master)
        os.close(someone.slave)


def person(*words: str) -> contextlib.AbstractContextManager[Person]:
    return at_terminal("workspace", "shell", "attach", *words)


@pytest.fixture
def shell(pyro: Pyro, workspace: str) -> str:
    """A shell at its prompt."""
    opened = pyro.open_shell(workspace).shell
    pyro.read_shell(workspace, opened, wait_for=r"# $", wait_for_idle_ms=0)
    return opened


def test_keys_go_in_and_output_comes_out(pyro: Pyro, workspace: str, shell: str) -> None:
    pyro.write_shell(workspace, shell, "PS1='> '; echo ear''lier", enter=True)
    pyro.read_shell(workspace, shell, wait_for="earlier$", wait_for_idle_ms=0)
    with person(workspace, shell) as someone:
        someone.sees(b"Attached")
        someone.sees(b"earlier")  # what was printed before is shown
        someone.type(b"echo $((6*7)) \xc3\xa4; stty size\r")
        someone.sees("42 ä".encode())
        someone.sees(b"30 100")
        someone.type(b"sleep 100\r")
        someone.sees(b"sleep 100\r\n")
        # Until it is in the foreground, the key would be bash's.
        wait_until(lambda: "sleep 100" in pyro.exec_workspace(workspace, "ps axo args").stdout)
        someone.type(b"\x03")
        someone.sees(b"^C")
        someone.sees(b"> ")
        someone.type(DETACH)
        someone.sees(b"stays open")
        assert someone.leaves() == 0
    assert pyro.write_shell(workspace, shell, "").status == "running"


def test_a_change_of_the_window_is_passed_on(pyro: Pyro, workspace: str, shell: str) -> None:
    with person(workspace, shell) as someone:
        someone.sees(b"Attached")
        # A script, for bash at its prompt may look at its traps only with the next key.
        someone.type(b"bash -c 'trap \"stty size\" WINCH; echo rea''dy; while :; do sleep 0.05; done'\r")
        someone.sees(b"ready")
        someone.size(44, 123)
        someone.sees(b"44 123")
        assert pyro.write_shell(workspace, shell, "").cols == 123
        someone.type(DETACH)
        assert someone.leaves() == 0


def test_the_shells_end_ends_it_with_its_status(workspace: str, shell: str) -> None:
    with person(workspace, shell) as someone:
        someone.sees(b"Attached")
        someone.type(b"exit 5\r")
        assert someone.leaves() == 5


def test_two_people_see_the_same(workspace: str, shell: str) -> None:
    with person(workspace, shell) as one, person(workspace, shell) as other:
        one.sees(b"Attached")
        other.sees(b"Attached")
        one.type(b"echo sha''red\r")
        one.sees(b"shared")
        other.sees(b"shared")
        other.type(DETACH)
        assert other.leaves() == 0
        one.type(b"exit 0\r")
        assert one.leaves() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(pyro: Pyro, workspace: str, shell: str, number: signal.Signals) -> None:
    with person(workspace, shell) as someone:
        someone.sees(b"Attached")
        someone.type(b"echo rea''dy\r")
        someone.sees(b"ready")
        someone.process.send_signal(number)
        assert someone.leaves() != 0
    assert pyro.write_shell(workspace, shell, "").status == "running"


def test_what_cannot_be_attached_to_is_said(pyro: Pyro, workspace: str, shell: str) -> None:
    attach = ["workspace", "shell", "attach"]
    piped = pyro_command(*attach, workspace, shell)
    assert (piped.returncode, piped.stdout) == (2, "")
    assert "terminal" in piped.stderr
    assert "shell read" in piped.stderr
    assert pyro_command(*attach, workspace).returncode == 2
    with person(workspace, "nope") as someone:
        someone.sees(shell.encode())  # the message names those there are
        assert someone.leaves() == 1
    pyro.close_shell(workspace, shell)
    with person(workspace, shell) as someone:
        someone.sees(b"Open a new one")
        assert someone.leaves() == 1
