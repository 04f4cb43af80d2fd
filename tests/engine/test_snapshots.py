"""The whole machine: snapshots, reset to one, forks, stop and start, the disk of a stopped one, time limits."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, EngineError, HostError, InvalidInput, MachineLost, NotFound, PyroError
from pyro_mcp.machines.pool import SHAPES
from pyro_mcp.machines.processes import kill, with_word_in_command_line
from pyro_mcp.models import NetworkPolicy
from pyro_mcp.sdk import Pyro
from tests.support import Installation, wait_until

COUNTER = """
import os, socket
server, token, count = socket.create_server(("0.0.0.0", 7000)), os.urandom(4).hex(), 0
print("listens", flush=True)
while True:
    connection, _ = server.accept()
    count += 1
    connection.sendall(f"{token} {count}".encode())
    connection.close()
"""
"""A server with a state in memory alone: each connection is told its random token and a number one higher."""
PUBLISHING: NetworkPolicy = "egress+published-ports"


def start_counter(pyro: Pyro, workspace: str) -> str:
    """Start the server as a command; gives its handle."""
    started = pyro.exec_workspace(workspace, ["python3", "-c", COUNTER], wait_seconds=0)
    wait_until(lambda: pyro.logs_workspace(workspace, handle=started.handle).total_bytes > 0)
    return started.handle


def count_inside(pyro: Pyro, workspace: str) -> tuple[str, int]:
    result = pyro.exec_workspace(workspace, "cat < /dev/tcp/127.0.0.1/7000")
    assert result.exit_code == 0, result
    token, number = result.stdout.split()
    return token, int(number)


def count_outside(port: int) -> tuple[str, int]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        token, number = connection.makefile().read().split()
    return token, int(number)


def start_ticking(pyro: Pyro, workspace: str) -> str:
    """A command that prints the numbers from 0 on, each on a line, for ever."""
    script = "import itertools, time\nfor n in itertools.count():\n    print(n, flush=True)\n    time.sleep(0.005)"
    started = pyro.exec_workspace(workspace, ["python3", "-c", script], wait_seconds=0)
    wait_ticks(pyro, workspace, started.handle, 20)
    return started.handle


def ticks(pyro: Pyro, workspace: str, handle: str) -> list[int]:
    text = pyro.logs_workspace(workspace, handle=handle, offset=0, max_output_bytes=1 << 20).output
    return [int(line) for line in text.split("\n")[:-1]]


def wait_ticks(pyro: Pyro, workspace: str, handle: str, more: int) -> None:
    before = len(ticks(pyro, workspace, handle))
    wait_until(lambda: len(ticks(pyro, workspace, handle)) >= before + more)


def open_shell(pyro: Pyro, workspace: str) -> str:
    shell = pyro.open_shell(workspace).shell
    pyro.read_shell(workspace, shell, wait_for="[#$] ", wait_for_idle_ms=0)
    return shell


def images(installation: Installation) -> set[str]:
    """What stands on disk for whole machines, `workspace/image`."""
    root = installation.locations.images
    return {str(path.relative_to(root)) for path in root.glob("*/*")} if root.exists() else set()


def machine_of(installation: Installation, workspace: str) -> Path:
    """The directory of a workspace's machine."""
    with contextlib.closing(sqlite3.connect(f"file:{installation.locations.database}?mode=ro", uri=True)) as database:
        (record,) = database.execute("select record from workspaces where id = ?", [workspace]).fetchone()
    return installation.machines / str(json.loads(record)["machine_id"])


@contextlib.contextmanager
def tiny_disk(installation: Installation, size: str) -> Iterator[None]:
    """Give the running daemon a disk of that size for its images."""
    pid = installation.daemon_pid()
    into = ["nsenter", f"--target={pid}", "--mount"]
    if os.geteuid() != 0:
        into += ["--user", "--preserve-credentials"]
    place = str(installation.locations.images)
    subprocess.run([*into, "mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run([*into, "umount", "--lazy", place], check=True)


# -- snapshots


def test_snapshots_have_names_of_their_own_sizes_and_times(
    pyro: Pyro, installation: Installation, workspace: str
) -> None:
    before = images(installation)
    handle = start_counter(pyro, workspace)
    made = pyro.create_snapshot(workspace, "first")
    assert made.size_bytes > 100_000
    assert made.running == [handle]
    assert made.created_at.tzinfo is not None
    pyro.create_snapshot(workspace, "second")
    listed = pyro.list_snapshots(workspace).snapshots
    assert [s.name for s in listed] == ["baseline", "first", "second"]
    assert listed[1] == made
    assert listed[0].size_bytes == 0
    assert len(images(installation) - before) == 2

    with pytest.raises(Conflict, match="first"):
        pyro.create_snapshot(workspace, "first")
    with pytest.raises(InvalidInput, match="baseline"):
        pyro.create_snapshot(workspace, "baseline")
    with pytest.raises(InvalidInput, match="baseline"):
        pyro.delete_snapshot(workspace, "baseline")
    for bad in ("../x", "", "-x", "x" * 65):
        with pytest.raises(InvalidInput):
            pyro.create_snapshot(workspace, bad)
    for unknown in (
        lambda: pyro.delete_snapshot(workspace, "third"),
        lambda: pyro.reset_workspace(workspace, snapshot="third"),
        lambda: pyro.fork_workspace(workspace, snapshot="third"),
    ):
        with pytest.raises(NotFound, match="baseline, first, second"):
            unknown()

    assert pyro.delete_snapshot(workspace, "first").freed_bytes == made.size_bytes
    assert [s.name for s in pyro.list_snapshots(workspace).snapshots] == ["baseline", "second"]
    assert len(images(installation) - before) == 1
    assert pyro.exec_workspace(workspace, "echo on").stdout == "on\n"
    pyro.delete_workspace(workspace)
    assert images(installation) == before


@pytest.mark.as_root
@pytest.mark.parametrize("seeded", [True, False])
def test_reset_to_a_snapshot_brings_back_the_whole_machine(pyro: Pyro, project: Path, seeded: bool) -> None:
    created = pyro.create_workspace(seed_path=str(project) if seeded else None, name="whole", secrets={"KEY": "hush!"})
    pyro.exec_workspace(
        "whole",
        """set -e
        echo kept > kept.txt; echo etc > /etc/kept; echo tmp > /tmp/kept; echo usr > /usr/local/bin/tool
        chmod 6751 /usr/local/bin/tool; chown 12:34 /etc/kept
        mkdir -p odd/empty; touch odd/none; chmod 000 odd/none; chmod 1777 odd/empty
        ln -s /nowhere/at/all odd/dangling; ln -s ../kept.txt odd/up; ln kept.txt odd/hard; mkfifo odd/fifo
        touch -d '2001-02-03 04:05:06' "odd/blank and
        newline"
        rm -f run.sh; mkdir -p src; echo 'changed = 1' > src/calc.py""",
    )
    state = (
        "stat -c '%n %f %u %g %s %h %Y' odd odd/* kept.txt /etc/kept /tmp/kept /usr/local/bin/tool src/calc.py; "
        "readlink odd/dangling odd/up; cat kept.txt /etc/kept /tmp/kept src/calc.py; ls -A; hostname; "
        "cat /etc/machine-id"
    )
    before = pyro.exec_workspace("whole", state)
    diff = pyro.diff_workspace("whole")
    assert ("run.sh" in {f.path for f in diff.files}) == seeded
    start_counter(pyro, "whole")
    counted = count_inside(pyro, "whole")
    pyro.create_snapshot("whole", "point")
    # It runs on, and the snapshot does not change with it.
    assert count_inside(pyro, "whole") == (counted[0], counted[1] + 1)
    for _ in range(2):
        pyro.exec_workspace(
            "whole", "rm -rf odd kept.txt src /tmp/kept /etc/kept /usr/local/bin/tool; echo x > late; pkill python3"
        )
        reset = pyro.reset_workspace("whole", snapshot="point")
        assert (reset.id, reset.name, reset.state) == (created.id, "whole", "running")
        after = pyro.exec_workspace("whole", state)
        assert (after.stdout, after.stderr) == (before.stdout, before.stderr)
        assert count_inside(pyro, "whole") == (counted[0], counted[1] + 1)
        assert pyro.diff_workspace("whole") == diff
    shown = pyro.exec_workspace("whole", 'echo ${#V} "$V"', secret_env={"V": "KEY"})
    assert shown.stdout == "5 *****\n"
    pyro.reset_workspace("whole")
    assert pyro.diff_workspace("whole").files == []
    assert [s.name for s in pyro.list_snapshots("whole").snapshots] == ["baseline", "point"]
    pyro.reset_workspace("whole", snapshot="point")
    assert count_inside(pyro, "whole") == (counted[0], counted[1] + 1)
    assert pyro.reset_workspace("whole", snapshot="baseline").running_commands == []


def test_a_service_answers_on_its_port_after_a_reset_to_a_snapshot(pyro: Pyro) -> None:
    workspace = pyro.create_workspace(network_policy=PUBLISHING).id
    service = pyro.start_service(workspace, "web", ["python3", "-c", COUNTER], ready_tcp=7000, publish=["7000"])
    port = service.published_ports[0].host_port
    counted = count_outside(port)
    pyro.create_snapshot(workspace, "up")
    assert count_outside(port) == (counted[0], counted[1] + 1)
    pyro.start_service(workspace, "late", "exec sleep 300")
    pyro.reset_workspace(workspace, snapshot="up")
    assert count_outside(port) == (counted[0], counted[1] + 1)
    states = {s.name: s.state for s in pyro.list_services(workspace).services}
    assert states == {"web": "running", "late": "stopped"}
    # Also when it was stopped meanwhile, or gone with a reset to the baseline.
    pyro.stop_service(workspace, "web")
    pyro.reset_workspace(workspace, snapshot="up")
    assert count_outside(port) == (counted[0], counted[1] + 1)
    pyro.reset_workspace(workspace)
    assert pyro.status_service(workspace, "web").state == "stopped"
    with pytest.raises(OSError):
        count_outside(port)
    pyro.reset_workspace(workspace, snapshot="up")
    assert pyro.status_workspace(workspace).published_ports == service.published_ports
    assert count_outside(port) == (counted[0], counted[1] + 1)


def test_commands_of_a_snapshot_run_again_and_later_ones_are_lost(pyro: Pyro, workspace: str) -> None:
    early = start_ticking(pyro, workspace)
    waits = pyro.exec_workspace(workspace, "until test -e go; do sleep 0.02; done; echo went", wait_seconds=0).handle
    before_snapshot = len(ticks(pyro, workspace, early))
    pyro.create_snapshot(workspace, "point")
    wait_ticks(pyro, workspace, early, 20)
    late = pyro.exec_workspace(workspace, "sleep 300", wait_seconds=0).handle
    pyro.exec_workspace(workspace, "touch go")
    assert pyro.logs_workspace(workspace, handle=waits, wait_seconds=20).status == "exited"
    total = pyro.logs_workspace(workspace, handle=early).total_bytes

    reset = pyro.reset_workspace(workspace, snapshot="point")
    assert set(reset.running_commands) == {early, waits}
    assert pyro.logs_workspace(workspace, handle=late).status == "lost"
    assert pyro.logs_workspace(workspace, handle=early).total_bytes >= total
    wait_ticks(pyro, workspace, early, 20)
    numbers = ticks(pyro, workspace, early)
    # One step back, to the moment of the snapshot; no number is missing or torn.
    steps = [b - a for a, b in pairwise(numbers)]
    back = [step for step in steps if step != 1]
    assert len(back) == 1, back
    assert back[0] <= 0
    assert numbers[steps.index(back[0]) + 1] >= before_snapshot
    pyro.exec_workspace(workspace, "touch go")
    went = pyro.logs_workspace(workspace, handle=waits, wait_seconds=20)
    assert (went.status, went.exit_code, went.output) == ("exited", 0, "went\nwent\n")
    assert pyro.cancel_workspace_exec(workspace, early).status in ("cancelled", "exited")


def test_shells_of_a_snapshot_work_after_the_reset(pyro: Pyro, workspace: str) -> None:
    shell = open_shell(pyro, workspace)
    pyro.write_shell(workspace, shell, "cd /tmp; word=remembered", enter=True)
    pyro.read_shell(workspace, shell, wait_for_idle_ms=100)
    pyro.create_snapshot(workspace, "typed")
    pyro.write_shell(workspace, shell, "word=other; cd /", enter=True)
    late = pyro.open_shell(workspace).shell
    pyro.reset_workspace(workspace, snapshot="typed")
    written = pyro.write_shell(workspace, shell, "echo said: $word $PWD", enter=True)
    shown = pyro.read_shell(workspace, shell, cursor=written.cursor, wait_for="said: rem.*tmp", plain=True)
    assert "said: remembered /tmp" in shown.output
    with pytest.raises(Conflict, match="lost"):
        pyro.write_shell(workspace, late, "x")


@pytest.mark.as_root
def test_a_snapshot_that_fails_leaves_the_machine_running_and_nothing_behind(
    pyro: Pyro, installation: Installation, workspace: str
) -> None:
    handle = start_counter(pyro, workspace)
    counted = count_inside(pyro, workspace)
    before = images(installation)
    in_the_way = installation.locations.images / workspace
    in_the_way.write_text("")
    for attempt in (
        lambda: pyro.create_snapshot(workspace, "x"),
        lambda: pyro.fork_workspace(workspace),
        lambda: pyro.stop_workspace(workspace),
    ):
        with pytest.raises(EngineError, match="could not be written"):
            attempt()
    in_the_way.unlink()
    with tiny_disk(installation, "1m"):
        for attempt in (lambda: pyro.create_snapshot(workspace, "x"), lambda: pyro.stop_workspace(workspace)):
            with pytest.raises(HostError, match="full"):
                attempt()
            assert [str(p) for p in installation.locations.images.glob("*/*")] == []
    status = pyro.status_workspace(workspace)
    assert (status.state, status.running_commands) == ("running", [handle])
    assert [s.name for s in pyro.list_snapshots(workspace).snapshots] == ["baseline"]
    assert images(installation) == before
    assert count_inside(pyro, workspace) == (counted[0], counted[1] + 1)
    pyro.create_snapshot(workspace, "x")
    pyro.reset_workspace(workspace, snapshot="x")
    assert count_inside(pyro, workspace) == (counted[0], counted[1] + 2)


@pytest.mark.as_root
@pytest.mark.parametrize("damage", ["removed", "cut", "partly removed"])
def test_a_restore_that_fails_leaves_the_workspace_as_it_was(
    pyro: Pyro, installation: Installation, damage: str
) -> None:
    workspace = pyro.create_workspace(name="whole").id
    handle = start_counter(pyro, workspace)
    pyro.create_snapshot(workspace, "lost")
    counted = count_inside(pyro, workspace)
    (image,) = (installation.locations.images / workspace).iterdir()
    if damage == "removed":
        shutil.rmtree(image)
    else:
        for file in image.glob("*.img"):
            if damage == "cut":
                os.truncate(file, file.stat().st_size // 2)
            else:
                file.unlink()
    for attempt in (
        lambda: pyro.reset_workspace(workspace, snapshot="lost"),
        lambda: pyro.fork_workspace(workspace, snapshot="lost", count=2),
    ):
        with pytest.raises(EngineError) as caught:
            attempt()
        assert len(str(caught.value)) > 30
    status = pyro.status_workspace(workspace)
    assert (status.state, status.running_commands) == ("running", [handle])
    assert count_inside(pyro, workspace) == (counted[0], counted[1] + 1)
    assert [w.name for w in pyro.list_workspaces().workspaces if w.forked_from == workspace] == []
    pyro.delete_snapshot(workspace, "lost")
    wait_until(lambda: len(list(installation.machines.iterdir())) <= len(pyro.list_workspaces().workspaces) + SHAPES)


# -- fork


@pytest.mark.as_root
def test_forks_of_the_present_are_independent_siblings(pyro: Pyro, project: Path) -> None:
    parent = pyro.create_workspace(
        seed_path=str(project), name="parent", labels={"team": "a"}, secrets={"KEY": "hush!"}
    ).id
    pyro.exec_workspace("parent", "echo mine > shared; rm run.sh; echo etc > /etc/mark")
    start_counter(pyro, "parent")
    counted = count_inside(pyro, "parent")
    diff = pyro.diff_workspace("parent")
    forks = pyro.fork_workspace("parent", count=3).workspaces
    assert [f.name for f in forks] == ["parent-1", "parent-2", "parent-3"]
    assert len({parent, *(f.id for f in forks)}) == 4
    for fork in forks:
        assert (fork.forked_from, fork.labels, fork.state) == (parent, {"team": "a"}, "running")
        assert [s.name for s in fork.secrets] == ["KEY"]
        assert len(fork.running_commands) == 1
        assert fork.running_commands[0].startswith(fork.id.removeprefix("ws-"))
        assert pyro.logs_workspace(fork.id, handle=fork.running_commands[0]).output == "listens\n"
        assert count_inside(pyro, fork.id) == (counted[0], counted[1] + 1)
        shown = pyro.diff_workspace(fork.id)
        assert (shown.files, shown.patch) == (diff.files, diff.patch)
        assert pyro.exec_workspace(fork.id, "cat /etc/mark", secret_env={"V": "KEY"}).stdout == "etc\n"
        assert pyro.exec_workspace(fork.id, 'echo "$V"', secret_env={"V": "KEY"}).stdout == "*****\n"
        events = pyro.history_workspace(fork.id).events
        assert any(e.operation == "fork_workspace" and "parent" in e.summary for e in events)
        assert not any(e.operation == "create_workspace" for e in events)
    ids = [parent, *(f.id for f in forks)]
    for look in ("cat /etc/machine-id", "head -c 16 /dev/urandom | od -An -tx1", "hostname"):
        assert len({pyro.exec_workspace(i, look).stdout for i in ids}) == 4, look
    assert pyro.exec_workspace("parent-2", "hostname").stdout == "parent-2\n"
    assert any(e.operation == "fork_workspace" for e in pyro.history_workspace(parent).events)

    # Independent in files and processes.
    pyro.exec_workspace("parent-1", "echo other > shared; pkill python3")
    assert pyro.exec_workspace("parent", "cat shared").stdout == "mine\n"
    assert pyro.exec_workspace("parent-2", "cat shared").stdout == "mine\n"
    assert count_inside(pyro, "parent-2") == (counted[0], counted[1] + 2)
    assert count_inside(pyro, "parent") == (counted[0], counted[1] + 1)
    # A fork has snapshots and a baseline, and lives without its parent.
    pyro.create_snapshot("parent-2", "own")
    pyro.delete_workspace("parent")
    pyro.exec_workspace("parent-2", "rm shared; pkill python3")
    pyro.reset_workspace("parent-2", snapshot="own")
    assert count_inside(pyro, "parent-2") == (counted[0], counted[1] + 3)
    pyro.reset_workspace("parent-3")
    assert pyro.diff_workspace("parent-3").files == []
    assert pyro.exec_workspace("parent-3", "./run.sh").stdout == "ran\n"
    # Numbers that are free again are used again, and a fork's fork counts on in the same row.
    pyro.delete_workspace("parent-1")
    assert [w.name for w in pyro.fork_workspace("parent-2", count=2).workspaces] == ["parent-1", "parent-4"]


def test_a_fork_of_a_run_is_a_workspace_of_its_own_and_has_no_notes_of_its_parent(pyro: Pyro) -> None:
    begun = pyro.run_in_vm("debian:12", "sleep 600", wait_seconds=0)
    pyro.note_workspace(begun.workspace, "for whoever works in the run")
    fork = pyro.fork_workspace(begun.workspace).workspaces[0].id
    assert {begun.workspace, fork} <= {w.id for w in pyro.list_workspaces().workspaces}
    assert pyro.note_workspace(fork, "for whoever works in the fork").waiting == 1
    pyro.write_workspace_file(fork, "made", "x")
    assert pyro.rewind_workspace(fork).checkpoints[0].paths == ["made"]


def test_forks_of_a_snapshot_and_of_a_stopped_workspace(pyro: Pyro, workspace: str) -> None:
    ticking = start_ticking(pyro, workspace)
    pyro.exec_workspace(workspace, "echo one > mark")
    start_counter(pyro, workspace)
    counted = count_inside(pyro, workspace)
    pyro.create_snapshot(workspace, "one")
    pyro.exec_workspace(workspace, "echo two > mark")
    assert count_inside(pyro, workspace)[1] == counted[1] + 1
    wait_ticks(pyro, workspace, ticking, 20)
    with pytest.raises(InvalidInput, match="baseline"):
        pyro.fork_workspace(workspace, snapshot="baseline")
    old = pyro.fork_workspace(workspace, snapshot="one").workspaces[0]
    assert old.name == f"{workspace}-1"
    assert pyro.exec_workspace(old.id, "cat mark").stdout == "one\n"
    assert count_inside(pyro, old.id) == (counted[0], counted[1] + 1)
    # Its log is that of the snapshot, going on: nothing of what the parent printed since.
    theirs = old.running_commands[0]
    wait_ticks(pyro, old.id, theirs, 20)
    numbers = ticks(pyro, old.id, theirs)
    assert numbers == list(range(len(numbers)))
    pyro.stop_workspace(workspace)
    copies = pyro.fork_workspace(workspace, count=2).workspaces
    for copy in copies:
        assert copy.state == "running"
        assert pyro.exec_workspace(copy.id, "cat mark").stdout == "two\n"
        assert count_inside(pyro, copy.id) == (counted[0], counted[1] + 2)
        wait_ticks(pyro, copy.id, copy.running_commands[0], 20)
        numbers = ticks(pyro, copy.id, copy.running_commands[0])
        assert numbers == list(range(len(numbers)))
    assert pyro.status_workspace(workspace).state == "stopped"
    assert pyro.fork_workspace(workspace, snapshot="one").workspaces[0].state == "running"
    pyro.start_workspace(workspace)
    assert count_inside(pyro, workspace) == (counted[0], counted[1] + 2)


def test_published_ports_of_forks_are_others_and_all_answer(pyro: Pyro) -> None:
    parent = pyro.create_workspace(network_policy=PUBLISHING, name="ports").id
    service = pyro.start_service(parent, "web", ["python3", "-c", COUNTER], ready_tcp=7000, publish=["7000"])
    port = service.published_ports[0].host_port
    token, number = count_outside(port)
    forks = pyro.fork_workspace(parent, count=2).workspaces
    ports = [port, *(f.published_ports[0].host_port for f in forks)]
    assert len(set(ports)) == 3
    assert [count_outside(p) for p in ports] == [(token, number + 1)] * 3
    pyro.create_snapshot(forks[0].id, "up")
    pyro.stop_service(parent, "web")
    pyro.reset_workspace(forks[0].id, snapshot="up")
    assert count_outside(ports[1]) == (token, number + 2)
    assert pyro.status_service(forks[1].id, "web").state == "running"
    assert [p.problem for f in forks for p in pyro.status_workspace(f.id).published_ports] == ["", ""]


def test_a_fork_makes_all_or_nothing(pyro: Pyro, installation: Installation, workspace: str) -> None:
    pyro.update_workspace(workspace, name="whole")
    pyro.create_snapshot(workspace, "point")
    before = {w.id for w in pyro.list_workspaces().workspaces}
    for count in (0, 17):
        with pytest.raises(InvalidInput):
            pyro.fork_workspace(workspace, count=count)
    # While the forks are made, the image goes away.
    (image,) = (installation.locations.images / workspace).iterdir()
    caught: list[BaseException] = []

    def work() -> None:
        with Pyro() as other:
            try:
                other.fork_workspace(workspace, count=8, snapshot="point")
            except PyroError as error:
                caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(
        lambda: any(w.forked_from == workspace and w.state == "running" for w in pyro.list_workspaces().workspaces)
    )
    shutil.rmtree(image)
    thread.join(60)
    assert isinstance(caught[0], EngineError)
    assert {w.id for w in pyro.list_workspaces().workspaces} == before
    # Their names are free again.
    assert pyro.fork_workspace(workspace).workspaces[0].name == "whole-1"


# -- stop and start


@pytest.mark.as_root
def test_a_stopped_workspace_uses_no_memory_and_goes_on_where_it_was(
    pyro: Pyro, installation: Installation, project: Path
) -> None:
    workspace = pyro.create_workspace(seed_path=str(project), network_policy=PUBLISHING, secrets={"KEY": "hush!"}).id
    service = pyro.start_service(workspace, "web", ["python3", "-c", COUNTER], ready_tcp=7000, publish=["7000"])
    port = service.published_ports[0].host_port
    counted = count_outside(port)
    handle = start_ticking(pyro, workspace)
    shell = open_shell(pyro, workspace)
    pyro.write_shell(workspace, shell, "word=remembered", enter=True)
    pyro.read_shell(workspace, shell, wait_for_idle_ms=100)
    pyro.exec_workspace(workspace, "echo etc > /etc/mark; rm run.sh")
    machine = machine_of(installation, workspace)
    stopped = pyro.stop_workspace(workspace)
    assert stopped.state == "stopped"
    assert pyro.stop_workspace(workspace).state == "stopped"
    wait_until(lambda: not machine.exists())
    assert with_word_in_command_line(os.fsencode(f"{machine}/")) == []
    assert pyro.logs_workspace(workspace, handle=handle).status == "suspended"
    assert pyro.status_service(workspace, "web").state == "suspended"
    with pytest.raises(OSError):
        count_outside(port)
    for attempt in (
        lambda: pyro.exec_workspace(workspace, "true"),
        lambda: pyro.read_workspace_file(workspace, "link"),
        lambda: pyro.write_workspace_file(workspace, "x", "x"),
        lambda: pyro.list_workspace_files(workspace),
        lambda: pyro.diff_workspace(workspace),
        lambda: pyro.create_snapshot(workspace, "x"),
        lambda: pyro.open_shell(workspace),
        lambda: pyro.push_workspace_sync(workspace, str(project)),
        lambda: pyro.apply_workspace_patch(workspace, "--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+x\n"),
        lambda: pyro.cancel_workspace_exec(workspace, handle),
    ):
        with pytest.raises(Conflict) as caught:
            attempt()
        assert "start" in str(caught.value).lower(), caught.value

    installation.kill_daemon()
    assert pyro.status_workspace(workspace).state == "stopped"
    assert pyro.logs_workspace(workspace, handle=handle).status == "suspended"
    started = pyro.start_workspace(workspace)
    assert started.state == "running"
    assert handle in started.running_commands
    assert pyro.start_workspace(workspace).state == "running"
    assert count_outside(port) == (counted[0], counted[1] + 1)
    assert pyro.status_service(workspace, "web").state == "running"
    wait_ticks(pyro, workspace, handle, 20)
    numbers = ticks(pyro, workspace, handle)
    assert numbers == list(range(len(numbers)))
    written = pyro.write_shell(workspace, shell, "echo said: $word", enter=True)
    shown = pyro.read_shell(workspace, shell, cursor=written.cursor, wait_for="said: rem", plain=True)
    assert "said: remembered" in shown.output
    assert pyro.exec_workspace(workspace, "cat /etc/mark").stdout == "etc\n"
    assert pyro.exec_workspace(workspace, 'echo "$V"', secret_env={"V": "KEY"}).stdout == "*****\n"
    assert {f.path for f in pyro.diff_workspace(workspace).files} == {"run.sh"}
    assert not [image for image in images(installation) if image.startswith(workspace)]


def test_stopped_workspaces_are_deleted_and_reset(pyro: Pyro, installation: Installation) -> None:
    workspace = pyro.create_workspace().id
    pyro.exec_workspace(workspace, "echo a > mark")
    pyro.create_snapshot(workspace, "a")
    pyro.exec_workspace(workspace, "echo b > mark")
    handle = pyro.exec_workspace(workspace, "sleep 300", wait_seconds=0).handle
    pyro.stop_workspace(workspace)
    assert len([i for i in images(installation) if i.startswith(workspace)]) == 2
    assert pyro.reset_workspace(workspace, snapshot="a").state == "running"
    assert pyro.exec_workspace(workspace, "cat mark").stdout == "a\n"
    assert pyro.logs_workspace(workspace, handle=handle).status == "lost"
    pyro.stop_workspace(workspace)
    assert pyro.reset_workspace(workspace).state == "running"
    assert pyro.exec_workspace(workspace, "ls -A").stdout == ""
    wait_until(lambda: len([i for i in images(installation) if i.startswith(workspace)]) == 1)
    pyro.stop_workspace(workspace)
    pyro.delete_workspace(workspace)
    assert not [i for i in images(installation) if i.startswith(workspace)]
    with pytest.raises(NotFound):
        pyro.start_workspace(workspace)


def test_a_start_that_fails_leaves_the_workspace_stopped(pyro: Pyro, installation: Installation) -> None:
    workspace = pyro.create_workspace().id
    pyro.create_snapshot(workspace, "point")
    handle = pyro.exec_workspace(workspace, "sleep 300", wait_seconds=0).handle
    pyro.stop_workspace(workspace)
    (image,) = (installation.locations.images / workspace).glob(".stopped*")
    image.rename(image.with_name("elsewhere"))
    with pytest.raises(EngineError, match="incomplete"):
        pyro.start_workspace(workspace)
    with pytest.raises(EngineError, match="incomplete"):
        pyro.list_workspace_disk(workspace)
    assert pyro.status_workspace(workspace).state == "stopped"
    image.with_name("elsewhere").rename(image)
    assert pyro.start_workspace(workspace).running_commands == [handle]


@pytest.mark.as_root
def test_the_disk_of_a_stopped_workspace_is_read_and_not_changed(
    pyro: Pyro, installation: Installation, project: Path, tmp_path: Path
) -> None:
    workspace = pyro.create_workspace(seed_path=str(project), secrets={"KEY": "hush!"}).id
    pyro.exec_workspace(workspace, "echo new > new.txt; chmod 640 new.txt; printf 'a hush! b' > told; mkdir empty")
    listing = pyro.list_workspace_files(workspace, recursive=True, limit=20000)
    read = pyro.read_workspace_file(workspace, "src/calc.py")
    pyro.export_workspace(workspace, ".", output=str(tmp_path / "live"))
    for attempt in (
        lambda: pyro.list_workspace_disk(workspace),
        lambda: pyro.read_workspace_disk(workspace, "new.txt"),
        lambda: pyro.export_workspace_disk(workspace, ".", output=str(tmp_path / "never")),
    ):
        with pytest.raises(Conflict, match="not stopped"):
            attempt()
    assert not (tmp_path / "never").exists()
    pyro.stop_workspace(workspace)
    stood = images(installation)
    assert pyro.list_workspace_disk(workspace, recursive=True, limit=20000).entries == listing.entries
    offline = pyro.read_workspace_disk(workspace, "src/calc.py")
    assert (offline.content, offline.size, offline.mode) == (read.content, read.size, read.mode)
    assert pyro.read_workspace_disk(workspace, "told").content == "a ***** b"
    pyro.export_workspace_disk(workspace, ".", output=str(tmp_path / "cold"))
    subprocess.run(
        ["diff", "-r", "--no-dereference", str(tmp_path / "live"), str(tmp_path / "cold")], check=True, timeout=30
    )
    modes = [
        [(str(p.relative_to(root)), p.lstat().st_mode, p.lstat().st_mtime_ns) for p in sorted(root.rglob("*"))]
        for root in (tmp_path / "live", tmp_path / "cold")
    ]
    assert modes[0] == modes[1]
    with pytest.raises(Conflict, match="exists"):
        pyro.export_workspace_disk(workspace, "told", output=str(tmp_path / "live" / "new.txt"))
    for outside in ("/etc/passwd", "../etc/passwd"):
        with pytest.raises(InvalidInput):
            pyro.read_workspace_disk(workspace, outside)
    with pytest.raises(NotFound):
        pyro.read_workspace_disk(workspace, "none")
    assert pyro.status_workspace(workspace).state == "stopped"
    assert images(installation) == stood
    pyro.start_workspace(workspace)
    assert pyro.list_workspace_files(workspace, recursive=True, limit=20000).entries == listing.entries


def test_a_lost_machine_is_neither_snapshotted_nor_stopped_and_comes_back_from_a_snapshot(
    pyro: Pyro, installation: Installation, workspace: str
) -> None:
    start_counter(pyro, workspace)
    counted = count_inside(pyro, workspace)
    pyro.create_snapshot(workspace, "point")
    for process in with_word_in_command_line(os.fsencode(f"{machine_of(installation, workspace)}/")):
        kill(process)
    wait_until(lambda: pyro.status_workspace(workspace).state == "lost")
    for attempt in (
        lambda: pyro.create_snapshot(workspace, "x"),
        lambda: pyro.fork_workspace(workspace),
        lambda: pyro.stop_workspace(workspace),
        lambda: pyro.start_workspace(workspace),
    ):
        with pytest.raises(MachineLost):
            attempt()
    assert count_inside(pyro, pyro.fork_workspace(workspace, snapshot="point").workspaces[0].id)[0] == counted[0]
    assert pyro.reset_workspace(workspace, snapshot="point").state == "running"
    assert count_inside(pyro, workspace) == (counted[0], counted[1] + 1)


def test_a_workspace_that_is_deleted_meanwhile_does_not_come_back(pyro: Pyro) -> None:
    for operation in ("reset_workspace", "stop_workspace", "start_workspace"):
        workspace = pyro.create_workspace().id
        if operation == "start_workspace":
            pyro.stop_workspace(workspace)
        told: list[str] = []

        def work(operation: str = operation, workspace: str = workspace, told: list[str] = told) -> None:
            with Pyro() as other:
                for _ in range(3):
                    try:
                        getattr(other, operation)(workspace)
                    except PyroError as error:
                        told.append(type(error).__name__)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        pyro.delete_workspace(workspace)
        for thread in threads:
            thread.join(60)
        assert set(told) == {"NotFound"}
        assert workspace not in {w.id for w in pyro.list_workspaces().workspaces}


# -- time limits


def test_workspaces_expire_when_unused_or_old_and_say_so(pyro: Pyro) -> None:
    idle = pyro.create_workspace(name="idle").id
    stopped = pyro.create_workspace().id
    busy = pyro.create_workspace().id
    spared = pyro.create_workspace().id
    old = pyro.create_workspace(lifetime_seconds=10).id
    pyro.stop_workspace(stopped)
    pyro.exec_workspace(busy, "sleep 60", wait_seconds=0)
    for workspace in (idle, stopped, busy, spared):
        pyro.update_workspace(workspace, ttl_seconds=10)
    status = pyro.status_workspace(idle)
    assert status.expires_at is not None
    left = status.expires_at - status.last_activity_at
    assert left.total_seconds() == 10
    assert status.expires_because == "unused for 10 s"
    assert pyro.status_workspace(busy).expires_at is None
    assert pyro.status_workspace(old).expires_because == "lifetime of 10 s"
    pyro.update_workspace(spared, ttl_seconds=3600)
    later = pyro.status_workspace(spared).expires_at
    assert later is not None
    assert later > status.expires_at
    with pytest.raises(InvalidInput):
        pyro.update_workspace(spared, ttl_seconds=9)

    wait_until(lambda: not {idle, stopped, old} & {w.id for w in pyro.list_workspaces().workspaces}, 25)
    assert {busy, spared} <= {w.id for w in pyro.list_workspaces().workspaces}
    for name, cause in ((idle, "unused for 10 s"), ("idle", "unused for 10 s"), (old, "lifetime of 10 s")):
        with pytest.raises(NotFound, match=re.escape(cause)) as caught:
            pyro.exec_workspace(name, "true")
        assert "expired" in str(caught.value)
    assert pyro.exec_workspace(spared, "echo on").stdout == "on\n"
    assert pyro.update_workspace(spared, clear_ttl=True).expires_at is None
