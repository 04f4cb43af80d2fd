"""With the network policy `ask` the user decides host by host, while the connection waits; nobody else can."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from pyro_mcp.errors import NotFound
from pyro_mcp.models import Question
from pyro_mcp.sdk import Pyro
from tests.engine.test_network_openings import pyro_command
from tests.engine.test_network_policy import index_host
from tests.faces.test_mcp import call
from tests.support import Installation

WAIT = 50


def asked(pyro: Pyro, host: str) -> Question:
    """The question about a host, once it is asked."""
    known: list[str] = []
    while True:
        found = pyro.list_questions(wait_seconds=WAIT, known=known).questions
        for question in found:
            if question.host == host:
                return question
        assert any(question.id not in known for question in found), f"nobody asked about {host}; open: {found}"
        known = [question.id for question in found]


def test_the_user_is_asked_and_what_waits_goes_on(installation: Installation, pyro: Pyro, project: Path) -> None:
    host = index_host()
    ws = pyro.create_workspace(seed_path=str(project), network_policy="ask", name="asker")
    fetch = f"curl -sS -o /dev/null -w '%{{http_code}}' https://{host}/"
    first = pyro.exec_workspace(ws, fetch, wait_seconds=0)
    question = asked(pyro, host)
    assert (question.workspace, question.port, question.command) == (ws.id, 443, fetch)
    assert host in pyro_command("questions").stdout
    said = pyro_command("allow", host)
    assert said.returncode == 0 and f"workspace: {host} for asker" in said.stdout, said.stderr
    done = pyro.logs_workspace(ws, handle=first.handle, wait_seconds=WAIT)
    assert done.status == "exited" and done.output.isdigit(), done
    # It holds, and nobody is asked again.
    assert pyro.exec_workspace(ws, fetch).stdout.isdigit()
    assert pyro.list_questions().questions == [] and pyro.status_workspace(ws).allow_domains == [host]
    with pytest.raises(NotFound, match="No workspace is asking"):
        pyro.answer_question(host)
    told = [event.summary for event in pyro.history_workspace(ws).events if event.operation in ("egress", "network")]
    assert any(line.startswith("asked: ") for line in told) and f"the user answered workspace: {host}" in told


def test_a_no_is_heard_at_once_and_holds_for_the_project(installation: Installation, pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project), network_policy="ask")
    refused = {}
    for answer in ("no", "never"):
        host = f"{answer}.example.com"
        running = pyro.exec_workspace(ws, f"curl -sS https://{host}/; echo $?", wait_seconds=0)
        pyro.answer_question(asked(pyro, host).id, answer=answer)
        done = pyro.logs_workspace(ws, handle=running.handle, wait_seconds=WAIT)
        assert done.output.splitlines()[-1] in ("7", "35", "56"), done.output  # by curl's release
        refused[answer] = [event.summary for event in pyro.history_workspace(ws, limit=100).events]
        assert any(f"and said {answer}" in line for line in refused[answer])
    kept = Path(pyro.doctor().daemon["state"]) / "network.toml"
    assert f'[projects."{project}"]\nnever = ["never.example.com"]' in kept.read_text()
    # Another workspace of the project is refused without a question, as long as the file says so.
    other = pyro.create_workspace(seed_path=str(project), network_policy="ask")
    said = pyro.exec_workspace(other, "curl -sS https://never.example.com/", timeout_seconds=WAIT)
    assert [(r.host, r.why) for r in said.refused] == [("never.example.com", "not_allowed")]
    assert pyro.list_questions().questions == []
    kept.write_text(kept.read_text().replace("never.example.com", "*.else.example.com"))
    pyro.exec_workspace(other, "curl -sS https://never.example.com/", wait_seconds=0)
    pyro.answer_question(asked(pyro, "never.example.com").id, answer="no")
    kept.unlink()


def test_what_nobody_may_allow_is_not_asked_and_a_guest_cannot_flood(installation: Installation, pyro: Pyro) -> None:
    ws = pyro.create_workspace(network_policy="ask")
    said = pyro.exec_workspace(
        ws,
        "curl -sS http://169.254.169.254/ http://10.1.2.3/ http://printer.local/ http://x.internal/ http://[::1]:9/;"
        " curl -sS --proxy http://127.0.0.1:3128 http://93.184.215.14/",
        timeout_seconds=WAIT,
    )
    assert pyro.list_questions().questions == []
    assert all(refused.allow_with == "" for refused in said.refused) and said.refused
    flood = "for i in $(seq 60); do (curl -sS -m 300 https://n$i.example.com/ >/dev/null 2>&1 &) ; done; sleep 1000"
    running = pyro.exec_workspace(ws, flood, wait_seconds=0)
    asked(pyro, "n1.example.com")
    known: list[str] = []
    while len(known) < 16:
        known = [question.id for question in pyro.list_questions(wait_seconds=WAIT, known=known).questions]
    assert len(pyro.list_questions().questions) == 16
    assert pyro.exec_workspace(ws, "echo still here").stdout == "still here\n"
    answered = [question.host for question in pyro.list_questions().questions][:6]
    with ThreadPoolExecutor(6) as pool:  # at the same time: none of them is lost
        list(pool.map(pyro.answer_question, answered))
    assert sorted(pyro.status_workspace(ws).allow_domains) == sorted(answered)
    pyro.cancel_workspace_exec(ws, handle=running.handle)
    pyro.delete_workspace(ws)
    assert pyro.list_questions().questions == []


def test_the_chat_host_asks_its_user(installation: Installation, pyro: Pyro, project: Path) -> None:
    host = index_host()
    heard: list[str] = []

    async def user(context: Any, params: Any) -> types.ElicitResult:
        heard.append(params.message)
        return types.ElicitResult(action="accept", content={"answer": "once"})

    async def play() -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **installation.environment}
        parameters = StdioServerParameters(
            command=sys.executable,
            args=["-m", "pyro_mcp", "mcp", "serve", "--network", "ask"],
            env=environment,
            cwd=str(project),
        )
        async with (
            asyncio.timeout(120),
            stdio_client(parameters) as (read, write),
            ClientSession(read, write, elicitation_callback=user) as session,
        ):
            await session.initialize()
            refused: Any = await session.call_tool("workspace_create", {"network_policy": "egress"})
            assert refused.is_error and "ask at most" in refused.content[0].text
            ws = (await call(session, "workspace_create", network_policy="ask"))["id"]
            command = f"curl -sS -o /dev/null -w '%{{http_code}}' https://{host}/"
            said = await call(session, "workspace_exec", workspace=ws, command=command)
            assert said["stdout"].isdigit(), said
            assert len(heard) == 1 and f"wants to reach {host}:443 while it runs: curl" in heard[0]
            assert "elicit" not in json.dumps(said) and "answer" not in json.dumps(said)
            names = {tool.name for tool in (await session.list_tools()).tools}
            assert not names & {"allow", "questions", "answer_question"}
            await call(session, "workspace_delete", workspace=ws)

    asyncio.run(play())


def test_the_model_cannot_answer_from_inside(installation: Installation, pyro: Pyro) -> None:
    ws = pyro.create_workspace(network_policy="ask")
    said = pyro.exec_workspace(ws, "command -v pyro; ls /pyro* /run/pyro* 2>/dev/null | grep -i sock; true")
    assert said.stdout == ""
    assert subprocess.run([sys.executable, "-m", "pyro_mcp", "allow", "x", "--answer", "maybe"]).returncode == 2
