"""The engine test suite, as gVisor runs it, with the daemon on Firecracker."""

from __future__ import annotations

import faulthandler
import os
import sys
from pathlib import Path

import pytest

HANG_SECONDS = 900


def main() -> int:
    faulthandler.dump_traceback_later(HANG_SECONDS, file=2)
    os.environ["PYRO_ENGINE"] = "firecracker"
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.chdir("/payload")
    Path("/root/tmp").mkdir(exist_ok=True)
    arguments = sys.argv[1:] or ["tests/engine"]
    # A colon-free way through the kernel's command line: + stands for :: and = for a space.
    arguments = [argument.replace("+", "::") for argument in arguments]
    # -vv, because pyproject has -q: one line for each test, as it ends.
    options = ["-p", "no:cacheprovider", "--basetemp=/root/tmp/t", "-vv", "--durations=12"]
    return pytest.main([*options, "-o", "faulthandler_timeout=240", *arguments])


if __name__ == "__main__":
    sys.exit(main())
