"""The recorded sessions of docs/network.md are played again: what stands there is what a person sees."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.network.authority import Authority
from pyro_mcp.sdk import Pyro
from tests.engine.test_git_credentials import git
from tests.engine.test_network_ask import asked
from tests.support import Installation
from tests.tls import git_server, serving

HOST = "host.pyro.internal"
TOKEN = "ghp_t0ken+of/the=user"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "network.md"
SECONDS = 180


def session(name: str) -> list[tuple[str, list[str]]]:
    """The commands of the session whose first one makes the workspace `name`, each with what it said."""
    for block in re.findall(r"```console\n(.*?)```", DOCS.read_text(), re.S):
        text = block.replace("\\\n", " ")
        if f"--name {name} " in text.splitlines()[0]:
            steps = re.split(r"^\$ ", text, flags=re.M)[1:]
            return [(step.splitlines()[0], step.splitlines()[1:]) for step in steps]
    raise AssertionError(f"docs/network.md has no session with {name}")


def begun(command: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "pyro_mcp", *shlex.split(command)[1:]]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def plain(text: str) -> str:
    return " ".join(text.split())


def says(command: str, expected: list[str]) -> None:
    with begun(command) as running:
        said = plain(running.communicate(timeout=SECONDS)[0])
    for line in expected:
        assert plain(line) in said, (command, line, said)


@pytest.mark.usefixtures("pyro")
def test_a_refusal(installation: Installation) -> None:
    for command, expected in session("web"):
        says(command, expected)


def test_a_question(installation: Installation, pyro: Pyro) -> None:
    waiting, number = [], None
    for command, expected in session("asker"):
        if command.endswith(" &"):
            waiting.append(begun(command.removesuffix(" &")))
            number = asked(pyro, "pypi.org").id
            continue
        # The number and the time are of the day that it was recorded.
        rows = [re.sub(r"^q1\b", number or "", line).replace("  now  ", "\n").split("\n") for line in expected]
        says(command, [part for row in rows for part in row])
    for process in waiting:
        process.communicate(timeout=SECONDS)


def test_a_push(authority: Authority, fresh: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    where = tmp_path / "team" / "app.git"
    where.mkdir(parents=True)
    git("init", "-q", "--bare", "-b", "main", at=where)
    git("config", "http.receivepack", "true", at=where)
    work = tmp_path / "work"
    git("clone", "-q", str(where), str(work), at=tmp_path)
    git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "one", at=work)
    git("push", "-q", "origin", "HEAD:main", at=work)
    monkeypatch.setenv("TOKEN", TOKEN)
    with serving(git_server(tmp_path, TOKEN, seen), authority, HOST) as port, Pyro() as pyro:
        for command, expected in session("coder"):
            here = command.replace("https://github.com/", f"https://{HOST}:{port}/").replace("github.com", HOST)
            if " create " in here:
                here += f" --allow-host-port {port}"
            told = [line.replace("github.com:443", f"{HOST}:{port}") for line in expected]
            told = [line.replace("https://github.com", f"https://{HOST}:{port}") for line in told]
            says(here, [line.replace("github.com", HOST) for line in told])
        assert git("rev-list", "--count", "main", at=where) == "2"
        # A guest that says it is connected to another host, in TLS or in HTTP, gets no value to that name.
        script = (
            "import os, socket, ssl\n"
            "context = ssl.create_default_context(); context.check_hostname = False\n"
            f"for sni in ('{HOST}', 'evil.example.net'):\n"
            f"  for host in ('evil.example.net', '{HOST}@evil.example.net', '{HOST}:{port}'):\n"
            f"    s = socket.create_connection(('{HOST}', {port}), 20); s.settimeout(20)\n"
            "    t = context.wrap_socket(s, server_hostname=sni)\n"
            "    t.sendall(f'GET /sni HTTP/1.1\\r\\nHost: {host}\\r\\nAuthorization: Bearer '.encode()\n"
            "              + os.environ['T'].encode() + b'\\r\\n\\r\\n')\n"
            "    print(t.recv(999).split(b'\\r\\n')[0].split()[1].decode())\n"
        )
        said = pyro.exec_workspace("coder", ["python3", "-c", script], secret_env={"T": "TOKEN"}, timeout_seconds=60)
        assert said.stdout.split() == ["421", "421", "404"] * 2, said
        assert [line.split()[1] for line in seen if TOKEN in line and "/sni" in line] == ["/sni"] * 2
        assert os.environ["TOKEN"] not in said.stdout
        pyro.delete_workspace("coder")
