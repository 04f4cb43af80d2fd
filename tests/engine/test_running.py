"""Commands as models are used to: in the background, until something holds, in a session, with what they changed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.sdk import Pyro
from tests.support import slowness

SERVER = "python3 -u -m http.server 8123 --bind 127.0.0.1"


def test_a_server_in_the_background_is_waited_for_and_goes_on(pyro: Pyro, workspace: str) -> None:
    begun = time.monotonic()
    plain = pyro.exec_workspace(workspace, "sleep 300", background=True)
    assert (plain.status, plain.reached) == ("running", None)
    assert time.monotonic() - begun < 10 * slowness()
    served = pyro.exec_workspace(workspace, SERVER, background=True, until="8123", wait_seconds=50)
    assert (served.status, served.reached) == ("running", True), served
    assert pyro.exec_workspace(workspace, "curl -sf http://127.0.0.1:8123/ >/dev/null").exit_code == 0
    with pytest.raises(Conflict, match="8123 is taken"):
        pyro.exec_workspace(workspace, SERVER, background=True, until="8123")
    again = pyro.logs_workspace(workspace, handle=served.handle, until="http://localhost:8123/", wait_seconds=50)
    assert again.reached is True
    said = pyro.logs_workspace(workspace, handle=served.handle, until=r"GET / HTTP/1\.1. 200", wait_seconds=50)
    assert said.reached is True
    for each in (plain, served):
        assert pyro.cancel_workspace_exec(workspace, each.handle).status == "cancelled"


def test_words_and_files_are_waited_for_and_what_never_comes_is_said(pyro: Pyro, workspace: str) -> None:
    slow = "for i in $(seq 50); do printf '\\033[32mstep %s\\033[0m of 50\\n' $i; done; printf 'ready> '; sleep 300"
    found = pyro.exec_workspace(workspace, slow, until="^ready> $", wait_seconds=50)
    assert (found.status, found.reached) == ("running", True)
    assert pyro.logs_workspace(workspace, handle=found.handle, until="^step 7 of", wait_seconds=5).reached is True
    file = pyro.exec_workspace(workspace, "touch made; sleep 300", until="file:made", wait_seconds=50)
    assert (file.status, file.reached) == ("running", True)
    outside = pyro.exec_workspace(workspace, "touch /tmp/is-up; sleep 300", until="/tmp/is-up", wait_seconds=50)
    assert (outside.status, outside.reached) == ("running", True)
    never = pyro.exec_workspace(workspace, "echo other", until="wanted", wait_seconds=50)
    assert (never.status, never.reached, never.exit_code) == ("exited", False, 0)
    assert "ended before" in never.hint
    late = pyro.exec_workspace(workspace, "sleep 300", until="wanted", wait_seconds=0.2)
    assert (late.status, late.reached) == ("running", False)
    for wrong in ("", "70000", "(", "http://localhost:99999999/"):
        with pytest.raises(InvalidInput):
            pyro.exec_workspace(workspace, "true", until=wrong)
    for each in (found, file, outside, late):
        pyro.cancel_workspace_exec(workspace, each.handle)


def test_a_session_keeps_directory_variables_and_functions(pyro: Pyro, workspace: str) -> None:
    def run(command: str, **given: object) -> tuple[int | None, str]:
        result = pyro.exec_workspace(workspace, command, session="work", **given)  # type: ignore[arg-type]
        return result.exit_code, (result.stdout + result.stderr).strip()

    assert run("mkdir -p 'a b'; cd 'a b'; export A='x\ny'; b=2; f() { echo \"f $1\"; }; umask 077") == (0, "")
    assert run('pwd; echo "$A"; echo $b; f 3; umask; env | grep -c ^A=') == (0, "/workspace/a b\nx\ny\n2\nf 3\n0077\n1")
    assert run("exit 7") == (7, "")
    assert run("cd /tmp; false")[0] == 1
    assert run("pwd") == (0, "/tmp")
    assert run("cd /var; kill -9 $$")[0] == 137
    assert run("pwd; f 4") == (0, "/tmp\nf 4")
    timed = pyro.exec_workspace(workspace, "cd /usr; sleep 300", session="work", timeout_seconds=1)
    assert timed.status == "timed_out"
    assert run("pwd") == (0, "/usr")
    assert run("if") == (2, run("if")[1])
    assert run("set -euo pipefail; set -C; IFS=:; trap 'echo bye' EXIT; cd /etc") == (0, "bye")
    assert run("pwd; false; echo on") == (0, "/usr\non")  # a trap of its own takes the place of keeping
    assert run("mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone")[0] == 0
    assert "which is gone; running in /workspace instead" in run("pwd")[1]
    assert pyro.exec_workspace(workspace, "pwd", session="other").stdout == "/workspace\n"
    assert pyro.exec_workspace(workspace, "pwd").stdout == "/workspace\n"
    assert run("pwd", cwd="/opt") == (0, "/opt")
    assert run(["printf", "%s|", "a b", "$A"]) == (0, "a b|$A|")  # type: ignore[arg-type]
    hidden = [c for c in pyro.logs_workspace(workspace, limit=3).commands if "__pyro" in " ".join(c.command)]
    assert hidden == []


def test_a_session_that_was_spoilt_comes_back(pyro: Pyro, workspace: str) -> None:
    spoils = [
        "cd() { false; }; eval() { echo no; }; declare() { echo no; }; unset() { :; }; printf() { :; }",
        "PATH=; IFS=x; export BASH_ENV=/nowhere; set -u; POSIXLY_CORRECT=1",
        "readonly PWD; readonly IFS; readonly HOME=/",
        "echo 'if (' > /run/pyro-sessions/@0/s; exec true",
        "head -c 100000 /dev/urandom > /run/pyro-sessions/@0/s; exec true",
        "rm -rf /run/pyro-sessions; ln -s /etc/passwd /run/pyro-sessions; exec true",
        "big=$(head -c 9000000 /dev/zero | tr '\\0' x)",
    ]
    for spoil in spoils:
        assert pyro.exec_workspace(workspace, spoil, session="s").status == "exited", spoil
        after = pyro.exec_workspace(workspace, "builtin echo still; exit 3", session="s")
        assert (after.stdout, after.exit_code) == ("still\n", 3), (spoil, after)
        pyro.exec_workspace(workspace, "rm -rf /run/pyro-sessions")


def test_a_session_keeps_no_secret(pyro: Pyro) -> None:
    ws = pyro.create_workspace(secrets={"TOKEN": "a-value-nobody-sees"}).id
    given = {"secret_env": {"T": "TOKEN"}}
    assert pyro.exec_workspace(ws, "echo ${#T}", session="s", **given).stdout == "19\n"  # type: ignore[arg-type]
    assert pyro.exec_workspace(ws, "echo [$T]; grep -c nobody /run/pyro-sessions/@0/s", session="s").stdout == "[]\n0\n"


def test_a_command_says_which_files_it_changed(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id

    def changed(command: str) -> list[str]:
        result = pyro.exec_workspace(ws, command)
        assert result.changed_files == len(result.changed), result
        return result.changed

    assert changed("true; cat src/calc.py; ls -R; git status") == []
    assert changed("echo >> src/calc.py; mkdir -p new/deep empty; echo x > new/deep/f; rm test_calc.py") == [
        "empty/",
        "new/deep/f",
        "src/calc.py",
        "test_calc.py",
    ]
    assert changed("true") == []
    assert changed("chmod +x new/deep/f; mv src/calc.py src/moved.py") == ["new/deep/f", "src/calc.py", "src/moved.py"]
    pyro.write_workspace_file(ws, "by-tool", "x")
    pyro.write_workspace_file(ws, "new/by-tool", "x")
    assert changed("true") == []
    assert changed("rm by-tool; touch same; touch \"$(printf 'caf\\351')\"") == ["by-tool", "caf\udce9", "same"]
    many = pyro.exec_workspace(ws, "for i in $(seq 100 199); do echo $i > n$i; done")
    assert (many.changed_files, len(many.changed), many.changed[0]) == (100, 20, "n100")
    assert changed("mkdir node_modules; for i in $(seq 300); do echo > node_modules/$i; done") == ["node_modules/"]
