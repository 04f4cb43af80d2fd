"""`pyro mcp serve --http` as a process: both revisions of the protocol, the door, and the end."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from pyro_mcp.errors import InvalidInput
from pyro_mcp.mcp.http import address_of
from pyro_mcp.mcp.prompts import PROMPTS
from tests.programs.test_mcp_gate import ODD, OPENED
from tests.support import Installation

SECONDS = 120.0
"""For what happens at once on a quiet machine: a bound against hanging, not a measure."""
TOKEN = "a-token-of-some-length"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "host", "version": "1"},
}


class HttpServer:
    """A server on loopback. No daemon is needed for what is asked of it, but it has one begin to fetch what a first
    workspace needs: that one has the user's cache, and ends with the server.
    """

    def __init__(self, home: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        project = home / "project"
        project.mkdir()
        self.installation = Installation()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pyro_mcp", "mcp", "serve", "--http", "127.0.0.1:0", *options],
            stderr=subprocess.PIPE,
            text=True,
            cwd=project,
            env={**os.environ, **self.installation.environment, "HOME": str(home), **(environment or {})},
        )
        assert self.process.stderr is not None
        assert select.select([self.process.stderr], [], [], SECONDS)[0], "it did not say where it is"
        self.said = self.process.stderr.readline()
        self.url = self.said.partition(" at ")[2].partition(";")[0]

    def ask(self, message: dict[str, Any] | bytes, **headers: str) -> tuple[int, dict[str, str], str]:
        host = self.url.split("/")[2]
        connection = HTTPConnection(host, timeout=60)
        given = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "authorization": f"Bearer {TOKEN}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        body = message if isinstance(message, bytes) else json.dumps({"jsonrpc": "2.0", **message})
        connection.request("POST", "/mcp", body, given)
        answer = connection.getresponse()
        found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        connection.close()
        return found

    def client(self, mode: str) -> AbstractAsyncContextManager[Client]:
        http = httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=SECONDS)
        return Client(streamable_http_client(self.url, http_client=http), mode=mode)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.communicate(timeout=10)
        self.installation.close()
        return self.process.returncode


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    made = HttpServer(tmp_path_factory.mktemp("http"), environment={"PYRO_MCP_TOKEN": TOKEN})
    yield made
    made.end()


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
def test_both_revisions_are_served(server: HttpServer, mode: str, version: str) -> None:
    async def story() -> None:
        async with asyncio.timeout(SECONDS), server.client(mode) as client:
            assert client.protocol_version == version
            assert client.instructions is not None and "disposable" in client.instructions
            tools = (await client.list_tools()).tools
            assert {"workspace_edit", "workspace_exec"} <= {tool.name for tool in tools}
            assert len((await client.list_prompts()).prompts) == len(PROMPTS)
            assert (await client.list_resources()).resources == []
            assert len((await client.list_resource_templates()).resource_templates) == 2
            refused = await client.call_tool("workspace_create", {"seed_path": "/etc"})
            assert refused.is_error

    asyncio.run(story())


def test_every_odd_request_gets_its_error_and_the_server_goes_on(server: HttpServer) -> None:
    status, headers, _ = server.ask({"id": 1, "method": "initialize", "params": OPENED})
    assert status == 200
    session = headers["mcp-session-id"]
    for name, (data, code, said) in {**ODD, "empty": (b"", -32700, None)}.items():
        status, headers, text = server.ask(data, mcp_session_id=session, mcp_protocol_version="2025-06-18")
        if headers["content-type"].startswith("text/event-stream"):
            text = text.split("data:", 1)[1].split("\n")[0]
        else:
            assert status >= 400, name
        heard = json.loads(text)
        assert (heard["error"]["code"], heard["id"]) == (code, said), (name, heard)
    status, _, text = server.ask({"id": 2, "method": "ping"}, mcp_session_id=session)
    assert (status, '"result"' in text) == (200, True)


def test_several_hosts_at_once_do_not_mind_each_other(server: HttpServer) -> None:
    async def one(mode: str) -> int:
        async with server.client(mode) as client:
            return len((await client.list_tools()).tools)

    async def story() -> None:
        async with asyncio.timeout(30):
            counts = await asyncio.gather(*(one(mode) for mode in ("legacy", "auto") * 4))
        assert len(set(counts)) == 1

    asyncio.run(story())


def test_the_stateless_revision_needs_no_session(server: HttpServer) -> None:
    headers = {"mcp_protocol_version": "2026-07-28", "mcp_method": "server/discover"}
    status, given, body = server.ask({"id": 1, "method": "server/discover", "params": {"_meta": META}}, **headers)
    assert status == 200
    assert "mcp-session-id" not in given
    assert json.loads(body)["result"]["supportedVersions"] == ["2026-07-28"]


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_nobody_comes_in_without_the_token_or_from_elsewhere(server: HttpServer, version: str) -> None:
    message = {"id": 1, "method": "tools/list", "params": {"_meta": META}}
    headers = {"mcp_protocol_version": version, "mcp_method": "tools/list"}
    assert server.ask(message, **headers, authorization="Bearer wrong-token-of-length")[0] == 401
    status, given, body = server.ask(message, **headers, authorization="")
    assert (status, given["www-authenticate"]) == (401, "Bearer")
    assert "tools" not in body
    assert server.ask(message, **headers, host="evil.example")[0] == 421
    assert server.ask(message, **headers, origin="https://evil.example")[0] == 403


def test_it_leaves_in_good_order_with_sessions_and_subscriptions_open(tmp_path: Path) -> None:
    server = HttpServer(tmp_path, environment={"PYRO_MCP_TOKEN": TOKEN})

    async def story() -> None:
        async with asyncio.timeout(SECONDS), server.client("legacy") as one, server.client("auto") as other:
            await one.list_tools()
            async with other.listen(resources_list_changed=True) as subscription:
                assert await asyncio.to_thread(server.end) == 0
                async for _ in subscription:
                    pass

    asyncio.run(story())


def test_a_server_without_a_token_does_not_start(tmp_path: Path) -> None:
    server = HttpServer(tmp_path, environment={"PYRO_MCP_TOKEN": ""})
    assert "needs a bearer token" in server.said
    assert "Serving" not in server.said
    assert server.process.wait(10) == 2
    server.end()


def test_it_makes_a_token_of_its_own(tmp_path: Path) -> None:
    server = HttpServer(tmp_path, "--new-token", str(tmp_path / "token"))
    token = (tmp_path / "token").read_text().strip()
    assert token not in server.said
    headers = {"mcp_protocol_version": "2026-07-28", "mcp_method": "tools/list"}
    message = {"id": 1, "method": "tools/list", "params": {"_meta": META}}
    assert server.ask(message, **headers, authorization=f"Bearer {token}")[0] == 200
    assert server.end(signal.SIGINT) == 0


def test_loopback_unless_told() -> None:
    assert address_of("80") == ("127.0.0.1", 80)
    assert address_of(":80") == ("127.0.0.1", 80)
    assert address_of("[::1]:80") == ("::1", 80)
    assert address_of("0.0.0.0:80") == ("0.0.0.0", 80)
    for text in ("", "host", "host:", "1:99999", "a:-1"):
        with pytest.raises(InvalidInput, match="--http"):
            address_of(text)
