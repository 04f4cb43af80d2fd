"""The repro-and-fix loop in twenty lines: `python examples/repro_fix.py DIRECTORY "TEST COMMAND" PATCH`.

Seeds a workspace from a directory, shows that the tests fail, applies the patch inside, shows that they pass, and
prints the diff. The directory itself is never touched.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyro_mcp import Pyro


def main() -> int:
    if len(sys.argv) != 4:
        print(f'usage: {sys.argv[0]} DIRECTORY "TEST COMMAND" PATCH', file=sys.stderr)
        return 2
    directory, test, patch = sys.argv[1:]
    with Pyro() as pyro, pyro.workspace(seed_path=directory) as workspace:
        before = workspace.run(test)
        print(f"before the patch: exit status {before.exit_code}")
        workspace.apply_patch(Path(patch).read_text())
        after = workspace.run(test)
        print(f"after the patch: exit status {after.exit_code}")
        print(workspace.diff().patch, end="")
        return 0 if before.exit_code != 0 and after.exit_code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
