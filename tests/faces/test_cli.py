"""The command line as a person uses it, on real machines."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.sdk import Pyro


def pyro_command(*words: str, stdin: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyro_mcp", *words],
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )


@pytest.fixture
def ws(pyro: Pyro) -> str:
    """A workspace made by the command line."""
    made = pyro_command("workspace", "create", "debian:12", "--name", "from-cli", "--label", "a=b", "--id-only")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("ws-")
    return made.stdout.strip()


def test_results_go_to_stdout_and_json_is_one_object(ws: str) -> None:
    status = pyro_command("workspace", "status", "from-cli", "--json")
    record = json.loads(status.stdout)
    assert (record["id"], record["name"], record["labels"]) == (ws, "from-cli", {"a": "b"})
    shown = pyro_command("workspace", "list")
    assert "from-cli" in shown.stdout


def test_a_trace_says_where_the_time_went(ws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_TRACE", "1")
    for words, what in ((["exec", ws, "--", "sleep 0.3"], "command"), (["status", ws], "daemon")):
        ran = pyro_command("workspace", *words)
        (said,) = [line for line in ran.stderr.splitlines() if line.startswith("pyro trace: ")]
        found = re.fullmatch(r"pyro trace: (\w+) ([\d.]+) ms: (.*); this process's CPU [\d.]+ ms", said)
        assert found is not None, said
        name, whole, parts = found.groups()
        spent = {part.rpartition(" ")[0]: float(part.rpartition(" ")[2]) for part in parts.split(", ")}
        assert name == f"{words[0]}_workspace"
        assert {"client and way", "daemon", what} <= spent.keys()
        assert all(0 <= ms <= float(whole) for ms in spent.values())
        assert what != "command" or spent["command"] >= 250
    failed = pyro_command("workspace", "status", "nobody")
    assert "pyro trace: status_workspace" in failed.stderr and failed.returncode == 1
    monkeypatch.setenv("PYRO_TRACE", "0")
    assert "trace" not in pyro_command("workspace", "status", ws).stderr


def test_exec_streams_and_has_the_commands_own_status(ws: str) -> None:
    ran = pyro_command("workspace", "exec", ws, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (ran.returncode, ran.stdout) == (7, "out\n")
    assert "err\n" in ran.stderr
    late = pyro_command("workspace", "exec", ws, "--timeout-seconds", "0.5", "--", "sleep 30")
    assert late.returncode == 124
    assert pyro_command("workspace", "exec", ws, "--cwd", "/etc", "--", "pwd").stdout == "/etc\n"


UNUSED = {
    *("asyncio", "base64", "contextlib", "dataclasses", "difflib", "h11", "httpx", "inspect", "locale", "logging"),
    *("mcp", "pathlib", "pydantic", "pydantic_core", "rich", "shutil", "signal", "sqlite3", "ssl", "subprocess"),
    *("tempfile", "textwrap", "threading", "typing", "urllib.parse"),
    *(f"pyro_mcp.{room}" for room in ("daemon", "mcp", "models", "operations", "processes", "sdk")),
}
"""What the commands of every day do without: each takes a millisecond or many to load."""


def test_the_commands_of_every_day_load_little(ws: str) -> None:
    script = "import sys; before = set(sys.modules); from pyro_mcp.entry import main; status = main(); "
    script += "sys.stdout.flush(); print(*(set(sys.modules) - before), file=sys.stderr); sys.exit(status)"
    for words in (
        ["workspace", "list"],
        ["ls", "--json"],
        ["workspace", "exec", ws, "--", "true"],
        ["exec", ws, "echo hi"],
        ["workspace", "logs", ws],
        ["workspace", "diff", ws],
        ["workspace", "status", ws],
        ["workspace", "file", "read", ws, "/etc/hostname", "--content-only"],
        ["run", "--", "true"],
    ):
        # -S: what this computer's own site-packages load at each start is none of ours.
        paths = os.pathsep.join(sys.path)
        ran = subprocess.run(
            [sys.executable, "-S", "-c", script, *words],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        loaded = set(ran.stderr.splitlines()[-1].split())
        assert "pyro_mcp.client.wire" in loaded, ran.stderr
        assert sorted(UNUSED & loaded) == [], words
        assert len(loaded) < 85, sorted(loaded)


def test_files_go_through_pipes(ws: str, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("written\n")
    write = pyro_command("workspace", "file", "write", ws, "in/file.txt", "--text-file", str(tmp_path / "new.txt"))
    assert write.returncode == 0, write.stderr
    assert pyro_command("workspace", "file", "read", ws, "in/file.txt", "--content-only").stdout == "written\n"
    patch = "--- a/in/file.txt\n+++ b/in/file.txt\n@@ -1 +1 @@\n-written\n+patched\n"
    applied = pyro_command("workspace", "patch", "apply", ws, "--patch-file", "-", stdin=patch)
    assert applied.returncode == 0, applied.stderr
    assert "+patched" in pyro_command("workspace", "diff", ws, "--content-only").stdout
    out = pyro_command("workspace", "export", ws, "in/file.txt", "--output", "here.txt", cwd=tmp_path)
    assert out.returncode == 0, out.stderr
    assert (tmp_path / "here.txt").read_text() == "patched\n"


def test_errors_have_their_status_and_say_what_to_do(ws: str) -> None:
    missing = pyro_command("workspace", "status", "nobody")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "nobody" in missing.stderr
    as_json = pyro_command("workspace", "status", "nobody", "--json")
    assert json.loads(as_json.stdout)["error"]["code"] == "unknown_workspace"
    usage = pyro_command("workspace", "create", "--vcpu-count", "99")
    assert usage.returncode == 2
    assert "32" in usage.stderr
    taken = pyro_command("workspace", "create", "--name", "from-cli")
    assert taken.returncode == 1
    assert "from-cli" in taken.stderr


def test_an_interrupt_ends_the_command_inside(ws: str, pyro: Pyro) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pyro_mcp", "workspace", "exec", ws, "--", "echo begun; sleep 300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) != 0
    assert pyro.status_workspace(ws).running_commands == []


def test_doctor_boots_a_machine_and_says_so(pyro: Pyro) -> None:
    said = pyro_command("doctor", "--json")
    assert said.returncode == 0, said.stderr
    record = json.loads(said.stdout)
    assert record["ok"] is True
    assert record["engines"][0]["boot_seconds"] > 0
    assert "gvisor" in pyro_command("doctor").stdout.lower()


def test_doctor_survives_the_absence_of_what_it_diagnoses(tmp_path: Path) -> None:
    # Nothing on PATH, no runsc, and a runtime directory that the daemon must refuse.
    (tmp_path / "pyro").symlink_to("/etc")
    environment = {"PATH": "/nowhere", "PYRO_RUNSC": "/nowhere/runsc", "HOME": str(tmp_path)}
    environment |= {"XDG_RUNTIME_DIR": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "doctor", "--json"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    record = json.loads(said.stdout)
    assert said.returncode == 1
    assert record["ok"] is False
    assert "belongs to another user" in record["engines"][0]["detail"]
    assert {check["name"] for check in record["checks"]} >= {"linux", "disk"}
    assert not next(component for component in record["components"] if component["name"] == "runsc")["ok"]


def test_a_text_file_of_two_gigabytes_is_refused_at_once(ws: str, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(2 << 30)
    refused = pyro_command("workspace", "file", "write", ws, "big.txt", "--text-file", str(tmp_path / "big"))
    assert refused.returncode == 2
    assert "1048576" in refused.stderr or "1 MiB" in refused.stderr
    assert pyro_command("workspace", "file", "read", ws, "big.txt").returncode == 1


def test_run_is_a_machine_for_one_command(pyro: Pyro) -> None:
    nameless = pyro_command("run", "alpine", "echo", "hi")
    assert nameless.returncode == 1 and "pyro run alpine:latest COMMAND" in nameless.stderr
    ran = pyro_command("run", "debian:12", "--", "echo $((6 * 7)); exit 3")
    assert (ran.returncode, ran.stdout) == (3, "42\n")
    assert pyro.list_workspaces().workspaces == []
