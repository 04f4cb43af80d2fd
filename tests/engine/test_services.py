"""Services: long-lived processes with a readiness, logs and an end, in a real machine."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, NotFound, PyroError
from pyro_mcp.sdk import Pyro
from tests.conftest import ENVIRONMENT
from tests.faces.test_cli import pyro_command
from tests.support import Installation, wait_until

WEB = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        import os
        if self.path == "/moved":
            self.send_response(302); self.send_header("Location", "/nowhere"); self.end_headers(); return
        self.send_response(200 if os.path.exists("/workspace/up") else 503); self.end_headers()
    def log_message(self, *_): pass
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
STAY = "exec sleep 1000"


def processes(pyro: Pyro, workspace: str) -> str:
    return pyro.exec_workspace(workspace, "ps axo pid,args | grep -v 'ps axo'").stdout


@pytest.mark.parametrize(
    ("ready", "command"),
    [
        ({"ready_file": "out/ready"}, f"sleep 0.2; mkdir out; touch out/ready; {STAY}"),
        ({"ready_file": "/workspace/ready"}, f"sleep 0.2; touch ready; {STAY}"),
        ({"ready_file": "/run/app.pid"}, f"sleep 0.2; touch /run/app.pid; {STAY}"),
        ({"ready_tcp": 7001}, "sleep 0.2; exec nc -lk 127.0.0.1 7001"),
        ({"ready_http": "7002/"}, "touch up; exec python3 web.py 7002"),
        ({"ready_http": "http://127.0.0.1:7003/moved"}, "exec python3 web.py 7003"),
        ({"ready_command": "test -e done && echo looked"}, f"sleep 0.2; touch done; {STAY}"),
        ({}, STAY),
    ],
    ids=["file", "absolute-file", "outside-file", "tcp", "http", "redirect", "command", "none"],
)
def test_a_service_is_running_when_it_is_ready(
    pyro: Pyro, workspace: str, ready: dict[str, object], command: str
) -> None:
    pyro.write_workspace_file(workspace, "web.py", WEB)
    service = pyro.start_service(workspace, "app", command, **ready)  # type: ignore[arg-type]
    assert (service.state, service.exit_code, service.failure) == ("running", None, "")
    if ready:
        assert service.ready_seconds is not None
        assert service.ready == f"{next(iter(ready))[6:]} {next(iter(ready.values()))}"
    assert [s.state for s in pyro.list_services(workspace).services] == ["running"]


def test_an_answer_of_400_and_more_is_not_ready(pyro: Pyro, workspace: str) -> None:
    pyro.write_workspace_file(workspace, "web.py", WEB)
    service = pyro.start_service(workspace, "web", "exec python3 web.py 7000", ready_http="7000/x", wait_seconds=1)
    assert service.state == "starting"
    assert "service_status" in service.hint
    assert pyro.status_service(workspace, "web").state == "starting"
    pyro.write_workspace_file(workspace, "up", "")
    assert pyro.status_service(workspace, "web", wait_seconds=20).state == "running"


def test_what_is_not_ready_in_time_has_failed_and_is_gone(pyro: Pyro) -> None:
    workspace = pyro.create_workspace(ENVIRONMENT, network_policy="egress+published-ports").id
    service = pyro.start_service(
        workspace,
        "slow",
        "for i in $(seq 30); do echo line $i; done; sleep 1000 & exec sleep 1001",
        ready_tcp=7000,
        ready_timeout_seconds=0.7,
        publish=["7000"],
    )
    assert (service.state, service.published_ports) == ("failed", [])
    assert "0.7 s" in service.failure
    assert "tcp 7000" in service.failure
    assert service.log_tail.splitlines() == [f"line {n}" for n in range(11, 31)]
    assert "sleep 100" not in processes(pyro, workspace)
    assert pyro.status_service(workspace, "slow").state == "failed"
    assert pyro.start_service(workspace, "slow", STAY).state == "running"


def test_what_ends_before_it_is_ready_has_failed_with_its_status(pyro: Pyro, workspace: str) -> None:
    service = pyro.start_service(workspace, "broken", "echo why >&2; exit 3", ready_tcp=7000)
    assert (service.state, service.exit_code, service.log_tail) == ("failed", 3, "why")
    assert "status 3" in service.failure
    with pytest.raises(PyroError, match="no-such-program"):
        pyro.start_service(workspace, "missing", ["no-such-program"])
    with pytest.raises(NotFound, match="it has: broken"):
        pyro.status_service(workspace, "missing")


def test_what_exits_later_never_reads_as_running(pyro: Pyro, workspace: str) -> None:
    pyro.start_service(workspace, "job", "touch r; while [ ! -e go ]; do sleep 0.02; done; exit 5", ready_file="r")
    pyro.write_workspace_file(workspace, "go", "")
    wait_until(lambda: pyro.status_service(workspace, "job").state != "running")
    ended = pyro.status_service(workspace, "job")
    assert (ended.state, ended.exit_code) == ("exited", 5)
    killed = pyro.start_service(workspace, "killed", "kill -9 $$", wait_seconds=5)
    wait_until(lambda: pyro.status_service(workspace, "killed").state == "exited")
    assert pyro.status_service(workspace, killed.name).exit_code == 137
    assert {s.name: s.state for s in pyro.list_services(workspace).services} == {"job": "exited", "killed": "exited"}


def test_stop_gives_a_handler_its_grace_and_takes_its_status(pyro: Pyro, workspace: str) -> None:
    script = "trap 'echo cleaning; sleep 0.3; echo clean; exit 0' TERM; touch r; while :; do sleep 0.05; done"
    pyro.start_service(workspace, "tidy", script, ready_file="r")
    stopped = pyro.stop_service(workspace, "tidy", grace_seconds=20)
    assert (stopped.state, stopped.exit_code) == ("stopped", 0)
    # TERM goes to the whole group, so bash may say that its `sleep` was ended.
    said = pyro.logs_service(workspace, "tidy").output.splitlines()
    assert [line for line in said if line != "Terminated"] == ["cleaning", "clean"]
    assert pyro.stop_service(workspace, "tidy").state == "stopped"


def test_stop_kills_what_ignores_it_with_all_its_children(pyro: Pyro, workspace: str) -> None:
    script = "trap '' TERM; sleep 81 & set -m; sleep 82 & set +m; touch r; sleep 84; sleep 85"
    pyro.start_service(workspace, "stubborn", script, ready_file="r")
    wait_until(lambda: "sleep 84" in processes(pyro, workspace))
    stopped = pyro.stop_service(workspace, "stubborn", grace_seconds=0.3)
    assert (stopped.state, stopped.exit_code) == ("stopped", 137)
    wait_until(lambda: "sleep 8" not in processes(pyro, workspace))


def test_stop_at_once_after_start_stops(pyro: Pyro, workspace: str) -> None:
    for _ in range(3):
        pyro.start_service(workspace, "brief", "sleep 86; sleep 87", wait_seconds=0)
        assert pyro.stop_service(workspace, "brief").state == "stopped"
    assert "sleep 8" not in processes(pyro, workspace)


def test_logs_by_tail_offset_and_pattern(pyro: Pyro, workspace: str) -> None:
    pyro.start_service(workspace, "log", f"seq 1 1000; touch r; {STAY}", ready_file="r")
    logs = pyro.logs_service(workspace, "log", tail=3)
    assert logs.output == "998\n999\n1000\n"
    assert (logs.state, logs.next_offset, logs.total_bytes) == ("running", 3893, 3893)
    assert pyro.logs_service(workspace, "log").output.startswith("801\n")
    page = pyro.logs_service(workspace, "log", offset=0, max_output_bytes=200)
    assert page.output.startswith("1\n2\n")
    assert page.output.endswith("\n69\n"), "a page ends with a line where it can"
    assert page.next_offset == 198
    assert "offset=198" in page.hint
    found = pyro.logs_service(workspace, "log", grep="^9.9$")
    assert (found.matches, found.output.split()) == (10, [f"9{n}9" for n in range(10)])
    with pytest.raises(InvalidInput, match="regular expression"):
        pyro.logs_service(workspace, "log", grep="(")
    with pytest.raises(NotFound):
        pyro.logs_service(workspace, "other")


def test_a_name_is_taken_while_it_runs(pyro: Pyro, workspace: str) -> None:
    pyro.start_service(workspace, "one", STAY)
    with pytest.raises(Conflict, match="already running"):
        pyro.start_service(workspace, "one", "touch started")
    pyro.stop_service(workspace, "one")
    outcomes: list[object] = []

    def start() -> None:
        with Pyro() as client:
            try:
                outcomes.append(client.start_service(workspace, "one", "sleep 91").state)
            except Conflict:
                outcomes.append("conflict")

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert sorted(map(str, outcomes)) == ["conflict"] * 5 + ["running"]
    assert processes(pyro, workspace).count("sleep 91") == 1 + processes(pyro, workspace).count("-c sleep 91")
    assert "started" not in pyro.exec_workspace(workspace, "ls").stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"ready_tcp": 7000, "ready_file": "x"},
        {"ready_file": "../../etc/passwd"},
        {"ready_http": "https://example.com/"},
        {"ready_http": "99999/"},
        {"ready_http": "\u00b2/"},
        {"ready_http": "80/a b"},
        {"ready_tcp": 0},
        {"ready_timeout_seconds": 0},
        {"name": "../x"},
        {"name": ""},
        {"command": " "},
        {"command": []},
        {"secret_env": {"A": "unknown"}},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_and_nothing_starts(
    pyro: Pyro, workspace: str, wrong: dict[str, object]
) -> None:
    arguments = {"workspace": workspace, "name": "svc", "command": "touch started", **wrong}
    with pytest.raises((InvalidInput, NotFound)):
        pyro.start_service(**arguments)  # type: ignore[arg-type]
    assert pyro.list_services(workspace).services == []
    assert pyro.exec_workspace(workspace, "ls").stdout == ""


def test_services_survive_clients_and_daemons(fresh: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(ENVIRONMENT).id
        with Pyro() as first:
            first.start_service(workspace, "a", f"touch ra; echo begun; {STAY}", ready_file="ra")
            script = "while [ ! -e go ]; do sleep 0.02; done; echo late; touch rb; sleep 1000"
            first.start_service(workspace, "b", script, ready_file="rb", wait_seconds=0)
            first.start_service(workspace, "c", STAY, ready_file="never", ready_timeout_seconds=6, wait_seconds=0)
            first.start_service(workspace, "d", "while [ ! -e go ]; do sleep 0.02; done; exit 4")
        fresh.kill_daemon()
        states = {s.name: s.state for s in pyro.list_services(workspace).services}
        assert states == {"a": "running", "b": "starting", "c": "starting", "d": "running"}
        pyro.write_workspace_file(workspace, "go", "")
        assert pyro.status_service(workspace, "b", wait_seconds=20).state == "running"
        assert pyro.logs_service(workspace, "b").output == "late\n"
        assert pyro.status_service(workspace, "c", wait_seconds=30).state == "failed"
        wait_until(lambda: pyro.status_service(workspace, "d").state == "exited")
        assert pyro.status_service(workspace, "d").exit_code == 4
        fresh.kill_daemon()
        states = {s.name: s.state for s in pyro.list_services(workspace).services}
        assert states == {"a": "running", "b": "running", "c": "failed", "d": "exited"}
        assert pyro.stop_service(workspace, "a").state == "stopped"


def test_a_reset_ends_services(pyro: Pyro, workspace: str) -> None:
    pyro.start_service(workspace, "app", f"touch r; {STAY}", ready_file="r")
    pyro.reset_workspace(workspace)
    assert "sleep" not in processes(pyro, workspace)
    assert "running" not in {s.state for s in pyro.list_services(workspace).services}
    assert pyro.start_service(workspace, "app", STAY).state == "running"


def test_services_from_the_command_line(pyro: Pyro, workspace: str) -> None:
    start = ["workspace", "service", "start", workspace]
    made = pyro_command(*start, "web", "--ready-file", "r", "--", "touch r; echo hello; exec sleep 1000")
    assert made.returncode == 0, made.stderr
    assert "running" in made.stdout
    record = json.loads(pyro_command("workspace", "service", "status", workspace, "web", "--json").stdout)
    assert (record["name"], record["state"], record["ready"]) == ("web", "running", "file r")
    failed = pyro_command(*start, "bad", "--ready-tcp", "7000", "--", "echo reason; exit 9")
    assert failed.returncode == 1
    assert "failed" in failed.stdout
    assert "reason" in failed.stdout
    assert pyro_command(*start, "x", "--ready-tcp", "http", "--", "true").returncode == 2
    listed = pyro_command("workspace", "service", "list", workspace)
    assert "web" in listed.stdout
    assert "bad" in listed.stdout
    logs = pyro_command("workspace", "service", "logs", workspace, "web", "--content-only")
    assert logs.stdout == "hello\n"
    stopped = pyro_command("workspace", "service", "stop", workspace, "web", "--json")
    assert json.loads(stopped.stdout)["state"] == "stopped"


def test_logs_are_followed_until_the_service_ends(pyro: Pyro, workspace: str) -> None:
    script = "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; while [ ! -e end ]; do sleep 0.02; done"
    pyro.start_service(workspace, "app", script)
    followers = [
        subprocess.Popen(
            [sys.executable, "-m", "pyro_mcp", "workspace", "service", "logs", workspace, "app", "--follow"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    try:
        for follower in followers:
            assert follower.stdout is not None
            assert follower.stdout.readline() == b"one\n"
        pyro.write_workspace_file(workspace, "go", "")
        for follower in followers:
            assert follower.stdout is not None
            assert follower.stdout.readline() == b"two\n"
        pyro.write_workspace_file(workspace, "end", "")
        for follower in followers:
            assert follower.stdout is not None
            assert follower.stdout.read() == b""
            assert follower.wait(20) == 0
    finally:
        for follower in followers:
            follower.kill()
            follower.wait()
            assert follower.stdout is not None
            follower.stdout.close()


def test_a_port_that_another_process_holds_is_said(pyro: Pyro, workspace: str) -> None:
    other = pyro.exec_workspace(workspace, "exec python3 -m http.server 8010", wait_seconds=0)
    wait_until(lambda: pyro.exec_workspace(workspace, "exec 3<>/dev/tcp/127.0.0.1/8010").exit_code == 0)
    with pytest.raises(Conflict) as caught:
        pyro.start_service(workspace, "web", "python3 -m http.server 8010", ready_tcp=8010)
    assert caught.value.code == "port_in_use" and "8010" in caught.value.message
    pyro.cancel_workspace_exec(workspace, other.handle)
    assert pyro.start_service(workspace, "web", "exec python3 -m http.server 8010", ready_tcp=8010).state == "running"


@pytest.mark.parametrize("address", ["::1", "127.0.0.2", "0.0.0.0", "::"])
def test_a_server_is_ready_wherever_it_listens(pyro: Pyro, workspace: str, address: str) -> None:
    command = f"exec python3 -m http.server 8020 --bind {address}"
    assert pyro.start_service(workspace, "web", command, ready_http="8020").state == "running"
