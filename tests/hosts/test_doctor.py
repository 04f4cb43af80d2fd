"""What the doctor finds when something between a host and pyro is broken, and what repair mends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyro_mcp import hosts
from pyro_mcp.cli.app import run
from pyro_mcp.errors import EngineError
from pyro_mcp.hosts import doctor
from pyro_mcp.hosts.base import PASSED_ON, Seen
from pyro_mcp.hosts.dialogue import Dialogue
from pyro_mcp.sdk import Pyro


@pytest.fixture
def codex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Codex's configuration; Codex itself is not installed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (tmp_path / "codex").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "codex" / "config.toml"


def findings(tmp_path: Path, *, deep: bool = False) -> dict[str, doctor.Check]:
    report = doctor.examine(hosts.host("codex"), tmp_path / "work", deep=deep)
    return {check.name: check for check in report.checks}


def test_each_step_says_what_to_do(codex: Path, tmp_path: Path) -> None:
    found = findings(tmp_path)
    assert found["installed"].status == "failed"
    assert "npm" in found["installed"].fix
    assert found["configured"].status == "failed"
    assert found["configured"].fix == "pyro host connect codex"

    codex.write_text('[mcp_servers.pyro]\ncommand = "/gone/pyro"\nargs = ["mcp", "serve"]\nenabled = false\n')
    found = findings(tmp_path)
    assert found["configured"].status == "ok"
    assert (found["enabled"].status, found["settings"].status, found["command"].status) == ("failed",) * 3
    assert "required = true" in found["settings"].said
    assert found["command"].fix == "pyro host repair codex"

    codex.write_text("[broken")
    assert "left unchanged" in findings(tmp_path)["configured"].said


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\necho no config >&2\nexit 3\n", "exited early (status 3): no config"),
        ("#!/bin/sh\necho hello\n", "something other than messages"),
    ],
)
def test_a_server_that_does_not_start_is_quoted(codex: Path, tmp_path: Path, program: str, said: str) -> None:
    server = tmp_path / "server"
    server.write_text(program)
    server.chmod(0o755)
    codex.write_text(f'[mcp_servers.pyro]\ncommand = "{server}"\nargs = ["mcp", "serve"]\n')
    assert said in findings(tmp_path)["starts"].said


def test_a_server_that_ended_before_it_was_asked_is_quoted_all_the_same(tmp_path: Path) -> None:
    with Dialogue(["/bin/sh", "-c", "echo hello"], os.environ, tmp_path) as server:
        server._process.wait(30)
        with pytest.raises(EngineError, match="something other than messages: b'hello'"):
            server.initialize()


def test_a_server_that_is_silent_is_given_up(tmp_path: Path) -> None:
    with (
        Dialogue(["/bin/sh", "-c", "read one; read two"], os.environ, tmp_path, timeout_seconds=0.1) as server,
        pytest.raises(EngineError, match="in time"),
    ):
        server.request("ping", {})


def test_the_whole_way_through_codex_environment(pyro: Pyro, codex: Path, tmp_path: Path) -> None:
    assert run(["host", "connect", "codex"]) == 0
    found = findings(tmp_path, deep=True)
    assert {name for name, check in found.items() if check.status == "failed"} == {"installed"}
    assert {found[name].status for name in ("settings", "command", "starts", "tools", "round-trip", "workspace")} == {
        "ok"
    }
    assert pyro.list_workspaces().workspaces == []


def test_repair_renews_a_command_that_is_gone_and_keeps_its_options(
    pyro: Pyro, codex: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codex.write_text(
        '[mcp_servers.pyro]\ncommand = "/gone/pyro" # mine\nargs = ["mcp", "serve", "--network", "off"]\n'
        'enabled_tools = ["workspace_list"]\n'
    )
    assert run(["host", "repair", "codex", "--json"]) == 1  # Codex itself is still missing
    said = json.loads(capsys.readouterr().out)["hosts"][0]
    assert len(said["done"]) == 1
    entry = hosts.host("codex").effective(tmp_path / "work")
    assert entry is not None
    assert entry.arguments[-4:] == ("mcp", "serve", "--network", "off")
    assert entry.settings["enabled_tools"] == ["workspace_list"]
    assert doctor.repair(hosts.host("codex"), tmp_path / "work") == []


def test_codex_server_gets_what_codex_passes_on(codex: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = hosts.host("codex")
    monkeypatch.setenv("PYRO_HOME", "/somewhere")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    codex.write_text('[mcp_servers.pyro]\ncommand = "/p"\nargs = ["mcp", "serve"]\nenv = { A = "1" }\n')
    entry = host.effective(tmp_path / "work")
    assert entry is not None
    environment = host.server_environment(entry)
    assert "PYRO_HOME" not in environment
    assert "SECRET_TOKEN" not in environment
    assert environment["A"] == "1"
    assert "env_vars with PYRO_HOME" in host.lacks(entry)
    codex.write_text(f"{codex.read_text()}env_vars = {json.dumps(list(PASSED_ON))}\n")
    entry = host.effective(tmp_path / "work")
    assert entry is not None
    assert host.server_environment(entry)["PYRO_HOME"] == "/somewhere"


def test_a_model_request_says_which_ways_are_left() -> None:
    nested = {"type": "custom", "name": "exec", "description": "declare const tools: { exec_command(args: {}) }"}
    space = {"type": "namespace", "name": "mcp__pyro", "tools": [{"type": "function", "name": "vm_run"}]}
    request = {"input": [{"type": "additional_tools", "tools": [{"name": "functions", "tools": [nested]}]}]}
    assert hosts.host("codex").seen(request) == Seen(
        ("functions__exec", "exec_command"), False, ("exec_command", "apply_patch")
    )
    closed = {"tools": [space], "input": [{"content": "`sandbox_mode` is `read-only`: only"}]}
    assert hosts.host("codex").seen(closed) == Seen(("mcp__pyro__vm_run",), True, ())
    chat = {"tools": [{"type": "function", "function": {"name": name}} for name in ("bash", "read", "pyro_vm_run")]}
    assert hosts.host("opencode").seen(chat) == Seen(("bash", "read", "pyro_vm_run"), True, ("bash",))
    line = json.dumps({"type": "system", "subtype": "init", "tools": ["Write", "mcp__pyro__vm_run"]}).encode()
    assert hosts.host("claude-code").seen_line(line) == Seen(("Write", "mcp__pyro__vm_run"), True, ("Write",))
    assert hosts.host("claude-code").seen_line(b"no json") is None


def test_the_doctor_prints_one_object(codex: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["host", "doctor", "codex", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["works"] is False
    assert said["hosts"][0]["host"] == "codex"


def test_an_unknown_host_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["host", "connect", "cursor"]) == 1
    assert "claude-code, codex, opencode" in capsys.readouterr().err
