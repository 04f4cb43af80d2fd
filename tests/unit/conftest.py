"""tests/unit starts no process: what has to goes into tests/programs, or tests/engine where it needs a machine.

So these tests are quick, and say the same whatever programs this computer has.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "pty.spawn"}
"""The events of Python's audit of each way to start one: https://docs.python.org/3/library/audit_events.html."""
_within = False


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if _within and event in STARTS:
        raise AssertionError(f"a test in tests/unit starts a process ({event}: {arguments[:1]}): tests/programs may")


sys.addaudithook(_refuse)  # which cannot be taken away again


@pytest.fixture(autouse=True)
def no_process() -> Iterator[None]:
    global _within
    _within = True
    yield
    _within = False
