"""What `make lab` runs: the engine's own test, then the core of the engine suite."""

from __future__ import annotations

import subprocess
import sys

TASKS = (["lab.inside.engine"], ["lab.inside.suite", "core"])


def main() -> int:
    return max(subprocess.run([sys.executable, "-m", *task], check=False).returncode for task in TASKS)


if __name__ == "__main__":
    sys.exit(main())
