"""The short form of `make fuzz`: each parser for a moment, with its kept corpus, in a process with limits."""

from __future__ import annotations

import secrets
import subprocess
import sys

import pytest

from tests.fuzz.__main__ import ROOT, go_targets, targets


@pytest.mark.parametrize("name", sorted(targets()))
def test_only_declared_errors_come_out_of(name: str) -> None:
    seed = str(secrets.randbelow(2**32))
    argv = [sys.executable, "-m", "tests.fuzz", "--target", name, "--seconds", "1", "--seed", seed]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


def test_the_agent_has_a_fuzzer_for_each_parser() -> None:
    assert {"FuzzFrames", "FuzzDuplex", "FuzzRequests", "FuzzPaths", "FuzzTar", "FuzzSearch"} <= set(go_targets())
