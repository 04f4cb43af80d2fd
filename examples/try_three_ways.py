"""Three attempts from the very same moment: `python examples/try_three_ways.py DIRECTORY COMMAND COMMAND COMMAND`.

Seeds a workspace, forks it once for each command, runs them at the same time, and prints how each ended and what it
changed. Forks share the moment of the fork, processes included; nothing of one is seen by another.
"""

from __future__ import annotations

import asyncio
import sys

from pyro_mcp import AsyncPyro, AsyncWorkspace, Diff, ExecResult


async def main() -> int:
    if len(sys.argv) < 3:
        print(f"usage: {sys.argv[0]} DIRECTORY COMMAND…", file=sys.stderr)
        return 2
    directory, *commands = sys.argv[1:]
    async with AsyncPyro() as pyro, pyro.workspace(seed_path=directory) as origin:
        forks = await origin.fork(len(commands))
        try:

            async def attempt(workspace: AsyncWorkspace, command: str) -> tuple[ExecResult, Diff]:
                result = await workspace.run(command)
                return result, await workspace.diff()

            tries = await asyncio.gather(
                *(attempt(fork, command) for fork, command in zip(forks, commands, strict=True))
            )
        finally:
            await asyncio.gather(*(fork.delete() for fork in forks))
    for command, (result, diff) in zip(commands, tries, strict=True):
        changed = ", ".join(file.path for file in diff.files) or "nothing"
        print(f"{command}: exit status {result.exit_code}, changed {changed}")
    return 0 if any(result.exit_code == 0 for result, _ in tries) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
