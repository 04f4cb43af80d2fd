"""A full disk, a read-only one, no descriptors left, a clock that jumps: each said in words, and nothing is lost."""

from __future__ import annotations

import os
import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.sdk import Pyro
from tests.support import SLOWNESS, Installation, leftovers, wait_until

pytestmark = pytest.mark.as_root

SMALL_DISK = 192 * 1024 * 1024


@pytest.fixture
def small(engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation whose state is on a small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("a small disk of its own is a tmpfs, which only root may mount")
    with Installation(engine) as installation:
        state = installation.root / "state"
        state.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", "pyro-test", state], check=True)
        try:
            for key, value in installation.environment.items():
                monkeypatch.setenv(key, value)
            yield installation
            with Pyro() as pyro:
                for workspace in pyro.list_workspaces().workspaces:
                    pyro.delete_workspace(workspace.id)
            installation.stop_daemon()
        finally:
            subprocess.run(["umount", "-l", state], check=True)
    assert not leftovers(installation.root)


def fill(directory: Path) -> Path:
    """Leave not a byte free on the directory's disk."""
    path = directory / "filler"
    with path.open("ab", buffering=0) as out:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    out.write(b"x" * size)
            except OSError:
                pass
    return path


def outcome(call: object, *arguments: object) -> PyroError | None:
    try:
        call(*arguments)  # type: ignore[operator]
    except PyroError as error:
        assert error.kind != "internal" and "bug in pyro" not in str(error), error
        return error
    return None


def test_on_a_full_disk_the_daemon_starts_and_delete_reset_and_prune_work(small: Installation) -> None:
    with Pyro() as pyro:
        kept = pyro.create_workspace(name="kept").id
        pyro.write_workspace_file(kept, "a.txt", "a\n")
        filler = pyro.create_workspace(name="filler").id
        pyro.exec_workspace(filler, "dd if=/dev/zero of=/workspace/big bs=1M 2>&1", timeout_seconds=60)
        fill(small.locations.state)
        for _ in range(3):
            refused = outcome(pyro.exec_workspace, kept, "true")
            assert refused is None or refused.code == "disk_full"
        fill(small.locations.state)  # what was kept in reserve is gone now
        refused = outcome(lambda: pyro.create_snapshot(kept, "s"))
        assert refused is not None and ("full" in str(refused) or "space" in str(refused)), refused
        outcome(lambda: pyro.create_workspace(name="more"))
        small.kill_daemon()
        fill(small.locations.state)
        names = {w.name: w.state for w in pyro.list_workspaces().workspaces}
        assert {"kept", "filler"} <= set(names)
        small.stop_daemon()
        fill(small.locations.state)
        pyro.prune_environments()
        assert pyro.reset_workspace("filler").state == "running"
        fill(small.locations.state)
        (small.locations.state / "filler").unlink()
        assert pyro.read_workspace_file("kept", "a.txt").content == "a\n"
        assert pyro.exec_workspace("filler", "echo on").stdout == "on\n"


def test_on_a_full_disk_a_workspace_can_be_deleted(small: Installation) -> None:
    with Pyro() as pyro:
        pyro.create_workspace(name="filler")
        pyro.exec_workspace("filler", "dd if=/dev/zero of=/workspace/big bs=1M 2>&1", timeout_seconds=60)
        small.stop_daemon()
        (small.locations.reserve).unlink(missing_ok=True)  # used up long ago
        fill(small.locations.state)
        # A full disk without any reserve: the one thing left is to say so.
        refused = outcome(pyro.list_workspaces)
        assert refused is None or refused.code in ("disk_full", "database_unreachable"), refused
        filler = small.locations.state / "filler"
        with filler.open("r+b") as out:
            out.truncate(max(0, filler.stat().st_size - 256 * 1024))
        pyro.delete_workspace("filler")
        assert pyro.list_workspaces().workspaces == []
        filler.unlink()
        wait_until(lambda: small.locations.reserve.exists() or _remade(pyro, small))


def _remade(pyro: Pyro, small: Installation) -> bool:
    pyro.delete_workspace(pyro.create_workspace().id)
    return small.locations.reserve.exists()


def test_saving_an_environment_leaves_the_room_that_everybody_else_needs(
    small: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = small.root / "cache" / "pyro"
    (cache / "environments").mkdir(parents=True)
    staging = small.root / "state" / "staging"
    staging.mkdir()
    (cache / "environments" / "staging").symlink_to(staging)  # on the small disk; all else is the user's
    for own, entries in ((cache, small.locations.cache), (cache / "environments", small.locations.environments)):
        for entry in entries.iterdir():
            if entry.name not in ("environments", "staging"):
                (own / entry.name).symlink_to(entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pyro.exec_workspace(workspace, "head -c 40M /dev/urandom > /opt/large")
        leave(small, 128 * 1024 * 1024)
        # The spool would fit, and what is unpacked of it would take the room of all others.
        refused = outcome(lambda: pyro.save_environment(workspace, "kept-root"))
        assert refused is not None and refused.code == "disk_full", refused
        assert list(staging.iterdir()) == []
        assert pyro.exec_workspace(workspace, "echo on").stdout == "on\n"
        assert "kept-root" not in {e.name for e in pyro.list_environments().environments}
        pyro.delete_workspace(workspace)
        small.stop_daemon()


def leave(small: Installation, free: int) -> None:
    """Leave so many bytes free on the small disk."""
    found = os.statvfs(small.locations.state)
    with (small.locations.state / "filler").open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, max(1, found.f_bavail * found.f_frsize - free))


def test_a_command_outlives_the_disk_that_keeps_its_output(small: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        begun = pyro.exec_workspace(
            workspace, "for i in $(seq 1 30); do echo $i; sleep 0.1; done; exit 7", wait_seconds=0.3
        )
        fill(small.locations.state)
        ended = outcome(lambda: pyro.logs_workspace(workspace, handle=begun.handle, wait_seconds=20))
        assert ended is None
        logs = pyro.logs_workspace(workspace, handle=begun.handle)
        assert (logs.status, logs.exit_code) == ("exited", 7)
        (small.locations.state / "filler").unlink()


def test_on_a_full_disk_no_image_is_begun_and_the_machine_goes_on(small: Installation, engine: str) -> None:
    if engine != "gvisor":
        pytest.skip("the image of a virtual machine was not tried on a full disk")
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pyro.exec_workspace(workspace, "head -c 40000000 /dev/urandom > big; md5sum big > sum")
        leave(small, 12 << 20)  # less than the image, more than the database's own
        for call in (
            lambda: pyro.create_snapshot(workspace, "half"),
            lambda: pyro.fork_workspace(workspace),
            lambda: pyro.stop_workspace(workspace),
        ):
            refused = outcome(call)
            assert refused is not None and refused.code == "disk_full", refused
        assert pyro.exec_workspace(workspace, "md5sum -c sum").stdout == "big: OK\n"
        assert [one.id for one in pyro.list_workspaces().workspaces] == [workspace]
        assert [one.name for one in pyro.list_snapshots(workspace).snapshots] == ["baseline"]
        (small.locations.state / "filler").unlink()


def test_a_read_only_state_directory_is_said_and_nothing_is_lost(small: Installation) -> None:
    state = small.root / "state"
    with Pyro() as pyro:
        pyro.list_workspaces()
        small.stop_daemon()
        subprocess.run(["mount", "-o", "remount,ro", state], check=True)
        try:
            refused = outcome(pyro.list_workspaces)
            assert refused is not None and "read-only" in str(refused), refused
        finally:
            subprocess.run(["mount", "-o", "remount,rw", state], check=True)
        assert pyro.list_workspaces().workspaces == []


def test_out_of_descriptors_changes_nothing_and_passes(fresh: Installation, tmp_path: Path) -> None:
    (tmp_path / "seeded").write_text("seeded\n")
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pid = fresh.daemon_pid()
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))  # what is open stays open
        # The connection is there already; what the call needs besides is not to be had.
        refused = outcome(lambda: pyro.create_workspace(seed_path=str(tmp_path)))
        assert refused is not None and refused.code == "out_of_descriptors", refused
        assert [w.id for w in pyro.list_workspaces().workspaces] == [workspace]
        # Who comes anew makes the daemon take what this user may have.
        with Pyro() as other:
            assert other.exec_workspace(workspace, "echo on").stdout == "on\n"
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == before
        assert fresh.daemon_pid() == pid


def test_a_daemon_without_any_descriptor_says_so_at_once_and_leaves_when_told(fresh: Installation) -> None:
    pyro_command = [sys.executable, "-m", "pyro_mcp"]
    few = f"ulimit -n 400; exec {shlex.join([*pyro_command, 'daemon', 'start'])}"
    subprocess.run(["bash", "-c", few], check=True, capture_output=True)
    pid = fresh.daemon_pid()
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (400, 400)

    def newcomer(_: int) -> PyroError | None:
        with Pyro() as other:
            return outcome(other.list_workspaces)

    with Pyro() as pyro, ExitStack() as held:
        workspace = pyro.create_workspace().id
        for _ in range(400):
            guest = held.enter_context(socket.socket(socket.AF_UNIX))
            guest.connect(str(fresh.locations.socket))
        wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) >= 399)
        begun = time.monotonic()
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(newcomer, range(24)))
        assert [answer.code for answer in answers if answer is not None] == ["out_of_descriptors"] * 24
        assert time.monotonic() - begun < 30 * SLOWNESS
        assert pyro.status_workspace(workspace).state == "running"  # who is in, is served
        held.close()
        wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 200, 60)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(newcomer, range(8))) == [None] * 8
        assert pyro.exec_workspace(workspace, "echo on").stdout == "on\n"
        for _ in range(400):
            guest = held.enter_context(socket.socket(socket.AF_UNIX))
            guest.connect(str(fresh.locations.socket))
        wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) >= 399)
        stopped = subprocess.run([*pyro_command, "daemon", "stop"], capture_output=True, text=True)
        assert stopped.returncode == 0, stopped.stderr
    with Pyro() as pyro:
        assert pyro.exec_workspace(workspace, "echo on").stdout == "on\n"
        assert fresh.daemon_pid() != pid
