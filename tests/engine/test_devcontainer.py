"""Workspaces from a project's own devcontainer.json, on real machines: what is followed, and its set-up."""

from __future__ import annotations

import asyncio
import json
import socket
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.sdk import Pyro
from tests.conftest import ENVIRONMENT
from tests.support import Installation

FILE = ".devcontainer/devcontainer.json"


def project(root: Path, text: str | None = None, path: str = FILE, **properties: Any) -> str:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(json.dumps(properties) if text is None else text)
    return str(root)


def test_it_is_followed_untold_and_only_where_no_environment_was_said(
    pyro: Pyro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = project(
        tmp_path / "app",
        """{
            // of a project
            "image": "debian:12",
            "containerEnv": {"TOOL": "saw", "OURS": "${localEnv:HOME:none}"},
            "remoteEnv": {"PATH": "${containerEnv:PATH}:/opt/ours"},
            "hostRequirements": {"cpus": 1, "memory": "1gb"},
            "onCreateCommand": "echo $TOOL > made; id -un; pwd",
            "postCreateCommand": {"a": "echo a >> a", "b": ["touch", "b c"]},
            "postStartCommand": "echo s >> starts", "postAttachCommand": "touch attached",
            "forwardPorts": [3000], "portsAttributes": {"3000": {"label": "web"}},
            "mounts": ["source=/,target=/host,type=bind"], "privileged": true, "runArgs": ["--network=host"],
            "initializeCommand": "touch ran-on-the-host",
        }""",
    )
    monkeypatch.chdir(tmp_path)
    ws = pyro.create_workspace(seed_path=seed, name="dev")
    found = ws.devcontainer
    assert found is not None and found.followed and found.path == FILE and ws.environment == ENVIRONMENT
    assert (found.setup_status, found.setup_exit_code, found.hint) == ("done", 0, "")
    named = {each.partition(":")[0] for each in found.passed_over}
    assert named == {"mounts", "privileged", "runArgs", "initializeCommand", "postAttachCommand"}
    assert any("Not published: forwardPorts 3000 (web)" in note for note in found.notes) and ws.published_ports == []
    assert (ws.mem_mib, ws.network_policy) == (1024, "off")
    log = pyro.logs_workspace(ws.id, handle=found.setup)
    assert "root\n/workspace\n" in log.output and "== postCreateCommand (a): echo a >> a" in log.output
    done = pyro.exec_workspace(ws.id, "cat made a; ls 'b c'; echo $TOOL $OURS $PATH; ls /host ran-on-the-host")
    assert "saw\na\nb c\nsaw none " in done.stdout and done.stdout.endswith(":/opt/ours\n") and done.exit_code != 0
    assert not list(tmp_path.glob("**/ran-on-the-host"))
    # A fork knows how its parent's ended; a reset is the beginning again, set-up and all.
    (fork,) = pyro.fork_workspace(ws.id).workspaces
    assert fork.devcontainer is not None and fork.devcontainer.setup_status == "done"
    assert pyro.exec_workspace(fork.id, "echo $TOOL").stdout == "saw\n"
    pyro.exec_workspace(ws.id, "rm made a; echo more > more")
    pyro.stop_workspace(ws.id)
    woken = pyro.start_workspace(ws.id).devcontainer
    assert woken is not None and woken.setup == found.setup and woken.post_start
    assert pyro.exec_workspace(ws.id, "cat starts; ls attached").stdout == "s\ns\n"
    assert pyro.exec_workspace(fork.id, "cat starts").stdout == "s\n"
    again = pyro.reset_workspace(ws.id).devcontainer
    assert again is not None and again.setup_status == "done" and again.setup != found.setup
    assert pyro.exec_workspace(ws.id, "cat made starts; ls more").stdout == "saw\ns\n"
    plain = pyro.create_workspace("debian:12", seed_path=seed)
    assert plain.devcontainer is None and pyro.exec_workspace(plain.id, "ls made; echo $TOOL").stdout == "\n"
    plain = pyro.create_workspace(seed_path=seed, no_devcontainer=True, vcpu_count=1)
    assert (plain.devcontainer, plain.environment, plain.vcpu_count) == (None, ENVIRONMENT, 1)


def test_a_set_up_that_fails_gives_a_workspace_and_names_its_log(pyro: Pyro, tmp_path: Path) -> None:
    seed = project(tmp_path, onCreateCommand="echo before; exit 3", postCreateCommand="echo after > after")
    ws = pyro.create_workspace(seed_path=seed)
    found = ws.devcontainer
    assert found is not None and (found.setup_status, found.setup_exit_code) == ("failed", 3)
    assert str(found.setup) in found.hint and "network" in found.hint
    log = pyro.logs_workspace(ws.id, handle=found.setup).output
    assert "before\n" in log and "onCreateCommand failed: exit status 3" in log
    assert pyro.exec_workspace(ws.id, "ls after; echo works").stdout == "works\n"
    assert pyro.status_workspace(ws.id).devcontainer == found


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"image": "oci:/etc"}, "file of this computer"),
        ({"image": "docker-archive:/etc/passwd"}, "file of this computer"),
        ({"image": "docker-daemon:x"}, "the Docker daemon"),
        ({"image": "no-such-environment"}, "There is no environment"),
        ({"image": "Bad Name:x"}, "reference"),
        ({"image": "${localEnv:HOME}"}, "not a valid image name"),
        ({"image": 7}, "not an image name"),
        ({"build": {"dockerfile": "Dockerfile"}}, "Dockerfile"),
        ({"dockerComposeFile": "compose.yml", "service": "app"}, "Compose"),
    ],
)
def test_what_cannot_be_followed_gives_the_default_without_a_set_up(
    pyro: Pyro, tmp_path: Path, properties: dict[str, Any], words: str
) -> None:
    ws = pyro.create_workspace(seed_path=project(tmp_path, onCreateCommand="touch made", **properties))
    found = ws.devcontainer
    assert ws.environment == ENVIRONMENT and found is not None and not found.followed and found.setup is None
    assert words in found.notes[0], found.notes
    pyro.delete_workspace(ws.id)


def test_no_registry_hears_of_a_project_that_names_it(pyro: Pyro, tmp_path: Path) -> None:
    """A repository from anywhere must not make this computer speak to a stranger, nor to its own ports."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard: list[object] = []

        def listen() -> None:
            try:
                heard.append(listener.accept())
            except OSError:
                pass

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        name = f"127.0.0.1:{listener.getsockname()[1]}/team/app:1"
        ws = pyro.create_workspace(seed_path=project(tmp_path, image=name))
        assert ws.devcontainer is not None and not ws.devcontainer.followed
        assert any(f"pyro env pull {name}" in note for note in ws.devcontainer.notes), ws.devcontainer.notes
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert heard == []


def test_every_place_it_may_stand_and_an_archive(pyro: Pyro, tmp_path: Path) -> None:
    for place in (".devcontainer.json", ".devcontainer/one/devcontainer.json"):
        ws = pyro.create_workspace(
            seed_path=project(tmp_path / place.replace("/", "-"), path=place, containerEnv={"A": "b"})
        )
        assert ws.devcontainer is not None and ws.devcontainer.path == place
    project(tmp_path / "packed", onCreateCommand="touch made")
    with tarfile.open(tmp_path / "seed.tar", "w") as archive:
        archive.add(tmp_path / "packed", ".")
    ws = pyro.create_workspace(seed_path=str(tmp_path / "seed.tar"))
    assert ws.devcontainer is not None and ws.devcontainer.setup_status == "done"
    pyro.exec_workspace(ws.id, "test -e made")
    (tmp_path / "bad").mkdir()
    ws = pyro.create_workspace(seed_path=project(tmp_path / "bad", text='{\n"image": \n}'))
    assert ws.devcontainer is not None and "line 3" in ws.devcontainer.notes[0]


def test_a_set_up_lives_through_a_killed_daemon_a_fork_and_a_stop(fresh: Installation, tmp_path: Path) -> None:
    seed = project(tmp_path, onCreateCommand="echo waits; until [ -e go ]; do sleep 0.1; done; exit 5")
    with Pyro() as pyro:
        ws = pyro.create_workspace(seed_path=seed, setup_wait_seconds=0)
        assert ws.devcontainer is not None and ws.devcontainer.setup is not None
        handle = ws.devcontainer.setup
        pyro.logs_workspace(ws.id, handle=handle, until="^waits", wait_seconds=30)
    fresh.kill_daemon()
    with Pyro() as pyro:
        found = pyro.status_workspace(ws.id).devcontainer
        assert found is not None and (found.setup, found.setup_status) == (handle, "running")
        (fork,) = pyro.fork_workspace(ws.id).workspaces
        assert fork.devcontainer is not None and fork.devcontainer.setup_status == "running"
        assert fork.devcontainer.setup not in (None, handle)
        pyro.stop_workspace(ws.id)
        pyro.start_workspace(ws.id)
        for each, its in ((ws.id, handle), (fork.id, str(fork.devcontainer.setup))):
            pyro.exec_workspace(each, "touch go")
            assert pyro.logs_workspace(each, handle=its, wait_seconds=45).exit_code == 5
            ended = pyro.status_workspace(each).devcontainer
            assert ended is not None and (ended.setup_status, ended.setup_exit_code) == ("failed", 5)
            pyro.delete_workspace(each)


def test_a_long_set_up_goes_on_behind_the_call(pyro: Pyro, tmp_path: Path) -> None:
    """The call of a chat host answers in time; the set-up is a command like any other, to wait for by its handle."""
    seed = project(
        tmp_path, onCreateCommand="echo step one; mkfifo go; cat go", postCreateCommand="touch done",
        customizations={"pyro": {"network": "egress"}},
    )  # fmt: skip
    said: list[str] = []

    async def story() -> None:
        async with AsyncPyro(face="mcp", on_event=lambda event: said.append(repr(event))) as tools:
            created = await tools.create_workspace(seed_path=seed, setup_wait_seconds=2)
            found = created.devcontainer
            assert found is not None and found.setup is not None and found.setup_status == "running", found
            assert found.setup in found.hint and created.running_commands == [found.setup]
            assert created.network_policy == "off" and any("egress" in note for note in found.notes)
            await tools.exec_workspace(created.id, "echo now > go")
            log = await tools.logs_workspace(created.id, handle=found.setup, wait_seconds=45)
            assert log.exit_code == 0 and "now\n" in log.output
            status = (await tools.status_workspace(created.id)).devcontainer
            assert status is not None and (status.setup_status, status.hint) == ("done", "")

    asyncio.run(story())
    assert any("step one" in text for text in said) and any("its set-up is running" in text for text in said), said
