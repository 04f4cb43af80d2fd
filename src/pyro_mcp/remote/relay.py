"""The relay: answers on a socket of this computer as the daemon would, and has the one of another computer do the work.

Faces know nothing of it. What names files of this computer is `remote.carried`; ports that are published over there
come up here (`remote.ports`). A command outlives a connection: it belongs to its machine, so a call whose connection
broke answers that it still runs, with its handle, and whoever asked goes on from the last byte that came.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from pyro_mcp import ownership
from pyro_mcp.client.calls import headers
from pyro_mcp.client.place import parsed
from pyro_mcp.client.wire import Record, operation_path
from pyro_mcp.daemon.app import App
from pyro_mcp.daemon.background import log_to, tell
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.door import Door
from pyro_mcp.definitions.operation import Operation
from pyro_mcp.errors import Conflict, DaemonUnavailable, PyroError, from_record
from pyro_mcp.exports.backups import Backups
from pyro_mcp.locations import Locations
from pyro_mcp.operations import REGISTRY
from pyro_mcp.remote.carried import Carried
from pyro_mcp.remote.link import Link
from pyro_mcp.remote.ports import Ports, published
from pyro_mcp.remote.sent import Sent
from pyro_mcp.remote.ssh import Ssh, private_directory
from pyro_mcp.remote.trees import Rooms, Sender
from pyro_mcp.seeds.store import SeedStore
from pyro_mcp.serving import Server

log = logging.getLogger("pyro_mcp.remote")
IDLE_SECONDS = 600.0
"""A relay that nobody calls leaves after this long, unless a port leads through it."""
LEAVE_SECONDS = 10
PATIENCE_SECONDS = 20.0
"""For a relay that leaves, and ends its connection."""
COMMANDS = frozenset({"exec_workspace", "run_in_vm"})
PUBLISHING = frozenset(
    {
        *("start_service", "stop_service", "delete_workspace", "reset_workspace", "stop_workspace", "start_workspace"),
        *("fork_workspace", "update_workspace", "try_workspace"),
    }
)
"""After these, ports may lead elsewhere or nowhere."""
STILL_RUNS = (
    "The connection to {on} broke and was made again; the command runs on. Read the rest with `workspace logs`, handle "
    "{handle}."
)


@dataclass(frozen=True)
class Answer:
    """A result as it came over the wire."""

    record: Any

    def model_dump(self, *, mode: str = "json") -> Any:
        return self.record


class Relay:
    def __init__(self, locations: Locations) -> None:
        address = parsed(locations.on)
        directory = private_directory(locations.runtime / "far")
        self.ssh = Ssh(address, directory)
        self.ports = Ports(self.ssh, locations.state / "ports.json")
        self.link = Link(self.ssh, directory, self.ports.again, lambda: bool(self.ports))
        self._seeds, self._backups = SeedStore(locations.seeds), Backups(locations.backups)
        self._brought = locations.state / "brought"
        sent = Sent(locations.state / "sent.json")
        sender = Sender(self.ssh, self._seeds, locations.state / "lists", sent)
        self._carried = Carried(sender, Rooms(self.ssh, self._brought), self._backups)
        self._tidying: set[asyncio.Task[None]] = set()

    async def __call__(self, operation: Operation, call: Call, arguments: dict[str, Any]) -> Answer:
        """Carry out an operation, as `daemon.dispatch.Dispatcher` does."""
        plain = _plain(operation, arguments)

        async def ask(name: str, given: dict[str, Any]) -> dict[str, Any]:
            return await self._asked(name, call, given)

        carried = getattr(self._carried, operation.name, None)
        if operation.name == "land_workspace":
            result = await self._carried.land_workspace(
                ask, call.progress, plain, lambda name, given: self._lines(name, call, given)
            )
        elif carried is not None:
            result = await carried(ask, call.progress, plain)
        else:
            result = await self._asked(operation.name, call, plain)
        result = await self.ports.localised(result)
        if operation.name in PUBLISHING and self.ports:
            task = asyncio.ensure_future(self.tidy(call))
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)
        return Answer(result)

    async def tidy(self, call: Call | None = None) -> None:
        """Drop the ports that nothing publishes any more."""
        with contextlib.suppress(PyroError):
            everyone = Call(face=call.face, client=call.client) if call else Call(face="sdk", client="")
            known = self.ports.known()  # what is published from here on stays
            await self.ports.drop(known - published(await self._asked("list_workspaces", everyone, {})))

    async def leads_anywhere(self) -> bool:
        """Whether a port that is published leads through here."""
        if self.ports:
            await self.tidy()
        return bool(self.ports)

    def sweep(self) -> None:
        """Remove what a relay left that was killed, and old backups. Blocks."""
        shutil.rmtree(self._brought, ignore_errors=True)
        self._seeds.sweep()
        with contextlib.suppress(OSError):
            self._backups.sweep()

    async def close(self) -> None:
        for task in self._tidying:
            task.cancel()
        await self.link.close()

    async def _lines(self, name: str, call: Call, arguments: dict[str, Any]) -> AsyncIterator[Record]:
        """The lines of an answer, those of events passed on to the caller, too."""
        operation = REGISTRY.get(name)
        fields = headers(call.face, call.client, True, call.wants_output, call.scope)  # type: ignore[arg-type]
        again = operation is None or operation.read_only
        path = operation_path(name)
        error: PyroError | None = None
        async with contextlib.aclosing(self.link.request(path, arguments, fields, again=again)) as lines:  # type: ignore[type-var]
            async for line in lines:
                event = line.get("event")
                if isinstance(event, dict) and event.get("type") != "entry":
                    if event.get("type") == "note":
                        if call.tell is not None:
                            await call.tell(event)
                    elif call.emit is not None:
                        await call.emit(event)
                if "error" in line:
                    error = from_record(line["error"])
                else:
                    yield line
        if error is not None:
            raise error

    async def _asked(self, name: str, call: Call, arguments: dict[str, Any]) -> dict[str, Any]:
        started: dict[str, Any] = {}
        result: dict[str, Any] | None = None
        try:
            async with contextlib.aclosing(self._lines(name, call, arguments)) as lines:  # type: ignore[type-var]
                async for line in lines:
                    # To the end of the answer: then the connection is kept for the next call.
                    event = line.get("event") or {}
                    if isinstance(line.get("result"), dict):
                        result = line["result"]
                    elif event.get("type") == "started":
                        started = event
        except DaemonUnavailable as error:
            if result is not None:
                return result
            if error.code != "daemon_went_away" or name not in COMMANDS or "handle" not in started:
                raise self._broke(error) from None
            await self.link.ready()
            return self._still_runs(name, started, arguments)
        if result is None:
            raise self._broke(DaemonUnavailable("", code="daemon_went_away"))
        return result

    def _still_runs(self, name: str, started: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
        """The answer of a command that goes on, as if the wait for it had been over."""
        hint = STILL_RUNS.format(on=self.ssh.address, handle=started["handle"])
        record = {"workspace": started.get("workspace") or "", "handle": started["handle"], "status": "running"}
        if name == "run_in_vm":
            record |= {"environment": str(arguments.get("environment") or ""), "workspace_kept": True}
        filled = REGISTRY[name].result.model_validate({**record, "hint": hint})
        return dict(json.loads(filled.model_dump_json()))

    def _broke(self, error: DaemonUnavailable) -> PyroError:
        if error.code != "daemon_went_away":
            return error
        return DaemonUnavailable(
            f"The connection to {self.ssh.address} broke during the call. `pyro workspace history` shows whether the "
            "call was carried out.",
            hint="Check there, then try again if needed; the connection is made again by itself.",
            code="daemon_went_away",
        )


def _plain(operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
    """Validated arguments as they cross the wire again."""
    return dict(operation.parameters.model_construct(**arguments).model_dump(mode="json"))


def run(locations: Locations, ready_fd: int | None = None, launch_fd: int | None = None) -> int:
    """Be the relay until nobody needs it, or until told to stop. Gives the exit status."""
    try:
        locations.prepare()
        # One that leaves has both for some seconds.
        owned = ownership.own(locations.ownership, PATIENCE_SECONDS)
        lock = os.open(locations.daemon_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not ownership.taken(lock, PATIENCE_SECONDS):
            raise Conflict(f"Another relay uses {locations.runtime}.", code="daemon_runs")
        asyncio.run(_serve(locations, owned, ready_fd, launch_fd))
    except PyroError as error:
        tell(ready_fd, json.dumps(error.to_record()))
        sys.stderr.write(f"pyro relay: {error}\n")
        return error.exit_status
    return 0


async def _serve(locations: Locations, owned: int, ready_fd: int | None, launch_fd: int | None) -> None:
    log_to(locations.daemon_log)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    relay = Relay(locations)
    try:
        await asyncio.to_thread(relay.sweep)
        await relay.link.ready()  # who starts it is told at once what is wrong
        app = App(relay, stop.set, locations.state)
        server = Server.of(app, timeout_keep_alive=3600, h11_max_incomplete_event_size=65536)
        serving = asyncio.create_task(server.serve(sockets=[Door(locations.socket, stop.set)]))
        ownership.say(owned, locations.socket_name)
        idling = asyncio.create_task(app.stop_when_unused(IDLE_SECONDS, relay.leads_anywhere))
        tell(ready_fd, "ready")
        if launch_fd is not None:
            os.close(launch_fd)
        await stop.wait()
        locations.socket.unlink(missing_ok=True)
        idling.cancel()
        server.should_exit = server.force_exit = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(serving, idling, return_exceptions=True)
    finally:
        await relay.close()
