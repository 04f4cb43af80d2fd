"""Which engine a workspace gets, and what `doctor` says of each."""

from __future__ import annotations

import asyncio
import contextlib
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pyro_mcp import enclosure
from pyro_mcp.daemon.call import Call, being_set_up
from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.catalog import CATALOG
from pyro_mcp.errors import PyroError, Unsupported
from pyro_mcp.machines import choice
from pyro_mcp.machines.components import fetch_runsc, fetched_runsc, find_runsc
from pyro_mcp.machines.firecracker.components import fetch_firecracker, find_firecracker, find_jailer
from pyro_mcp.machines.firecracker.engine import FirecrackerEngine
from pyro_mcp.machines.firecracker.kernel import fetch_kernel, kernel_component
from pyro_mcp.machines.gvisor.engine import GvisorEngine
from pyro_mcp.machines.host_checks import kvm_opens
from pyro_mcp.machines.processes import boot_id
from pyro_mcp.machines.protocol import Probe, RootTree
from pyro_mcp.models import Component, EngineStatus
from pyro_mcp.models.base import iso
from pyro_mcp.store import Store


def runsc_path(cache: Path) -> Path:
    """Where runsc is, or will be once it is fetched."""
    component = find_runsc(cache)
    return Path(component.path) if component.path else fetched_runsc(cache)


class EngineService:
    """`gvisor` and `firecracker` may both run machines at the same time."""

    def __init__(
        self,
        cache: Path,
        store: Store,
        environments: EnvironmentCache,
        gvisor: GvisorEngine,
        firecracker: FirecrackerEngine,
    ) -> None:
        self._cache = cache
        self._store = store
        self._environments = environments
        self._gvisor = gvisor
        self._firecracker = firecracker
        self._verdict: Probe | None = None
        self._unmended = ""
        """Why the last attempt to fetch Firecracker's parts failed."""
        self._probing = asyncio.Lock()
        self._fetching: asyncio.Task[Path] | None = None
        """runsc, for all who ask."""

    async def choose(self, call: Call, asked: str) -> str:
        """The engine for a new workspace, its parts fetched where they are missing.

        Raises:
            Unsupported: the engine that is asked for cannot work here; the message says why.
        """
        wanted = choice.wanted() if asked == "auto" else asked
        if wanted != "gvisor":
            probe = await self._firecracker_verdict()
            if probe.ok:
                return self._firecracker.name
            if wanted == self._firecracker.name:
                raise Unsupported(
                    f"Firecracker cannot run machines here: {probe.detail}.",
                    hint="See `pyro doctor`. The engines auto and gvisor work without KVM.",
                    code="engine_not_available",
                )
        if not runsc_path(self._cache).exists():
            await self._fetched(call, call.patience)
        return self._gvisor.name

    async def begin_to_fetch(self, call: Call) -> None:
        """Have the engine's program fetched where one is missing, without waiting for it."""
        with contextlib.suppress(PyroError):
            await self.choose(replace(call, begun=-math.inf), "auto")

    async def _fetched(self, call: Call, patience: float | None) -> None:
        """Join the fetching of runsc, or begin it; with `patience`, leave it going after so many seconds."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(
                asyncio.to_thread(fetch_runsc, self._cache, lambda text, fraction: None), name="fetch runsc"
            )
            self._fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        await call.progress("fetching runsc")
        done, _ = await asyncio.wait({self._fetching}, timeout=patience)
        if not done:
            raise being_set_up("The engine's program", "fetching runsc")
        self._fetching.result()

    async def _firecracker_verdict(self) -> Probe:
        """Once per daemon: the kept verdict of this boot of the computer, or a guest booted now, with a deadline."""
        async with self._probing:
            if self._verdict is None:
                if not kvm_opens():
                    self._verdict = Probe(False, "/dev/kvm does not exist, or this user may not open it")
                else:
                    self._verdict = await choice.verdict(self._firecracker, self._cache)
            return self._verdict

    # -- doctor

    async def fix(self, call: Call) -> list[str]:
        """Fetch what is missing; what each engine may go without is not a failure."""
        fixed: list[str] = []
        self._unmended = ""
        if not (await asyncio.to_thread(find_runsc, self._cache)).ok:
            await self._fetched(call, None)
            fixed.append("fetched runsc")
        if not kvm_opens():
            return fixed
        try:
            if not (await asyncio.to_thread(find_firecracker, self._cache)).ok:
                await call.progress("fetching firecracker")
                await asyncio.to_thread(fetch_firecracker, self._cache, lambda text, fraction: None)
                fixed.append("fetched firecracker and its jailer")
            if not (await asyncio.to_thread(kernel_component, self._cache)).ok:
                await call.progress("fetching the guest kernel")
                await asyncio.to_thread(fetch_kernel, self._cache, lambda text, fraction: None)
                fixed.append("fetched the guest kernel")
        except PyroError as error:
            self._unmended = f"could not be fetched: {error.message} gVisor runs machines in the meantime"
            fixed.append(f"Firecracker is still missing: {error.message}")
        else:
            fixed += await self._fix_jailer(call)
        self._verdict = None
        self._firecracker.look_again()
        return fixed

    async def _fix_jailer(self, call: Call) -> list[str]:
        """A Firecracker of the user's, or one that an earlier pyro fetched, may have come without."""
        if not enclosure.root_outside() or (await asyncio.to_thread(find_jailer, self._cache)).ok:
            return []
        await call.progress("fetching the jailer")
        try:
            await asyncio.to_thread(fetch_firecracker, self._cache, lambda text, fraction: None)
        except PyroError as error:
            return [f"Firecracker still has no jailer: {error.message}"]
        return ["fetched the jailer"]

    async def components(self) -> list[Component]:
        found = await asyncio.to_thread(choice.find_components, self._cache)
        if not self._unmended:
            return found
        # What was tried in vain is not advised again.
        return [
            part if part.ok or part.name == "runsc" else part.model_copy(update={"remedy": self._unmended})
            for part in found
        ]

    async def statuses(self) -> list[EngineStatus]:
        """Both engines, the one that is preferred first."""
        found = [await self._firecracker_status(), await self._gvisor_status()]
        asked = choice.wanted()
        return sorted(found, key=lambda status: (not status.ok, asked not in ("auto", status.name)))

    async def _firecracker_status(self) -> EngineStatus:
        probe = await self._firecracker_verdict()
        if not probe.ok and self._unmended:
            probe = Probe(False, self._unmended)
        if probe.ok:
            await self._firecracker.cell()
        return EngineStatus(
            name=self._firecracker.name,
            ok=probe.ok,
            detail=probe.detail,
            boot_seconds=probe.boot_seconds,
            isolation=self._firecracker.isolation,
            limits=self._firecracker.limits_description,
        )

    async def _gvisor_status(self) -> EngineStatus:
        """The kept verdict of this boot of the computer, or a machine booted now."""
        component = await asyncio.to_thread(find_runsc, self._cache)

        def status(ok: bool, detail: str, seconds: float | None = None) -> EngineStatus:
            return EngineStatus(
                name=self._gvisor.name,
                ok=ok,
                detail=detail,
                boot_seconds=seconds,
                isolation=self._gvisor.isolation,
                limits=self._gvisor.limits.description,
            )

        if not component.ok:
            return status(False, f"runsc is missing: {component.remedy}")
        installed = [m for m in map(self._environments.installed, CATALOG.values()) if m is not None]
        if not installed:
            return status(False, "no environment is installed to boot; run `pyro doctor --fix` or `pyro env pull`")
        key = f"probe {component.path} {component.version} {boot_id()}"
        kept = await self._store.fact(key)
        if kept is not None:
            return status(bool(kept["ok"]), f"{kept['detail']} (checked at {kept['at']})", kept["boot_seconds"])
        manifest = installed[0]
        probe = await self._gvisor.probe(
            RootTree(manifest.name, manifest.digest, self._environments.tree(manifest.digest))
        )
        if probe.ok:
            at = iso(datetime.now(UTC))
            fact = {"ok": True, "detail": probe.detail, "boot_seconds": probe.boot_seconds, "at": at}
            await self._store.put_fact(key, fact)
        return status(probe.ok, probe.detail, probe.boot_seconds)
