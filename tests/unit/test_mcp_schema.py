"""The tools: what a model reads of them, what they refuse, and how they answer."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.stdio import stdio_server

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.errors import NotPermitted
from pyro_mcp.locations import Locations
from pyro_mcp.mcp import toolbox as toolbox_module
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.mcp.instructions import MAX_CHARACTERS, instructions
from pyro_mcp.mcp.opening import ACKNOWLEDGED, HANDSHAKE_VERSIONS, STATELESS_VERSION, Opening
from pyro_mcp.mcp.schema import SHOWS_PICTURES, operations_of, output_schema, tool, without_empty
from pyro_mcp.mcp.server import server_of
from pyro_mcp.mcp.toolbox import Answer, Toolbox
from pyro_mcp.models import ExecResult
from pyro_mcp.operations import REGISTRY, Profile
from tests.unit.wire_server import WireServer

PROFILES: tuple[Profile, ...] = ("vm-run", "workspace-core", "workspace-full")
BUDGET = {"vm-run": 200, "workspace-core": 3000, "workspace-full": 6500}
"""Tokens, counted as characters / 4."""
MOST_TOOLS = {"vm-run": 1, "workspace-core": 20}


def tokens(profile: Profile) -> float:
    tools = [tool(op) for op in operations_of(profile)]
    schemas = sum(len(json.dumps(t["inputSchema"], separators=(",", ":"))) for t in tools)
    return (schemas + sum(len(t["name"]) + len(t["description"]) for t in tools)) / 4


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_keeps_its_token_budget(profile: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    count, tools = tokens(profile), len(operations_of(profile))
    with capsys.disabled():
        print(f"\n{profile}: {count:.0f} of {BUDGET[profile]} tokens, {tools} tools")
    assert count <= BUDGET[profile]
    assert tools <= MOST_TOOLS.get(profile, tools)


@pytest.mark.parametrize("profile", PROFILES)
def test_tools_are_compact_and_explicit(profile: Profile) -> None:
    for op in operations_of(profile):
        made = tool(op)
        text = json.dumps(made)
        assert "$defs" not in text
        assert '"title"' not in text
        assert '"null"' not in text
        assert set(made["annotations"]) == {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
        assert all(isinstance(value, bool) for value in made["annotations"].values())
        for name, p in made["inputSchema"]["properties"].items():
            assert p["description"], name
            assert name not in op.hidden
        if op.name not in SHOWS_PICTURES:
            assert made["outputSchema"]["type"] == "object"


def test_annotations_let_codex_run_work_inside_the_workspace_unasked() -> None:
    for name in (
        "exec_workspace",
        "write_workspace_file",
        "apply_workspace_patch",
        "create_workspace",
        "reset_workspace",
    ):
        hints = tool(REGISTRY[name])["annotations"]
        assert (hints["destructiveHint"], hints["openWorldHint"]) == (False, False), name
    for name in ("export_workspace", "delete_workspace"):
        assert tool(REGISTRY[name])["annotations"]["destructiveHint"], name


def test_empty_fields_go_unless_the_schema_requires_them() -> None:
    schema = output_schema(ExecResult)
    record = ExecResult(workspace="w", handle="h", status="exited", exit_code=0).model_dump(mode="json")
    kept = without_empty(record, schema)
    assert kept["exit_code"] == 0
    assert "stdout" not in kept
    assert "hint" not in kept
    assert set(schema["required"]) <= set(kept)
    assert without_empty({"workspaces": []}, tool(REGISTRY["list_workspaces"])["outputSchema"]) == {"workspaces": []}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("project", [None, Path("/home/somebody/a/rather/long/path/to/a/project")])
def test_instructions_fit_and_begin_with_the_choice(profile: Profile, project: Path | None) -> None:
    text = instructions(profile, Access(project, (Path("/data"),), "off"))
    assert len(text) <= MAX_CHARACTERS
    assert not text.endswith("…")
    assert "isolated" in text[:247] or "disposable" in text[:247]
    assert "as root:" not in text, "a workspace may have another user"
    asking = instructions(profile, Access(project, (), "ask", secrets={"TOKEN": "x"}))
    assert not asking.endswith("…"), len(asking)


# -- what the user allowed


def test_paths_reach_the_project_and_what_was_allowed_and_no_further(tmp_path: Path) -> None:
    project, allowed, outside = (tmp_path / name for name in ("project", "allowed", "outside"))
    for folder in (project, allowed, outside):
        folder.mkdir()
    (project / "way-out").symlink_to(outside)
    access = Access(project, (allowed,))
    assert access.resolved("a/../b") == project / "b"
    assert access.resolved(str(allowed / "x")) == allowed / "x"
    assert access.resolved(".") == project
    for path in ("..", "../outside", "/etc/passwd", "way-out", "way-out/x", "~/.ssh", f"{project}-2"):
        with pytest.raises(NotPermitted, match="outside") as caught:
            access.resolved(path)
        assert caught.value.hint  # test_advice says what


def test_home_and_root_are_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p").mkdir()
    for folder, project in ((tmp_path, None), (Path("/"), None), (tmp_path / "p", tmp_path / "p")):
        monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(folder))
        assert Access.chosen([], "off").project == project
    monkeypatch.delenv("CLAUDE_PROJECT_DIR")
    monkeypatch.chdir(tmp_path / "p")
    assert Access.chosen(["~"], "off") == Access(tmp_path / "p", (tmp_path,), "off")


# -- calls

Run = Callable[..., Answer]
WORKSPACE = {
    "id": "ws-1",
    "state": "running",
    "environment": "debian:12",
    "engine": "gvisor",
    "network_policy": "off",
    "vcpu_count": 1,
    "mem_mib": 1024,
    "created_at": "t",
    "last_activity_at": "t",
    "seed": None,
}


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    return Locations(tmp_path / "run", tmp_path / "state", tmp_path / "cache")


@pytest.fixture
def server(locations: Locations) -> Iterator[WireServer]:
    answers: dict[str, Any] = {"create_workspace": [{"result": WORKSPACE}]}
    made = WireServer(locations.socket, lambda name, *_: answers.get(name, [{"result": {"workspaces": []}}]))
    yield made
    made.close()


@pytest.fixture
def run(server: WireServer, locations: Locations, tmp_path: Path) -> Run:
    project = tmp_path / "project"
    project.mkdir()

    def call(name: str, arguments: dict[str, Any] | None = None, **access: Any) -> Answer:
        async def main() -> Answer:
            pyro = AsyncPyro(transport=AsyncTransport(locations, start=None), face="mcp")
            try:
                return await Toolbox("workspace-core", Access(project, **access), pyro).call(name, arguments)
            finally:
                await pyro.close()

        return asyncio.run(main())

    return call


@pytest.mark.parametrize(
    ("name", "arguments", "parts"),
    [
        ("workspace_exc", {}, ["no tool 'workspace_exc'", "Did you mean 'workspace_exec'?", "[unknown_tool]"]),
        ("workspace_exec", {"workspace": "w", "comand": "ls"}, ["no parameter 'comand'", "'command'"]),
        (
            "workspace_exec",
            {"workspace": "w", "command": "ls", "stdin": "x"},
            ["no parameter 'stdin'", "[unknown_parameter]"],
        ),
        ("workspace_exec", {"workspace": "w"}, ["workspace_exec: command is missing", "[invalid_arguments]"]),
        ("workspace_exec", {"workspace": "w", "command": "ls", "wait_seconds": 51}, ["wait_seconds = 51", "50"]),
        ("workspace_create", {"seed_path": "/etc"}, ["/etc is outside", "Give a path inside", "[path_not_allowed]"]),
        ("workspace_export", {"workspace": "w", "path": "a", "output": "../x"}, ["outside", "[path_not_allowed]"]),
    ],
)
def test_a_refusal_says_what_to_do_and_never_reaches_the_daemon(
    run: Run, server: WireServer, name: str, arguments: dict[str, Any], parts: list[str]
) -> None:
    answer = run(name, arguments)
    assert answer.is_error
    assert answer.structured is None
    for part in parts:
        assert part in answer.text
    assert "pydantic" not in answer.text
    assert server.calls == []


def test_network_beyond_what_the_user_allowed_is_refused(run: Run) -> None:
    answer = run("workspace_create", {"network_policy": "egress"}, network="off")
    assert answer.is_error
    assert "--network egress" in answer.text
    assert not run("workspace_create", {"network_policy": "egress"}).is_error


def test_a_workspace_begins_with_the_project_unless_told(run: Run, server: WireServer, tmp_path: Path) -> None:
    run("workspace_create", {})
    run("workspace_create", {"seed_path": ""})
    (tmp_path / "project" / "sub").mkdir()
    run("workspace_create", {"seed_path": "sub"})
    seeds = [arguments.get("seed_path") for _, arguments, _ in server.calls]
    assert seeds == [str(tmp_path / "project"), None, str(tmp_path / "project" / "sub")]


def test_text_and_structured_content_are_the_same_facts(run: Run, server: WireServer) -> None:
    answer = run("workspace_create", {})
    assert json.loads(answer.text) == answer.structured
    assert answer.structured is not None
    assert answer.structured["id"] == "ws-1"
    assert "seed" not in answer.structured
    assert server.calls[0][2]["pyro-face"] == "mcp"


def test_a_call_that_lasts_too_long_is_answered_with_its_handle(
    locations: Locations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox_module, "CALL_SECONDS", 0.3)

    def script(name: str, *_: Any) -> Iterator[Any]:
        yield {"event": {"type": "started", "handle": "h-1"}}
        time.sleep(1)
        yield {"result": {}}

    server = WireServer(locations.socket, script)

    async def main() -> Answer:
        pyro = AsyncPyro(transport=AsyncTransport(locations, start=None))
        return await Toolbox("workspace-core", Access(None), pyro).call(
            "workspace_exec", {"workspace": "w", "command": "sleep 99"}
        )

    answer = asyncio.run(main())
    server.close()
    assert not answer.is_error
    assert answer.structured is not None
    assert (answer.structured["handle"], answer.structured["status"]) == ("h-1", "running")


@pytest.mark.parametrize(("leaving", "cancelled"), [(False, True), (True, False)])
def test_a_cancelled_call_ends_its_command_but_a_leaving_host_does_not(
    locations: Locations, leaving: bool, cancelled: bool
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def script(name: str, arguments: dict[str, Any], *_: Any) -> Iterator[Any]:
        if name == "cancel_workspace_exec":
            assert arguments == {"workspace": "w", "handle": "h-1"}
            ended.set()
            yield {"result": {}}
            return
        yield {"event": {"type": "started", "handle": "h-1"}}
        begun.set()
        ended.wait(1)
        yield {"result": {}}

    server = WireServer(locations.socket, script)

    async def main() -> None:
        toolbox = Toolbox("workspace-core", Access(None), AsyncPyro(transport=AsyncTransport(locations, start=None)))
        toolbox.leaving = leaving
        call = asyncio.create_task(toolbox.call("workspace_exec", {"workspace": "w", "command": "sleep 99"}))
        await asyncio.to_thread(begun.wait, 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.to_thread(ended.wait, 0.5)

    asyncio.run(main())
    server.close()
    assert ended.is_set() == cancelled


# -- the opening


LISTS = ("server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list")


def messages(version: str) -> list[dict[str, Any]]:
    if version == STATELESS_VERSION:
        prefix = "io.modelcontextprotocol/"
        meta = {
            prefix + "protocolVersion": version,
            prefix + "clientCapabilities": {"elicitation": {}},
            prefix + "clientInfo": {"name": "host", "version": "1"},
        }
        return [{"id": number, "method": method, "params": {"_meta": meta}} for number, method in enumerate(LISTS)]
    opened = {"protocolVersion": version, "capabilities": {"roots": {}}, "clientInfo": {"name": "host", "version": "1"}}
    return [
        {"id": 0, "method": "initialize", "params": opened},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/list"},
        {"id": "two", "method": "tools/list", "params": {}},
        {"id": 3, "method": "ping"},
        *({"id": 4 + number, "method": method} for number, method in enumerate(LISTS[2:])),
    ]


class Host(io.StringIO):
    """Says its messages, and leaves when it has heard as many answers as it wants."""

    def __init__(self, messages: list[dict[str, Any]], wanted: int) -> None:
        super().__init__()
        self._messages = list(messages)
        self._wanted = wanted
        self._satisfied = threading.Event()
        self.heard: list[dict[str, Any]] = []

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
        if self._messages:
            return json.dumps(self._messages.pop(0)) + "\n"
        self._satisfied.wait(10)
        return ""

    def write(self, text: str) -> int:
        self.heard.append(json.loads(text))
        if len(self.heard) == self._wanted:
            self._satisfied.set()
        return len(text)


def library_says(profile: Profile, messages: list[dict[str, Any]], wanted: int) -> list[dict[str, Any]]:
    """What the library, without the opening, says to these messages."""
    host = Host(messages, wanted)
    access = Access(Path("/p"))

    async def main() -> None:
        # No call is made, so that no daemon is needed.
        toolbox = Toolbox(profile, access, AsyncPyro(transport=AsyncTransport(Locations.of_this_user(), start=None)))
        server = server_of(toolbox, Catalogue.of(profile, access))
        async with stdio_server(anyio.wrap_file(host), anyio.wrap_file(host)) as (reading, writing):
            await server.run(reading, writing, server.create_initialization_options())

    anyio.run(main)
    return host.heard


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRO_HOME", str(tmp_path / "pyro"))


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", [*HANDSHAKE_VERSIONS, STATELESS_VERSION])
def test_the_opening_answers_word_for_word_as_the_library(profile: Profile, version: str) -> None:
    opening = Opening(Catalogue.of(profile, Access(Path("/p"))))
    said = [{"jsonrpc": "2.0", **message} for message in messages(version)]
    if profile == "vm-run":
        said = [message for message in said if message["method"].partition("/")[0] not in ("prompts", "resources")]
    ours = [opening.answer(message) for message in said if not opening.notice(message)]
    theirs = {message["id"]: message for message in library_says(profile, said, len(ours))}
    assert len(theirs) == len(ours) > 1
    for answer in ours:
        assert answer is not None
        assert theirs[answer["id"]] == answer


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"toolsListChanged": True, "promptsListChanged": False, "resourcesListChanged": True},
        {"resourceSubscriptions": ["pyro://workspaces/w/diff"]},
        {"resourceSubscriptions": []},
    ],
)
def test_a_subscription_is_acknowledged_as_the_library_does(wanted: dict[str, Any]) -> None:
    meta = messages(STATELESS_VERSION)[0]["params"]["_meta"]
    message = {
        "jsonrpc": "2.0",
        "id": "s",
        "method": "subscriptions/listen",
        "params": {"_meta": meta, "notifications": wanted},
    }
    opening = Opening(Catalogue.of("workspace-core", Access(None)))
    ours = opening.answer(message)
    assert ours == library_says("workspace-core", [message], 1)[0]
    assert (opening.replay, opening.swallow) == ([message], {(ACKNOWLEDGED, "s")})


def test_what_needs_the_daemon_is_put_off_and_holds_nothing_up() -> None:
    opening = Opening(Catalogue.of("workspace-core", Access(None)), nothing_runs=lambda: False)
    listed = {"jsonrpc": "2.0", "id": 9, "method": "resources/list"}
    assert not opening.puts_off(listed)
    for message in messages("2025-11-25")[:1]:
        opening.answer({"jsonrpc": "2.0", **message})
    assert opening.answer(listed) is None
    assert opening.puts_off(listed)
    assert opening.answer({"jsonrpc": "2.0", "id": 10, "method": "tools/list"}) is not None


def test_the_opening_leaves_to_the_library_what_it_does_not_know() -> None:
    unknown: list[Any] = [
        None,
        [],
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}},
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2024-11-05"}},
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": []},
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}},
    ]
    for message in unknown:
        opening = Opening(Catalogue())
        assert opening.answer(message) is None
        assert not opening.puts_off(message)
        assert not opening.notice(message)
        assert opening.replay == []
