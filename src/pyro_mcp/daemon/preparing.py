"""Keeps what a project's set-up made, and finds it for the project's next workspaces (`environments.prepared`)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mcp.daemon.environment_service import EnvironmentService, spool
from pyro_mcp.environments import prepared, worker
from pyro_mcp.environments.cache import Manifest
from pyro_mcp.environments.prepared import Kept, Wanted
from pyro_mcp.errors import PyroError
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.workspaces.occupancy import Occupancy
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 20.0
"""How long a create waits for one that is being kept at this moment, before it runs the set-up itself."""
STALL_SECONDS = 60.0
"""How long reading what was made may come to a halt; however long all of it takes, the workspace waits meanwhile."""


@dataclass(frozen=True)
class Found:
    """A prepared build, and what of it holds for a certain seed."""

    manifest: Manifest
    kept: Kept
    fits: bool
    """False: it was made with other lock files, so its content is still to be brought up to date."""
    gone: list[str]
    """Names of the seed that are deleted, as the set-up deleted them."""
    path: Path


class Preparing:
    def __init__(self, environments: EnvironmentService, registry: Registry, occupancy: Occupancy) -> None:
        self._environments = environments
        self._registry = registry
        self._fleet: Fleet = occupancy.fleet
        self._watching: set[asyncio.Task[None]] = set()
        self._publishing: dict[str, asyncio.Future[Manifest]] = {}

    def watch(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do it for as long as this daemon lives; what a set-up waits for is for the next one to see to."""
        task = asyncio.create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)
        return task

    async def close(self) -> None:
        """Watch no set-up any more. What is being kept at this moment is finished by whoever closes the registry."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def find(self, wanted: Wanted, folder: Path, seed: Path) -> Found | None:
        """What the project's set-up made already, for this seed; one that is being kept is waited for, a while."""
        under_way = self._publishing.get(wanted.key)
        if under_way is not None:
            await asyncio.wait({under_way}, timeout=PATIENCE_SECONDS)
        return await asyncio.to_thread(self._find, wanted, folder, seed)

    def _find(self, wanted: Wanted, folder: Path, seed: Path) -> Found | None:
        cache = self._environments.cache
        found = prepared.find(wanted, folder, cache)
        if found is None:
            return None
        manifest, kept, fits = found
        cache.used(manifest.digest)
        return Found(manifest, kept, fits, prepared.still_deleted(kept, seed), cache.tree(manifest.digest))

    async def has(self, wanted: Wanted) -> bool:
        """Whether the very same is kept."""
        manifest = await asyncio.to_thread(self._environments.cache.current, wanted.name)
        return manifest is not None and await asyncio.to_thread(self._environments.cache.sound, manifest.digest)

    async def spool(self, workspace: Workspace, disturbed: Callable[[], str]) -> Path:
        """The archive of what its set-up made, from one moment in which nobody else changed anything.

        Raises:
            PyroError: the machine does not send it, or the disk has no room.
            Disturbed: somebody else did something in the workspace.
        """
        cache = self._environments.cache
        await asyncio.to_thread(cache.prepare)
        archive = cache.root / "staging" / f"root-{os.getpid()}-{secrets.token_hex(8)}.tar"
        try:
            async with workspace.lock.exclusive():
                if why := disturbed():
                    raise Disturbed(why)
                await spool(workspace.guest, archive, "/v1/prepared", stall_seconds=STALL_SECONDS)
        except BaseException:
            archive.unlink(missing_ok=True)
            raise
        return archive

    async def keep(self, workspace: Workspace, wanted: Wanted, archive: Path, seed: Path, *, anew: bool) -> Manifest:
        """Make a prepared build of an archive, which is removed. Whoever wants the same meanwhile waits.

        Raises:
            PyroError: nothing was kept.
        """
        task = asyncio.ensure_future(self._kept(workspace, wanted, archive, seed, anew))
        self._publishing[wanted.key] = task
        task.add_done_callback(lambda _: self._publishing.pop(wanted.key, None))
        self._registry.spawn(asyncio.gather(task, return_exceptions=True))  # a daemon that leaves waits for it
        return await asyncio.shield(task)

    async def _kept(self, workspace: Workspace, wanted: Wanted, archive: Path, seed: Path, anew: bool) -> Manifest:
        row, cache = workspace.row, self._environments.cache
        values = [secret.value.encode() for secret in workspace.secrets.by_name.values()]
        cancel = threading.Event()
        try:
            base = await asyncio.to_thread(cache.require, row.environment, row.environment_digest)
            made = await asyncio.to_thread(
                lambda: worker.prepare(wanted, base, archive, seed, values, cache, cancel, anew=anew)
            )
        finally:
            cancel.set()
            archive.unlink(missing_ok=True)
        self._registry.spawn(self._settle(workspace, wanted, made))
        return made

    async def _settle(self, workspace: Workspace, wanted: Wanted, made: Manifest) -> None:
        """Have the next machine begin quickly, and remove what takes the place of nothing any more."""
        row, environments = workspace.row, self._environments
        root = environments.root_of_build(row.environment, made)
        with contextlib.suppress(PyroError, OSError):
            await self._fleet.engine(row.engine).template(root, row.vcpu_count, row.disk_gib)
        for manifest in await asyncio.to_thread(prepared.to_go, wanted.project, environments.cache):
            if manifest.digest not in environments.in_use():
                await environments.discard(manifest)


class Disturbed(Exception):
    """Something else than the set-up was at work in the workspace; the text says what."""
