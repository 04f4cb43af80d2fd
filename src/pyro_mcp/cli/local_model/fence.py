"""What the model of the demo reaches: the demo's own workspaces and no others, and their end.

Should the demo be killed, the daemon deletes them once unused for `TTL_SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import Any

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client.answers import Event
from pyro_mcp.errors import NotFound, NotPermitted, PyroError
from pyro_mcp.operations import Operation, Profile

PROFILE: Profile = "workspace-core"
ENVIRONMENT = "debian:12"
LABEL = "pyro-demo-ollama"
TTL_SECONDS = 1800
SETTLE_SECONDS = 10.0


class Fenced(AsyncPyro):
    """The daemon as the model's tools see it: with the workspaces of this demo, and no others of the user's."""

    def __init__(self) -> None:
        super().__init__(face="mcp")
        self.made: dict[str, str | None] = {}
        """Names by id, the oldest first."""
        self.labels = {LABEL: secrets.token_hex(8)}
        self.one_shots: set[str] = set()
        self.asked = False
        """Whether anything was asked of a daemon; else none is started to clean up."""
        self._under_way: set[asyncio.Task[Any]] = set()

    async def call(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        on_event: Callable[[Event], None] | None = None,
        *,
        outputs: bool = True,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> dict[str, Any]:
        self.asked = True
        ready = self._within(operation, arguments)
        with self._counted():
            record = await super().call(operation, ready, on_event, outputs=outputs, on_note=on_note)
        if operation.name in ("create_workspace", "update_workspace"):
            self.made[record["id"]] = record.get("name")
        elif record.get("workspace_kept"):
            self.one_shots.add(record["workspace"])
        return record

    def _within(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        if operation.name in ("create_workspace", "list_workspaces"):
            ready = {**arguments, "labels": {**(arguments.get("labels") or {}), **self.labels}}
            return ready if operation.read_only else {**ready, "ttl_seconds": TTL_SECONDS}
        if operation.name == "delete_workspace":
            raise NotPermitted(
                "The workspace is still needed: your work in it is checked after your last message.",
                hint="It is deleted for you. When you are done, answer without a tool call.",
            )
        wanted = arguments.get("workspace")
        if wanted is not None and wanted not in self.made and wanted not in self.made.values():
            raise NotFound(
                f"There is no workspace {wanted!r}. Existing workspaces: {', '.join(self.made) or 'none'}.",
                hint="workspace_create creates one and returns its id.",
                code="workspace_not_found",
            )
        return arguments

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            yield
        finally:
            self._under_way.discard(task)

    async def end_calls(self) -> None:
        """Calls that outlasted their answer go on behind the tools; end them."""
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def delete_all(pyro: AsyncPyro, fenced: Fenced) -> None:
    """Delete what is left; where that cannot be done, say so, and who will do it."""
    try:
        await fenced.end_calls()
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS
        left = (await pyro.list_workspaces(labels=fenced.labels)).workspaces
        # The daemon abandons one whose caller has left, or has just finished it: no event tells which.
        while any(w.state == "creating" for w in left) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
            left = (await pyro.list_workspaces(labels=fenced.labels)).workspaces
        for workspace in {*fenced.made, *fenced.one_shots, *(w.id for w in left)}:
            with contextlib.suppress(NotFound):
                await pyro.delete_workspace(workspace)
    except PyroError as error:
        print(
            f"The demo's workspaces could not be deleted: {error} "
            f"The daemon deletes them after {TTL_SECONDS} s without use.",
            file=sys.stderr,
        )
