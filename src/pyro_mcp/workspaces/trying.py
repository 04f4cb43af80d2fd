"""Several ways at once: each alternative in a fork of the same moment, the same check in each, and one of them kept.

The forks are marked in their rows, so that one that a killed daemon left is removed by the next. What may be kept is an
image of the fork after its check, named by a row of the workspace as a snapshot is: keeping it is a reset to that, in
one write. Images that no row names yet are swept as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

from pyro_mcp import models
from pyro_mcp.errors import Conflict, InvalidInput, NotFound, PyroError
from pyro_mcp.files.changes import apply_patch, changed_entries
from pyro_mcp.patches.diff import DiffEntry, render
from pyro_mcp.store import SnapshotRow
from pyro_mcp.workspaces.alternatives import Alternative, between, failing_lines
from pyro_mcp.workspaces.launching import argv_of, launch
from pyro_mcp.workspaces.manager import WorkspaceManager
from pyro_mcp.workspaces.moments import Moment
from pyro_mcp.workspaces.occupancy import Occupancy
from pyro_mcp.workspaces.whole_machine import TRIED, WholeMachine
from pyro_mcp.workspaces.workspace import Workspace

MOST_AT_ONCE = 4
OUTPUT_BYTES = 64 * 1024
"""The end of what a check printed, in which the telling lines are looked for."""
FIRST_THAT_PASSES = 0


@dataclass
class Outcome:
    """How far an alternative is."""

    number: int
    name: str
    status: models.TrialStatus = "waiting"
    exit_code: int | None = None
    seconds: float | None = None
    check_seconds: float | None = None
    files: int | None = None
    insertions: int | None = None
    deletions: int | None = None
    failing: list[str] = field(default_factory=list)
    error: str = ""


@dataclass
class Attempt:
    """One call of it: what was asked for, and how far it is."""

    alternatives: list[Alternative]
    check: str | list[str]
    keep: int | None
    timeout_seconds: float
    outcomes: list[Outcome]
    kept: int | None = None
    hint: str = ""
    images: list[SnapshotRow] = field(default_factory=list)
    """Of what passed, until each is named, or all are dropped."""
    task: asyncio.Task[None] | None = None
    step: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an alternative ends; taken before looking."""

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()

    async def wait(self, seconds: float | None, tell: Callable[[str], Awaitable[None]]) -> None:
        """Until it is done, or for so long; `tell` hears of each alternative that ends. If the caller leaves, it ends.

        Raises:
            InternalError: it ended by a defect.
        """
        told: set[int] = set()
        step = self.step
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self.task is not None and not self.task.done():
                        stepped = asyncio.ensure_future(step.wait())
                        await asyncio.wait({self.task, stepped}, return_when=asyncio.FIRST_COMPLETED)
                        stepped.cancel()
                        step = self.step
                        for one in self.outcomes:
                            if one.status not in ("waiting", "running") and one.number not in told:
                                told.add(one.number)
                                await tell(f"alternative {one.number} of {len(self.outcomes)} {one.status}")
        except asyncio.CancelledError:
            if self.task is not None:
                self.task.cancel()
            raise
        if self.task is not None and self.task.done() and not self.task.cancelled():
            self.task.result()

    def stir(self) -> None:
        """Have those who wait look again."""
        waiting, self.step = self.step, asyncio.Event()
        waiting.set()

    def record(self, workspace_id: str) -> models.Tried:
        return models.Tried(
            workspace=workspace_id,
            status="running" if self.running else "done",
            alternatives=[models.TriedAlternative(**asdict(outcome)) for outcome in self.outcomes],
            kept=self.kept,
            hint=self.hint or self._next(),
        )

    def _next(self) -> str:
        if self.running:
            return "Still trying. Wait with workspace_try(wait_seconds=45) and no alternatives."
        passed = [outcome.number for outcome in self.outcomes if outcome.status == "passed"]
        if self.kept is not None or not passed:
            return ""
        return f"Make one that passed the workspace with workspace_try(keep={passed[0]}); it is as it was until then."


class Trying:
    """The attempts of all workspaces: the last one of each."""

    def __init__(self, manager: WorkspaceManager, occupancy: Occupancy, machines: WholeMachine) -> None:
        self._manager = manager
        self._occupancy = occupancy
        self._machines = machines
        self._attempts: WeakKeyDictionary[Workspace, Attempt] = WeakKeyDictionary()

    def begin(
        self,
        workspace: Workspace,
        alternatives: list[Alternative],
        check: str | list[str],
        keep: int | None,
        timeout_seconds: float,
    ) -> Attempt:
        """Begin to try, in the background.

        Raises:
            Conflict: another try runs in this workspace, or it has no machine.
            InvalidInput: there is no alternative of the number that is to be kept, or the check is empty.
        """
        argv_of(check, workspace.row.runtime)
        if keep is not None and keep > len(alternatives):
            raise InvalidInput(
                f"keep is {keep}, but there are {len(alternatives)} alternatives.",
                hint="Give the number of one; 0 keeps the first that passes.",
                code="bad_alternatives",
            )
        workspace.require_machine()
        if workspace.trying is not None and not workspace.trying.done():
            raise Conflict(
                f"Workspace {workspace.id} tries something already.",
                hint="Call workspace_try without alternatives to wait for it.",
                code="trying",
            )
        outcomes = [Outcome(number, each.name) for number, each in enumerate(alternatives, 1)]
        attempt = Attempt(alternatives, check, keep, timeout_seconds, outcomes)
        self._attempts[workspace] = attempt
        attempt.task = workspace.trying = asyncio.create_task(self._try(workspace, attempt), name=f"try {workspace.id}")
        attempt.task.add_done_callback(_seen)
        return attempt

    def last(self, workspace: Workspace) -> Attempt:
        """The try that was begun last.

        Raises:
            NotFound: there was none, as far as this daemon knows.
        """
        attempt = self._attempts.get(workspace)
        if attempt is None:
            raise NotFound(
                f"Nothing was tried in workspace {workspace.id}, or the daemon began anew since.",
                hint="Give alternatives and a check.",
                code="no_try",
            )
        return attempt

    async def keep(self, workspace: Workspace, number: int) -> int:
        """Make an alternative of the last try the workspace. Gives its number.

        Raises:
            Conflict: the try still runs.
            NotFound: it did not pass, or there is none of that number.
        """
        attempt = self._attempts.get(workspace)
        if attempt is not None and attempt.running:
            raise Conflict(f"Workspace {workspace.id} still tries.", hint="Wait for it, without `keep`.", code="trying")
        return await self._keep_now(workspace, attempt, number)

    async def _keep_now(self, workspace: Workspace, attempt: Attempt | None, number: int) -> int:
        held = sorted(int(name.removeprefix(TRIED)) for name in workspace.snapshots if name.startswith(TRIED))
        if number == FIRST_THAT_PASSES and held:
            number = held[0]
        if number not in held:
            raise NotFound(
                f"There is no alternative {number} to keep; those that passed: {', '.join(map(str, held)) or 'none'}. "
                "The workspace is as it was.",
                hint="Try again, with an alternative that passes its check.",
                code="not_kept",
            )
        await self._machines.reset(workspace, f"{TRIED}{number}")
        if attempt is not None:
            attempt.kept = number
        workspace.keeper.happened(f"kept alternative {number} of a try")
        return number

    def kept(self, workspace: Workspace, number: int) -> models.Tried:
        """What to say after `keep`."""
        attempt = self._attempts.get(workspace)
        if attempt is not None:
            return attempt.record(workspace.id)
        return models.Tried(workspace=workspace.id, status="done", kept=number)

    # -- the work

    async def _try(self, workspace: Workspace, attempt: Attempt) -> None:
        workspace.in_use += 1
        try:
            await self._machines.drop_tried(workspace)
            try:
                async with (
                    asyncio.timeout(attempt.timeout_seconds),
                    self._machines.moment_of(workspace) as (image, moment),
                ):
                    await self._all(workspace, attempt, image, moment)
            except TimeoutError:
                pass
            for outcome in attempt.outcomes:
                if outcome.status in ("waiting", "running"):
                    outcome.status = "timed_out"
                    outcome.error = f"The time limit of {attempt.timeout_seconds:g} s for all was over."
            await asyncio.shield(asyncio.ensure_future(self._name(workspace, attempt)))
        except asyncio.CancelledError:
            for outcome in attempt.outcomes:
                if outcome.status in ("waiting", "running"):
                    outcome.status = "cancelled"
            raise
        except PyroError as error:
            attempt.hint = str(error)
            for outcome in attempt.outcomes:
                if outcome.status in ("waiting", "running"):
                    outcome.status, outcome.error = "refused", error.message
            return
        finally:
            workspace.in_use -= 1
            unnamed, attempt.images = attempt.images, []
            await asyncio.shield(asyncio.to_thread(self._drop_images, workspace, unnamed))
        if attempt.keep is not None:
            await asyncio.shield(asyncio.ensure_future(self._keep_asked(workspace, attempt, attempt.keep)))

    async def _keep_asked(self, workspace: Workspace, attempt: Attempt, number: int) -> None:
        passed = [outcome.number for outcome in attempt.outcomes if outcome.status == "passed"]
        number = passed[0] if number == FIRST_THAT_PASSES and passed else number
        if number not in passed:
            attempt.hint = (
                f"Alternative {number} did not pass, so it was not kept: the workspace is as it was."
                if number
                else "None of them passed, so nothing was kept: the workspace is as it was."
            )
            return
        try:
            await workspace.before_change()
            await self._keep_now(workspace, attempt, number)
        except PyroError as error:
            attempt.hint = f"Alternative {number} was not kept; the workspace is as it was. {error}"

    async def _all(self, workspace: Workspace, attempt: Attempt, image: Path, moment: Moment) -> None:
        places = asyncio.Semaphore(at_once(workspace))

        async def one(number: int) -> None:
            async with places:
                await self._one(workspace, attempt, number, image, moment)

        async with asyncio.TaskGroup() as group:
            for number in range(1, len(attempt.alternatives) + 1):
                group.create_task(one(number))

    async def _one(self, parent: Workspace, attempt: Attempt, number: int, image: Path, moment: Moment) -> None:
        outcome = attempt.outcomes[number - 1]
        outcome.status = "running"
        begun = time.monotonic()
        fork: Workspace | None = None
        try:
            fork = await self._manager.fork(parent, None, image, moment, trial=True)
            if await self._changed(fork, attempt.alternatives[number - 1], outcome) and await self._checked(
                fork, attempt.check, outcome
            ):
                await self._hold(parent, fork, attempt, number, moment)
        except PyroError as error:
            outcome.status, outcome.error = "refused", parent.redactor.text(str(error))
        finally:
            outcome.seconds = round(time.monotonic() - begun, 2)
            attempt.stir()
            if fork is not None:
                await asyncio.shield(asyncio.ensure_future(self._manager.delete(fork)))

    async def _hold(self, parent: Workspace, fork: Workspace, attempt: Attempt, number: int, moment: Moment) -> None:
        """Have it at hand for `keep`."""
        try:
            attempt.images.append(await self._machines.tried(parent, fork, number, moment))
        except PyroError as error:  # no room, or the machine ended behind its check: it has passed all the same
            attempt.outcomes[number - 1].error = f"It passed, but cannot be kept: {parent.redactor.text(str(error))}"

    async def _changed(self, fork: Workspace, alternative: Alternative, outcome: Outcome) -> bool:
        """Carry the alternative out in its fork; False where it could not be."""
        before = await _entries(fork)
        if alternative.patch is not None:
            await apply_patch(fork.guest, fork.id, alternative.patch)
        for number, line in enumerate(alternative.commands, 1):
            status, code, text, cause = await self._run(fork, line)
            if status == "exited" and code == 0:
                continue
            outcome.status, outcome.failing = "refused", failing_lines(text)
            ended = f"ended with exit status {code}" if status == "exited" else f"did not end by itself: {status}"
            outcome.error = f"Its command {number} {ended}, so the check was not run. {cause}".strip()
            break
        after = await _entries(fork)
        if before is not None and after is not None:
            result = await asyncio.to_thread(render, between(before, after))
            outcome.files, outcome.insertions = len(result.files), result.insertions
            outcome.deletions = result.deletions
        return outcome.status == "running"

    async def _checked(self, fork: Workspace, check: str | list[str], outcome: Outcome) -> bool:
        begun = time.monotonic()
        status, code, text, cause = await self._run(fork, check)
        outcome.check_seconds = round(time.monotonic() - begun, 2)
        outcome.exit_code = code
        outcome.status = "passed" if status == "exited" and code == 0 else "failed"
        if outcome.status == "failed":
            outcome.failing = failing_lines(text)
            outcome.error = cause
        return outcome.status == "passed"

    async def _run(self, fork: Workspace, line: str | list[str]) -> tuple[str, int | None, str, str]:
        """A command to its end: status, exit status, the end of what it printed as a person saw it, and cause."""
        starting = launch(self._occupancy, fork, argv_of(line, fork.row.runtime), cwd="/workspace")
        command = await asyncio.shield(asyncio.ensure_future(starting))
        while command.running:
            await command.change.wait()
        output = command.output
        begin = max(0, output.kept_bytes - OUTPUT_BYTES)
        text, _ = await asyncio.to_thread(output.seen_piece, begin, OUTPUT_BYTES)
        return command.row.status, command.row.exit_code, text, command.row.cause

    async def _name(self, workspace: Workspace, attempt: Attempt) -> None:
        """Give what passed a row each."""
        while attempt.images:
            await self._machines.name_tried(workspace, attempt.images.pop())

    def _drop_images(self, workspace: Workspace, unnamed: list[SnapshotRow]) -> None:
        """Blocks."""
        for row in unnamed:
            self._machines.remove_image(workspace, row)


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


async def _entries(fork: Workspace) -> list[DiffEntry] | None:
    """What differs from the baseline, as a diff has it; None where that is too much to tell."""
    with contextlib.suppress(InvalidInput, Conflict):
        return (await changed_entries(fork.guest, fork.row.seed)).entries
    return None


def at_once(workspace: Workspace) -> int:
    """How many forks run side by side: as many as there are processors and free memory for, 1 to 4."""
    cpus = len(os.sched_getaffinity(0)) // workspace.row.vcpu_count
    return max(1, min(MOST_AT_ONCE, cpus, _available_mib() // workspace.row.mem_mib))


def _available_mib() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable:"))
        return int(line.split()[1]) // 1024
    return 0
