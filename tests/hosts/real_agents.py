"""The real Claude Code, Codex and OpenCode inside workspaces: from a prompt to a landed branch (`pyro agent`).

A scripted model on loopback plays over TLS, by the name that machines have for this one; it takes the key, which is
nowhere in the machine. Part of `make test-hosts`: the programs come from npm, into environments that stay.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.network.authority import Authority
from pyro_mcp.sdk import Pyro
from tests.hosts.endpoint import Call, Endpoint, Step
from tests.support import Installation

HOST = "host.pyro.internal"
KEY = "sk-the-real-k3y/of+the=user-0123456789"
PROGRAMS = ("claude-code", "codex", "opencode")
EVERY = pytest.mark.parametrize("name", PROGRAMS)
VARIABLE = {"claude-code": "ANTHROPIC_API_KEY", "codex": "OPENAI_API_KEY", "opencode": "OPENAI_API_KEY"}
MODEL = {"claude-code": (), "codex": ("--model", "gpt-5.2-codex"), "opencode": ("--model", "scripted")}
SHELL = {
    "claude-code": lambda line: Call("Bash", {"command": line, "description": "work"}, own=True),
    "codex": lambda line: Call("exec_command", {"cmd": line}, own=True),
    "opencode": lambda line: Call("bash", {"command": line, "description": "work"}, own=True),
}
"""How the model uses the shell that each program has of its own."""


def steps(name: str, *lines: str) -> list[Step]:
    return [lambda _, line=line: SHELL[name](line) for line in lines]  # type: ignore[misc]


FIX = (
    "python3 -B test_calc.py; echo status=$?",
    "sed -i 's/a - b/a + b/' src/calc.py && python3 -B test_calc.py",
    f"cat /proc/*/environ /root/.claude.json 2>/dev/null | tr '\\0' '\\n' | grep -c '{KEY[3:17]}'; "
    "env | grep -c API_KEY",
)


@contextlib.contextmanager
def model(authority: Authority, *lines: str, name: str) -> Iterator[tuple[Endpoint, str]]:
    """The endpoint, and its address as the user gives it."""
    with Endpoint(steps(name, *lines), tls=authority.server_context(HOST)) as playing:
        base = f"https://{HOST}:{playing.port}"
        yield playing, base if name == "claude-code" else f"{base}/v1"


class Desk:
    """A user at a project with a bug, and with a key in the environment."""

    def __init__(self, installation: Installation, project: Path, home: Path) -> None:
        self.project = project
        trusted = os.environ["SSL_CERT_FILE"]  # the daemon, which this user's first command starts, must know it
        self.environment = {**installation.environment, "HOME": str(home), "SSL_CERT_FILE": trusted, "LANG": "C.UTF-8"}

    def agent(self, name: str, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pyro_mcp", "agent", name, *words],
            cwd=self.project,
            env={**self.environment, VARIABLE.get(name, "NONE"): KEY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == status, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=self.project, check=True, capture_output=True, text=True
        ).stdout.strip()


@pytest.fixture
def desk(authority: Authority, fresh: Installation, project: Path, tmp_path: Path) -> Desk:
    (project / "src" / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    home = tmp_path / "home"
    for folder in (".claude", ".codex", ".config/opencode"):
        (home / folder).mkdir(parents=True)
        for instructions in ("CLAUDE.md", "AGENTS.md"):
            (home / folder / instructions).write_text("Always say please.\n")
    made = Desk(fresh, project, home)
    made.git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qam", "a bug")
    return made


@EVERY
def test_from_a_prompt_to_a_landed_branch(desk: Desk, authority: Authority, name: str) -> None:
    with model(authority, *FIX, name=name) as (endpoint, url):
        done = desk.agent(name, "--api-url", url, *MODEL[name], "--prompt", "Fix it.", "--land", f"agent/{name}")
    results = [result["_text"] for result in endpoint.results]
    assert "status=1" in results[0], results
    assert "passed" in results[1], results
    assert "0\n1" in results[2] or "0\\n1" in results[2], results  # a placeholder is there, the key is not
    assert any(KEY in "".join(headers.values()) for headers in endpoint.headers), endpoint.headers
    assert "please" in json.dumps(endpoint.requests), "the user's instructions are read inside"
    assert desk.git("diff", "--stat", f"main..agent/{name}").startswith("src/calc.py"), done
    assert "a + b" in desk.git("show", f"agent/{name}:src/calc.py")
    assert desk.git("status", "--porcelain", "src") == "", "the work tree is not touched"
    assert "return a - b" in (desk.project / "src" / "calc.py").read_text()
    with Pyro() as pyro:
        assert pyro.list_workspaces().workspaces == []
