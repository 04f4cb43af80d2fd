"""The daemon of another computer as if its socket were here: requests, and the connection they share, made when needed.

A request is made again only where it cannot have been carried out, or changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.client.wire import Outdated, Record, check_health
from pyro_mcp.errors import DaemonUnavailable, PyroError, from_record
from pyro_mcp.locations import Locations
from pyro_mcp.remote.ssh import Ssh
from pyro_mcp.version import VERSION

log = logging.getLogger(__name__)
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 1.0
"""Before the connection is made again after it broke; doubled each time."""
LONGEST_PAUSE_SECONDS = 60.0
TRIES = 60
"""To make it again though nobody calls; the next call tries anew."""


class Unsent(Exception):
    """The request did not get to the daemon."""

    def __init__(self, error: PyroError) -> None:
        super().__init__(str(error))
        self.error = error


class _Transport(AsyncTransport):
    """Tells what failed before anything was sent."""

    async def _connect(self) -> Any:
        try:
            return await super()._connect()
        except PyroError as error:
            raise Unsent(error) from None


def answered(said: bytes) -> Any:
    """What was said, if it is JSON; a greeting of the shell over there may stand before it."""
    lines = said.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except (ValueError, RecursionError):
        return None


def checked(ssh: Ssh, said: Any) -> dict[str, Any]:
    """An answer of pyro's.

    Raises:
        DaemonUnavailable: it is none.
        PyroError: what it says that is wrong.
    """
    if not isinstance(said, dict):
        raise _other(ssh)
    if isinstance(said.get("error"), dict):
        raise from_record(said["error"])
    return said


def _other(ssh: Ssh) -> DaemonUnavailable:
    return DaemonUnavailable(
        f"What answers on {ssh.address} is not this pyro.",
        hint="`pyro context add --install` installs it there.",
        code="remote_version",
    )


class Link:
    """One computer's daemon. `directory` is private to this user; `up` is called whenever the connection was made.

    One that breaks is made again when somebody calls, and at once where it is `wanted` without a call.
    """

    def __init__(
        self, ssh: Ssh, directory: Path, up: Callable[[], Awaitable[None]], wanted: Callable[[], bool] = lambda: False
    ) -> None:
        self.ssh = ssh
        self._socket = directory / "daemon.sock"
        self._transport = _Transport(Locations(directory, directory, directory), start=None)
        self._up = up
        self._wanted = wanted
        self._turn = asyncio.Lock()
        self._stale = True
        self._watch: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await self._transport.close()
        await self.ssh.close()

    async def ready(self) -> None:
        """Have a connection, and a daemon that runs over there.

        Raises:
            DaemonUnavailable: the computer cannot be reached, or its pyro is another one.
        """
        async with self._turn:
            if self.ssh.connected and not self._stale:
                return
            if not self.ssh.connected:
                await self.ssh.connect()
                log.info("connected to %s", self.ssh.address)
            said = self._checked(answered(await self.ssh.run("hello")))
            what = f"{self._socket}:{said['socket']}"
            await self.ssh.forward(what, cancel=True)
            self._socket.unlink(missing_ok=True)
            if not await self.ssh.forward(what):
                raise DaemonUnavailable(
                    f"The daemon's socket on {self.ssh.address} cannot be reached over ssh.",
                    hint="Its sshd must allow forwarding of streams: AllowStreamLocalForwarding and "
                    "AllowTcpForwarding in sshd_config.",
                    code="forwarding_refused",
                )
            self._stale = False
            if self._watch is not None and self._watch is not asyncio.current_task():
                self._watch.cancel()
            self._watch = asyncio.create_task(self._watched())
            await self._up()

    async def _watched(self) -> None:
        await self.ssh.ended()
        self._stale = True
        log.info("the connection to %s broke", self.ssh.address)
        pause = FIRST_PAUSE_SECONDS
        for _ in range(TRIES):
            if not self._wanted():
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                await self.ready()
                return  # the new connection has a watch of its own
            except PyroError as error:
                log.info("%s", error)

    def _checked(self, said: Any) -> dict[str, Any]:
        answer = checked(self.ssh, said)
        if not str(answer.get("socket")).startswith("/"):
            raise _other(self.ssh)
        found = str(answer.get("version"))
        try:
            check_health(answer)
            newer = False
        except (Outdated, DaemonUnavailable):
            newer = True
        if newer:
            raise DaemonUnavailable(
                f"pyro is {found} on {self.ssh.address} and {VERSION} here; they do not understand each other.",
                hint=f"Install the same there: `{self.ssh.by_hand} uv tool install pyro-mcp=={VERSION}`, or "
                "`pyro context add --install`; or upgrade this one.",
                code="remote_version",
                details={"remote": found, "local": VERSION},
            )
        return answer

    async def request(
        self, path: str, body: Any, fields: dict[str, str], *, again: bool = False
    ) -> AsyncIterator[Record]:
        """The records of one answer; `again`: it may be asked once more, for it changes nothing.

        Raises:
            DaemonUnavailable: it could not be asked; with the code `daemon_went_away`, nobody knows what became of it.
        """
        pause, told = FIRST_PAUSE_SECONDS, False
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                await self.ready()
                async with contextlib.aclosing(self._transport.request("POST", path, body, fields)) as lines:  # type: ignore[type-var]
                    async for line in lines:
                        told = True
                        yield line
                return
            except Unsent as unsent:
                self._stale = True  # the daemon may have left when it had nothing to own
                if last:
                    raise unsent.error from None
            except DaemonUnavailable as error:
                if error.code in ("remote_version", "forwarding_refused", "remote_without_pyro"):
                    raise
                lost = error.code == "daemon_went_away"
                if lost and not (again and not told):
                    raise
                if last or (not lost and attempt == 0 and not self.was_up):
                    raise
            await asyncio.sleep(pause)
            pause *= 2

    @property
    def was_up(self) -> bool:
        """It has been connected once: what fails now may pass."""
        return self._watch is not None
