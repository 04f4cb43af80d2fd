"""Whose workspace: a server sees those of its own project; to it, all others do not exist. A person sees all."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp import ClientSession
from mcp.shared.exceptions import MCPError

from pyro_mcp import Conflict, NotFound
from pyro_mcp.sdk import Pyro
from tests.faces.test_mcp import call, converse, refused
from tests.support import Installation

ONE = (
    "workspace_status",
    "workspace_diff",
    "workspace_file_list",
    "workspace_reset",
    "workspace_delete",
    "workspace_logs",
)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    place = tmp_path / "other project é"
    place.mkdir()
    return place


def test_a_server_of_another_project_finds_nothing(
    installation: Installation, pyro: Pyro, project: Path, other: Path
) -> None:
    made: dict[str, str] = {}

    async def owner(session: ClientSession) -> None:
        made["id"] = (await call(session, "workspace_create", name="mine"))["id"]
        ran = await call(session, "workspace_exec", workspace="mine", command="echo secret > x")
        made["handle"] = ran["handle"]

    async def stranger(session: ClientSession) -> None:
        assert (await call(session, "workspace_list")).get("workspaces", []) == []
        for reference in (made["id"], "mine"):
            for tool in ONE:
                found = await refused(session, tool, workspace=reference)
                absent = await refused(session, tool, workspace="ws-00000000")
                assert found.replace(reference, "X") == absent.replace("ws-00000000", "X")
            assert "[unknown_workspace]" in await refused(session, "workspace_exec", workspace=reference, command="id")
            output = str(other / "x")
            export = await refused(session, "workspace_export", workspace=reference, path="x", output=output)
            assert "[unknown_workspace]" in export and not (other / "x").exists()
            assert "[unknown_workspace]" in await refused(session, "workspace_fork", workspace=reference)
            with pytest.raises(MCPError):
                await session.read_resource(f"pyro://workspaces/{reference}/diff")
        assert (await session.list_resources()).resources == []
        # The same name is free here, and means the own one.
        own = (await call(session, "workspace_create", name="mine"))["id"]
        assert (await call(session, "workspace_status", workspace="mine"))["id"] == own
        assert [w["id"] for w in (await call(session, "workspace_list"))["workspaces"]] == [own]
        assert "[name_in_use]" in await refused(session, "workspace_create", name="mine")
        made["own"] = own

    async def owner_again(session: ClientSession) -> None:
        assert [w["id"] for w in (await call(session, "workspace_list"))["workspaces"]] == [made["id"]]
        assert (await call(session, "workspace_file_read", workspace="mine", path="x"))["content"] == "secret\n"
        forks = (await call(session, "workspace_fork", workspace="mine"))["workspaces"]
        assert (await call(session, "workspace_status", workspace=forks[0]["id"]))["name"] == "mine-1"
        made["fork"] = forks[0]["id"]
        await call(session, "workspace_delete", workspace="mine")
        assert "[workspace_gone]" in await refused(session, "workspace_status", workspace=made["id"])

    async def stranger_again(session: ClientSession) -> None:
        for reference in (made["id"], made["fork"]):
            assert "[unknown_workspace]" in await refused(session, "workspace_status", workspace=reference)
        await call(session, "workspace_delete", workspace="mine")

    full = ("--profile", "workspace-full")
    converse(installation, project, owner, *full)
    converse(installation, other, stranger, *full)
    with pytest.raises(Conflict, match="2 projects"):
        pyro.status_workspace("mine")
    assert {made["id"], made["own"]} <= {w.id for w in pyro.list_workspaces().workspaces}
    installation.kill_daemon()  # what is whose outlives the daemon
    converse(installation, project, owner_again, *full)
    converse(installation, other, stranger_again, *full)
    pyro.delete_workspace(made["fork"])


def test_what_a_person_seeds_from_a_project_is_its_own(
    installation: Installation, pyro: Pyro, project: Path, other: Path
) -> None:
    theirs = pyro.create_workspace(seed_path=str(project), name="by-hand")
    none = pyro.create_workspace()

    async def own(session: ClientSession) -> None:
        assert (await call(session, "workspace_status", workspace="by-hand"))["id"] == theirs.id
        assert "[unknown_workspace]" in await refused(session, "workspace_status", workspace=none.id)

    async def stranger(session: ClientSession) -> None:
        for reference in ("by-hand", theirs.id, none.id):
            assert "[unknown_workspace]" in await refused(session, "workspace_status", workspace=reference)

    converse(installation, project, own)
    converse(installation, other, stranger)
    for workspace in (theirs, none):
        pyro.delete_workspace(workspace.id)
    with pytest.raises(NotFound):
        pyro.status_workspace("by-hand")
