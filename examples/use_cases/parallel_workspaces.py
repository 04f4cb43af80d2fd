"""Parallel workspaces: several ways at the same time, each in a machine of its own, and nothing shared.

docs/use-cases/parallel-workspaces.md is the recipe.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from examples.use_cases.host import Host, contents, main, require

WAYS = {
    "builtin": "def total(n):\n    return sum(range(n))\n",
    "loop": "def total(n):\n    found = 0\n    for i in range(n):\n        found += i\n    return found\n",
    "formula": "def total(n):\n    return n * (n - 1) // 2\n",
}
FILES = {
    "total.py": "def total(n):\n    raise NotImplementedError\n",
    "check.py": """import time

from total import total

assert [total(n) for n in (0, 1, 10)] == [0, 0, 45]
begun = time.perf_counter()
total(200_000)
print(f"{time.perf_counter() - begun:.6f}")
""",
}
MEET = "date +%s.%N; sleep 1.5; date +%s.%N"
"""When it began and ended, by the one clock that all machines share."""
OTHERS = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls /workspace /tmp; cat /tmp/mine"


async def story(host: Host) -> None:
    """Try three ways at the same time, in three workspaces that know nothing of each other."""
    before = contents(host.project)
    made = await asyncio.gather(*(host.call("workspace_create", name=f"way-{way}") for way in WAYS))
    ids = dict(zip(WAYS, (workspace["id"] for workspace in made), strict=True))
    require(len(set(ids.values())) == len(WAYS), "two ways share a workspace")
    host.tell(f"created {', '.join(f'way-{way}' for way in ids)} together")

    met = await asyncio.gather(*(host.run(ws, MEET) for ws in ids.values()))
    times = [[float(word) for word in result["stdout"].split()] for result in met]
    shared = min(end for _, end in times) - max(begin for begin, _ in times)
    require(shared > 0, f"they did not run at the same time: {times}")
    host.tell(f"a command ran in all three at the same time for {shared:.2f} s")

    seconds = dict(zip(ids, await asyncio.gather(*(tried(host, way, ws) for way, ws in ids.items())), strict=True))
    host.tell("; ".join(f"{way}: {time * 1000:.3f} ms" for way, time in sorted(seconds.items(), key=lambda i: i[1])))

    sleepers = await asyncio.gather(*(mark(host, way, ws) for way, ws in ids.items()))
    for way, ws in ids.items():
        await alone(host, way, ws)
    host.tell("isolated: files, processes, /tmp and diffs of one are in none of the others")

    first, *rest = ids
    await host.call("workspace_reset", workspace=ids[first])
    await host.call("workspace_delete", workspace=ids[first])
    for way, sleeper in zip(rest, sleepers[1:], strict=True):
        logs = await host.call("workspace_logs", workspace=ids[way], handle=sleeper["handle"])
        require(logs["status"] == "running", f"the command of way-{way} ended with another workspace")
        exported = await host.call("workspace_export", workspace=ids[way], patch=True, output=f"{way}.patch")
        require("total.py" in Path(exported["output"]).read_text(), "the patch does not hold the change")
    await asyncio.gather(*(host.call("workspace_delete", workspace=ids[way]) for way in rest))
    after = contents(host.project)
    require({name: after[name] for name in before} == before, "the user's files were touched")
    require(set(after) - set(before) == {f"{way}.patch" for way in rest}, "something else came back")
    host.tell(f"way-{first} reset and deleted, the others went on; their patches are exported")


async def tried(host: Host, way: str, ws: str) -> float:
    await host.call("workspace_file_write", workspace=ws, path="total.py", text=WAYS[way])
    result = await host.run(ws, "python3 -B check.py")
    require(result["exit_code"] == 0, f"way-{way} is wrong: {result.get('stderr')}")
    return float(result["stdout"])


async def mark(host: Host, way: str, ws: str) -> dict[str, Any]:
    """Leave a process, and a file of the same name as in the others."""
    command = f"echo {way} > /tmp/mine; exec -a sleeper-of-{way} sleep 300"
    return await host.call("workspace_exec", workspace=ws, command=command, wait_seconds=0)


async def alone(host: Host, way: str, ws: str) -> None:
    seen = (await host.run(ws, OTHERS))["stdout"]
    require(f"sleeper-of-{way}" in seen and seen.endswith(f"{way}\n"), f"way-{way} does not see its own")
    for other in WAYS:
        require(other == way or f"sleeper-of-{other}" not in seen, f"way-{way} sees a process of way-{other}")
    diff = await host.call("workspace_diff", workspace=ws)
    require([file["path"] for file in diff["files"]] == ["total.py"], f"way-{way} has a change that is not its own")
    read = await host.call("workspace_file_read", workspace=ws, path="total.py")
    require(read["content"] == WAYS[way], f"way-{way} holds what another wrote")


if __name__ == "__main__":
    sys.exit(main(story, FILES))
