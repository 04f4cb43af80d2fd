"""How machines end, whichever engine made them: killed at once, their directories removed behind the caller's back.

The path of a machine's directory stands in the command line of each of its processes; that is how the half-started
ones of a killed daemon are found.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

from pyro_mcp import wholeness
from pyro_mcp.errors import EngineError
from pyro_mcp.host_errors import in_the_way
from pyro_mcp.machines import processes
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.processes import ProcessId

STALE_SECONDS = 3600


class Endings:
    """Ends the machines below one directory.

    Args:
        machines: holds a directory for each.
        record: the name of the file in there that a finished machine has.
        recorded: the processes that a machine's record names, if they are of this boot of the computer.
        clear: takes what is mounted below a machine's directory away.
    """

    def __init__(
        self,
        machines: Path,
        limits: Limits,
        *,
        record: str,
        recorded: Callable[[Path], Iterable[ProcessId]],
        clear: Callable[[Path], None],
    ) -> None:
        self._machines = machines
        self._limits = limits
        self._record = record
        self._recorded = recorded
        self._clear = clear
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def destroy(self, machine_id: str) -> None:
        """Kill the machine now; its directory is removed behind the caller's back."""
        if machine_id not in self._ending:
            for process in self._recorded(self._machines / machine_id):
                processes.kill(process)
            task = asyncio.create_task(self._clean(machine_id), name=f"clean {machine_id}")
            self._ending[machine_id] = task
            task.add_done_callback(lambda _: self._ending.pop(machine_id, None))

    async def _clean(self, machine_id: str) -> None:
        directory = self._machines / machine_id
        word = os.fsencode(f"{directory}/")
        if not (directory / self._record).exists():
            # Half made: one of its processes may be in the middle of an exec, when the kernel shows no command
            # line for it.
            await asyncio.sleep(0.05)
        while found := await asyncio.to_thread(processes.with_word_in_command_line, word):
            for process in found:
                processes.kill(process)
                await processes.wait_gone(process)
        if directory.exists():
            self._clear(directory)
            await asyncio.to_thread(shutil.rmtree, directory, True)
        self._limits.release(machine_id)

    async def finish(self) -> None:
        """Wait until everything that was destroyed is removed."""
        while self._ending:
            await asyncio.gather(*self._ending.values(), return_exceptions=True)

    async def sweep(self, keep: set[str]) -> list[str]:
        """End every machine whose id is not in `keep`, running or half made; give their ids."""
        found = [entry.name for entry in self._machines.iterdir() if entry.is_dir() and entry.name not in keep]
        for machine_id in found:
            await self.destroy(machine_id)
        await self.finish()
        self._limits.sweep(keep)
        return found

    @contextlib.asynccontextmanager
    async def whole_or_gone(self, machine_id: str) -> AsyncIterator[None]:
        """Whatever goes wrong while a machine is made leaves nothing of it."""
        try:
            with engine_errors():
                yield
        except BaseException:
            await self.destroy(machine_id)
            raise


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """What the system refuses while a machine or a template is made is an EngineError."""
    try:
        yield
    except OSError as error:
        in_its_way = in_the_way(error)
        if in_its_way is not None:
            raise in_its_way from error
        raise EngineError(
            f"The machine could not be started: {error}.",
            hint="This computer may be short of memory, processes or disk; check with `pyro doctor`.",
        ) from error


async def remove_stale(partials: Iterable[Path]) -> None:
    """Remove half-made templates; a younger one may be in the making by another daemon with the same cache."""
    for partial in partials:
        if time.time() - partial.stat().st_mtime > STALE_SECONDS:
            await asyncio.to_thread(shutil.rmtree, partial, True)


def prune_templates(templates: Path, digests: set[str]) -> int:
    """Remove the templates of environments that are not among these; gives the bytes that were freed. Blocks."""
    freed = 0
    for place in templates.iterdir() if templates.exists() else ():
        try:
            known = wholeness.read_text(place / "environment") in digests
        except OSError:
            known = False
        if not known:
            freed += sum(file.stat().st_blocks * 512 for file in place.rglob("*"))
            shutil.rmtree(place, ignore_errors=True)
    return freed
