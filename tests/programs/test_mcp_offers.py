"""Prompts, resources, roots, progress: what the server offers beside its tools, through the library."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.errors import InvalidInput
from pyro_mcp.locations import Locations
from pyro_mcp.mcp import server as server_module
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.mcp.prompts import PROMPTS, prompts_of, rendered
from pyro_mcp.mcp.resources import diff_address, located, shown, templates_of
from pyro_mcp.mcp.roots import folder
from pyro_mcp.mcp.schema import operations_of, tool
from pyro_mcp.mcp.server import server_of
from pyro_mcp.mcp.toolbox import Toolbox
from pyro_mcp.operations import REGISTRY, Profile
from pyro_mcp.operations.validation import validated
from pyro_mcp.processes.seen import last_line
from tests.support import slowness
from tests.unit.test_mcp_schema import WORKSPACE
from tests.unit.wire_server import WireServer

FULL: tuple[Profile, ...] = ("workspace-core", "workspace-full")
Answers = dict[str, list[Any]]


# -- prompts


@pytest.mark.parametrize("profile", FULL)
@pytest.mark.parametrize("name", [prompt.name for prompt in PROMPTS])
def test_a_prompt_names_only_tools_of_its_profile(profile: Profile, name: str) -> None:
    every = {str(op.mcp) for op in operations_of("workspace-full")}
    offered = {str(op.mcp) for op in operations_of(profile)}
    given = {a.name: "something {odd}" for a in next(p for p in PROMPTS if p.name == name).arguments if a.required}
    _, text = rendered(profile, name, given)
    named = {word for word in re.findall(r"[a-z_]+", text) if word in every}
    assert {"workspace_create", "workspace_export", "workspace_delete"} <= named <= offered
    assert "something {odd}" in text or not given
    assert len(text) < 2500


def test_a_prompt_refuses_what_it_does_not_know() -> None:
    for name, given, said in (
        ("nothing", {}, "repro_fix_loop"),
        ("repro_fix_loop", {}, "needs problem"),
        ("repro_fix_loop", {"problem": " "}, "needs problem"),
        ("repro_fix_loop", {"problem": "x", "colour": "y"}, "no argument 'colour'"),
    ):
        with pytest.raises(InvalidInput, match=said):
            rendered("workspace-core", name, given)
    assert prompts_of("vm-run") == ()


# -- resources


def test_an_address_leads_to_an_operation() -> None:
    for profile, address, wanted in (
        ("workspace-core", "pyro://workspaces/ws-1/diff", ("diff_workspace", {"workspace": "ws-1"})),
        ("workspace-core", "pyro://workspaces/a%2Fb/diff", ("diff_workspace", {"workspace": "a/b"})),
        (
            "workspace-core",
            "pyro://workspaces/w/commands/h-1/log",
            ("logs_workspace", {"workspace": "w", "handle": "h-1"}),
        ),
        ("workspace-full", "pyro://workspaces/w/services/web/log", ("logs_service", {"workspace": "w", "name": "web"})),
        ("workspace-core", "pyro://workspaces/w/services/web/log", None),
        ("vm-run", "pyro://workspaces/w/diff", None),
        ("workspace-full", "pyro://workspaces//diff", None),
        ("workspace-full", "pyro://workspaces/w/diff/", None),
        ("workspace-full", "pyro://workspaces/w/diff?x", None),
        ("workspace-full", "file:///etc/passwd", None),
    ):
        found = located(profile, address)  # type: ignore[arg-type]
        if wanted is None:
            assert found is None, address
            continue
        assert found is not None, address
        template, arguments = found
        assert template.operation == wanted[0]
        assert wanted[1].items() <= arguments.items()
        validated(REGISTRY[template.operation], arguments)
    assert located("workspace-core", diff_address("a b")) is not None


def test_what_a_resource_left_out_is_said() -> None:
    diff, log = templates_of("workspace-core")
    assert shown(diff, {"patch": "x", "hint": "git apply"}) == "x"
    assert shown(diff, {"patch": "x", "truncated": True, "hint": "cut"}) == "x\n[cut]\n"
    assert shown(log, {"output": "a\n", "hint": "more"}) == "a\n[more]\n"
    assert shown(log, {}) == ""


def test_only_tools_whose_results_the_model_sizes_may_be_long() -> None:
    sized = {t["name"] for t in map(tool, operations_of("workspace-full")) if "_meta" in t}
    assert sized == {
        "workspace_file_read",
        "workspace_search",
        "workspace_diff",
        "workspace_disk_read",
        "shell_read",
    }


# -- through the library


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    monkeypatch.setenv("PYRO_HOME", str(tmp_path / "h"))
    made = Locations.of_this_user()
    made.prepare()
    return made


@pytest.fixture
def answers() -> Answers:
    return {
        "create_workspace": [{"result": WORKSPACE}],
        "list_workspaces": [{"result": {"workspaces": [{**WORKSPACE, "name": "mine"}]}}],
        "diff_workspace": [
            {"result": {"workspace": "ws-1", "files": [], "insertions": 0, "deletions": 0, "patch": "--- a\n"}}
        ],
    }


@pytest.fixture
def daemon(locations: Locations, answers: Answers) -> Iterator[WireServer]:
    missing = [{"error": {"kind": "not_found", "code": "workspace_not_found", "message": "There is no w."}}]
    made = WireServer(locations.socket, lambda name, *_: answers.get(name, missing))
    yield made
    made.close()


@asynccontextmanager
async def connected(
    locations: Locations, *, roots: bool = False, access: Access | None = None, **client: Any
) -> AsyncIterator[tuple[Client, Toolbox]]:
    pyro = AsyncPyro(transport=AsyncTransport(locations, start=None))
    allowed = access or Access(None)
    toolbox = Toolbox("workspace-core", allowed, pyro)
    server = server_of(toolbox, Catalogue.of("workspace-core", allowed), roots=roots)
    async with asyncio.timeout(20), Client(server, **client) as connection:
        yield connection, toolbox
    await pyro.close()


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_prompts_and_resources_are_read(locations: Locations, daemon: WireServer, mode: str) -> None:
    async def main() -> None:
        async with connected(locations, mode=mode) as (client, _):
            got = await client.get_prompt("repro_fix_loop", {"problem": "it crashes"})
            assert "it crashes" in got.messages[0].content.text  # type: ignore[union-attr]
            with pytest.raises(MCPError, match="needs problem"):
                await client.get_prompt("repro_fix_loop", {})
            listed = (await client.list_resources()).resources
            assert [(str(r.uri), r.name) for r in listed] == [("pyro://workspaces/ws-1/diff", "mine_diff")]
            read = await client.read_resource(str(listed[0].uri))
            assert read.contents[0].text == "--- a\n"  # type: ignore[union-attr]
            assert read.contents[0].mime_type == "text/x-diff"
            with pytest.raises(MCPError, match="no resource") as caught:
                await client.read_resource("pyro://elsewhere")
            assert caught.value.error.code == types.INVALID_PARAMS
            with pytest.raises(MCPError, match="There is no w"):
                await client.read_resource("pyro://workspaces/w/commands/h/log")

    asyncio.run(main())


def test_who_listens_hears_what_a_call_changed(locations: Locations, daemon: WireServer) -> None:
    async def main() -> None:
        async with connected(locations, mode="2026-07-28") as (client, _):
            async with client.listen(
                resources_list_changed=True, resource_subscriptions=["pyro://workspaces/ws-1/diff"]
            ) as events:
                await client.call_tool("workspace_create", {})
                heard = [await anext(aiter(events)), await anext(aiter(events))]
            assert [type(event) for event in heard] == [ResourceUpdated, ResourcesListChanged]

    asyncio.run(main())


# -- roots


def test_a_root_is_a_folder_of_this_machine() -> None:
    assert folder("file:///a%20b/c") == Path("/a b/c")
    assert folder("file://localhost/a") == Path("/a")
    for uri in ("file://other/a", "https://example/a", "file:a", "", "file:///a%00b"):
        assert folder(uri) is None, uri


def test_roots_choose_the_project_but_never_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, one, two = (tmp_path / name for name in ("home", "one", "two"))
    for path in (home, one, two):
        path.mkdir()
    monkeypatch.setenv("HOME", str(home))
    access = Access(one, (Path("/data"),))
    assert access.with_roots([two]) == Access(two, (Path("/data"), one))
    assert access.with_roots([home, Path("/"), tmp_path / "none", two]).project == two
    for folders in ([], [one], [one, two], [home], [Path("/")]):
        assert access.with_roots(folders) == access


@pytest.mark.parametrize("said", [True, False])
def test_a_workspace_begins_with_what_the_host_says_is_the_project(
    locations: Locations, daemon: WireServer, tmp_path: Path, said: bool
) -> None:
    (tmp_path / "other").mkdir()
    asked = 0

    async def roots(context: Any) -> types.ListRootsResult:
        nonlocal asked
        asked += 1
        found = [types.Root(uri=f"file://{tmp_path}/other")] if said else []
        return types.ListRootsResult(roots=found)

    async def main() -> None:
        start = Access(locations.state.parent)
        async with connected(locations, roots=True, access=start, mode="legacy", list_roots_callback=roots) as (
            client,
            _,
        ):
            for _n in range(2):
                await client.call_tool("workspace_create", {})

    asyncio.run(main())
    seeds = {arguments["seed_path"] for name, arguments, _ in daemon.calls if name == "create_workspace"}
    assert seeds == {str(tmp_path / "other") if said else str(locations.state.parent)}
    assert asked == 1


def test_a_host_that_cannot_be_asked_is_not_asked(locations: Locations, daemon: WireServer, tmp_path: Path) -> None:
    async def main() -> None:
        access = Access(tmp_path)
        async with connected(locations, roots=True, access=access, mode="2026-07-28") as (client, _):
            await client.call_tool("workspace_create", {})

    asyncio.run(main())
    assert daemon.calls[0][1]["seed_path"] == str(tmp_path)


# -- progress


def test_a_long_call_says_what_it_does_and_that_it_lives(locations: Locations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(server_module, "QUIET_SECONDS", 0.01)

    def script(name: str, *_: Any) -> Iterator[Any]:
        yield {"event": {"type": "started", "handle": "h-1"}}
        yield {"event": {"type": "output", "stream": "stdout", "data": "b25lCnR3bwobWzBtCg=="}}
        time.sleep(0.5)
        yield {"result": {"workspace": "w", "handle": "h-1", "status": "exited", "exit_code": 0}}

    heard: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    daemon = WireServer(locations.socket, script)

    async def main() -> None:
        async with connected(locations, mode="legacy") as (client, _):
            result = await client.call_tool(
                "workspace_exec", {"workspace": "w", "command": "x"}, progress_callback=hear
            )
            assert not result.is_error

    asyncio.run(main())
    daemon.close()
    numbers = [number for number, _ in heard]
    assert len(heard) >= 3
    assert numbers == sorted(set(numbers))
    assert all(message is not None and message.startswith("two (") for _, message in heard)


def test_the_last_line_is_one_that_can_be_read() -> None:
    assert last_line(b"one\n\x1b[1mtwo\x07\n\x1b[0m\n\n", 120) == "two"
    assert last_line(b"\n \n", 120) == ""
    assert len(last_line(b"x" * 5000, 120)) == 120


# -- start-up


def test_nothing_heavy_is_imported_before_the_tools_are_listed() -> None:
    code = """
import sys
from pyro_mcp.cli.app import run
import pyro_mcp.mcp.serve as serve
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.mcp.opening import Opening
opening = Opening(Catalogue.of("workspace-full", Access(None)))
client = {"name": "h", "version": "1"}
opened = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
assert opening.answer({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opened})
assert opening.answer({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
assert opening.answer({"jsonrpc": "2.0", "id": 3, "method": "prompts/list"})
heavy = ["mcp", "mcp_types", "starlette", "uvicorn", "anyio", "httpx2", "asyncio", "rich", "cryptography"]
print([name for name in heavy + ["pyro_mcp.mcp.http", "pyro_mcp.mcp.server"] if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.strip() == "[]"


def test_calls_under_way_answer_at_once_when_the_server_leaves(locations: Locations) -> None:
    def script(name: str, *_: Any) -> Iterator[Any]:
        yield {"event": {"type": "started", "handle": "h-1"}}
        time.sleep(2)
        yield {"result": {}}

    daemon = WireServer(locations.socket, script)

    async def main() -> None:
        async with connected(locations) as (client, toolbox):
            call = asyncio.create_task(client.call_tool("workspace_exec", {"workspace": "w", "command": "x"}))
            await until(lambda: bool(daemon.calls))
            await asyncio.sleep(0.1)
            begun = time.monotonic()
            toolbox.leave()
            result = await call
            assert time.monotonic() - begun < 1 * slowness()
            assert result.structured_content is not None
            assert (result.structured_content["status"], result.structured_content["handle"]) == ("running", "h-1")

    asyncio.run(main())
    daemon.close()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)
