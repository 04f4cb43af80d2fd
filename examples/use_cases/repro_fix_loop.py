"""Repro plus fix: reproduce a failure, patch it, run again, diff, export the patch, reset.

docs/use-cases/repro-fix-loop.md is the recipe.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from examples.use_cases.host import Host, contents, main, require

TEST = "python3 -B -m unittest -q"
FILES = {
    "stats.py": '''"""Small statistics."""


def median(values):
    """The middle of the values; of two middles, their mean."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle]
''',
    "test_stats.py": """import unittest

from stats import median


class MedianTest(unittest.TestCase):
    def test_odd(self):
        self.assertEqual(median([3, 1, 2]), 2)

    def test_even(self):
        self.assertEqual(median([4, 1, 3, 2]), 2.5)
""",
}
PATCH = """\
--- a/stats.py
+++ b/stats.py
@@ -5,4 +5,6 @@
     \"\"\"The middle of the values; of two middles, their mean.\"\"\"
     ordered = sorted(values)
     middle = len(ordered) // 2
+    if len(ordered) % 2 == 0:
+        return (ordered[middle - 1] + ordered[middle]) / 2
     return ordered[middle]
"""


async def story(host: Host) -> None:
    """Reproduce a failing test, fix it in a workspace, and bring back a patch."""
    before = contents(host.project)
    created = await host.call("workspace_create")
    ws = created["id"]
    require(created["seed"]["source"] == str(host.project), "the project is not the default seed")
    host.tell(f"created {ws} from the project")

    failed = await host.run(ws, TEST)
    require(failed["exit_code"] == 1, "the failure was not reproduced")
    require("test_even" in failed["stderr"] and "AssertionError" in failed["stderr"], "it fails for another reason")
    host.tell("reproduced: test_even fails")

    found = await host.call("workspace_file_read", workspace=ws, path="stats.py", grep="middle")
    require("ordered[middle]" in found["content"], "the cause was not found")
    applied = await host.call("workspace_patch_apply", workspace=ws, patch=PATCH)
    require([file["path"] for file in applied["files"]] == ["stats.py"], "the patch touched something else")
    require((await host.run(ws, TEST))["exit_code"] == 0, "the fix does not fix it")
    host.tell("patched: all tests pass")

    diff = await host.call("workspace_diff", workspace=ws)
    require([file["path"] for file in diff["files"]] == ["stats.py"], "the diff holds more than the fix")
    exported = await host.call("workspace_export", workspace=ws, patch=True, output="fix.patch")
    patch = Path(exported["output"])
    require(patch == host.project / "fix.patch", "the patch is somewhere else")
    fixed = await host.call("workspace_file_read", workspace=ws, path="stats.py")
    require(
        applied_here(host.project, patch) == fixed["content"], "git apply gives something else than the workspace has"
    )
    host.tell("exported fix.patch, and git apply takes it")

    await host.call("workspace_reset", workspace=ws)
    require(not (await host.call("workspace_diff", workspace=ws)).get("files"), "the reset left changes")
    require((await host.run(ws, TEST))["exit_code"] == 1, "after the reset the failure is not there")
    await host.call("workspace_delete", workspace=ws)
    after = contents(host.project)
    after.pop("fix.patch")
    require(after == before, "the user's files were touched")
    host.tell("reset: the failure is back; of the user's files none was touched")


def applied_here(project: Path, patch: Path) -> str:
    """stats.py after `git apply` on a copy of the user's project."""
    copy = project.parent / "copy"
    shutil.copytree(project, copy)
    subprocess.run(["git", "apply", str(patch)], cwd=copy, check=True)
    return (copy / "stats.py").read_text()


if __name__ == "__main__":
    sys.exit(main(story, FILES))
