"""`pyro demo` plays to its end on real input, fails where a scene does not hold, and leaves nothing either way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pyro_mcp.cli import demo
from pyro_mcp.locations import Locations
from pyro_mcp.sdk import Pyro

pytestmark = pytest.mark.as_root

COMMAND = [sys.executable, "-m", "pyro_mcp", "demo"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo puts its temporary files, so that what it leaves can be seen."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return directory


def demo_workspaces(pyro: Pyro) -> list[str]:
    return [w.id for w in pyro.list_workspaces().workspaces if demo.LABEL in w.labels]


def test_the_demo_holds_what_it_claims_and_leaves_nothing(pyro: Pyro, work: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.patch"
    played = subprocess.run([*COMMAND, "--keep-patch", str(kept)], capture_output=True, text=True, timeout=300)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "\n11. Delete" in played.stdout
    assert "each of 2 forks counts on from" in played.stdout
    assert "180 passed" in played.stdout
    assert "3 failed, 177 passed" in played.stdout
    assert "181 passed" in played.stdout
    assert "test_drop_regression" in kept.read_text()
    assert demo.BROKEN_FILE not in kept.read_text()
    assert demo_workspaces(pyro) == []
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(("number", "scene"), [(signal.SIGINT, 2), (signal.SIGTERM, 3), (signal.SIGHUP, 3)])
def test_a_demo_that_is_stopped_leaves_nothing(pyro: Pyro, work: Path, number: signal.Signals, scene: int) -> None:
    # A shell's background jobs begin with SIGINT ignored, which is inherited; here it is meant to be heard.
    heard = ["env", f"--default-signal={number.name.removeprefix('SIG')}", *COMMAND]
    with subprocess.Popen(heard, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as playing:
        assert playing.stdout is not None
        for line in playing.stdout:
            if line.startswith(f"{scene}."):
                break
        playing.send_signal(number)
        _, said = playing.communicate(timeout=60)
    assert playing.returncode == 128 + number, said
    assert f"Stopped by {number.name}" in said
    assert demo_workspaces(pyro) == []
    assert list(work.iterdir()) == []


def test_a_scene_that_does_not_hold_fails_the_demo_and_leaves_nothing(
    pyro: Pyro, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "WRONG", demo.RIGHT)  # damage that does none
    handlers = [signal.getsignal(number) for number in demo.STOPPING]
    assert demo.run("pyro demo", []) == 1
    assert "failed at step 5: the tests do not notice the damage" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in demo.STOPPING] == handlers
    assert demo_workspaces(pyro) == []
    assert list(work.iterdir()) == []


def test_an_archive_that_is_not_the_pinned_one_is_refused_and_not_kept(
    pyro: Pyro, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cached = Locations.of_this_user().cache / "demo" / f"{demo.PROJECT}-{demo.VERSION}.tar.gz"
    before = cached.read_bytes() if cached.exists() else None
    monkeypatch.setattr(demo, "SHA256", "0" * 64)
    assert demo.run("pyro demo", []) == 1
    assert "failed at step 1: toolz-1.0.0.tar.gz has sha256 2c86e3d9" in capsys.readouterr().err
    assert (cached.read_bytes() if cached.exists() else None) == before
    assert demo_workspaces(pyro) == []


def test_the_example_shows_the_repair_and_never_touches_the_directory(
    pyro: Pyro, project: Path, tmp_path: Path
) -> None:
    (project / "src" / "calc.py").write_text("def add(a, b):\n    return a - b\n")
    fix = tmp_path / "fix.patch"
    fix.write_text(
        demo.as_patch("src/calc.py", "def add(a, b):\n    return a - b\n", "def add(a, b):\n    return a + b\n")
    )
    example = Path(__file__).parents[2] / "examples" / "repro_fix.py"
    # -B: byte code is told from its source by second and size, which the fix, made at once, leaves as they are.
    command = [sys.executable, str(example), str(project), "python3 -B test_calc.py", str(fix)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "before the patch: exit status 1" in shown.stdout
    assert "after the patch: exit status 0" in shown.stdout
    assert "+    return a + b" in shown.stdout
    assert "return a - b" in (project / "src" / "calc.py").read_text()
    assert pyro.list_workspaces().workspaces == []


def test_the_example_of_three_ways_tries_each_in_a_fork(pyro: Pyro, project: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "try_three_ways.py"
    ways = ["echo 1 > new.txt", "rm run.sh", "exit 3"]
    shown = subprocess.run(
        [sys.executable, str(example), str(project), *ways], capture_output=True, text=True, timeout=120
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "exit status 0, changed new.txt" in shown.stdout
    assert "exit status 0, changed run.sh" in shown.stdout
    assert "exit 3: exit status 3, changed nothing" in shown.stdout
    assert pyro.list_workspaces().workspaces == []
