"""Closed and full standard streams, and directories that cannot be: words or silence, never a traceback."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PYRO = f"{sys.executable} -m pyro_mcp"
WORDS = ("--version", "--help", "help exec", "completion bash", "daemon status", "nonono", "exec --nonono x")
STREAMS = (">&-", "<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "| head -0", "| true")


def said_by(script: str, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    said = (done.stdout + done.stderr).decode()
    assert not any(sign in said for sign in ("Traceback", "bug in pyro", "Errno", "Exception ignored")), (script, said)
    return said


@pytest.mark.parametrize("words", WORDS)
def test_streams_that_are_closed_full_or_left(words: str, tmp_path: Path) -> None:
    for stream in STREAMS:
        said = said_by(f"{PYRO} {words} {stream}; exit 0", PYRO_HOME=str(tmp_path))
        if stream == ">/dev/full" and words in WORDS[1:4]:
            assert "could not be written: No space left on device" in said
        if stream == "2>&-" and words == "nonono":
            assert not said, "an error is not a result"


def test_a_locale_without_our_characters(tmp_path: Path) -> None:
    for environment in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "TERM": "dumb", "COLUMNS": "1"}):
        assert "usage: pyro" in said_by(f"{PYRO} help exec", **environment)


def test_directories_that_cannot_be_are_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for home, says in (
        (tmp_path / "file", "PYRO_HOME sets its location"),
        (tmp_path / "file" / "below", "PYRO_HOME sets its location"),
        (tmp_path / "loop", "PYRO_HOME sets its location"),
        ("/proc/nothing", "PYRO_HOME sets its location"),
        ("/dev/null", "PYRO_HOME sets its location"),
        (tmp_path / ("x" * 120), "shorter path"),
        ("x" * 300, "shorter path"),
    ):
        said = said_by(f"{PYRO} ls", PYRO_HOME=str(home))
        assert says in said and " mv " not in said, said
        said_by(f"{PYRO} daemon status", PYRO_HOME=str(home))
        said_by(f"{PYRO} exec", PYRO_HOME=str(home))
        said_by(f"{PYRO} __complete -- rm ''", PYRO_HOME=str(home))
    gone = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; {PYRO}"
    assert "deleted" in said_by(f"{gone} push w .", PYRO_HOME=str(tmp_path))
    assert "deleted" in said_by(f"{gone} ls", PYRO_HOME="relative")
    assert "deleted" in said_by(f"{gone} mcp serve", PYRO_HOME=str(tmp_path))
    assert "usage" in said_by(f"{gone} new --help")


def test_directories_of_xdg_that_are_relative_are_ignored(tmp_path: Path) -> None:
    script = (
        f"cd {tmp_path}; {sys.executable} -c 'from pyro_mcp.locations import Locations as L; print(L.of_this_user())'"
    )
    said = said_by(
        script, XDG_RUNTIME_DIR="a", XDG_STATE_HOME="b", XDG_CACHE_HOME="c", PYRO_HOME="", HOME=str(tmp_path)
    )
    assert f"{tmp_path}/.local/state/pyro" in said and f"{tmp_path}/.cache/pyro" in said and "'/tmp/pyro-" in said


def test_ctrl_c_at_a_random_moment_is_silent(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    drawn = random.Random(seed)
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-m", "pyro_mcp", "daemon", "status"],
            env={**os.environ, "PYRO_HOME": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        moment = drawn.uniform(0.0, 0.15)
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1].decode()
        # Until the first lines of `entry` have run, Ctrl-C is Python's own affair.
        assert "pyro_mcp/cli" not in said and "main()" not in said, (seed, moment, said)
