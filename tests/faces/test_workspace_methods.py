"""`Workspace` and `AsyncWorkspace` as a person uses them: every method that they derive, on real machines."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from pyro_mcp import (
    AsyncPyro,
    AsyncWorkspace,
    InvalidInput,
    NotFound,
    PatchMismatch,
    Pyro,
    Workspace,
    create_server,
    models,
)


def test_a_workspace_is_worked_with_by_its_methods(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    with pyro.workspace(seed_path=str(project), name="worked", network_policy="off") as workspace:
        assert isinstance(workspace, Workspace) and isinstance(workspace, models.Workspace)
        now = datetime.now(UTC)
        assert timedelta(0) <= now - workspace.created_at < timedelta(minutes=10)
        assert workspace.created_at.utcoffset() == timedelta(0)
        assert workspace.exec("python3 -B test_calc.py").exit_code == 0
        assert workspace.read("src/calc.py").content.startswith("def add")
        workspace.write("src/calc.py", "def add(a, b):\n    return b + a\n")
        workspace.edit("src/calc.py", "return b + a", "return a - b")
        assert "a - b" in workspace.diff().patch
        assert [f.path for f in workspace.diff("src").files] == ["src/calc.py"]
        assert "src/calc.py" in workspace.search("a - b").content
        assert "src" in [entry.path.rpartition("/")[2] for entry in workspace.list_files().entries]
        with pytest.raises(PatchMismatch):
            workspace.apply_patch("--- a/src/calc.py\n+++ b/src/calc.py\n@@ -1,1 +1,1 @@\n-never there\n+x\n")
        ran = workspace.exec("echo out; echo err >&2; exit 3")
        assert (ran.exit_code, ran.stdout, ran.stderr) == (3, "out\n", "err\n")
        assert workspace.logs(ran.handle).output.split() == ["out", "err"]
        assert workspace.logs(ran).output == pyro.logs_workspace(workspace, handle=ran).output
        pieces = workspace.stream("printf a; printf b")
        assert b"".join(piece.data for piece in pieces) == b"ab" and pieces.result.exit_code == 0
        assert workspace.run("sleep 0.2; echo done").stdout == "done\n"
        workspace.export("src/calc.py", output=str(tmp_path / "calc.py"))
        assert "a - b" in (tmp_path / "calc.py").read_text()
        landed = workspace.land("from-methods")
        shown = subprocess.check_output(["git", "-C", str(project), "show", f"{landed.branch}:src/calc.py"], text=True)
        assert "a - b" in shown
        assert "exec" in [event.operation.partition("_")[0] for event in workspace.history().events]
        renamed = workspace.update(name="renamed")
        assert (renamed.id, renamed.name, renamed.status().state) == (workspace.id, "renamed", "running")
        assert "return a + b" in workspace.reset().read("src/calc.py").content
    with pytest.raises(NotFound):
        workspace.status()


def test_whole_machines_by_methods(pyro: Pyro) -> None:
    with pyro.workspace() as workspace:
        workspace.write("state", "one")
        kept = workspace.snapshot("kept")
        assert kept.created_at >= workspace.created_at and kept.created_at.tzinfo is not None
        workspace.write("state", "two")
        forks = workspace.fork(3)
        assert len(forks) == 3 and forks[0].id == forks.workspaces[0].id
        for number, fork in enumerate(forks):
            fork.write("state", str(number))
        assert [fork.read("state").content for fork in forks] == ["0", "1", "2"]
        assert {fork.id for fork in forks} <= {listed.id for listed in pyro.list_workspaces()}
        for fork in forks:
            assert fork.delete().deleted
        assert workspace.reset("kept").read("state").content == "one"
        assert [s.name for s in workspace.list_snapshots().snapshots][-1] in ("kept", "baseline")
        workspace.delete_snapshot("kept")
        assert workspace.stop().state == "stopped"
        assert workspace.start().read("state").content == "one"
        shell = workspace.open_shell()
        workspace.write_shell(shell.shell, "echo $((6*7))", enter=True)
        assert "42" in workspace.read_shell(shell.shell, wait_for="42", plain=True).output
        workspace.close_shell(shell.shell)


def test_the_same_asynchronously(installation: object) -> None:
    async def work() -> None:
        async with AsyncPyro() as pyro, pyro.workspace() as workspace:
            assert isinstance(workspace, AsyncWorkspace)
            await workspace.write("state", "one")
            first, second = await asyncio.gather(workspace.exec("cat state"), workspace.run(["cat", "state"]))
            assert first.stdout == second.stdout == "one"
            pieces = [piece.data async for piece in workspace.stream("printf abc")]
            assert b"".join(pieces) == b"abc"
            for fork in await workspace.fork(2):
                assert (await fork.read("state")).content == "one"
                await fork.delete()
            assert (await workspace.diff()).files[0].path == "state"
            assert (await (await workspace.reset()).diff()).files == []
            assert workspace.id in [w.id for w in await pyro.list_workspaces()]
        async with AsyncPyro() as pyro:
            with pytest.raises(NotFound):
                await pyro.status_workspace(workspace.id)

    asyncio.run(work())


def test_a_copy_has_the_connection_and_a_pickle_has_none(pyro: Pyro, workspace: str) -> None:
    found = pyro.status_workspace(workspace)
    for other in (copy.copy(found), copy.deepcopy(found), found.model_copy(deep=True)):
        assert other.exec("true").exit_code == 0
    for other in (pickle.loads(pickle.dumps(found)), Workspace(**found.model_dump())):
        assert other.model_dump() == found.model_dump()
        with pytest.raises(InvalidInput, match="status_workspace"):
            other.exec("true")
        assert pyro.exec_workspace(other, "true").exit_code == 0
    assert found.exec("true").exit_code == 0
    assert found.model_dump_json() == models.Workspace(**found.model_dump()).model_dump_json()


def test_the_public_server_serves_the_tools(
    installation: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcp.client.session import ClientSession

    monkeypatch.chdir(tmp_path)
    server = create_server("workspace-full")
    with pytest.raises(InvalidInput, match="workspace-core"):
        create_server("workspace-most")  # type: ignore[arg-type]

    async def talk() -> None:
        to_server, from_client = anyio.create_memory_object_stream[Any](8)
        to_client, from_server = anyio.create_memory_object_stream[Any](8)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run, from_client, to_client, server.create_initialization_options())
            async with ClientSession(from_server, to_server) as session:
                await session.initialize()
                names = {tool.name for tool in (await session.list_tools()).tools}
                assert {"workspace_create", "workspace_exec", "workspace_fork"} <= names
                made = await session.call_tool("workspace_create", {"seed_path": ""})
                assert made.structured_content is not None, made
                await session.call_tool("workspace_delete", {"workspace": made.structured_content["id"]})
            tasks.cancel_scope.cancel()

    asyncio.run(talk())
