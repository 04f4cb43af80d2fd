"""Habits of models against the real server: the command runs as meant, where it was meant."""

from __future__ import annotations

from pathlib import Path

from mcp import ClientSession

from pyro_mcp.sdk import Pyro
from tests.faces.test_mcp import call, converse, refused
from tests.support import Installation


def test_a_model_with_the_habits_of_its_host_is_understood(
    installation: Installation, pyro: Pyro, project: Path
) -> None:
    async def story(session: ClientSession) -> None:
        ws = (await call(session, "workspace_create", seed_path=""))["id"]
        written = await call(session, "workspace_file_write", workspace=ws, file_path="src/a.txt", content="x\n")
        assert written["path"] == "/workspace/src/a.txt"
        ran = await call(
            session, "workspace_exec", workspace_id=ws, cmd="pwd", workdir="/workspace/src", description="Where am I"
        )
        assert ran["stdout"] == "/workspace/src\n"
        assert "description was ignored" in ran["hint"]
        ran = await call(session, "workspace_exec", workspace=ws, command='["bash","-lc","echo hi"]', timeout=20000)
        assert ran["stdout"] == "hi\n" and "20 s" in ran["hint"]
        ran = await call(session, "workspace_exec", workspace=ws, command="sleep 30", run_in_background=True)
        assert ran["status"] == "running"
        assert "[unknown_parameter]" in await refused(session, "workspace_exec", workspace=ws, command="id", comand="x")
        assert "[unknown_parameter]" in await refused(session, "vm_run", command="pwd", workdir="/tmp")
        for text in ("a\0b", "caf\0"):
            assert "NUL" in await refused(session, "workspace_create", seed_path=text)
            assert "NUL" in await refused(session, "workspace_export", workspace=ws, path="src", output=text)
            assert "NUL" in await refused(session, "workspace_exec", workspace=ws, command="ls", cwd=text)
        await call(session, "workspace_delete", workspace=ws)

    converse(installation, project, story)
