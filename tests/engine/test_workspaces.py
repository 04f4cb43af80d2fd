"""Workspaces as a whole: seed, identity, reset, isolation, limits."""

from __future__ import annotations

import socket
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, NotFound, PyroError
from pyro_mcp.sdk import Pyro
from tests.support import Installation, wait_until

pytestmark = pytest.mark.as_root


def test_a_git_work_tree_brings_tracked_and_untracked_files_and_its_history(pyro: Pyro, project: Path) -> None:
    created = pyro.create_workspace(seed_path=str(project), name="seeded")
    assert created.seed is not None
    assert created.seed.kind == "git"
    listing = {e.path: e for e in pyro.list_workspace_files("seeded").entries}
    names = {Path(path).name for path in listing}
    assert {"src", "test_calc.py", "run.sh", "link", ".gitignore", "untracked.txt", ".git"} <= names
    assert "ignored.txt" not in names
    link = next(e for e in listing.values() if e.path.endswith("link"))
    assert (link.kind, link.link) == ("symlink", "src/calc.py")
    assert pyro.exec_workspace("seeded", ["./run.sh"]).stdout == "ran\n"
    assert "first" in pyro.exec_workspace("seeded", "git log --oneline").stdout
    assert pyro.exec_workspace("seeded", "git status --porcelain").stdout == "?? untracked.txt\n"


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.zst"])
def test_archives_seed_a_workspace(pyro: Pyro, project: Path, tmp_path: Path, suffix: str) -> None:
    plain = tmp_path / "seed.tar"
    with tarfile.open(plain, "w") as tar:
        tar.add(project / "src", "src")
        tar.add(project / "run.sh", "run.sh")
    archive = tmp_path / f"seed.{suffix}"
    if suffix.endswith("gz"):
        archive.write_bytes(subprocess.run(["gzip", "-c", str(plain)], check=True, stdout=subprocess.PIPE).stdout)
    elif suffix.endswith("zst"):
        subprocess.run(["zstd", "-q", str(plain), "-o", str(archive)], check=True)
    created = pyro.create_workspace(seed_path=str(archive))
    assert created.seed is not None
    assert created.seed.kind == "archive"
    assert pyro.exec_workspace(created.id, "./run.sh && cat src/calc.py").stdout.startswith("ran\ndef add")
    assert pyro.diff_workspace(created.id).files == []


def test_modes_symlinks_empty_directories_and_times_survive_seed_and_export(pyro: Pyro, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "empty").mkdir(parents=True)
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "tool").chmod(0o750)
    (source / "out").symlink_to("/usr/bin/python3")
    (source / "up").symlink_to("../../elsewhere")
    import os

    os.utime(source / "tool", ns=(1_600_000_000_123456789, 1_600_000_000_123456789))
    created = pyro.create_workspace(seed_path=str(source))
    assert pyro.diff_workspace(created.id).files == []
    pyro.export_workspace(created.id, ".", output=str(tmp_path / "back"))
    back = tmp_path / "back"
    assert (back / "tool").stat().st_mode & 0o7777 == 0o750
    assert (back / "tool").stat().st_mtime_ns == 1_600_000_000_123456789
    assert os.readlink(back / "out") == "/usr/bin/python3"
    assert os.readlink(back / "up") == "../../elsewhere"
    assert (back / "empty").is_dir()


def test_reset_brings_back_files_and_ends_processes_under_the_same_id(pyro: Pyro, project: Path) -> None:
    created = pyro.create_workspace(seed_path=str(project), name="again")
    running = pyro.exec_workspace("again", "rm -rf src; touch /etc/changed; sleep 300", wait_seconds=0.5)
    reset = pyro.reset_workspace("again")
    assert reset.id == created.id
    assert reset.running_commands == []
    assert pyro.logs_workspace("again", handle=running.handle).status == "lost"
    result = pyro.exec_workspace("again", "cat src/calc.py; ls /etc/changed; ps axo comm | grep -c sleep")
    assert "def add" in result.stdout
    assert result.stdout.endswith("0\n")
    assert "No such file" in result.stderr


def test_each_workspace_is_its_own_machine_with_its_own_identity(pyro: Pyro) -> None:
    ids = [pyro.create_workspace(name=f"own-{n}").id for n in range(3)]
    machine_ids = {pyro.exec_workspace(i, "cat /etc/machine-id").stdout for i in ids}
    random = {pyro.exec_workspace(i, "head -c 16 /dev/urandom | od -An -tx1").stdout for i in ids}
    names = [pyro.exec_workspace(i, "hostname").stdout.strip() for i in ids]
    assert len(machine_ids) == len(random) == 3
    assert names == ["own-0", "own-1", "own-2"]


def test_twenty_at_once_with_their_own_seeds_do_not_see_each_other(pyro: Pyro, tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"s{n}").mkdir()
        (tmp_path / f"s{n}" / f"mine-{n}.txt").write_text(str(n))

    def create(n: int) -> str:
        created = pyro.create_workspace(seed_path=str(tmp_path / f"s{n}"), mem_mib=256)
        pyro.exec_workspace(created.id, f"(exec -a worker-{n} sleep 300) >/dev/null 2>&1 &")
        return created.id

    with ThreadPoolExecutor(20) as threads:
        ids = list(threads.map(create, range(20)))
    assert len(set(ids)) == 20

    def look(n: int) -> tuple[str, str]:
        return (
            pyro.exec_workspace(ids[n], "ls").stdout,
            pyro.exec_workspace(ids[n], "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep ^worker").stdout,
        )

    with ThreadPoolExecutor(8) as threads:
        seen = list(threads.map(look, range(20)))
    assert seen == [(f"mine-{n}.txt\n", f"worker-{n}\n") for n in range(20)]


def test_network_off_has_no_way_out_and_no_other_interface(pyro: Pyro, workspace: str) -> None:
    result = pyro.exec_workspace(
        workspace, "cat /proc/net/dev | tail -n +3 | cut -d: -f1; curl -sS -m 5 http://1.1.1.1/"
    )
    assert result.stdout.split() == ["lo"]
    assert result.exit_code != 0


def test_limits_are_seen_and_held(pyro: Pyro) -> None:
    small = pyro.create_workspace(vcpu_count=1, mem_mib=256)
    assert pyro.exec_workspace(small.id, "nproc").stdout == "1\n"
    greedy = pyro.exec_workspace(
        small.id, "python3 -c 'b = bytearray(600 << 20); import time; time.sleep(20)'", wait_seconds=40
    )
    assert greedy.exit_code != 0
    # The greedy command paid, not the workspace.
    assert pyro.exec_workspace(small.id, "echo alive").stdout == "alive\n"


def test_names_and_labels_change_and_are_checked(pyro: Pyro, workspace: str) -> None:
    other = pyro.create_workspace(name="taken")
    with pytest.raises(Conflict, match="taken"):
        pyro.update_workspace(workspace, name="taken")
    with pytest.raises(Conflict, match="taken"):
        pyro.create_workspace(name="taken")
    with pytest.raises(InvalidInput):
        pyro.update_workspace(workspace, name="../victim")
    with pytest.raises(InvalidInput):
        pyro.update_workspace(workspace, labels={"bad key": "x"})
    pyro.update_workspace(workspace, name="renamed", labels={"team": "a", "drop": "1"})
    pyro.update_workspace("renamed", clear_labels=["drop"])
    assert pyro.status_workspace("renamed").labels == {"team": "a"}
    assert [w.id for w in pyro.list_workspaces(labels={"team": "a"}).workspaces] == [workspace]
    pyro.exec_workspace(other.id, "true")
    assert pyro.list_workspaces().workspaces[0].id == other.id
    pyro.update_workspace("renamed", clear_name=True)
    assert pyro.status_workspace(workspace).name is None


def test_a_dead_id_and_a_missing_environment_are_clear_errors(pyro: Pyro) -> None:
    with pytest.raises(NotFound, match="ws-00000000"):
        pyro.exec_workspace("ws-00000000", "true")
    with pytest.raises(PyroError, match="debian:1"):  # no image of that name, or no way to a registry
        pyro.create_workspace("debian:99")
    with pytest.raises(NotFound):
        pyro.delete_workspace("../victim")


def test_seeds_that_cannot_be_are_refused_and_nothing_is_made(pyro: Pyro, tmp_path: Path) -> None:
    before = len(pyro.list_workspaces().workspaces)
    a_socket = socket.socket(socket.AF_UNIX)
    a_socket.bind(str(tmp_path / "sock"))
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as tar:
        member = tarfile.TarInfo("../x")
        tar.addfile(member)
    absolute = tmp_path / "absolute.tar"
    with tarfile.open(absolute, "w") as tar:
        tar.addfile(tarfile.TarInfo("/etc/passwd"))
    through = tmp_path / "through.tar"
    with tarfile.open(through, "w") as tar:
        link = tarfile.TarInfo("d")
        link.type, link.linkname = tarfile.SYMTYPE, "/tmp"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("d/planted"))
    for seed in (tmp_path / "sock", tmp_path / "missing", evil, absolute, through):
        with pytest.raises(PyroError) as caught:
            pyro.create_workspace(seed_path=str(seed), name="never")
        assert caught.value.exit_status in (1, 2)
    assert len(pyro.list_workspaces().workspaces) == before
    pyro.create_workspace(name="never")


def test_an_idle_workspace_expires_and_one_in_use_does_not(pyro: Pyro) -> None:
    idle = pyro.create_workspace(ttl_seconds=10)
    busy = pyro.create_workspace(ttl_seconds=10)
    assert pyro.status_workspace(idle.id).expires_at is not None
    pyro.exec_workspace(busy.id, "sleep 30", wait_seconds=0)
    assert pyro.status_workspace(busy.id).expires_at is None
    wait_until(lambda: idle.id not in {w.id for w in pyro.list_workspaces().workspaces}, 25)
    assert pyro.status_workspace(busy.id).state == "running"


def test_packages_can_be_installed_through_the_egress_proxy(pyro: Pyro) -> None:
    created = pyro.create_workspace(network_policy="egress")
    command = (
        "python3 -m venv v && v/bin/pip install -q six==1.16.0 && v/bin/python -c 'import six; print(six.__version__)'"
    )
    handle = pyro.exec_workspace(created.id, command, wait_seconds=0).handle
    wait_until(lambda: pyro.logs_workspace(created.id, handle=handle, wait_seconds=10).status != "running", 60)
    result = pyro.logs_workspace(created.id, handle=handle)
    assert result.output.endswith("1.16.0\n"), result
    refused = pyro.exec_workspace(
        created.id, "curl -sS -m 10 http://127.0.0.1:9/ --noproxy '' ; curl -sS -m 10 -o - http://169.254.169.254/"
    )
    assert "169.254.169.254" in refused.stdout


def test_a_workspace_that_is_being_made_can_be_deleted_and_does_not_come_back(pyro: Pyro, tmp_path: Path) -> None:
    for number in range(4000):
        (tmp_path / "seed" / f"d{number % 20}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "seed" / f"d{number % 20}" / f"f{number}").write_text("x" * 1000)
    with ThreadPoolExecutor(1) as thread:
        making = thread.submit(pyro.create_workspace, seed_path=str(tmp_path / "seed"), name="in-the-making")
        wait_until(lambda: "in-the-making" in {w.name for w in pyro.list_workspaces().workspaces})
        pyro.delete_workspace("in-the-making")
        made = making.result(60).id
    assert made not in {w.id for w in pyro.list_workspaces().workspaces}
    with pytest.raises(NotFound):
        pyro.exec_workspace(made, "true")
    pyro.create_workspace(name="in-the-making")


def test_a_seed_goes_with_the_last_workspace_that_uses_it(fresh: Installation, tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "a").write_text("a\n")
    with Pyro() as pyro:
        first = pyro.create_workspace(seed_path=str(tmp_path / "seed")).id
        second = pyro.create_workspace(seed_path=str(tmp_path / "seed")).id
        fork = pyro.fork_workspace(second).workspaces[0].id
        pyro.push_workspace_sync(second, str(tmp_path / "seed"))
        for each in (first, second):
            pyro.delete_workspace(each)
        pyro.reset_workspace(fork)
        assert pyro.read_workspace_file(fork, "a").content == "a\n"
        pyro.delete_workspace(fork)
        wait_until(lambda: not list(fresh.locations.seeds.iterdir()))
