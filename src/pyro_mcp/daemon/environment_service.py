"""Environments as the daemon offers them: pulled once for however many ask, probed by booting."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from pyro_mcp.daemon.call import Call
from pyro_mcp.environments import debian
from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.environments.catalog import CATALOG, DEFAULT, Definition, definition
from pyro_mcp.errors import Conflict
from pyro_mcp.locations import Locations
from pyro_mcp.machines.components import fetch_runsc, fetched_runsc, find_runsc
from pyro_mcp.machines.gvisor.engine import GvisorEngine, boot_id
from pyro_mcp.machines.pool import WarmPool
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.models import EngineStatus, Environment, Pruned
from pyro_mcp.store import Store
from pyro_mcp.workspaces.manager import WorkspaceManager

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
    def __init__(self, locations: Locations, store: Store) -> None:
        self._cache_directory = locations.cache
        self.cache = EnvironmentCache(locations.cache / "environments")
        self._store = store
        self._pulls: dict[str, _Pull] = {}
        self._engine: GvisorEngine | None = None
        self._manager: WorkspaceManager | None = None
        self._pool: WarmPool | None = None

    def bind(self, engine: GvisorEngine, manager: WorkspaceManager, pool: WarmPool) -> None:
        """The pieces that are made with this one's help."""
        self._engine, self._manager, self._pool = engine, manager, pool

    def runsc_path(self) -> Path:
        """Where runsc is, or will be once it is fetched."""
        component = find_runsc(self._cache_directory)
        return Path(component.path) if component.path else fetched_runsc(self._cache_directory)

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
        manifest = await asyncio.to_thread(self.cache.installed, wanted)
        await self._require_runsc(call)
        if manifest is None:
            patience = PATIENCE_SECONDS if call.face == "mcp" else None
            manifest = await self.pull(call, wanted, patience=patience)
        return RootTree(name, manifest.digest, self.cache.tree(manifest.digest))

    async def _require_runsc(self, call: Call) -> None:
        if not self.runsc_path().exists():
            await call.progress("fetching runsc")
            await asyncio.to_thread(fetch_runsc, self._cache_directory, lambda text, fraction: None)

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
        assert self._manager is not None and self._pool is not None and self._engine is not None
        in_use = self._manager.environments_in_use()
        for manifest in await asyncio.to_thread(self.cache.builds):
            if manifest.digest not in in_use:
                for machine in self._pool.drop(manifest.digest):
                    await machine.destroy()
        await self._engine.finish_cleaning()
        removed = await asyncio.to_thread(self.cache.prune, in_use, everything)
        freed = sum(manifest.size_bytes for manifest in removed)
        freed += await asyncio.to_thread(self._engine.prune_templates, {m.digest for m in self.cache.builds()})
        return Pruned(removed=[f"{m.name} ({m.digest})" for m in removed], freed_bytes=freed)

    async def engine_status(self) -> EngineStatus:
        """Whether gVisor works here: the kept verdict of this boot of the machine, or a machine booted now."""
        assert self._engine is not None
        component = await asyncio.to_thread(find_runsc, self._cache_directory)
        limits = self._engine.limits.description

        def status(ok: bool, detail: str, seconds: float | None = None) -> EngineStatus:
            return EngineStatus(
                name="gvisor",
                ok=ok,
                detail=detail,
                boot_seconds=seconds,
                isolation=GvisorEngine.isolation,
                limits=limits,
            )

        if not component.ok:
            return status(False, f"runsc is missing: {component.remedy}")
        installed = [m for m in map(self.cache.installed, CATALOG.values()) if m is not None]
        if not installed:
            return status(False, "no environment is installed to boot; run `pyro doctor --fix` or `pyro env pull`")
        key = f"probe {component.path} {component.version} {boot_id()}"
        kept = await self._store.fact(key)
        if kept is not None:
            return status(bool(kept["ok"]), f"{kept['detail']} (found out at {kept['at']})", kept["boot_seconds"])
        manifest = installed[0]
        root = RootTree(manifest.name, manifest.digest, self.cache.tree(manifest.digest))
        probe = await self._engine.probe(root)
        if probe.ok:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            fact = {"ok": True, "detail": probe.detail, "boot_seconds": probe.boot_seconds, "at": at}
            await self._store.put_fact(key, fact)
        return status(probe.ok, probe.detail, probe.boot_seconds)
