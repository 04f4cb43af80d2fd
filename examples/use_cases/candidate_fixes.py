"""Candidate fixes: three at once, each in a fork of the same moment, and the one that passes becomes the workspace.

docs/use-cases/candidate-fixes.md is the recipe.
"""

from __future__ import annotations

import sys
from pathlib import Path

from examples.use_cases.host import Host, contents, main, require
from examples.use_cases.repro_fix_loop import FILES, PATCH, TEST

ROUNDED = PATCH.replace("(ordered[middle - 1] + ordered[middle]) / 2", "(ordered[middle - 1] + ordered[middle]) // 2")
MISFIT = PATCH.replace("     return ordered[middle]", "-    return values[middle]")
LOWER = "sed -i 's|middle = len(ordered) // 2|middle = (len(ordered) - 1) // 2|' stats.py"


async def story(host: Host) -> None:
    """Three fixes of a failing test, tried side by side; one passes, and takes the workspace's place."""
    before = contents(host.project)
    ws = (await host.call("workspace_create"))["id"]
    require((await host.run(ws, TEST))["exit_code"] == 1, "the failure was not reproduced")
    kept_on = await host.call("workspace_exec", workspace=ws, command="sleep 600", background=True)
    host.tell("reproduced: test_even fails")

    ways = [
        {"name": "take the lower one", "commands": [LOWER]},
        {"name": "their mean", "patch": PATCH},
        {"name": "their mean, rounded", "patch": ROUNDED},
        {"name": "of another version", "patch": MISFIT},
    ]
    tried = await host.call("workspace_try", workspace=ws, alternatives=ways, check=TEST)
    while tried["status"] == "running":
        tried = await host.call("workspace_try", workspace=ws, wait_seconds=45)
    for one in tried["alternatives"]:
        host.tell(f"{one['number']} ({one['name']}): {one['status']} after {one['seconds']} s")
    found = [one["status"] for one in tried["alternatives"]]
    require(found == ["failed", "passed", "failed", "refused"], f"another one passes: {found}")
    first, mean, _, misfit = tried["alternatives"]
    require(any("AssertionError" in line for line in first["failing"]), "the telling line is not among those named")
    require((mean["files"], mean["insertions"]) == (1, 2), "the size of the diff is another one")
    require("stats.py" in misfit["error"], "the refusal does not say what did not fit")
    require(not (await host.call("workspace_diff", workspace=ws)).get("files"), "trying changed the workspace")
    host.tell("the workspace is as it was")

    require((await host.call("workspace_try", workspace=ws, keep=2))["kept"] == 2, "another one was kept")
    require((await host.run(ws, TEST))["exit_code"] == 0, "the chosen one does not pass here")
    status = await host.call("workspace_status", workspace=ws)
    require(status["running_commands"] == [kept_on["handle"]], "what ran does not run on")
    exported = await host.call("workspace_export", workspace=ws, patch=True, output="fix.patch")
    require("(ordered[middle - 1] + ordered[middle]) / 2" in Path(exported["output"]).read_text(), "it is another fix")
    host.tell("kept the one that passes: tests pass, what ran goes on, fix.patch holds it")

    await host.call("workspace_delete", workspace=ws)
    require(not (await host.call("workspace_list")).get("workspaces"), "a fork was left")
    after = contents(host.project)
    after.pop("fix.patch")
    require(after == before, "the user's files were touched")
    host.tell("no fork was left, and of the user's files none was touched")


if __name__ == "__main__":
    sys.exit(main(story, FILES, "--profile", "workspace-full"))
