"""`pyro mcp serve` as a process: the opening, the handing over to the library, and the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import Installation

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "host", "version": "1"},
}


class Host:
    """A chat host that speaks to a server in a project of its own. No daemon is needed for what it asks, but the server
    has one begin to fetch what a first workspace needs: it has the user's cache, and ends with the server.
    """

    def __init__(self, home: Path, *options: str) -> None:
        project = home / "project"
        project.mkdir()
        self.installation = Installation()
        environment = {
            **os.environ,
            **self.installation.environment,
            "HOME": str(home),
            "CLAUDE_PROJECT_DIR": str(project),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pyro_mcp", "mcp", "serve", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=project,
        )

    def say(self, *messages: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        for message in messages:
            self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        heard: dict[str, Any] = json.loads(self.process.stdout.readline())
        return heard

    def leave(self) -> int:
        self.process.communicate(timeout=20)
        self.left = [path for path in self.installation.root.rglob("*") if path.name != "run"]
        self.installation.close()
        return self.process.returncode


def call(number: int, name: str, arguments: dict[str, Any], meta: dict[str, Any] | None = None) -> dict[str, Any]:
    params: dict[str, Any] = {"name": name, "arguments": arguments}
    if meta:
        params["_meta"] = meta
    return {"id": number, "method": "tools/call", "params": params}


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
def test_a_host_with_a_handshake_is_served_through_and_through(tmp_path: Path, version: str) -> None:
    host = Host(tmp_path)
    opened = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}
    # All at once, the call included: nothing may get lost or come twice where the library takes over.
    host.say(
        {"id": 1, "method": "initialize", "params": opened},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
        call(3, "workspace_create", {"seed_path": "/etc"}),
    )
    heard = {answer["id"]: answer for answer in (host.hear() for _ in range(3))}
    assert heard[1]["result"]["protocolVersion"] == version
    assert str(tmp_path / "project") in heard[1]["result"]["instructions"]
    assert "workspace_edit" in {tool["name"] for tool in heard[2]["result"]["tools"]}
    assert heard[3]["result"]["isError"] is True
    assert "[path_not_allowed]" in heard[3]["result"]["content"][0]["text"]
    host.say({"id": 4, "method": "logging/setLevel", "params": {"level": "info"}})
    assert heard.keys() == {1, 2, 3}
    assert host.hear()["error"]["code"] == -32601
    assert host.leave() == 0


def test_a_stateless_host_is_served(tmp_path: Path) -> None:
    host = Host(tmp_path, "--profile", "vm-run", "--network", "off")
    host.say({"id": 1, "method": "server/discover", "params": {"_meta": META}})
    assert host.hear()["result"]["supportedVersions"] == ["2026-07-28"]
    host.say({"id": 2, "method": "tools/list", "params": {"_meta": META}})
    assert [t["name"] for t in host.hear()["result"]["tools"]] == ["vm_run"]
    host.say(call(3, "vm_run", {"command": "true", "network_policy": "egress"}, META))
    assert "[network_not_allowed]" in host.hear()["result"]["content"][0]["text"]
    assert host.leave() == 0


def test_a_host_that_leaves_at_once_leaves_nothing_behind(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.leave() == 0
    assert host.left == []


def test_a_folder_that_there_is_not_cannot_be_allowed(tmp_path: Path) -> None:
    assert Host(tmp_path, "--allow-path", str(tmp_path / "nowhere")).leave() == 2


@pytest.mark.parametrize("late", [False, True], ids=["in the opening", "handed over"])
def test_a_full_disk_in_place_of_the_host_is_one_clear_line(tmp_path: Path, late: bool) -> None:
    installation = Installation()
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [sys.executable, "-m", "pyro_mcp", "mcp", "serve"],
            env={**os.environ, **installation.environment, "HOME": str(tmp_path)},
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    # The opening answers a handshake by itself; for what it does not know the library takes over.
    opened = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}
    first = {"method": "no/such", "id": 1} if late else {"method": "initialize", "id": 1, "params": opened}
    _, said = process.communicate(json.dumps({"jsonrpc": "2.0", **first}).encode() + b"\n", timeout=60)
    installation.close()
    assert process.returncode == 1
    assert said.decode().splitlines() == ["error: The output could not be written: No space left on device."]
