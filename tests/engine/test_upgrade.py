"""After an upgrade calls work: the newer client has the older daemon hand over, and nothing is claimed that is not so.

The release before is built from this repository's history: commit f04db00, schema 3, protocol 1, an agent that listens.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyro_mcp import version
from pyro_mcp.client import wire
from pyro_mcp.environments import catalog
from pyro_mcp.errors import Conflict, PyroError
from pyro_mcp.sdk import Pyro
from pyro_mcp.store.schema import SCHEMA_VERSION
from tests.support import Installation, slowness, wait_until

BEFORE = "f04db00"
ROOT = Path(__file__).parents[2]
OLD_WORK = """
import json, sys
from pyro_mcp.sdk import Pyro
pyro = Pyro()
made = pyro.create_workspace(seed_path=sys.argv[1], name="old", labels={"k": "v"})
pyro.exec_workspace(made.id, "echo kept; touch /workspace/new")
pyro.create_snapshot(made.id, "snap")
stopped = pyro.create_workspace(name="asleep")
pyro.stop_workspace(stopped.id)
begun = pyro.exec_workspace(made.id, "for i in $(seq 1 600); do echo $i; sleep 0.1; done", wait_seconds=0.2)
print(json.dumps({"workspace": made.id, "handle": begun.handle}))
"""


@pytest.fixture(scope="session")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree of the release before, with its agent."""
    place = tmp_path_factory.mktemp("before")
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE, "src", "agent"], capture_output=True)
    if archive.returncode != 0:
        pytest.skip(f"commit {BEFORE} is not in this clone's history: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)
    # The same environments, or each release would build its own again, over that of the other.
    shutil.copy(str(catalog.__file__), place / "src" / "pyro_mcp" / "environments" / "catalog.py")
    agent = place / "src" / "pyro_mcp" / "_bin" / "pyro-agent"
    agent.parent.mkdir()
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(agent), "."]
    built = subprocess.run(
        [str(ROOT / "scripts" / "go"), "build", *flags],
        cwd=place / "agent",
        env={**os.environ, "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return place / "src"


@pytest.fixture
def seed(tmp_path: Path) -> str:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "mark").write_text("seeded\n")
    return str(tmp_path / "seed")


@pytest.mark.as_root
def test_machines_of_the_release_before_are_accounted_for(fresh: Installation, release_before: Path, seed: str) -> None:
    cache = fresh.root / "cache"
    as_it_was(fresh.locations.environments, cache / "pyro" / "environments")
    for entry in fresh.locations.cache.iterdir():
        if entry.name not in ("environments", "agents", "templates"):
            (cache / "pyro" / entry.name).symlink_to(entry)
    environment = {**os.environ, "PYTHONPATH": str(release_before), "PYRO_ENGINE": "gvisor"}
    environment["XDG_CACHE_HOME"] = str(cache)
    said = subprocess.run(
        [sys.executable, "-c", OLD_WORK, seed], env=environment, capture_output=True, text=True, timeout=120, cwd="/"
    )
    assert said.returncode == 0, said.stderr
    accounted_for(fresh, json.loads(said.stdout))


def test_what_the_release_before_left_on_disk_is_accounted_for(
    fresh: Installation, engine: str, seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without the history of this repository: records and a database brought back to what it wrote."""
    if engine != "gvisor":
        pytest.skip("the release before had its agent's channel in gVisor's records only")
    monkeypatch.setattr(sys, "argv", ["", seed])
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(OLD_WORK, {})
    old = json.loads(said.getvalue())
    with Pyro() as pyro:
        wait_until(lambda: pyro.logs_workspace("old", handle=old["handle"]).output.startswith("1\n2\n"))
    fresh.stop_daemon()
    for record in fresh.machines.glob("*/machine.json"):
        kept = json.loads(record.read_text())
        assert kept.pop("channel") == "dials"
        record.write_text(json.dumps(kept))
    for agent in fresh.locations.images.rglob("agent"):
        agent.write_text(agent.read_text().partition(" ")[0])
        agent.with_name("whole.json").unlink()
    with contextlib.closing(sqlite3.connect(fresh.locations.database)) as db:
        db.executescript(
            "DROP INDEX events_changed; ALTER TABLE events DROP COLUMN change; PRAGMA user_version = 2; VACUUM;"
        )
    accounted_for(fresh, old)
    with contextlib.closing(sqlite3.connect(fresh.locations.database)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("SELECT COUNT(*) FROM events WHERE change = 0").fetchone() == (0,)


def as_it_was(environments: Path, before: Path) -> None:
    """The default environment with the record that the release before knew; it would build its own again, else."""
    digest = json.loads((environments / "names" / f"{catalog.DEFAULT}.json").read_text())["digest"]
    manifest = json.loads((environments / digest / "manifest.json").read_text())
    known = ("name", "digest", "recipe", "created_at", "size_bytes", "contents")
    (before / "names").mkdir(parents=True)
    (before / digest).mkdir()
    (before / "names" / f"{catalog.DEFAULT}.json").write_text(json.dumps({"digest": digest}))
    (before / digest / "manifest.json").write_text(json.dumps({name: manifest[name] for name in known}))
    (before / digest / "root").symlink_to(environments / digest / "root")


def accounted_for(fresh: Installation, old: dict[str, str]) -> None:
    """What `OLD_WORK` made is there, is said to be lost where it is, and comes back where it can."""
    before = fresh.running_daemon()
    with Pyro() as pyro:
        listed = {w.name: w for w in pyro.list_workspaces().workspaces}
        assert fresh.daemon_pid() not in before
        assert set(listed) == {"old", "asleep"}
        lost = listed["old"]
        assert lost.id == old["workspace"] and lost.labels == {"k": "v"}
        assert lost.state == "lost" and lost.cause
        assert "earlier" in lost.cause or "older" in lost.cause
        # What was printed is there, the events are there, and no command is said to run.
        logs = pyro.logs_workspace("old", handle=old["handle"])
        assert logs.status == "lost" and logs.output.startswith("1\n2\n")
        assert any(e.operation == "exec_workspace" for e in pyro.history_workspace("old").events)
        with pytest.raises(PyroError) as refused:
            pyro.reset_workspace("old", snapshot="snap")
        assert "bug in pyro" not in str(refused.value)
        with pytest.raises(PyroError) as refused:
            pyro.start_workspace("asleep")
        assert "bug in pyro" not in str(refused.value)
        assert pyro.reset_workspace("old").state == "running"
        assert pyro.exec_workspace("old", "cat mark").stdout == "seeded\n"
        assert pyro.reset_workspace("asleep").state == "running"


@pytest.mark.as_root
def test_an_older_daemon_hands_over_and_running_commands_keep_their_handles(
    fresh: Installation, seed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace(seed_path=seed).id
        begun = pyro.exec_workspace(
            workspace, "for i in $(seq 1 40); do echo line $i; sleep 0.1; done", wait_seconds=0.3
        )
    before = fresh.daemon_pid()
    monkeypatch.setattr(wire, "PROTOCOL", version.PROTOCOL + 1)
    with pytest.raises(PyroError) as refused, Pyro() as pyro:
        # Whoever is of that future protocol would start a daemon of his own; ours stays what it is.
        pyro.list_workspaces()
    assert refused.value.code == "daemon_version"
    monkeypatch.undo()
    for key, value in fresh.environment.items():
        monkeypatch.setenv(key, value)
    with Pyro() as pyro:
        assert fresh.daemon_pid() != before
        ended = pyro.logs_workspace(workspace, handle=begun.handle, wait_seconds=40)
        assert (ended.status, ended.exit_code) == ("exited", 0)
        assert ended.output == "".join(f"line {i}\n" for i in range(1, 41))


def test_an_older_client_works_with_a_newer_daemon(fresh: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
    before = fresh.daemon_pid()
    monkeypatch.setattr(wire, "PROTOCOL", version.PROTOCOL - 1)
    monkeypatch.setattr(wire, "VERSION", "0.0.9")
    with Pyro() as pyro:
        assert pyro.exec_workspace(workspace, "echo served").stdout == "served\n"
    assert fresh.daemon_pid() == before


def test_a_database_of_a_newer_pyro_is_refused_and_left_as_it_is(fresh: Installation) -> None:
    with Pyro() as pyro:
        pyro.create_workspace(name="mine")
    fresh.stop_daemon()
    with sqlite3.connect(fresh.locations.database) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with Pyro() as pyro, pytest.raises(Conflict) as refused:
        pyro.list_workspaces()
    assert refused.value.code == "newer_schema"
    assert "newer pyro" in str(refused.value)
    with sqlite3.connect(fresh.locations.database) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.close()
    with Pyro() as pyro:
        assert [w.name for w in pyro.list_workspaces().workspaces] == ["mine"]


def test_a_daemon_that_is_stuck_is_told_from_one_that_is_slow(
    fresh: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyro_mcp.client import sync

    monkeypatch.setattr(sync, "SILENCE_SECONDS", 7.0)
    with Pyro() as pyro:
        workspace = pyro.create_workspace().id
        # Slow: longer than the silence that is borne, and yet no failure.
        slow = pyro.exec_workspace(workspace, "sleep 9; echo done")
        assert slow.stdout == "done\n"
        pid = fresh.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            with pytest.raises(PyroError) as refused:
                pyro.list_workspaces()
            assert refused.value.code == "daemon_silent"
            assert time.monotonic() - begun < 12 * slowness()
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: _answers(pyro.list_workspaces))


def _answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except PyroError:
        return False
    return True
