"""Workspaces on another computer of the user's: reached over a real sshd, with directories of pyro's of its own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import select
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.client import place
from pyro_mcp.errors import Conflict, DaemonUnavailable, InvalidInput
from pyro_mcp.machines.processes import with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests import remote
from tests.faces.test_cli import pyro_command
from tests.remote import Box
from tests.servers import answering
from tests.support import Installation, wait_until


@pytest.fixture
def box(session_installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    with Installation() as here:
        for name, value in here.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PYRO_ENGINE", raising=False)
        with remote.box(tmp_path / "box", session_installation, monkeypatch) as found:
            yield found
        assert not here.running_daemon()  # nothing runs on this computer but the relay, and that has left
        wait_until(lambda: not with_word_in_command_line(os.fsencode(here.root)))


@pytest.fixture
def far(box: Box) -> Iterator[Pyro]:
    with Pyro(on=box.address) as pyro:
        before = {w.id for w in pyro.list_workspaces().workspaces}
        yield pyro
        for workspace in pyro.list_workspaces().workspaces:
            if workspace.id not in before:
                pyro.delete_workspace(workspace.id)


def git(project: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    return subprocess.run(["git", "-C", project, *who, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "project"
    (place / "src").mkdir(parents=True)
    (place / "src" / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    (place / os.fsdecode(b"caf\xe9")).write_bytes(os.urandom(3000))
    (place / "link").symlink_to("src/calc.py")
    (place / "empty").write_text("")
    (place / ".gitignore").write_text("ignored\n")
    (place / "ignored").write_text("not to be seen\n")
    git(place, "init", "-q", "-b", "main")
    git(place, "add", ".")
    git(place, "commit", "-qm", "first")
    (place / "uncommitted").write_text("x\n")
    return place


def test_the_whole_story_from_seed_to_landed_branch(far: Pyro, box: Box, project: Path, tmp_path: Path) -> None:
    ws = far.create_workspace(seed_path=str(project), name="story")
    assert ws.seed is not None and ws.seed.source == str(project) and ws.seed.kind == "git"
    assert ws.seed.commit == git(project, "rev-parse", "HEAD").strip()
    listed = ws.exec("ls -A | sort; git status --short; git log --oneline | wc -l; cat link").stdout
    assert "ignored\n" not in listed.replace(".gitignore\n", "") and "?? uncommitted" in listed, listed
    assert ws.exec("sha256sum caf*").stdout.split()[0] == _sha(project / os.fsdecode(b"caf\xe9"))
    ws.exec("sed -i 's/a - b/a + b/' src/calc.py; mkdir made; printf new > made/new; chmod +x made/new")
    assert "a + b" in ws.diff().patch

    exported = ws.export(path="made", output=str(tmp_path))
    assert exported.output == str(tmp_path / "made") and (tmp_path / "made" / "new").read_text() == "new"
    assert os.access(tmp_path / "made" / "new", os.X_OK)
    with pytest.raises(Conflict, match="already exists"):
        ws.exec("printf newer > made/new")
        ws.export(path="made/new", output=str(tmp_path / "made" / "new"))
    assert (tmp_path / "made" / "new").read_text() == "new"
    again = ws.export(path="made/new", output=str(tmp_path / "made" / "new"), overwrite=True)
    assert again.backup is not None and (tmp_path / "made" / "new").read_text() == "newer"
    assert Path(again.backup).is_relative_to(Path(os.environ["XDG_STATE_HOME"]))
    with pytest.raises(Conflict, match="project"):
        ws.export(path=".", output=str(project))
    patch = ws.export(patch=True, output=str(tmp_path / "a.patch"))
    assert patch.kind == "patch" and "a + b" in (tmp_path / "a.patch").read_text()

    landed = ws.land(branch="pyro/fix", message="Add adds")
    assert landed.repository == str(project) and git(project, "rev-parse", "pyro/fix").strip() == landed.commit
    assert "a + b" in git(project, "show", "pyro/fix:src/calc.py") and "a - b" in (project / "src/calc.py").read_text()
    assert "uncommitted" not in git(project, "ls-tree", "--name-only", "pyro/fix")
    ws.exec("echo more >> made/new")
    assert ws.land(branch="pyro/fix").parent == landed.commit
    assert [e.operation for e in ws.history().events].count("land_workspace") == 2

    # What changed at home comes by a push; the same project again sends only what changed.
    (project / "src" / "calc.py").write_text("changed\n")
    assert ws.push(path=str(project / "src" / "calc.py"), dest="src").source == str(project / "src" / "calc.py")
    assert ws.read("src/calc.py").content == "changed\n"
    second = far.create_workspace(seed_path=str(project))
    assert second.read("src/calc.py").content == "changed\n"


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_ports_that_are_published_there_are_reached_here(far: Pyro, box: Box) -> None:
    ws = far.create_workspace("debian:12", network_policy="egress+published-ports")
    service = ws.start_service(name="web", command="python3 -m http.server 8000", publish=["8000"], ready_tcp=8000)
    port = service.published_ports[0].host_port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        assert b"Directory listing" in answer.read()
    assert far.status_workspace(ws.id).published_ports[0].host_port == port
    listening = _listening()
    assert port in {number for _, number in listening}
    assert {address for address, _ in listening} == {"0100007F"}, "somebody else could reach it"  # 127.0.0.1
    _break(box)

    def reached() -> bool:  # nobody calls, and yet the port leads there again
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            return bool(answer.status == 200)
        return False

    wait_until(reached, 60)
    assert ws.exec("echo still").stdout == "still\n"
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        assert answer.status == 200
    ws.stop_service(name="web")

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    wait_until(refused)


def _listening() -> list[tuple[str, int]]:
    """Address, in hex, and port of each TCP socket on which relays and their connections listen."""
    inodes = set()
    for process in [*with_word_in_command_line(b"ControlPersist=no"), *with_word_in_command_line(b"pyro_mcp.remote")]:
        with contextlib.suppress(OSError):
            inodes |= {os.readlink(file) for file in Path(f"/proc/{process.pid}/fd").iterdir()}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in inodes:
                address, _, number = local.partition(":")
                found.append((address, int(number, 16)))
    return found


def test_a_call_to_a_kept_connection_costs_one_round_trip(box: Box, tmp_path: Path) -> None:
    said: list[str] = []
    port = place.parsed(box.address).port

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """25 ms away, in both directions."""
        there = await asyncio.open_connection("127.0.0.1", port)

        async def passed(source: asyncio.StreamReader, sink: asyncio.StreamWriter, who: str) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    said.append(who)
                    asyncio.get_running_loop().call_later(0.025, sink.write, data)
            sink.close()

        await asyncio.gather(passed(reader, there[1], "here"), passed(there[0], writer, "there"))

    with answering(between) as far_away:
        known = tmp_path / "box" / "known"
        known.write_text(known.read_text() + known.read_text().replace(f":{port} ", f":{far_away} "))
        address = box.address.replace(f":{port}/", f":{far_away}/")
        try:
            with Pyro(on=address) as pyro:
                ws = pyro.create_workspace("debian:12")
                trips = []
                for _ in range(4):
                    said.clear()
                    assert ws.exec("echo x").stdout == "x\n"
                    trips.append([who for who, _ in itertools.groupby(said)].count("here"))
                ws.delete()
        finally:
            remote.stop(address)
    assert min(trips) == 1, trips  # a window may be opened again meanwhile


def test_a_killed_relay_leaves_no_connection_and_the_next_one_takes_its_place(far: Pyro, box: Box) -> None:
    far.list_workspaces()
    [killed] = with_word_in_command_line(b"pyro_mcp.remote\0--on\0" + box.address.encode())
    [before] = _connections()
    descriptor = os.pidfd_open(killed.pid)
    os.kill(killed.pid, signal.SIGKILL)
    assert select.select([descriptor], [], [], 60)[0]
    os.close(descriptor)
    wait_until(lambda: before not in _connections())
    far.list_workspaces()
    assert len(_connections()) == 1


def _connections() -> list[int]:
    found = []
    for process in with_word_in_command_line(os.fsencode(os.environ["XDG_RUNTIME_DIR"])):
        with contextlib.suppress(OSError):
            if b"\0-M\0" in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                found.append(process.pid)
    return found


def _break(box: Box) -> None:
    """The network goes: the connection's process is killed, and nobody says good-bye."""
    for process in with_word_in_command_line(b"ControlPersist=no"):
        with open(f"/proc/{process.pid}/cmdline", "rb") as file:
            if b"\0-M\0" in file.read():
                os.kill(process.pid, signal.SIGKILL)


def test_a_broken_connection_loses_no_command(far: Pyro, box: Box) -> None:
    ws = far.create_workspace("debian:12")
    stream = ws.stream("for i in $(seq 40); do echo $i; sleep 0.1; done; touch done; exit 7")
    got = b""
    for piece in stream:
        got += piece.data
        if got.count(b"\n") == 3:
            _break(box)
    assert got == b"".join(b"%d\n" % i for i in range(1, 41))
    assert stream.result.exit_code == 7 and ws.exec("ls").stdout == "done\n"
    _break(box)
    assert far.list_workspaces().workspaces  # what changes nothing is simply asked again


def test_what_cannot_be_reached_says_why_and_changes_nothing(
    box: Box, session_installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with (
            Pyro(on=f"ssh://127.0.0.1:{nobody.getsockname()[1]}") as pyro,
            pytest.raises(DaemonUnavailable, match=r"cannot be reached.*refused"),
        ):
            pyro.list_workspaces()
    with Pyro(on=box.address + "-not-there") as pyro, pytest.raises(DaemonUnavailable, match="There is no pyro"):
        pyro.list_workspaces()
    program = Path(place.parsed(box.address).program)
    text = program.read_text()
    program.write_text('#!/bin/sh\necho \'{"version": "3.0.0", "protocol": 1, "serves": 1, "socket": "/x"}\'\n')
    with Pyro(on=box.address) as pyro, pytest.raises(DaemonUnavailable, match=r"pyro is 3\.0\.0 on ssh://"):
        pyro.list_workspaces()
    program.write_text(text)
    known = tmp_path / "box" / "known"
    known.write_text("")
    with Pyro(on=box.address) as pyro, pytest.raises(DaemonUnavailable, match="Host key verification failed"):
        pyro.list_workspaces()


def test_contexts_are_kept_and_every_face_uses_them(box: Box, project: Path) -> None:
    added = pyro_command("context", "add", "big", box.address)
    assert added.returncode == 0 and "with pyro" in added.stdout, added.stderr
    assert pyro_command("context", "use", "nowhere").returncode != 0
    assert (
        pyro_command("--on", "big", "workspace", "create", "--seed-path", str(project), "--name", "w").returncode == 0
    )
    assert "* local" in pyro_command("context", "list").stdout  # for one command alone
    assert pyro_command("context", "use", "big").returncode == 0
    ran = pyro_command("exec", "w", "--", "cat", "src/calc.py")
    assert ran.stdout == (project / "src" / "calc.py").read_text(), ran.stderr
    assert "* big" in pyro_command("context", "list").stdout
    with Pyro() as pyro:
        assert [w.name for w in pyro.list_workspaces().workspaces if w.name == "w"] == ["w"]
        pyro.delete_workspace("w")
    assert pyro_command("context", "rm", "big").returncode == 0
    assert "big" not in pyro_command("context", "list").stdout
    assert pyro_command("--on", "big", "list").returncode == 2


@pytest.mark.parametrize(
    "text",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://a b",
        "http://x",
        "ssh://x:0",
        "ssh://x:99999",
        "ssh://u@-x",
        "ssh://x\n",
    ],
)
def test_no_address_becomes_an_option_of_ssh(text: str) -> None:
    with pytest.raises(InvalidInput):
        place.parsed(text)
