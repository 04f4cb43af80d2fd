"""Environments as the daemon offers them: pulled once for however many ask."""

from __future__ import annotations

import asyncio
import threading

from pyro_mcp.daemon.call import Call
from pyro_mcp.environments import debian
from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.environments.catalog import CATALOG, DEFAULT, Definition, definition
from pyro_mcp.errors import Conflict
from pyro_mcp.locations import Locations
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.models import Environment, Pruned
from pyro_mcp.workspaces.registry import Registry

PATIENCE_SECONDS = 40.0
"""How long a call of a chat host waits for a pull before it says so: no call may last 50 s."""


class _Pull:
    """One pull, watched by any number of calls; cancelled when the last of them leaves."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.said: tuple[str, float | None] = ("starting", 0.0)
        self.changed = asyncio.Event()
        self.task: asyncio.Task[Manifest] | None = None
        self.watchers = 0

    def say(self, text: str, fraction: float | None) -> None:
        self.said = (text, fraction)
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()


class EnvironmentService:
    def __init__(self, locations: Locations, fleet: Fleet, registry: Registry) -> None:
        self.cache = EnvironmentCache(locations.cache / "environments")
        self._pulls: dict[str, _Pull] = {}
        self._fleet = fleet
        self._registry = registry

    def root(self, name: str, digest: str | None = None) -> RootTree:
        """The tree of a build: the given one, or the current."""
        if digest is None:
            manifest = self.cache.installed(definition(name))
            digest = manifest.digest if manifest else ""
        manifest = self.cache.require(name, digest)
        return RootTree(name, manifest.digest, self.cache.tree(manifest.digest))

    async def require(self, call: Call, name: str) -> RootTree:
        """The current tree of an environment, pulled first when it is not installed."""
        wanted = definition(name)
        manifest = await asyncio.to_thread(self._usable, wanted)
        if manifest is None:
            patience = PATIENCE_SECONDS if call.face == "mcp" else None
            manifest = await self.pull(call, wanted, patience=patience)
        return RootTree(name, manifest.digest, self.cache.tree(manifest.digest))

    def _usable(self, wanted: Definition) -> Manifest | None:
        """The installed build, if it is just as it was made: a damaged one is built again."""
        manifest = self.cache.installed(wanted)
        return manifest if manifest is not None and self.cache.sound(manifest.digest) else None

    def check(self, digests: set[str]) -> None:
        """Look at the builds that workspaces stand on, and at those that the next ones will. For a worker thread."""
        for manifest in self.cache.builds():
            known = CATALOG.get(manifest.name)
            if manifest.digest in digests or (known is not None and self.cache.installed(known) == manifest):
                self.cache.sound(manifest.digest)

    async def pull(
        self, call: Call, wanted: Definition, *, force: bool = False, patience: float | None = None
    ) -> Manifest:
        """Join the pull of this environment, or begin it; with `patience`, leave it going after so many seconds."""
        pull = self._pulls.get(wanted.name)
        if pull is None:
            pull = self._pulls[wanted.name] = _Pull()
            loop = asyncio.get_running_loop()
            mine = pull

            def progress(text: str, fraction: float | None) -> None:
                loop.call_soon_threadsafe(mine.say, text, fraction)

            pull.task = asyncio.create_task(
                asyncio.to_thread(debian.build, wanted, self.cache, progress, pull.cancel, force),
                name=f"pull {wanted.name}",
            )
            pull.task.add_done_callback(lambda _: self._pulls.pop(wanted.name, None))
        pull.watchers += 1
        try:
            async with asyncio.timeout(patience):
                return await self._watch(call, wanted, pull)
        except TimeoutError:
            text, fraction = pull.said
            done = f", {fraction:.0%} done" if fraction is not None else ""
            pull.watchers += 1  # it goes on without us
            raise Conflict(
                f"The environment {wanted.name} is being built for the first time ({text}{done}).",
                hint="Call again in half a minute; it goes on meanwhile.",
                code="environment_being_built",
            ) from None
        finally:
            pull.watchers -= 1
            if not pull.watchers:
                pull.cancel.set()

    async def _watch(self, call: Call, wanted: Definition, pull: _Pull) -> Manifest:
        assert pull.task is not None
        while not pull.task.done():
            changed = pull.changed
            text, fraction = pull.said
            await call.progress(f"{wanted.name}: {text}", fraction)
            waiter = asyncio.ensure_future(changed.wait())
            try:
                await asyncio.wait({waiter, pull.task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()
        return await asyncio.shield(pull.task)

    def describe(self, name: str, contents: bool = False) -> Environment:
        wanted = definition(name)
        manifest = self.cache.installed(wanted)
        return Environment(
            name=wanted.name,
            description=wanted.description,
            installed=manifest is not None,
            size_bytes=manifest.size_bytes if manifest else None,
            digest=manifest.digest if manifest else None,
            created_at=manifest.created_at if manifest else None,
            default=name == DEFAULT,
            packages=sorted(wanted.packages),
            contents=manifest.contents if manifest and contents else None,
            source=f"Debian's signed archive, suite {wanted.suite}, by mmdebstrap",
        )

    def describe_all(self) -> list[Environment]:
        return [self.describe(name) for name in CATALOG]

    async def prune(self, everything: bool) -> Pruned:
        in_use = self._registry.environments_in_use()
        for manifest in await asyncio.to_thread(self.cache.builds):
            if manifest.digest not in in_use:
                await self._fleet.drop(manifest.digest)
        removed = await asyncio.to_thread(self.cache.prune, in_use, everything)
        freed = sum(manifest.size_bytes for manifest in removed)
        freed += await self._fleet.prune_templates({m.digest for m in self.cache.builds()})
        return Pruned(removed=[f"{m.name} ({m.digest})" for m in removed], freed_bytes=freed)
