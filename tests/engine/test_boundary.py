"""What a guest is shown is read-only on this computer's side, and nothing that it can change is opened here by name."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from pathlib import Path

import pytest

from pyro_mcp.errors import PyroError
from pyro_mcp.machines.processes import with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests.support import Installation

pytestmark = pytest.mark.as_root

SHOWN = ("/pyro/bin", "/pyro/run", "/pyro/seed", "/pyro/seed/tree")
TRICKS = r"""
mkdir -p /tmp/elsewhere
for d in @SHOWN@; do
  [ -d "$d" ] || continue
  f=$(ls -A "$d" | head -1)
  mount -o remount,rw "$d"; mount -o remount,bind,rw "$d"
  if mount --bind "$d" /tmp/elsewhere; then
    mount -o remount,bind,rw /tmp/elsewhere; echo x > /tmp/elsewhere/by-bind; umount /tmp/elsewhere
  fi
  echo x > "$d/written"; mkdir "$d/directory"; mkfifo "$d/fifo"; mknod "$d/device" c 1 3; mknod "$d/disk" b 254 0
  ln -s /etc/passwd "$d/link"; for i in $(seq 60); do ln -s /etc/passwd "$d/partial-$i"; done
  python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1] + "/made.sock")' "$d"
  if [ -n "$f" ]; then
    : > "$d/$f"; cp /bin/sh "$d/$f"; truncate -s 0 "$d/$f"; ln "$d/$f" "$d/hard"; mv "$d/$f" "$d/moved"; rm -rf "$d/$f"
    chmod 6777 "$d/$f"; chown 1234 "$d/$f"; touch -d 2001-01-01 "$d/$f"
    mv -T "$d/$f" "$d/old"; ln -sfT /run/docker.sock "$d/$f"
  fi
  chmod 0777 "$d"; touch -d 2001-01-01 "$d"; rmdir "$d"; mv "$d" "$d.old"
  find "$d" -type f -exec sh -c ': > "$1"' _ {} \; -exec rm -f {} \;
done 2>&1
true
"""


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    tree = tmp_path / "seed"
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_text("seeded\n")
    (tree / "sub" / "deep").write_text("deep\n")
    return tree


def mounts_of(pid: int) -> list[tuple[str, str, str]]:
    """Of each mount: what is shown, where, and the mount's own options (proc(5), mountinfo)."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return [(fields[3], fields[4], fields[5]) for fields in map(str.split, lines)]


def machine_processes(installation: Installation) -> list[int]:
    """Of the machines that are made; one that is being made has mounts that it is about to leave."""
    made = [entry for entry in installation.machines.iterdir() if (entry / "machine.json").exists()]
    return [process.pid for entry in made for process in with_word_in_command_line(f"{entry}/".encode())]


def assert_read_only(installation: Installation) -> None:
    """Every mount of every process in the machines, but for what is not a file of this computer."""
    seen = 0
    for pid in machine_processes(installation):
        try:
            mounts = mounts_of(pid)
        except OSError:
            continue  # it ended
        if any(where.startswith(str(installation.root)) for _, where, _ in mounts):
            continue  # it stands outside of its machine, as the keeper of a jail does
        for shown, where, options in mounts:
            seen += 1
            if where == "/" and Path(shown).name in ("cell", "root") and installation.machines.name in shown:
                continue  # the root that a Firecracker has for itself: its own disk and its sockets
            if where != "/dev/kvm" and not where.startswith("/proc"):
                assert "ro" in options.split(","), f"process {pid} has {shown} at {where} as {options}"
    assert seen


def fingerprint(*roots: Path) -> dict[str, tuple[object, ...]]:
    """All that could be changed of what is shown: names, kinds, modes, owners, sizes, times and link counts."""
    found: dict[str, tuple[object, ...]] = {}
    for root in roots:
        for directory, names, files in os.walk(root):
            for path in [directory, *(os.path.join(directory, name) for name in names + files)]:
                info = os.lstat(path)
                found[path] = (info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns, info.st_nlink, info.st_ino)
    return found


def shared(installation: Installation) -> list[Path]:
    locations = installation.locations
    return [
        locations.agents,
        locations.seeds,
        *(d / "root" for d in locations.environments.glob("*") if len(d.name) == 24),
    ]


def test_every_mount_of_a_machine_is_read_only_on_this_side(installation: Installation, pyro: Pyro, seed: Path) -> None:
    """A seed that arrives late, in a machine that ran already, and one that a restored machine has from the start."""
    late = pyro.create_workspace(seed_path=str(seed)).id
    assert pyro.exec_workspace(late, "cat file").stdout == "seeded\n"
    assert_read_only(installation)
    pyro.create_snapshot(late, "here")
    (copy,) = pyro.fork_workspace(late).workspaces
    pyro.reset_workspace(late, snapshot="here")
    for workspace in (late, copy.id):
        assert pyro.exec_workspace(workspace, "cat file sub/deep").stdout == "seeded\ndeep\n"
    shown = {
        where
        for pid in machine_processes(installation)
        for _, where, _ in mounts_of(pid)
        if where in ("/pyro/seed/tree", "/seed.img")
    }
    assert shown, "no process of a machine is shown the seed"
    assert_read_only(installation)


def test_a_guest_changes_nothing_of_what_it_is_shown(installation: Installation, pyro: Pyro, seed: Path) -> None:
    workspace = pyro.create_workspace(seed_path=str(seed)).id
    before = fingerprint(*shared(installation))
    pyro.exec_workspace(workspace, TRICKS.replace("@SHOWN@", " ".join(SHOWN)), timeout_seconds=60)
    assert fingerprint(*shared(installation)) == before
    for run in installation.machines.glob("*/run"):
        assert {entry.name for entry in run.iterdir()} <= {"agent.sock"}
        assert all(stat.S_ISSOCK(entry.lstat().st_mode) for entry in run.iterdir())
    # Everybody's agent is what it was, and another workspace of the same seed sees the same seed.
    other = pyro.create_workspace(seed_path=str(seed)).id
    assert pyro.exec_workspace(other, "cat file sub/deep").stdout == "seeded\ndeep\n"
    assert pyro.exec_workspace(workspace, "echo lives").stdout == "lives\n"


def test_what_a_guest_makes_at_the_agents_socket_leads_the_daemon_nowhere(fresh: Installation, tmp_path: Path) -> None:
    """Links to a file and to a socket of this computer, at every name that the daemon ever used in there."""
    made, bait = tmp_path / "made", tmp_path / "bait.sock"
    with socket.socket(socket.AF_UNIX) as listener, Pyro() as pyro:
        listener.bind(str(bait))
        listener.listen(8)
        listener.settimeout(0.2)
        workspace = pyro.create_workspace().id
        pyro.exec_workspace(
            workspace,
            f"cd /pyro/run; mv agent.sock old; ln -s {bait} agent.sock; ln -s {bait} control.sock;"
            f" for n in thaw frozen ready partial-1; do ln -s {made} $n; done; true",
        )
        fresh.stop_daemon()
        assert pyro.exec_workspace(workspace, "echo answers").stdout == "answers\n"
        pyro.create_snapshot(workspace, "one")
        pyro.reset_workspace(workspace, snapshot="one")
        assert pyro.exec_workspace(workspace, "echo again").stdout == "again\n"
        with pytest.raises(TimeoutError):
            listener.accept()
    assert not os.path.lexists(made)


def test_many_operations_at_once_each_get_a_connection(pyro: Pyro) -> None:
    """Far more than the agent keeps dialled, all open at the same time: each command is followed on one of its own."""
    workspace = pyro.create_workspace().id
    waiting = "while [ ! -e gate ]; do sleep 0.2; done; echo {}"
    handles = [pyro.exec_workspace(workspace, waiting.format(i), wait_seconds=0).handle for i in range(30)]
    pyro.exec_workspace(workspace, "touch gate")
    for number, handle in enumerate(handles):
        assert pyro.logs_workspace(workspace, handle=handle, wait_seconds=40).output == f"{number}\n"


@pytest.fixture
def own_cache(fresh: Installation, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, to be damaged: only environments and components are the user's."""
    cache = fresh.root / "cache" / "pyro"
    cache.mkdir(parents=True)
    for entry in fresh.locations.cache.iterdir():
        if entry.name in ("environments", "components"):
            (cache / entry.name).symlink_to(entry)
    if (fresh.locations.cache / "firecracker").exists():
        (cache / "firecracker").mkdir()
        for entry in (fresh.locations.cache / "firecracker").iterdir():
            if entry.name != "templates":
                (cache / "firecracker" / entry.name).symlink_to(entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    fresh.environment["XDG_CACHE_HOME"] = str(cache.parent)
    return cache


def test_damaged_agents_templates_and_seeds_are_made_anew(
    fresh: Installation, own_cache: Path, seed: Path, engine: str
) -> None:
    with Pyro() as pyro:
        assert pyro.exec_workspace(pyro.create_workspace(seed_path=str(seed)).id, "cat file").stdout == "seeded\n"
        for workspace in pyro.list_workspaces().workspaces:
            pyro.delete_workspace(workspace.id)
    fresh.stop_daemon()
    templates = own_cache / "firecracker" / "templates" if engine == "firecracker" else own_cache / "templates"
    memory = max((path for path in templates.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    for path in own_cache.glob("agents/*/pyro-agent"):
        os.truncate(path, 0)
    with Pyro() as pyro:
        first = pyro.create_workspace(seed_path=str(seed)).id
        assert pyro.exec_workspace(first, "cat file").stdout == "seeded\n"
        assert all(path.stat().st_size > 1_000_000 for path in own_cache.glob("agents/*/pyro-agent"))
        with memory.open("r+b") as file:  # the daemon runs, and knows this template
            file.seek(memory.stat().st_size // 2)
            file.write(os.urandom(4096))
        (planted,) = fresh.locations.seeds.glob("*/tree/file")
        planted.write_text("planted\n")
        second = pyro.create_workspace(seed_path=str(seed), mem_mib=768).id  # no spare of this shape: a restore
        assert pyro.exec_workspace(second, "cat file").stdout == "seeded\n"
        # While the daemon runs, a record that never ends: refused to those who had it, made anew for others.
        pyro.create_snapshot(second, "kept")
        (record,) = (made / "seed.json" for made in fresh.locations.seeds.glob("*") if ".damaged-" not in made.name)
        record.unlink()
        os.mkfifo(record)
        for call in (
            lambda: pyro.reset_workspace(second),
            lambda: pyro.reset_workspace(second, snapshot="kept"),
            lambda: pyro.fork_workspace(second),
        ):
            with pytest.raises(PyroError) as refused:
                call()
            assert refused.value.code == "seed_damaged", refused.value
        third = pyro.create_workspace(seed_path=str(seed)).id
        assert pyro.exec_workspace(third, "cat file").stdout == "seeded\n"
        assert pyro.reset_workspace(second).state == "running"  # its seed is there again
        assert pyro.exec_workspace(second, "cat file").stdout == "seeded\n"
    fresh.stop_daemon()
    if engine == "gvisor":
        (template, *_) = templates.iterdir()
        shutil.rmtree(template)
        template.write_text("no directory")
    aside = own_cache / "agents.aside"
    (own_cache / "agents").rename(aside)
    (own_cache / "agents").write_text("in the way")
    with Pyro() as pyro:
        with pytest.raises(PyroError) as refused:
            pyro.list_workspaces()
        assert refused.value.code == "in_the_way" and str(own_cache / "agents") in str(refused.value)
        (own_cache / "agents").unlink()
        aside.rename(own_cache / "agents")
        assert pyro.create_workspace(seed_path=str(seed), mem_mib=640).state == "running"
        assert pyro.exec_workspace(second, "cat file").stdout == "seeded\n"


def test_a_snapshot_that_was_changed_on_the_disk_is_refused_by_name(fresh: Installation) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        pyro.exec_workspace(workspace, "echo kept > file")
        pyro.create_snapshot(workspace, "one")
        images = [path for path in fresh.locations.images.rglob("*") if path.is_file()]
        largest = max(images, key=lambda path: path.stat().st_size)
        with largest.open("r+b") as file:
            file.write(b"changed")
        with pytest.raises(PyroError, match="snapshot") as refused:
            pyro.reset_workspace(workspace, snapshot="one")
        assert refused.value.code == "snapshot_damaged"
        assert pyro.exec_workspace(workspace, "cat file").stdout == "kept\n", "the present machine is untouched"
