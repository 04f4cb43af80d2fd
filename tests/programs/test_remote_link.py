"""What another computer says is hostile input, and its connection leaves nothing behind. ssh is a script here."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from pyro_mcp import ownership
from pyro_mcp.cli.app import run
from pyro_mcp.client.place import Address
from pyro_mcp.errors import Conflict, DaemonUnavailable, EngineError, InvalidInput, NotPermitted
from pyro_mcp.exports.backups import Backups
from pyro_mcp.locations import Locations
from pyro_mcp.remote import relay
from pyro_mcp.remote import ssh as ssh_module
from pyro_mcp.remote.carried import Carried
from pyro_mcp.remote.link import answered, checked
from pyro_mcp.remote.ports import Ports, published
from pyro_mcp.remote.sent import Sent
from pyro_mcp.remote.ssh import MAX_SAID, Ssh, private_directory
from pyro_mcp.remote.trees import Rooms, Sender, Tree, Turn
from pyro_mcp.seeds import sources
from pyro_mcp.seeds.store import SeedStore

ADDRESS = Address(host="box")


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Ssh]:
    """A connection whose ssh is a shell script; `$1` tells what it is asked to be."""

    def made(script: str) -> Ssh:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        program = programs / "ssh"
        program.write_text(f"#!/bin/sh\ncd {tmp_path}\n{textwrap.dedent(script)}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        return Ssh(ADDRESS, tmp_path)

    return made


# -- the connection


def test_a_connection_that_complains_of_its_channels_does_not_stand_still(
    scripted: Callable[[str], Ssh], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "said")
    ssh = scripted("echo ready; head -c 1000000 /dev/zero | tr '\\0' x >&2; echo all > said; exec sleep 1000")

    async def run() -> None:
        await ssh.connect()
        async with asyncio.timeout(60):
            assert await asyncio.to_thread((tmp_path / "said").read_text) == "all\n"
        await ssh.close()

    asyncio.run(run())


def test_a_connection_ends_with_the_process_that_holds_it_however_that_ends(
    scripted: Callable[[str], Ssh], tmp_path: Path
) -> None:
    scripted("echo ready; echo $$ > pid; exec sleep 1000")
    script = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from pyro_mcp.client.place import Address
    from pyro_mcp.remote.ssh import Ssh
    async def run():
        await Ssh(Address(host="box"), Path(sys.argv[1])).connect()
        while not Path(sys.argv[1], "pid").read_text():
            pass
        print(flush=True)
        await asyncio.sleep(1000)
    asyncio.run(run())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"\n"
        descriptor = os.pidfd_open(int((tmp_path / "pid").read_text()))
        holder.kill()
    assert select.select([descriptor], [], [], 60)[0], "the connection lives on"
    os.close(descriptor)


def test_a_login_that_is_given_up_leaves_no_connection(scripted: Callable[[str], Ssh]) -> None:
    ssh = scripted("exec sleep 1000")

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ssh.connect()
        assert not ssh.connected

    asyncio.run(run())


def test_an_answer_without_end_is_not_held(scripted: Callable[[str], Ssh]) -> None:
    ssh = scripted("exec yes")
    with pytest.raises(DaemonUnavailable, match="more than"):
        asyncio.run(ssh.run("hello"))
    ssh = scripted(f"exec head -c {MAX_SAID - 10} /dev/zero")
    assert len(asyncio.run(ssh.run("hello"))) == MAX_SAID - 10


def test_a_greeting_of_the_shell_is_passed_over_and_nonsense_is_said_to_be_it() -> None:
    assert answered(b'Welcome to box\n{"version": "1"}\n') == {"version": "1"}
    ssh = Ssh(ADDRESS, Path("/nowhere"))
    for said in (b"", b"Welcome\n", b"[" * 100_000, b"7\n", b"null"):
        with pytest.raises(DaemonUnavailable, match="not this pyro"):
            checked(ssh, answered(said))


def test_a_directory_too_long_for_ssh_s_socket_says_so(tmp_path: Path) -> None:
    longest = tmp_path / ("x" * (107 - len(str(tmp_path)) - len("/") - len("/ctl.") - 16))
    assert private_directory(longest).is_dir()
    with pytest.raises(NotPermitted, match="too long"):
        private_directory(longest.with_name(longest.name + "x"))


# -- ports


class _Forwarding(Ssh):
    def __init__(self) -> None:
        super().__init__(ADDRESS, Path("/nowhere"))
        self.up: list[str] = []

    async def forward(self, what: str, *, cancel: bool = False) -> bool:
        (self.up.remove if cancel else self.up.append)(what)
        return True


def _port(number: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "host_port": number, "guest_port": 80}


@pytest.mark.parametrize("number", ["22", "x", None, True, 0, -1, 70_000, 1 << 70, 1.5])
def test_what_is_no_port_leads_nowhere(tmp_path: Path, number: Any) -> None:
    ssh = _Forwarding()
    record = {"labels": _port(number)}
    assert asyncio.run(Ports(ssh, tmp_path / "ports").localised(record)) == record
    assert not ssh.up and published(record) == set()


def test_a_port_of_the_system_is_not_taken_here(tmp_path: Path) -> None:
    ssh = _Forwarding()
    found = asyncio.run(Ports(ssh, tmp_path / "ports").localised(_port(81)))
    assert found["host_port"] >= 1024 and ssh.up == [f"127.0.0.1:{found['host_port']}:127.0.0.1:81"]


def test_a_port_published_meanwhile_is_not_dropped(tmp_path: Path) -> None:
    ssh = _Forwarding()
    ports = Ports(ssh, tmp_path / "ports")

    async def run() -> None:
        await ports.localised(_port(40_001))
        known = ports.known()
        listed: set[int] = set()  # by now nothing is published; then something is
        await ports.localised(_port(40_002))
        await ports.drop(known - listed)

    asyncio.run(run())
    assert [what.rpartition(":")[2] for what in ssh.up] == ["40002"] and ports


# -- files


def _carried(tmp_path: Path) -> tuple[Carried, Sent]:
    ssh, sent = Ssh(ADDRESS, tmp_path), Sent(tmp_path / "sent.json")
    sender = Sender(ssh, SeedStore(tmp_path / "seeds"), tmp_path / "lists", sent)
    return Carried(sender, Rooms(ssh, tmp_path / "brought"), Backups(tmp_path / "backups")), sent


async def _silent(text: str, fraction: float | None) -> None:
    pass


def _landing(tmp_path: Path, told: Any, *entries: Any, **arguments: Any) -> dict[str, Any]:
    async def lines(name: str, given: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for entry in entries:
            yield {"event": {"type": "entry", **entry}}
        yield {"result": told}

    async def ask(name: str, given: dict[str, Any]) -> dict[str, Any]:
        raise DaemonUnavailable("The connection broke.", code="daemon_went_away")

    asked = {"workspace": "ws-00000000", "branch": "fix", **arguments}
    return asyncio.run(_carried(tmp_path)[0].land_workspace(ask, _silent, asked, lines))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = tmp_path / "repository"
    git = ["git", "-C", str(place), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "init", "-q", "-b", "main", place], check=True)
    (place / "a").write_text("1\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    return place


def _told(repository: Path, **more: Any) -> dict[str, Any]:
    seed = {"source": str(repository), "kind": "git", "prefix": ".git", **more}
    return {"workspace": "ws-00000000", "name": None, "seed": seed, "landed": []}


def _new(path: str) -> dict[str, Any]:
    content = base64.b64encode(b"2\n").decode()
    return {"path": path, "old": None, "new": {"kind": "file", "content": content, "mode": 0o644, "withheld": ""}}


def test_a_landing_goes_only_where_something_was_sent_from(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(InvalidInput, match="not sent there from this computer"):
        _landing(tmp_path, _told(repository), _new("b"))
    _carried(tmp_path)[1].note(str(repository), "0" * 64, "")
    with pytest.raises(InvalidInput):
        _landing(tmp_path, _told(repository), _new("../b"))
    landed = _landing(tmp_path, _told(repository, commit="--output=/tmp/x"), _new("b"))  # the other side went away
    shown = subprocess.run(
        ["git", "-C", repository, "ls-tree", "-r", "--name-only", "fix"], check=True, capture_output=True, text=True
    )
    assert landed["created"] and shown.stdout == "a\nb\n"  # below what was sent, whatever prefix is told


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "b"},
        {"path": "b", "old": 7, "new": None},
        {"path": "b", "old": None, "new": {"kind": "device", "content": "", "mode": 0, "withheld": ""}},
        {"path": "b", "old": None, "new": {"kind": "file", "content": "?", "mode": 0, "withheld": ""}},
        {"path": "b", "old": None, "new": {"kind": "file", "content": "", "mode": "0", "withheld": ""}},
    ],
)
def test_a_change_that_is_none_lands_nothing(tmp_path: Path, repository: Path, entry: Any) -> None:
    with pytest.raises(EngineError, match="nothing was landed"):
        _landing(tmp_path, _told(repository), entry, repo=str(repository))


def test_what_is_told_of_a_landing_is_checked(tmp_path: Path, repository: Path) -> None:
    bad: tuple[Any, ...] = (None, [], {}, {**_told(repository), "seed": 7})
    for told in bad:
        with pytest.raises(EngineError, match="nothing was landed"):
            _landing(tmp_path, told)


def _export(tmp_path: Path, fill: Callable[[Path], None], status: Any, **arguments: Any) -> dict[str, Any]:
    class Given(Rooms):
        @asynccontextmanager
        async def room(self) -> AsyncIterator[str]:
            yield "/far/out-1"

        @asynccontextmanager
        async def brought(self, room: str) -> AsyncIterator[Path]:
            tree = tmp_path / "brought" / "tree"
            tree.mkdir(parents=True)
            fill(tree)
            yield tree

    async def ask(name: str, given: dict[str, Any]) -> dict[str, Any]:
        return cast(dict[str, Any], status) if name == "status_workspace" else {"kind": "directory"}

    ssh = Ssh(ADDRESS, tmp_path)
    sender = Sender(ssh, SeedStore(tmp_path / "seeds"), tmp_path / "lists", Sent(tmp_path / "sent.json"))
    carried = Carried(sender, Given(ssh, tmp_path), Backups(tmp_path / "backups"))
    return asyncio.run(carried.export_workspace(ask, _silent, {"workspace": "w", **arguments}))


@pytest.mark.parametrize("told", ["../../up", "/etc/x", "", None, "ws-0000000\n"])
def test_a_workspace_s_name_leads_no_export_astray(tmp_path: Path, told: Any) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(EngineError, match="nothing was exported"):
        _export(tmp_path, lambda tree: None, {"id": told}, output=str(tmp_path / "a" / "b"))


def test_what_would_run_programs_here_is_left_out_though_the_other_computer_sent_it(tmp_path: Path) -> None:
    def fill(tree: Path) -> None:
        (tree / "src" / ".git" / "hooks").mkdir(parents=True)
        (tree / "src" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        (tree / "src" / "x").write_text("x")

    out = tmp_path / "out"
    out.mkdir()
    _export(tmp_path, fill, {"id": "ws-00000000"}, path="src", output=str(out))
    assert sorted(p.name for p in (out / "src").iterdir()) == ["x"]


def test_a_patch_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="did not arrive"):
        _export(
            tmp_path,
            lambda tree: (tree / "ws-00000000.patch").symlink_to("/etc/passwd"),
            {"id": "ws-00000000"},
            patch=True,
            output=str(tmp_path / "a.patch"),
        )


def test_copies_of_what_was_sent_do_not_pile_up(tmp_path: Path) -> None:
    ssh, sent, seeds = Ssh(ADDRESS, tmp_path), Sent(tmp_path / "sent.json"), SeedStore(tmp_path / "seeds")
    sender = Sender(ssh, seeds, tmp_path / "lists", sent)
    project = tmp_path / "project"
    project.mkdir()

    async def run() -> None:
        for number in range(3):
            (project / "f").write_text(str(number))
            async with sender.copied(sources.scan_source(str(project), False), {}) as tree:
                assert (tree.top / "f").read_text() == str(number)

    asyncio.run(run())
    assert len([place for place in (tmp_path / "seeds").iterdir() if len(place.name) == 64]) == 1
    assert Sent(tmp_path / "sent.json").prefix(str(project)) == ""
    assert Sent(tmp_path / "sent.json").prefix(str(tmp_path)) is None


def test_those_that_want_the_same_of_a_mirror_hold_it_together() -> None:
    async def run() -> list[str]:
        turn, done = Turn(), list[str]()
        both, go = asyncio.Barrier(2), asyncio.Event()

        async def same(name: str) -> None:
            async with turn.held("a"):
                await both.wait()
                await go.wait()
                done.append(name)

        async def other() -> None:
            async with turn.held("b"):
                done.append("other")

        first, second = asyncio.create_task(same("first")), asyncio.create_task(same("second"))
        await asyncio.sleep(0)
        third = asyncio.create_task(other())
        await asyncio.sleep(0)
        assert turn.must_wait("b") and not turn.must_wait("a")
        go.set()
        async with asyncio.timeout(30):
            await asyncio.gather(first, second, third)
        return done

    assert asyncio.run(run())[-1] == "other"


def test_a_call_that_is_given_up_ends_what_it_sends(scripted: Callable[[str], Ssh], tmp_path: Path) -> None:
    ssh = scripted("echo $$ >> pids; exec sleep 1000")
    sender = Sender(ssh, SeedStore(tmp_path / "seeds"), tmp_path / "lists", Sent(tmp_path / "sent.json"))

    async def run() -> None:
        tree = Tree("t", "0" * 64, tmp_path, {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await sender.bring(tree, lambda done, whole: None)

    asyncio.run(run())
    for pid in (tmp_path / "pids").read_text().split():
        assert not Path(f"/proc/{pid}").exists()


# -- the relay


def test_one_relay_owns_a_state_whatever_its_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PATIENCE_SECONDS", 0.3)
    locations = Locations(tmp_path / "run", tmp_path / "state", tmp_path / "cache", on="ssh://box")
    locations.prepare()
    held = ownership.own(locations.ownership, 1)
    ready, told = os.pipe()
    try:
        assert relay.run(locations, told) == Conflict("").exit_status
        assert json.loads(os.read(ready, 65536))["code"] == "daemon_runs"
    finally:
        for descriptor in (held, ready):  # the relay has closed the other end, once it told
            os.close(descriptor)


# -- what is about this computer alone


def test_doctor_does_not_speak_of_this_computer_where_another_one_is_meant(
    scripted: Callable[[str], Ssh], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted("echo no route to host >&2; exit 255")
    monkeypatch.setenv("PYRO_ON", "")
    with tempfile.TemporaryDirectory(dir="/tmp") as home:  # short: sockets stand in it
        monkeypatch.setenv("PYRO_HOME", home)
        assert run(["--on", "ssh://box", "doctor"]) != 0
    said = capsys.readouterr()
    assert "no route to host" in said.err and not said.out


def test_an_endpoint_on_loopback_is_not_looked_for_on_another_computer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYRO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYRO_ON", "")
    words = ["agent", "opencode", "--prompt", "x", "--api-url", "http://127.0.0.1:11434/v1"]
    assert run(["--on", "ssh://nowhere.invalid", *words]) == 2
    assert "loopback" in capsys.readouterr().err


def test_a_connection_that_stands_still_is_not_waited_for(
    scripted: Callable[[str], Ssh], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_module, "FORWARD_SECONDS", 0.2)
    still = scripted("exec sleep 1000")
    assert not asyncio.run(still.forward("127.0.0.1:1:127.0.0.1:1"))
