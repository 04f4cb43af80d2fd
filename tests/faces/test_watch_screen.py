"""`pyro watch --tui` on a pseudo-terminal: what a person sees is what a terminal makes of its bytes."""

from __future__ import annotations

import os
import select
import time

import pytest

from pyro_mcp.processes.terminal import Terminal
from pyro_mcp.sdk import Pyro
from tests.faces.test_attach import Person, at_terminal
from tests.faces.test_cli import pyro_command
from tests.support import slowness


def sees(someone: Person, terminal: Terminal, *wanted: str) -> list[str]:
    """Wait until all of it is on the screen."""
    deadline = time.monotonic() + 20 * slowness()
    while not all(any(word in " ".join(line.split()) for line in terminal.screen()) for word in wanted):
        ready, _, _ = select.select([someone.master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, "\n".join(terminal.screen())
        terminal.feed(os.read(someone.master, 65536))
    return terminal.screen()


def test_a_small_screen_for_all_workspaces(pyro: Pyro, monkeypatch: pytest.MonkeyPatch) -> None:
    asks = pyro.create_workspace("debian:12", name="asks", network_policy="ask").id
    quiet = pyro.create_workspace("debian:12", name="quiet").id
    printed = "line %s\\033[31m of it\\033[2J\\033]0;owned\\007\\n"
    loop = f"i=0; while true; do i=$((i+1)); printf '{printed}' $i; sleep 0.2; done"
    monkeypatch.setenv("TERM", "xterm")
    with at_terminal("watch", "--tui") as someone:
        terminal = Terminal(30, 100)
        sees(someone, terminal, "2 workspaces", "asks", "quiet", "q: leave")
        running = pyro.exec_workspace(asks, loop, wait_seconds=0, timeout_seconds=600).handle
        sees(someone, terminal, "busy")
        someone.type(b"k")  # what is busy comes first; the chosen one stays chosen
        lines = sees(someone, terminal, "> asks", "line 3 of it")
        assert any("|" in line for line in lines)
        fetch = "import urllib.request; urllib.request.urlopen('https://tui.example.com/')"
        asking = pyro.exec_workspace(asks, ["python3", "-c", fetch], wait_seconds=0).handle
        sees(someone, terminal, "tui.example.com:443", "is asked for by asks", "1 question")
        # Forty columns: the list above, the output below; the key answers, and nothing else is typed.
        terminal.resize(20, 40)
        someone.size(20, 40)
        sees(someone, terminal, "tui.example.com", "a: allow")
        someone.type(b"n")
        sees(someone, terminal, "0 questions", "q: leave")
        assert pyro.logs_workspace(asks, asking, wait_seconds=30).status == "exited"
        pyro.cancel_workspace_exec(asks, running)
        sees(someone, terminal, "> asks running")
        someone.type(b"k")  # the newest comes first again
        sees(someone, terminal, "> quiet")
        pyro.delete_workspace(quiet)
        sees(someone, terminal, "1 workspace,", "> asks")
        someone.type(b"q")
        assert someone.leaves() == 0
    monkeypatch.setenv("TERM", "dumb")
    with at_terminal("watch", "--tui") as someone:
        someone.sees(b"No screen can be drawn on this terminal (TERM=dumb)")
        assert someone.process.wait(20) == 1
    refused = pyro_command("watch", "--tui")
    assert refused.returncode == 2 and "--tui needs a terminal" in refused.stderr
