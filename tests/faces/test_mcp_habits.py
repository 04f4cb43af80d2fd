"""Habits of models against the real server: the command runs as meant, where it was meant."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from mcp import ClientSession
from mcp_types import ImageContent, TextContent

from pyro_mcp.sdk import Pyro
from tests.faces.test_mcp import call, converse, refused
from tests.support import Installation
from tests.unit.test_reading import png


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
        given = {"workspace": ws, "command": "echo up; sleep 30", "run_in_background": "true", "until": "^up$"}
        assert (await call(session, "workspace_exec", **given))["reached"] is True
        ran = await call(
            session, "workspace_exec", name=ws, command=["echo $A$B"], env=["A=1", "B=2"], cwd="", tty=None
        )
        assert ran["stdout"] == "12\n"
        edits = '[{"oldString": "x", "newString": "y", "description": "why"}]'
        assert (await call(session, "workspace_edit", workspace=ws, filePath="src/a.txt", edits=edits))[
            "replacements"
        ] == 1
        found = await call(session, "workspace_search", workspace=ws, query="Y", include="*.txt", **{"-i": True})
        assert found["content"] == "src/a.txt:1:y"
        await call(session, "workspace_edit", workspace=ws, path="src/a.txt", old="y", new="x", instruction="back")
        await call(session, "workspace_exec", workspace=ws, command="cd src && export A=1", session="s")
        ran = await call(session, "workspace_exec", workspace=ws, command="pwd; echo $A; touch b", session="s")
        assert (ran["stdout"], ran["changed"]) == ("/workspace/src\n1\n", ["src/b"])
        await call(session, "workspace_exec", workspace=ws, command="rm b", session="s")
        assert "[unknown_parameter]" in await refused(session, "workspace_exec", workspace=ws, command="id", comand="x")
        assert "[unknown_parameter]" in await refused(session, "vm_run", command="pwd", workdir="/tmp")
        for text in ("a\0b", "caf\0"):
            assert "NUL" in await refused(session, "workspace_create", seed_path=text)
            assert "NUL" in await refused(session, "workspace_export", workspace=ws, path="src", output=text)
            assert "NUL" in await refused(session, "workspace_exec", workspace=ws, command="ls", cwd=text)
        for lost in ({"append": True}, {"overwrite": False}):
            said = await refused(session, "workspace_file_write", workspace=ws, path="src/a.txt", text="", **lost)
            assert "[unknown_parameter]" in said and "Omit" not in said
        assert "shell" in await refused(session, "workspace_exec", workspace=ws, command=["cd", "src"])
        said = await refused(session, "workspace_edit", workspace=ws, path="src/a.txt", old_string="x")
        assert said.startswith("new_string is missing")
        await call(
            session, "workspace_exec", workspace=ws, command="cd src && chmod 640 a.txt && ln -s a.txt l && ln -s new n"
        )
        linked = {"workspace": ws, "path": "src/l", "text": "x\n"}
        assert (await call(session, "workspace_file_write", **linked))["mode"] == "0640"
        assert (await call(session, "workspace_file_write", executable=True, **linked))["mode"] == "0751"
        assert (await call(session, "workspace_file_write", **linked | {"path": "src/n"}))["mode"] == "0644"
        await call(session, "workspace_exec", workspace=ws, command="cd src && rm l n new && chmod 644 a.txt")
        many = "".join(f'"{n}"\\\n' for n in range(1, 4000))
        await call(session, "workspace_file_write", workspace=ws, path="many", content=many)
        shown = await session.call_tool("workspace_file_read", {"workspace": ws, "file_path": "many", "offset": 3000})
        assert isinstance(shown.content[0], TextContent)
        text = shown.content[0].text
        assert shown.structured_content == json.loads(text)
        assert len(text) < 12_000 and json.loads(text)["content"].startswith('"3000"\\\n"3001"')
        view = await call(session, "workspace_file_read", workspace=ws, path="many", view_range=[2, 3])
        assert view["content"] == '"2"\\\n"3"\\\n'
        both = await call(session, "workspace_file_read", workspace=ws, path=["src/a.txt", "src"])
        assert [file["content"] for file in both["files"]] == ["x\n", "a.txt\n"]
        picture = base64.b64encode(png(3, 4)).decode()
        await call(session, "workspace_exec", workspace=ws, command=f"echo {picture} | base64 -d > p.png")
        shown = await session.call_tool("workspace_file_read", {"workspace": ws, "path": "p.png"})
        assert shown.structured_content is None and not shown.is_error
        assert isinstance(shown.content[0], TextContent) and isinstance(shown.content[1], ImageContent)
        assert json.loads(shown.content[0].text)["width"] == 3
        assert shown.content[1].mime_type == "image/png"
        assert shown.content[1].data == picture
        await call(session, "workspace_exec", workspace=ws, command="head -c 40 p.png > cut.png")
        assert "damaged" in await refused(session, "workspace_file_read", workspace=ws, path="cut.png")
        await call(session, "workspace_delete", workspace=ws)

    converse(installation, project, story)
