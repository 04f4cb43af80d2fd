"""The engine test suite, as gVisor runs it, with the daemon on Firecracker."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

import pytest

HANG_SECONDS = 900
CORE = [
    "tests/engine/test_commands.py",
    "tests/engine/test_files.py",
    "tests/engine/test_workspaces.py",
    "-k",
    # Left to the whole suite: twenty machines on one emulated CPU, trees of thousands of files, 600 MiB to fill.
    # packages_can needs a package index, which the lab has no way to.
    "not twenty and not packages_can and not being_made and not limits_are and not does_not_look_at",
]


def main() -> int:
    faulthandler.dump_traceback_later(HANG_SECONDS, file=2)
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.chdir("/payload")
    Path("/root/tmp").mkdir(exist_ok=True)
    os.environ["PYRO_TEST_SLOWNESS"] = "6"
    arguments = CORE if sys.argv[1:] == ["core"] else sys.argv[1:] or ["tests/engine"]
    # A colon-free way through the kernel's command line: + stands for :: and = for a space.
    arguments = [argument.replace("+", "::") for argument in arguments]
    # -vv, because pyproject has -q: one line for each test, as it ends.
    options = ["--engine=firecracker", "-p", "no:cacheprovider", "--basetemp=/root/tmp/t", "-vv", "--durations=12"]
    return pytest.main([*options, "-o", "faulthandler_timeout=240", *arguments])


if __name__ == "__main__":
    sys.exit(main())
