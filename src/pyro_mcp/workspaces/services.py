"""Services: long-lived processes with a name, a readiness and published ports.

A service is a command of its own kind; what it prints is kept and followed as any command's output. Its state
is never remembered, but read off its process and its readiness, so it cannot be wrong about a process that
has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from pyro_mcp import models
from pyro_mcp.errors import Conflict, InvalidInput, NotFound, PyroError
from pyro_mcp.network.published import Listener, Publication, parse
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.output import OutputLog
from pyro_mcp.store import ServiceRow, now
from pyro_mcp.vocabulary import publishes
from pyro_mcp.workspaces.readiness import PROBE_SECONDS, Readiness, ready_now, refuse_taken_port
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
"""Between two looks where nothing tells (CONTRACT, defaults). Output of the service makes the next one come at once."""
FIRST_POLL_SECONDS = 0.02
TAIL_LINES = 20
TAIL_BYTES = 4000
Start = Callable[[], Awaitable[Command]]


class Services:
    """All services of all workspaces."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._starting: set[tuple[str, str]] = set()
        self._draining: set[asyncio.Task[None]] = set()

    # -- state

    def find(self, workspace: Workspace, name: str) -> ServiceRow:
        row = workspace.services.get(name)
        if row is None:
            known = ", ".join(workspace.services) or "none"
            raise NotFound(f"Workspace {workspace.id} has no service {name!r}; it has: {known}.", code="no_service")
        return row

    def state(self, workspace: Workspace, row: ServiceRow) -> models.ServiceState:
        status = workspace.commands[row.handle].row.status
        if status == "suspended":
            return "suspended"
        if row.failure is not None:
            return "failed"
        if status == "running":
            return "starting" if row.ready and row.ready_at is None else "running"
        if row.stopped or status == "lost":
            return "stopped"
        return "failed" if row.ready and row.ready_at is None else "exited"

    def record(self, workspace: Workspace, row: ServiceRow) -> models.Service:
        command = workspace.commands[row.handle]
        state = self.state(workspace, row)
        failure = row.failure or row.cause or ("" if command.running or row.stopped else command.row.cause)
        if state == "failed" and not failure:
            failure = f"ended with status {command.row.exit_code} before it was ready"
        return models.Service(
            workspace=workspace.id,
            name=row.name,
            state=state,
            exit_code=None if command.running else command.row.exit_code,
            handle=row.handle,
            command=command.row.command,
            ready=str(Readiness.of(row.ready)) if row.ready else "",
            started_at=command.row.started_at,
            ready_seconds=_seconds(command.row.started_at, row.ready_at),
            published_ports=[models.PublishedPort(**port) for port in row.published] if command.running else [],
            failure=failure,
            log_tail=tail(command) if state in ("failed", "exited") else "",
            hint=_hint(state, row),
        )

    # -- start

    async def start(
        self,
        workspace: Workspace,
        name: str,
        readiness: Readiness,
        ready_timeout_seconds: float,
        publish: list[str],
        start: Start,
    ) -> ServiceRow:
        """Start a service. Its ports listen from the start: a client that comes early finds the port refused inside."""
        readiness = readiness.checked()
        publications = [parse(text) for text in publish]
        if publications and not publishes(workspace.row.network_policy):
            raise InvalidInput(
                f"Workspace {workspace.id} has the network policy {workspace.row.network_policy!r}, which publishes "
                "no port.",
                hint="Create a workspace with network_policy egress+published-ports.",
                code="publish_not_allowed",
            )
        existing = workspace.services.get(name)
        if existing is not None and workspace.commands[existing.handle].row.status in ("running", "suspended"):
            raise Conflict(
                f"Service {name!r} is already {self.state(workspace, existing)}.",
                hint="Stop it first, or choose another name.",
                code="service_exists",
            )
        place = (workspace.id, name)
        if place in self._starting:
            raise Conflict(f"Service {name!r} is being started by another call.", code="service_exists")
        self._starting.add(place)
        try:
            await refuse_taken_port(workspace, readiness)
            return await self._start(workspace, name, readiness, ready_timeout_seconds, publications, start)
        finally:
            self._starting.discard(place)

    async def _start(
        self,
        workspace: Workspace,
        name: str,
        readiness: Readiness,
        ready_timeout_seconds: float,
        publications: list[Publication],
        start: Start,
    ) -> ServiceRow:
        await self._close_ports(workspace, name)
        listeners = await self._open_ports(workspace, publications)
        try:
            command = await start()
        except BaseException:
            await _close(listeners)
            raise
        workspace.listeners[name] = listeners
        row = ServiceRow(
            workspace_id=workspace.id,
            name=name,
            handle=command.row.handle,
            ready=readiness.record(),
            ready_timeout_seconds=ready_timeout_seconds,
            published=[
                {"host": listener.wanted.host, "host_port": listener.port, "guest_port": listener.wanted.guest_port}
                for listener in listeners
            ],
        )
        workspace.services[name] = row
        await self._registry.store.put_service(row)
        self._attend(workspace, row)
        if not command.running:
            await self.ended(workspace, command)
        return workspace.services[name]

    async def _open_ports(self, workspace: Workspace, publications: list[Publication]) -> list[Listener]:
        opened: list[Listener] = []
        try:
            for publication in publications:
                listener = self._listener(workspace, publication)
                await listener.open()
                opened.append(listener)
        except BaseException:
            await _close(opened)
            raise
        return opened

    def _listener(self, workspace: Workspace, publication: Publication) -> Listener:
        async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await workspace.guest.open_stream("/v1/connect", {"port": port})

        return Listener(publication, connect, lambda: self._registry.activity(workspace))

    # -- readiness

    def _attend(self, workspace: Workspace, row: ServiceRow) -> None:
        if row.ready and row.ready_at is None and row.failure is None:
            task = asyncio.create_task(self._probe(workspace, row.name), name=f"probe {workspace.id} {row.name}")
            workspace.probes[row.name] = task
            task.add_done_callback(
                lambda done: workspace.probes.pop(row.name) if workspace.probes.get(row.name) is done else None
            )

    async def _probe(self, workspace: Workspace, name: str) -> None:
        row = workspace.services[name]
        command = workspace.commands[row.handle]
        readiness = Readiness.of(row.ready)
        started = datetime.fromisoformat(command.row.started_at).timestamp()
        deadline = started + row.ready_timeout_seconds - datetime.now().timestamp()
        pause = FIRST_POLL_SECONDS
        try:
            # One look at least: it may have become ready while no daemon looked.
            async with asyncio.timeout(max(deadline, min(row.ready_timeout_seconds, PROBE_SECONDS))):
                while command.running:
                    change = command.change
                    if await ready_now(workspace, readiness):
                        await self._update(workspace, name, ready_at=now())
                        return
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await change.wait()  # what a service prints often says that it is ready
                    pause = min(POLL_SECONDS, pause * 2)
                return  # `ended` says what became of it
        except TimeoutError:
            pass
        failure = f"not ready within {row.ready_timeout_seconds:g} s ({readiness})"
        await self._update(workspace, name, failure=failure)
        with contextlib.suppress(PyroError):
            await command.cancel(workspace.guest, first="TERM")
        await self._close_ports(workspace, name)

    async def _update(self, workspace: Workspace, name: str, **changes: Any) -> None:
        row = replace(workspace.services[name], **changes)
        workspace.services[name] = row
        await self._registry.store.put_service(row)

    async def settled(self, workspace: Workspace, name: str, seconds: float) -> ServiceRow:
        """Wait until a service is ready or will not be, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while (probe := workspace.probes.get(name)) is not None:
                    await asyncio.wait({probe})
        return workspace.services[name]

    # -- stop

    async def stop(self, workspace: Workspace, name: str, grace_seconds: float) -> ServiceRow:
        """TERM to the process group, KILL after the grace; the ports close at once."""
        row = self.find(workspace, name)
        command = workspace.commands[row.handle]
        if command.running:
            self._end_probe(workspace, name)
            await self._update(workspace, name, stopped=True)
            await self._close_ports(workspace, name)
            await command.cancel(workspace.guest, grace_seconds, first="TERM")
        return workspace.services[name]

    def _end_probe(self, workspace: Workspace, name: str) -> None:
        probe = workspace.probes.pop(name, None)
        if probe is not None:
            probe.cancel()

    async def _close_ports(self, workspace: Workspace, name: str) -> None:
        await _close(workspace.listeners.pop(name, []))

    # -- what happens to the machine

    async def ended(self, workspace: Workspace, command: Command) -> None:
        for row in list(workspace.services.values()):
            if row.handle == command.row.handle:
                for listener in workspace.listeners.pop(row.name, []):
                    task = asyncio.create_task(listener.drain(), name=f"drain {listener.port}")
                    self._draining.add(task)
                    task.add_done_callback(self._draining.discard)
                    await asyncio.sleep(0)  # it listens no more

    async def let_go(self, workspace: Workspace, cause: str, *, keep_ports: frozenset[str] = frozenset()) -> None:
        for name, row in list(workspace.services.items()):
            self._end_probe(workspace, name)
            if name not in keep_ports:
                await self._close_ports(workspace, name)
            if cause and workspace.commands[row.handle].row.status == "lost" and row.cause is None:
                await self._update(workspace, name, cause=cause)

    async def take_up(self, workspace: Workspace) -> None:
        for row in list(workspace.services.values()):
            command = workspace.commands.get(row.handle)
            if command is None:
                del workspace.services[row.name]
                await self._registry.store.remove_service(workspace.id, row.name)
                continue
            if not command.running:
                continue
            if row.name not in workspace.listeners:
                row = await self._publish_again(workspace, row)
            self._attend(workspace, row)

    async def _publish_again(self, workspace: Workspace, row: ServiceRow) -> ServiceRow:
        """Listen on the ports of a service that runs already; in a fork, whose parent has them, on others."""
        listeners, published = [], []
        forked = workspace.row.forked_from is not None
        for port in row.published:
            wanted = Publication(int(port["guest_port"]), int(port["host_port"]), str(port["host"]))
            listener, problem = self._listener(workspace, wanted), ""
            try:
                try:
                    await listener.open()
                except Conflict:
                    if not forked:
                        raise
                    listener = self._listener(workspace, replace(wanted, host_port=0))
                    await listener.open()
                listeners.append(listener)
            except PyroError as error:
                problem = error.message
                log.warning("workspace %s service %s: %s", workspace.id, row.name, problem)
            published.append(
                {"host": wanted.host, "host_port": listener.port, "guest_port": wanted.guest_port, "problem": problem}
            )
        workspace.listeners[row.name] = listeners
        if published != row.published:
            await self._update(workspace, row.name, published=published)
        return workspace.services[row.name]

    async def forget(self, workspace: Workspace) -> None:
        for name in list(workspace.services):
            self._end_probe(workspace, name)
            await self._close_ports(workspace, name)

    async def close(self) -> None:
        """The daemon leaves: nobody listens any more until the next one does."""
        for workspace in self._registry.all():
            for name in list(workspace.listeners):
                await self._close_ports(workspace, name)
        for task in list(self._draining):
            task.cancel()


async def _close(listeners: list[Listener]) -> None:
    for listener in listeners:
        await listener.close()


def tail(command: Command, lines: int = TAIL_LINES) -> str:
    """The last lines of both streams as they came, within 4,000 bytes."""
    end = command.output.kept_bytes
    begin = max(0, end - TAIL_BYTES)
    text = command.output.read(begin, end - begin).decode("utf-8", "replace")
    found = text.splitlines()
    if begin and len(found) > 1:
        found = found[1:]
    return "\n".join(found[-lines:])


def last_lines(output: OutputLog, lines: int, bound: int) -> int:
    """Where the last lines begin, so many that they fit the bound. Blocks."""
    end = output.kept_bytes
    begin = max(0, end - bound)
    data = output.read(begin, end - begin)
    position = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            # All of it, or as much as the bound lets through, from the beginning of a line.
            return begin if not begin else begin + data.find(b"\n") + 1
    return begin + position + 1


def _seconds(start: str, end: str | None) -> float | None:
    if end is None:
        return None
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)


def _hint(state: str, row: ServiceRow) -> str:
    if state == "starting":
        return f"Not ready yet; check again with service_status, up to {row.ready_timeout_seconds:g} s after its start."
    if state == "failed":
        return "log_tail has the last lines of its output; service_logs has the rest."
    problems = [port["problem"] for port in row.published if port.get("problem")]
    return " ".join(problems)
