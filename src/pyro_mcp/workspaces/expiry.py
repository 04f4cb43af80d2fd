"""Deletes workspaces when their time is over, and announces it ahead."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pyro_mcp.errors import PyroError
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
NOTICE_SECONDS = 300.0
"""An expiry is announced so long ahead in the history, or at half of the time where that is shorter."""
RETRY_SECONDS = 30.0
"""After a deletion that failed: its machine or this computer's disk may let it be by then."""


def _steady() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


Delete = Callable[[Workspace, str], Awaitable[None]]


class Clock:
    """The time, as far as both of this computer's clocks agree that it has passed.

    A clock that is set must end no workspace: set forward, the steady one says how long it really was; set back, the
    activity that is written down from then on is in its time.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady) -> None:
        self._wall, self._steady = wall, steady
        self._ahead = wall() - steady()

    def now(self) -> datetime:
        return datetime.fromtimestamp(min(self._wall(), self._steady() + self._ahead), UTC)


class Expiry:
    def __init__(self, registry: Registry, delete: Delete) -> None:
        self._registry = registry
        self._delete = delete

    async def run(self) -> None:
        """Delete each workspace when its time is over, until cancelled."""
        announced: set[str] = set()
        failed: dict[str, datetime] = {}
        clock = Clock()
        while True:
            self._registry.times_changed.clear()
            moment = clock.now()
            soonest: float | None = None
            for workspace in self._registry.all():
                expiry = workspace.expires_at()
                if expiry is None or workspace.row.state not in ("running", "stopped", "lost"):
                    announced.discard(workspace.id)
                    continue
                seconds = (expiry[0] - moment).total_seconds()
                if seconds <= 0:
                    announced.discard(workspace.id)
                    since = (moment - failed.get(workspace.id, datetime.min.replace(tzinfo=UTC))).total_seconds()
                    if since >= RETRY_SECONDS:
                        since = 0.0
                        await self._expired(workspace, expiry[1], again=workspace.id in failed)
                        failed[workspace.id] = moment
                    if self._registry.holds(workspace.id):
                        soonest = min(RETRY_SECONDS - since, RETRY_SECONDS if soonest is None else soonest)
                    else:
                        del failed[workspace.id]
                    continue
                notice = min(NOTICE_SECONDS, (expiry[0] - _since(workspace)).total_seconds() / 2)
                if seconds > notice:
                    announced.discard(workspace.id)
                    seconds -= notice
                elif workspace.id not in announced:
                    announced.add(workspace.id)
                    self._registry.note(
                        workspace,
                        "daemon",
                        "expiry",
                        "ok",
                        f"will be deleted at {expiry[0]:%H:%M:%SZ}: {expiry[1]}",
                    )
                soonest = seconds if soonest is None else min(soonest, seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(soonest):
                    await self._registry.times_changed.wait()

    async def _expired(self, workspace: Workspace, cause: str, *, again: bool) -> None:
        log.info("workspace %s expired: %s", workspace.id, cause)
        if not again:
            with contextlib.suppress(PyroError):  # a full disk must not keep it
                said = f"deleted: {cause}"
                await self._registry.store.add_event(workspace.id, "daemon", "expiry", "ok", summary=said)
                workspace.notify_event()
        try:
            await self._delete(workspace, f"it expired ({cause})")
        except (PyroError, OSError) as error:
            log.warning("workspace %s could not be deleted: %s", workspace.id, error)


def _since(workspace: Workspace) -> datetime:
    return datetime.fromisoformat(workspace.row.last_activity_at)
