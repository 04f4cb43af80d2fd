"""Review and evaluation: a checklist through a shell, an evaluation, an export, and back to a checkpoint.

docs/use-cases/review-eval.md is the recipe.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from examples.use_cases.host import Host, contents, main, require

FILES = {
    "slug.py": '''"""Slugs for titles."""

import re


def slug(title):
    """Lower case, words joined by dashes."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
''',
    "test_slug.py": """import unittest

from slug import slug


class SlugTest(unittest.TestCase):
    def test_words(self):
        self.assertEqual(slug("Hello, World"), "hello-world")
""",
}
CHECKLIST = {
    "it compiles": "python3 -m py_compile slug.py",
    "tests pass": "python3 -B -m unittest -q",
    "it has a docstring": "python3 -B -c 'import slug; assert slug.slug.__doc__'",
    "it handles letters beyond ASCII": 'python3 -B -c \'from slug import slug; assert slug("Ä") == "a"\'',
}
EVALUATION = """import json

from slug import slug

CASES = {"A b": "a-b", "  x  ": "x", "C++": "c", "a--b": "a-b", "Ünïcode": "unicode", "": ""}
right = [case for case, wanted in CASES.items() if slug(case) == wanted]
print(json.dumps({"score": len(right), "of": len(CASES)}))
"""


async def story(host: Host) -> None:
    """Review in a terminal by a checklist, evaluate, export the review, and go back to the checkpoint."""
    before = contents(host.project)
    ws = (await host.call("workspace_create", name="review"))["id"]
    prepared = await host.run(ws, "mkdir -p /opt/tools && echo ready > /opt/tools/state")
    require(prepared["exit_code"] == 0, "the machine could not be prepared")
    snapshot = await host.call("snapshot_create", workspace=ws, name="ready")
    host.tell(f"prepared; checkpoint 'ready' of {snapshot['size_bytes'] >> 20} MiB")

    shell = await host.call("shell_open", workspace=ws)
    verdicts = {}
    for number, (point, command) in enumerate(CHECKLIST.items()):
        written = await host.call(
            "shell_write",
            workspace=ws,
            shell=shell["shell"],
            text=f"{command} > /tmp/said 2>&1; echo point-$(({number} + 0)) exit=$?",
            enter=True,
        )
        read = await host.call(
            "shell_read",
            workspace=ws,
            shell=shell["shell"],
            cursor=written["cursor"],
            plain=True,
            wait_for=rf"point-{number} exit=\d+",
        )
        verdicts[point] = f"point-{number} exit=0" in read["output"]
    require(list(verdicts.values()) == [True, True, True, False], f"the checklist says {verdicts}")
    await host.call("shell_close", workspace=ws, shell=shell["shell"])
    host.tell(f"checklist in a shell: {sum(verdicts.values())} of {len(verdicts)} points hold")

    await host.call("workspace_file_write", workspace=ws, path="evaluate.py", text=EVALUATION)
    await host.run(ws, "rm /opt/tools/state; echo spoiled > /opt/tools/spoiled")
    evaluated = json.loads((await host.run(ws, "python3 -B evaluate.py"))["stdout"])
    require(evaluated == {"score": 5, "of": 6}, f"the evaluation says {evaluated}")
    diff = await host.call("workspace_diff", workspace=ws, summary=True)
    require("evaluate.py" in [file["path"] for file in diff["files"]], "the diff does not show the evaluation's files")

    review = "# Review\n\n" + "".join(f"- [{'x' if holds else ' '}] {point}\n" for point, holds in verdicts.items())
    review += f"\nEvaluation: {evaluated['score']} of {evaluated['of']}. Letters beyond ASCII are lost.\n"
    await host.call("workspace_file_write", workspace=ws, path="review.md", text=review)
    exported = await host.call("workspace_export", workspace=ws, path="review.md", output="review.md")
    require(Path(exported["output"]).read_text() == review, "the review was not exported as it was written")
    host.tell(f"evaluated: {evaluated['score']} of {evaluated['of']}; exported review.md")

    await host.call("workspace_reset", workspace=ws, snapshot="ready")
    seen = await host.run(ws, "cat /opt/tools/state; ls /opt/tools /workspace")
    require(seen["stdout"].startswith("ready\n"), "the checkpoint does not hold what was prepared")
    for gone in ("spoiled", "evaluate.py", "review.md"):
        require(gone not in seen["stdout"], f"{gone} outlived the reset")
    require(not (await host.call("workspace_diff", workspace=ws)).get("files"), "the reset left changes")
    await host.call("workspace_delete", workspace=ws)
    after = contents(host.project)
    require(after.pop("review.md").decode() == review and after == before, "more than the review came back")
    host.tell("back at the checkpoint: prepared, and nothing of the evaluation")


if __name__ == "__main__":
    sys.exit(main(story, FILES, "--profile", "workspace-full"))
