"""The larger profile through the MCP server: machines as wholes, services, shells, and what the user gave it."""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

import pytest
from mcp import ClientSession

from pyro_mcp.sdk import Pyro
from tests.faces.test_mcp import call, converse, refused
from tests.support import Installation

FULL = ("--profile", "workspace-full", "--network", "egress+published-ports")


def visit(port: int) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        found: bytes = answer.read()
    return found


def test_services_snapshots_forks_and_suspension(installation: Installation, pyro: Pyro, project: Path) -> None:
    async def story(session: ClientSession) -> None:
        ws = (await call(session, "workspace_create", network_policy="egress+published-ports"))["id"]
        started = await call(
            session,
            "service_start",
            workspace=ws,
            name="web",
            command="exec python3 -u -m http.server 8000",
            ready_http="8000/",
            publish=["8000"],
        )
        assert started["state"] == "running"
        assert b"test_calc.py" in visit(started["published_ports"][0]["host_port"])
        await call(session, "snapshot_create", workspace=ws, name="serving")
        await call(session, "workspace_exec", workspace=ws, command="rm -rf src; touch /etc/mark")
        forks = (await call(session, "workspace_fork", workspace=ws, count=2, snapshot="serving"))["workspaces"]
        for fork in forks:
            assert b"src" in visit(fork["published_ports"][0]["host_port"])
            await call(session, "workspace_delete", workspace=fork["id"])
        await call(session, "workspace_reset", workspace=ws, snapshot="serving")
        assert b"src" in visit(started["published_ports"][0]["host_port"])
        names = [s["name"] for s in (await call(session, "snapshot_list", workspace=ws))["snapshots"]]
        assert names == ["baseline", "serving"]
        assert (await call(session, "workspace_stop", workspace=ws))["state"] == "stopped"
        assert "workspace_start" in await refused(session, "workspace_exec", workspace=ws, command="true")
        listed = await call(session, "workspace_disk_list", workspace=ws)
        assert "/workspace/run.sh" in {
            e["path"] if e["path"][0] == "/" else f"/workspace/{e['path']}" for e in listed["entries"]
        }
        assert "def add" in (await call(session, "workspace_disk_read", workspace=ws, path="src/calc.py"))["content"]
        assert (await call(session, "workspace_start", workspace=ws))["services"] == ["web"]
        logs = await call(session, "service_logs", workspace=ws, name="web", grep="GET /")
        assert logs["matches"] >= 1
        assert (await call(session, "service_stop", workspace=ws, name="web"))["state"] == "stopped"
        assert (await call(session, "snapshot_delete", workspace=ws, name="serving"))["deleted"] is True
        said = [event["operation"] for event in (await call(session, "workspace_history", workspace=ws))["events"]]
        assert {"create_workspace", "start_service", "fork_workspace", "reset_workspace", "stop_workspace"} <= set(said)

    converse(installation, project, story, *FULL)


def test_a_shell_is_typed_into_and_read_as_a_person_sees_it(
    installation: Installation, pyro: Pyro, project: Path
) -> None:
    async def story(session: ClientSession) -> None:
        ws = (await call(session, "workspace_create"))["id"]
        shell = (await call(session, "shell_open", workspace=ws))["shell"]
        place = {"workspace": ws, "shell": shell}
        typed = await call(
            session, "shell_write", **place, text="printf '\\033[31mred\\033[0m 10%%\\r50%%\\n'", enter=True
        )
        seen = await call(
            session, "shell_read", **place, cursor=typed.get("cursor", 0), plain=True, wait_for="50%\\s*$"
        )
        assert "50% 10%" in seen["output"] or "50%" in seen["output"].splitlines()[-2]
        assert "\x1b" not in seen["output"]
        await call(session, "shell_write", **place, text="sleep 100", enter=True)
        # Until it is in the foreground, the key would be bash's.
        wait = "until ps axo args | grep -qx 'sleep 100'; do sleep 0.05; done"
        await call(session, "workspace_exec", workspace=ws, command=wait, timeout_seconds=20)
        await call(session, "shell_write", **place, text="\u0003")
        await call(session, "shell_write", **place, text="echo $?", enter=True)
        seen = await call(session, "shell_read", **place, wait_for="^130", plain=True)
        assert "130" in seen["output"]
        assert (await call(session, "shell_close", **place))["status"] != "running"

    converse(installation, project, story, *FULL)


def test_the_users_secrets_serve_and_are_never_seen(
    installation: Installation, pyro: Pyro, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = "tok-" + os.urandom(8).hex()
    (project / "token").write_text(value + "\n")

    async def story(session: ClientSession) -> None:
        created = await call(session, "workspace_create")
        assert created["secrets"] == [{"name": "TOKEN"}]
        ran = await call(
            session, "workspace_exec", workspace=created["id"], command="echo $T ${#T}", secret_env={"T": "TOKEN"}
        )
        assert ran["stdout"] == f"{'*' * len(value)} {len(value)}\n"
        assert "it has: TOKEN" in await refused(
            session, "workspace_exec", workspace=created["id"], command="true", secret_env={"T": "OTHER"}
        )
        assert "no parameter 'secrets'" in await refused(session, "workspace_create", secrets={"A": "bcdefgh"})
        # The file that the value came from is in the project, too: what is read of it is masked.
        read = await call(session, "workspace_file_read", workspace=created["id"], path="token")
        assert value not in read["content"]

    converse(installation, project, story, "--secret-file", f"TOKEN={project / 'token'}")


def test_what_the_user_did_not_allow_is_refused_and_says_how(
    installation: Installation, pyro: Pyro, project: Path
) -> None:
    async def story(session: ClientSession) -> None:
        said = await refused(session, "workspace_create", network_policy="egress+published-ports")
        assert "pyro mcp serve --network egress+published-ports" in said
        ws = (await call(session, "workspace_create", network_policy="egress"))["id"]
        shown = await call(session, "workspace_status", workspace=ws)
        assert shown["allow_domains"] == ["*.example.org"]
        ran = await call(session, "workspace_exec", workspace=ws, command="curl -s http://example.com/")
        assert f"pyro workspace update {ws} --allow-domain example.com" in ran["stdout"]
        assert "no parameter 'allow_domains'" in await refused(
            session, "workspace_update", workspace=ws, allow_domains=["example.com"]
        )

    converse(installation, project, story, "--allow-domain", "*.example.org")
