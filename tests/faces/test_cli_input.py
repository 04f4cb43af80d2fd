"""Standard input, Ctrl-C and the terminal, as the command line passes them on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from pyro_mcp.sdk import Pyro
from tests.faces.test_cli import pyro_command

PYRO = [sys.executable, "-m", "pyro_mcp"]


def test_input_from_a_pipe_or_a_file_is_passed_on(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    assert pyro_command("exec", workspace, "cat", stdin="hi\n").stdout == "hi\n"
    assert pyro_command("exec", workspace, "--", "cat", stdin="").stdout == ""
    data = os.urandom(3 * 1024 * 1024)
    (tmp_path / "data").write_bytes(data)
    with (tmp_path / "data").open("rb") as file:
        done = subprocess.run([*PYRO, "exec", workspace, "cat"], stdin=file, capture_output=True, timeout=120)
    assert done.stdout == data and done.returncode == 0
    assert pyro_command("run", "debian:12", "sh", "-c", "read x; echo got $x", stdin="it\n").stdout == "got it\n"


def test_a_pipe_that_stays_open_holds_nothing_up(pyro: Pyro, workspace: str) -> None:
    process = subprocess.Popen(
        [*PYRO, "exec", workspace, "echo out; exit 3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.wait(60) == 3
        assert process.stdout is not None and process.stdout.read() == "out\n"
    finally:
        process.kill()
        process.communicate()


def test_input_goes_through_while_the_command_answers(pyro: Pyro, workspace: str) -> None:
    process = subprocess.Popen(
        [*PYRO, "exec", workspace, 'while read x; do echo "<$x>"; done; echo end'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    for word in ("a", "b"):
        process.stdin.write(f"{word}\n")
        process.stdin.flush()
        assert process.stdout.readline() == f"<{word}>\n"
    process.stdin.close()
    assert process.stdout.read() == "end\n" and process.wait(60) == 0
    process.stdout.close()


def test_ctrl_c_is_an_interrupt_first(pyro: Pyro, workspace: str) -> None:
    script = (
        "import signal, time\n"
        "try:\n    print('begun', flush=True); time.sleep(300)\n"
        "except KeyboardInterrupt:\n    print('summary', flush=True); raise SystemExit(2)\n"
    )
    pyro.write_workspace_file(workspace, "wait.py", script)
    process = subprocess.Popen(
        [*PYRO, "exec", workspace, "python3", "wait.py"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == "summary\n"
    assert process.wait(60) == 130
    process.stdout.close()
    stubborn = pyro.exec_workspace(
        workspace, ["sh", "-c", "trap '' INT TERM; while :; do sleep 1; done"], wait_seconds=0
    )
    assert pyro.cancel_workspace_exec(workspace, stubborn.handle).status == "cancelled"


def test_a_client_that_is_ended_ends_its_command(pyro: Pyro, workspace: str) -> None:
    for number, nohup in ((signal.SIGTERM, False), (signal.SIGHUP, False), (signal.SIGHUP, True)):
        process = subprocess.Popen(
            [*PYRO, "exec", workspace, "trap 'echo told' INT TERM; echo begun; sleep 200 & wait; exec sleep 2"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if nohup else None,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        if nohup:
            assert pyro.status_workspace(workspace).running_commands
            process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
        assert process.wait(60) == 128 + (signal.SIGTERM if nohup else number)
        process.stdout.close()
        assert "told" in said and not pyro.status_workspace(workspace).running_commands


def test_a_command_on_a_terminal_gets_one(pyro: Pyro, workspace: str) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [*PYRO, "exec", workspace, "test -t 0 && test -t 1 && stty size && read x && exit $x"])
    said = b""
    while b"\n" not in said:
        said += os.read(terminal, 4096)
    os.write(terminal, b"7\n")
    while True:
        try:
            if not os.read(terminal, 4096):
                break
        except OSError:
            break
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 7, said
    assert pyro.status_workspace(workspace).running_commands == []
