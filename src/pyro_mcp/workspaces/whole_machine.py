"""Snapshots, forks, stop and start: operations on a workspace's whole machine.

An image is a directory (`moments.Images`) that a row names. It is written first and named in one write, and
removed only after no row names it any more: whatever is killed in between leaves an image that nothing
names, which the next daemon removes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Container
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pyro_mcp import models
from pyro_mcp.errors import Conflict, EngineError, InvalidInput, NotFound
from pyro_mcp.guest.client import Guest
from pyro_mcp.store import SnapshotRow, now
from pyro_mcp.workspaces.manager import WorkspaceManager
from pyro_mcp.workspaces.moments import Moment
from pyro_mcp.workspaces.occupancy import Occupancy
from pyro_mcp.workspaces.workspace import Workspace

BASELINE = "baseline"
LAST = "last"
"""In a reset, the last checkpoint of the files; see `last_checkpoint`."""
MAX_SNAPSHOTS = 32
"""Of one workspace: each holds what was written since the machine began."""
TRIED = ".try-"
"""Before the number of an alternative, the name of the snapshot that it is kept as; nobody else's can begin so."""
MAX_FORKS = 16
"""At once: each is a machine of its own."""
T = TypeVar("T")


class WholeMachine:
    """The operations."""

    def __init__(self, manager: WorkspaceManager, occupancy: Occupancy) -> None:
        self._manager = manager
        self._occupancy = occupancy
        self._registry = occupancy.registry
        self._images = occupancy.images

    # -- snapshots

    async def snapshot(self, workspace: Workspace, name: str) -> models.Snapshot:
        """Keep the machine's state of this moment under a name. It runs on."""
        async with workspace.lock.exclusive():
            self._registry.get(workspace.id)  # it may have been deleted meanwhile
            self._check_new(workspace, name)
            async with self._at_rest(workspace) as moment:
                image = await self._take(workspace, name)
            try:
                size = await asyncio.to_thread(self._images.size, image)
                row = SnapshotRow(workspace.id, name, now(), size, image.name, moment.dump())
                await self._registry.store.put_snapshot(row)
            except BaseException:
                await asyncio.to_thread(self._images.remove, image)
                raise
            workspace.snapshots[name] = row
            return _record(row)

    def _check_new(self, workspace: Workspace, name: str) -> None:
        if name == LAST:
            raise InvalidInput(
                "`last` is the last checkpoint of the files.", hint="Choose another name.", code="reserved_name"
            )
        if name == BASELINE:
            raise InvalidInput(
                "`baseline` is the state in which the workspace was created; it always exists.",
                hint="Choose another name.",
                code="reserved_name",
            )
        if name in workspace.snapshots:
            raise Conflict(
                f"Workspace {workspace.id} already has a snapshot {name!r}.",
                hint="Choose another name, or delete that snapshot.",
                code="snapshot_exists",
            )
        if sum(not each.startswith(TRIED) for each in workspace.snapshots) >= MAX_SNAPSHOTS:
            raise Conflict(
                f"Workspace {workspace.id} has {MAX_SNAPSHOTS} snapshots, the limit.",
                hint="Delete one.",
                code="too_many_snapshots",
            )

    @contextlib.asynccontextmanager
    async def _at_rest(self, workspace: Workspace) -> AsyncIterator[Moment]:
        """Follow no command meanwhile: so the moment says exactly what is known of the machine in the image.

        A command that ends now is still known to the agent in the image, and its output goes on without a gap.
        """
        machine = workspace.require_machine()
        await self._know_processes(workspace, machine.guest)
        followed = workspace.running_commands()
        for command in followed:
            command.leave()
        try:
            yield Moment.of(workspace)
        finally:
            if workspace.machine is machine:
                for command in followed:
                    command.follow(machine.guest, None, self._occupancy.command_ended)

    async def _know_processes(self, workspace: Workspace, guest: Guest) -> None:
        """Keep the agent's ids of all commands that run: in a copy they are not found by their labels."""
        unknown = [command for command in workspace.running_commands() if command.row.process_id is None]
        if unknown:
            processes = (await guest.call("GET", "/v1/processes")).record().records("processes")
            ids = {p.text("label"): p.handle("id") for p in processes if p.has("label")}
            for command in unknown:
                process_id = command.row.process_id or ids.get(command.row.handle)
                command.row = replace(command.row, process_id=process_id)
        for command in workspace.running_commands():
            await self._registry.save_command(command)

    async def _take(self, workspace: Workspace, name: str, owner: str | None = None) -> Path:
        machine = workspace.require_machine()
        try:
            image = self._images.new(owner or workspace.id, name)
            try:
                await machine.snapshot(image)
            except BaseException:
                await asyncio.to_thread(self._images.remove, image)
                raise
        except OSError as error:
            raise EngineError(
                f"The machine's state could not be written: {error.strerror or error}.",
                hint="The disk with pyro's state may be full; `pyro daemon status` shows where that is.",
                code="snapshot_failed",
            ) from error
        return image

    def listing(self, workspace: Workspace) -> models.SnapshotList:
        found = [_record(row) for row in workspace.snapshots.values()]
        baseline = models.Snapshot(
            workspace=workspace.id, name=BASELINE, created_at=workspace.row.created_at, size_bytes=0
        )
        return models.SnapshotList(workspace=workspace.id, snapshots=[baseline, *found])

    async def delete(self, workspace: Workspace, name: str) -> models.SnapshotDeleted:
        async with workspace.lock.exclusive():
            if name == BASELINE:
                raise InvalidInput("The baseline cannot be deleted.", code="reserved_name")
            row = self._find(workspace, name)
            await self._registry.store.remove_snapshot(workspace.id, name)
            del workspace.snapshots[name]
        image = self._images.path(workspace.id, row.image)
        await asyncio.to_thread(self._images.remove, image)
        return models.SnapshotDeleted(workspace=workspace.id, name=name, freed_bytes=row.size_bytes)

    def _find(self, workspace: Workspace, name: str) -> SnapshotRow:
        row = workspace.snapshots.get(name)
        if row is None:
            known = ", ".join([BASELINE, *workspace.snapshots])
            raise NotFound(
                f"Workspace {workspace.id} has no snapshot {name!r}; it has: {known}.", code="unknown_snapshot"
            )
        return row

    async def reset(self, workspace: Workspace, name: str | None) -> None:
        """Put the whole machine back: to the baseline, or to a snapshot. The id stays."""
        if name is None or name == BASELINE:
            await self._manager.reset(workspace)
            await self.drop_tried(workspace)
            return
        async with workspace.taken_over("the workspace is being reset"):
            self._registry.get(workspace.id)
            row = self._find(workspace, name)
            suspended = workspace.row.suspended
            image = self._images.path(workspace.id, row.image)
            moment = Moment.load(row.moment)
            await self._occupancy.put_back(workspace, image, moment, f"the workspace was reset to {name}")
            await self._occupancy.drop_suspended(workspace, suspended)
        await self.drop_tried(workspace)

    # -- alternatives that were tried; see `trying`

    def moment_of(self, workspace: Workspace) -> contextlib.AbstractAsyncContextManager[tuple[Path, Moment]]:
        """An image of the machine as it is now, while the context lasts."""
        return self._source(workspace, None)

    async def tried(self, parent: Workspace, fork: Workspace, number: int, began: Moment) -> SnapshotRow:
        """An image of a fork as a snapshot of its parent, that `name_tried` gives a row. `began` is the fork's moment.

        What ran when it was forked and still does goes on as the parent's, on the parent's ports; what the fork began
        since has no name there.
        """
        async with fork.lock.exclusive(), self._at_rest(fork) as moment:
            image = await self._take(fork, f"{TRIED}{number}", parent.id)
        try:
            size = await asyncio.to_thread(self._images.size, image)
        except BaseException:
            await asyncio.to_thread(self._images.remove, image)
            raise
        ours = {theirs: mine for mine, theirs in began.handles_of_fork(fork.id).items()}
        back = moment.of_fork(parent.id, ours)
        services = [record for record in began.services if record["handle"] in back.running]
        logged = {handle: counts for handle, counts in began.logged.items() if handle in back.running}
        back = replace(back, services=services, logged=logged)
        return SnapshotRow(parent.id, f"{TRIED}{number}", now(), size, image.name, back.dump())

    async def name_tried(self, workspace: Workspace, row: SnapshotRow) -> None:
        """Where it gets none, the image is removed."""
        try:
            self._registry.get(workspace.id)  # it may have been deleted meanwhile
            await self._registry.store.put_snapshot(row)
        except BaseException:
            await asyncio.to_thread(self.remove_image, workspace, row)
            raise
        workspace.snapshots[row.name] = row

    def remove_image(self, workspace: Workspace, row: SnapshotRow) -> None:
        """Blocks."""
        self._images.remove(self._images.path(workspace.id, row.image))

    async def drop_tried(self, workspace: Workspace) -> None:
        """Remove what the last try kept."""
        for name in [name for name in workspace.snapshots if name.startswith(TRIED)]:
            with contextlib.suppress(NotFound):
                await self.delete(workspace, name)

    # -- fork

    async def fork(self, parent: Workspace, count: int, snapshot: str | None) -> list[Workspace]:
        """Siblings from one moment: the present, or a snapshot. All of them, or none."""
        if count > MAX_FORKS:
            raise InvalidInput(f"One call makes at most {MAX_FORKS} forks.", code="too_many_forks")
        async with self._source(parent, snapshot) as (image, moment):
            names = self._names(parent, count)
            made = await asyncio.gather(
                *(self._manager.fork(parent, name, image, moment) for name in names), return_exceptions=True
            )
        forks = [workspace for workspace in made if isinstance(workspace, Workspace)]
        failures = [failure for failure in made if isinstance(failure, BaseException)]
        if failures:
            await asyncio.gather(*(self._manager.delete(fork) for fork in forks))
            raise failures[0]
        for fork in forks:
            self._registry.note(fork, "daemon", "fork_workspace", "ok", f"forked from {parent.row.name or parent.id}")
        return forks

    @contextlib.asynccontextmanager
    async def _source(self, parent: Workspace, snapshot: str | None) -> AsyncIterator[tuple[Path, Moment]]:
        if snapshot == BASELINE:
            raise InvalidInput(
                "A fork of the baseline would just be a new workspace.",
                hint="Create one from the same seed.",
                code="fork_of_baseline",
            )
        if snapshot is None and parent.row.state != "stopped":
            async with parent.lock.exclusive():
                self._registry.get(parent.id)
                async with self._at_rest(parent) as moment:
                    image = await self._take(parent, ".fork")
            try:
                yield image, moment
            finally:
                # Machines have read it whole when they answer; nothing refers to it any more.
                await asyncio.to_thread(self._images.remove, image)
            return
        async with parent.lock.shared():
            self._registry.get(parent.id)
            if snapshot is None and parent.row.suspended is not None:
                name, moment = parent.row.suspended["image"], Moment.load(parent.row.suspended)
            else:
                row = self._find(parent, snapshot or "")
                name, moment = row.image, Moment.load(row.moment)
            yield self._images.path(parent.id, name), moment

    def _names(self, parent: Workspace, count: int) -> list[str]:
        taken = {w.row.name for w in self._registry.all() if w.row.project == parent.row.project}
        return fork_names(parent.row.name, parent.id, taken, count)

    # -- stop and start

    async def stop(self, workspace: Workspace) -> None:
        """Write the machine to disk and end it."""
        async with workspace.lock.exclusive():
            self._registry.get(workspace.id)
            if workspace.row.state == "stopped":
                return
            async with self._at_rest(workspace) as moment:
                machine = workspace.require_machine()
                image = await self._take(workspace, ".stopped")
                suspended = {**moment.dump(), "image": image.name}
                try:
                    await self._registry.change(workspace, state="stopped", machine_id=None, suspended=suspended)
                except BaseException:
                    await asyncio.to_thread(self._images.remove, image)
                    raise
                workspace.machine = None
                self._occupancy.release_machine(workspace)
                # First of all: what it does from now on is not in the image.
                await machine.destroy()
            for handle in moment.running:
                command = workspace.commands[handle]
                command.suspend()
                await self._registry.save_command(command)
            await self._occupancy.let_go(workspace)

    async def start(self, workspace: Workspace) -> None:
        """Bring a stopped workspace back as it was, processes included."""
        async with workspace.lock.exclusive():
            self._registry.get(workspace.id)
            suspended = workspace.row.suspended
            if workspace.row.state != "stopped" or suspended is None:
                workspace.require_machine()
                return
            image = self._images.path(workspace.id, suspended["image"])
            moment = Moment.load(suspended)
            machine = await self._occupancy.brought_back(workspace, image, moment)
            await self._occupancy.revive(workspace, machine, moment)
            await self._occupancy.drop_suspended(workspace, suspended)

    async def offline(self, workspace: Workspace, look: Callable[[Guest], Awaitable[T]]) -> T:
        """Look into a stopped workspace, in a throwaway copy of its machine: no network, and nothing is kept."""
        async with workspace.lock.shared():
            suspended = workspace.row.suspended
            if workspace.row.state != "stopped" or suspended is None:
                raise Conflict(
                    f"Workspace {workspace.id} is {workspace.row.state}, not stopped.",
                    hint="Use workspace file list, workspace file read or workspace export, or stop it first.",
                    code="not_stopped",
                )
            image = self._images.path(workspace.id, suspended["image"])
            machine = await self._occupancy.restored(workspace.row, image)
            try:
                return await look(machine.guest)
            finally:
                await asyncio.shield(machine.destroy())


def _record(row: SnapshotRow) -> models.Snapshot:
    return models.Snapshot(
        workspace=row.workspace_id,
        name=row.name,
        created_at=row.created_at,
        size_bytes=row.size_bytes,
        running=list(row.moment.get("running", {})),
    )


def fork_names(name: str | None, workspace_id: str, taken: Container[str | None], count: int) -> list[str]:
    """The parent's name with the first free numbers behind it; a number of its own goes, so that forks of forks count
    on. An id stays whole: some consist of digits."""
    base = (re.sub(r"-\d+$", "", name) if name else workspace_id)[:58]
    free = (f"{base}-{number}" for number in itertools.count(1))
    return list(itertools.islice((each for each in free if each not in taken), count))
