"""The real Claude Code, Codex and OpenCode drive pyro through the repro-plus-fix story (`make test-hosts`).

Each is connected by `pyro host connect`, runs headless, and talks to a scripted model on loopback: no credential, and
no way out but through a proxy that is not there. Not part of the ordinary suite: it installs 1.1 GB from npm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.sdk import Pyro
from tests.hosts import installed
from tests.hosts.endpoint import Call, Endpoint, Step
from tests.support import Installation

HOSTS = ("claude-code", "codex", "opencode")
EVERY = pytest.mark.parametrize("name", HOSTS)
PYRO = (sys.executable, "-m", "pyro_mcp")
TEST = "python3 -B test_calc.py"
PATCH = "--- a/src/calc.py\n+++ b/src/calc.py\n@@ -1,2 +1,2 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n"
CODEX = """\
# nobody is told anything
check_for_update_on_startup = false # nor asked

[analytics]
enabled = false

[features]
enable_request_compression = false
"""
DIRECT = "gpt-5.2-codex"
"""A model that gets the tools one by one; the default one writes JavaScript that calls them."""


@pytest.fixture(scope="session")
def hosts_path() -> str:
    try:
        return installed.path()
    except installed.Unreachable as error:
        pytest.skip(f"the hosts cannot be installed here: {error}")


@dataclass
class Desk:
    """A user's home with a project in it that has a bug."""

    home: Path
    project: Path
    environment: dict[str, str]

    def pyro(self, *words: str) -> str:
        return self.run(*PYRO, *words)

    def run(self, *argv: str, seconds: float = 120, status: int = 0) -> str:
        done = subprocess.run(
            argv,
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == status, (argv, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout


@pytest.fixture
def desk(hosts_path: str, installation: Installation, pyro: Pyro, project: Path, tmp_path: Path) -> Iterator[Desk]:
    (project / "src" / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    home = tmp_path / "home"
    home.mkdir()
    nowhere = "http://127.0.0.1:9"
    environment = {
        **installation.environment,
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), hosts_path]),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "NO_PROXY": "127.0.0.1,localhost",
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }
    (home / ".codex").mkdir()
    (home / ".codex" / "config.toml").write_text(CODEX)
    pyro.list_workspaces()  # the daemon runs before a host could start it with that proxy
    yield Desk(home, project, environment)


def play(desk: Desk, name: str, endpoint: Endpoint, *options: str, model: str = DIRECT) -> str:
    """Run a host once, from the first request to the last words."""
    if name == "claude-code":
        desk.environment |= {"ANTHROPIC_BASE_URL": endpoint.url, "ANTHROPIC_API_KEY": "dummy"}
        return desk.run("claude", "-p", "Fix it.", "--output-format", "stream-json", "--verbose", *options)
    if name == "codex":
        desk.environment["LAB_KEY"] = "dummy"
        lab = f'{{name = "lab", base_url = "{endpoint.url}/v1", wire_api = "responses", env_key = "LAB_KEY"}}'
        told = ["-c", f"model_providers.lab={lab}", "-c", 'model_provider="lab"', *(["-m", model] if model else [])]
        return desk.run("codex", "exec", "--json", "--skip-git-repo-check", *told, *options, "Fix it.")
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{endpoint.url}/v1", "apiKey": "dummy"},
        "models": {"scripted": {"name": "scripted", "tool_call": True}},
    }
    more = {"provider": {"lab": provider}, "enabled_providers": ["lab"], "share": "disabled"}
    desk.environment["OPENCODE_CONFIG_CONTENT"] = json.dumps(more)
    return desk.run("opencode", "run", "--format", "json", "--model", "lab/scripted", *options, "Fix it.")


def there(tool: str, **arguments: Any) -> Step:
    """A call in the workspace that was made."""

    def step(results: Sequence[dict[str, Any]]) -> Call:
        made = next((result for result in results if str(result.get("id", "")).startswith("ws-")), {"id": "none"})
        return Call(tool, {"workspace": made["id"], **arguments})

    return step


CREATE: Step = lambda results: Call("workspace_create", {})  # noqa: E731
LOOP: list[Step] = [
    CREATE,
    there("workspace_exec", command=TEST),
    there("workspace_patch_apply", patch=PATCH),
    there("workspace_exec", command=TEST),
    there("workspace_diff"),
]
EXPORT = there("workspace_export", patch=True, output="fix.patch")
DELETE = there("workspace_delete")
MOST_CALLS = 10
"""From the bug to the exported patch."""


def check_loop(results: Sequence[dict[str, Any]], project: Path) -> None:
    """The model saw the test fail, and pass after its patch."""
    created, failed, patched, passed, diff = results[:5]
    assert created["seed"]["source"] == str(project), created
    assert failed["exit_code"] == 1, failed
    assert "AssertionError" in failed["stderr"]
    assert patched["files"][0]["insertions"] == 1, patched
    assert passed["exit_code"] == 0, passed
    assert [file["path"] for file in diff["files"]] == ["src/calc.py"], diff


def check_patch(project: Path) -> None:
    """The exported patch fits the project, and mends it."""
    text = (project / "fix.patch").read_text()
    assert "-    return a - b\n+    return a + b\n" in text
    assert "return a - b" in (project / "src" / "calc.py").read_text(), "the project itself was not touched"
    subprocess.run(["git", "apply", "fix.patch"], cwd=project, check=True)
    subprocess.run([sys.executable, "-B", "test_calc.py"], cwd=project, check=True, capture_output=True)


OWN_SHELL = {
    "claude-code": Call("Bash", {"command": "touch got-out", "description": "look"}, own=True),
    "codex": Call("exec_command", {"cmd": "touch got-out"}, own=True),
    "opencode": Call("bash", {"command": "touch got-out", "description": "look"}, own=True),
}
OWN_EDITING = {
    "claude-code": Call("Write", {"file_path": "PROJECT/got-out", "content": "x"}, own=True),
    "codex": Call("apply_patch", {"input": "*** Begin Patch\n*** Add File: got-out\n+x\n*** End Patch"}, own=True),
    "opencode": Call("write", {"filePath": "PROJECT/got-out", "content": "x"}, own=True),
}
FREELY = {
    "claude-code": ("--permission-mode", "acceptEdits", "--allowedTools", "Bash"),
    "codex": ("--sandbox", "danger-full-access"),
    "opencode": (),
}
"""How each lets its own tools work: without a guard, the same call gets through."""


def way_out(desk: Desk, name: str) -> list[Step]:
    """The model tries the host's own shell and its own editing tool."""
    editing = OWN_EDITING[name]
    arguments = {key: value.replace("PROJECT", str(desk.project)) for key, value in editing.arguments.items()}
    return [lambda _: OWN_SHELL[name], lambda _: Call(editing.tool, arguments, own=True)]


@EVERY
def test_from_a_bug_to_an_exported_patch_and_by_no_other_way(desk: Desk, pyro: Pyro, name: str) -> None:
    desk.pyro("host", "connect", name, "--guard")
    with Endpoint([*way_out(desk, name), *LOOP, EXPORT, DELETE]) as endpoint:
        play(desk, name, endpoint)
    assert not (desk.project / "got-out").exists(), endpoint.results[:2]
    check_loop(endpoint.results[2:], desk.project)
    story = endpoint.results[2:]
    assert len(story) == len(LOOP) + 2 <= MOST_CALLS, [result["_text"][:300] for result in endpoint.results]
    refused = [result["_text"][:300] for result in story if not {"id", "workspace"} & result.keys()]
    assert not refused, refused  # a tool's error is words alone
    check_patch(desk.project)
    assert pyro.list_workspaces().workspaces == []


@EVERY
def test_without_a_guard_there_is_a_way_round(desk: Desk, pyro: Pyro, name: str) -> None:
    """Else the guard's test would show nothing."""
    desk.pyro("host", "connect", name)
    with Endpoint(way_out(desk, name)[:1]) as endpoint:
        play(desk, name, endpoint, *FREELY[name])
    assert (desk.project / "got-out").exists(), endpoint.results


@pytest.mark.parametrize("code_mode", [False, True], ids=["direct", "code"])
def test_codex_runs_the_loop_under_its_default_rules(desk: Desk, pyro: Pyro, code_mode: bool) -> None:
    desk.pyro("host", "connect", "codex")
    with Endpoint([*LOOP, EXPORT], code_mode=code_mode) as endpoint:
        play(desk, "codex", endpoint, model="" if code_mode else DIRECT)
    check_loop(endpoint.results, desk.project)
    # What leaves the workspace says so, and Codex asks for it; nobody is there to be asked.
    assert "output" not in endpoint.results[5], endpoint.results[5]
    assert not (desk.project / "fix.patch").exists()


def test_claude_code_asks_before_a_tool_of_pyro_is_used_unless_it_is_allowed(desk: Desk, pyro: Pyro) -> None:
    desk.pyro("host", "connect", "claude-code")
    with Endpoint([CREATE]) as endpoint:
        play(desk, "claude-code", endpoint)
    assert "id" not in endpoint.results[0], endpoint.results
    with Endpoint([*LOOP, EXPORT]) as endpoint:
        play(desk, "claude-code", endpoint, "--settings", '{"permissions": {"allow": ["mcp__pyro"]}}')
    check_loop(endpoint.results, desk.project)
    check_patch(desk.project)


@EVERY
def test_the_doctor_asks_the_host_and_repair_mends_a_lost_guard(desk: Desk, pyro: Pyro, name: str) -> None:
    desk.pyro("host", "connect", name, "--guard")
    checks = json.loads(desk.pyro("host", "doctor", name, "--deep", "--json"))["hosts"][0]["checks"]
    found = {check["name"]: check["status"] for check in checks}
    looked_at = ("installed", "version", "configured", "settings", "command", "starts", "tools", "round-trip")
    assert found == dict.fromkeys((*looked_at, "workspace", "guard", "host-asked", "guard-asked"), "ok"), checks

    file, old, new = GUARD_LOST[name]
    path = desk.home / file
    path.write_text(path.read_text().replace(old, new))
    said = json.loads(desk.run(*PYRO, "host", "doctor", name, "--json", status=1))["hosts"][0]["checks"]
    assert {check["name"] for check in said if check["status"] == "failed"} == {"guard", "guard-asked"}
    assert json.loads(desk.pyro("host", "repair", name, "--json"))["works"]


GUARD_LOST = {
    "claude-code": (".claude/settings.json", '"Bash"', '"Bush"'),
    "codex": (".codex/config.toml", "shell_tool = false", "shell_tool = true"),
    "opencode": (".config/opencode/opencode.json", '"bash": "deny"', '"bash": "allow"'),
}


def test_three_commands_lead_from_nothing_to_a_connected_host(desk: Desk) -> None:
    """`pipx install`, `pyro doctor --fix`, `pyro host connect`: the hosts themselves say that it holds."""
    desk.pyro("host", "connect", "claude-code")
    assert "Connected" in desk.run("claude", "mcp", "get", "pyro")
    desk.pyro("host", "connect", "codex")
    assert json.loads(desk.run("codex", "mcp", "get", "pyro", "--json"))["tool_timeout_sec"] == 90
    desk.pyro("host", "connect", "opencode")
    assert "pyro" in desk.run("opencode", "mcp", "list")
