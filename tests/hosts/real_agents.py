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
from tests.faces.test_attach import DETACH, at_terminal
from tests.hosts import installed
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
    "env | grep -c '^[A-Z_]*API_KEY=pyro-secret-'",
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
        self.installation = installation
        self.project = project
        trusted = os.environ["SSL_CERT_FILE"]  # the daemon, which this user's first command starts, must know it
        self.environment = {**installation.environment, "HOME": str(home), "SSL_CERT_FILE": trusted, "LANG": "C.UTF-8"}

    def agent(self, name: str, *words: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
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
        assert status is None or done.returncode == status, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=self.project, check=True, capture_output=True, text=True
        ).stdout.strip()


@pytest.fixture
def desk(authority: Authority, fresh: Installation, project: Path, tmp_path: Path) -> Desk:
    try:
        installed.programs()
    except installed.Unreachable as error:
        pytest.skip(f"npm's registry is out of reach: {error}")
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


def test_three_at_once_each_land_their_own_branch(desk: Desk, authority: Authority) -> None:
    """They go on though nobody waits, and though the daemon is killed; each is landed when it is attended to."""
    with contextlib.ExitStack() as stack:
        for number in (1, 2, 3):
            _, url = stack.enter_context(model(authority, f"sleep 5; echo {number} >fix-{number}", name="codex"))
            name, more = f"issue-{number}", ("--api-url", url, *MODEL["codex"], "--detach", "--prompt", f"#{number}")
            started = desk.agent("codex", "--name", name, "--land", name, *more)
            assert started.stdout.startswith("ws-")
        desk.installation.kill_daemon()
        rows = json.loads(desk.agent("list", "--json").stdout)["agents"]
        assert {row["name"]: (row["program"], row["land"]) for row in rows} == {
            f"issue-{number}": ("codex", f"issue-{number}") for number in (1, 2, 3)
        }
        for number in (1, 2, 3):
            assert "Done." in desk.agent("attach", f"issue-{number}").stdout
    for number in (1, 2, 3):
        assert desk.git("diff", "--name-only", f"main..issue-{number}") == f"fix-{number}"
    assert json.loads(desk.agent("list", "--json").stdout) == {"agents": []}


def test_one_that_fails_lands_nothing_and_its_workspace_stays(desk: Desk, authority: Authority) -> None:
    with model(authority, name="codex") as (_, url):
        options = ("--api-url", url, "--prompt", "x", "--land", "never", "--name", "kept", "--", "--no-such-option")
        failed = desk.agent("codex", *options, status=2)
        for branch, why in (("a..b", "not a valid branch name"), ("main", "checked out")):
            refused = desk.agent("codex", "--api-url", url, "--prompt", "x", "--land", branch, status=None)
            assert why in refused.stderr, refused
    assert "nothing was landed" in failed.stderr
    assert desk.git("branch", "--list", "never") == ""
    [row] = json.loads(desk.agent("list", "--json").stdout)["agents"]
    assert (row["name"], row["state"]) == ("kept", "ended")


def test_what_git_ignores_is_not_thrown_away_and_what_runs_beside_it_is_not_taken_for_it(
    desk: Desk, authority: Authority
) -> None:
    with model(authority, "mkdir -p build; sleep 5; echo x >build/out", name="codex") as (_, url):
        desk.agent("codex", "--api-url", url, *MODEL["codex"], "--name", "made", "--detach", "--prompt", "x")
        with Pyro() as pyro:
            pyro.exec_workspace("made", "sleep 300", background=True)
            pyro.open_shell("made")
            done = desk.agent("attach", "made")
            assert "Done." in done.stdout and "The workspace stays" in done.stderr, done
            assert pyro.read_workspace_file("made", "build/out").content == "x\n"


def test_a_person_leaves_its_terminal_comes_back_and_lands(
    desk: Desk, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {**desk.environment, "ANTHROPIC_API_KEY": KEY, "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(key, value)
    with model(authority, "echo typed >by-hand", name="claude-code") as (endpoint, url):
        with at_terminal("agent", "claude-code", "--api-url", url, "--name", "mine", cwd=desk.project) as person:
            person.sees(b"bypass", PATIENCE)
            person.type(DETACH)
            person.sees(b"It keeps running", PATIENCE)
            assert person.process.wait(PATIENCE) == 0
        with at_terminal("agent", "attach", "mine", cwd=desk.project) as person:
            person.sees(b"bypass", PATIENCE)
            for keys, echo in ((b"Please-fix", b"Please-fix"), (b"\r", b"Done."), (b"/exit", b"/exit")):
                person.type(keys)
                person.sees(echo, PATIENCE)
            person.type(b"\r")
            person.sees(b"hrow it away?", PATIENCE)
            person.type(b"l\n")
            person.sees(b"Branch:", PATIENCE)
            person.type(b"by-hand\n")
            person.sees(b"new branch by-hand", PATIENCE)
            assert person.process.wait(PATIENCE) == 0
    assert endpoint.results
    assert desk.git("show", "by-hand:by-hand") == "typed"


PATIENCE = 120.0
"""Seconds for a step of a program that begins at 1 s on an idle computer."""
