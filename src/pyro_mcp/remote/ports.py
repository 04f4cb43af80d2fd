"""Ports that workspaces publish on the other computer's loopback, each reached at a port of this one's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from pathlib import Path
from typing import Any

from pyro_mcp import wholeness
from pyro_mcp.remote.ssh import Ssh

log = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
LOWEST = 1024
"""A port below it is not taken here, whatever the other computer says."""
MOST = 512
"""Ports that are forwarded at the same time."""


class Ports:
    """Which port here leads to which port there. What was chosen stays, also for the next relay (`file`)."""

    def __init__(self, ssh: Ssh, file: Path) -> None:
        self._ssh, self._file = ssh, file
        self._turn = asyncio.Lock()
        self._here: dict[int, int] = {}
        self._up: set[int] = set()
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = {int(there): int(here) for there, here in wholeness.read_record(file).items()}
            self._here = {there: here for there, here in kept.items() if 0 < there < 1 << 16 and 0 < here < 1 << 16}

    def __bool__(self) -> bool:
        return bool(self._up)

    async def localised(self, record: Any) -> Any:
        """A result in which each published port is the one of this computer."""
        if isinstance(record, dict):
            if (there := _port(record)) is not None:
                here = await self._reached(there)
                if here is None:
                    return {**record, "problem": record.get("problem") or "ssh could not forward it"}
                return {**record, "host_port": here}
            return {key: await self.localised(value) for key, value in record.items()}
        if isinstance(record, list):
            return [await self.localised(value) for value in record]
        return record

    async def again(self) -> None:
        """The connection was made anew: forward what was forwarded."""
        async with self._turn:
            before, self._up = self._up or set(self._here), set()
            for there in before:
                await self._forward(there)

    def known(self) -> set[int]:
        """The ports over there that something here leads to, or did."""
        return {*self._here, *self._up}

    async def drop(self, gone: set[int]) -> None:
        """Stop what leads to no published port any more."""
        async with self._turn:
            for there in self._up & gone:
                await self._ssh.forward(self._words(there), cancel=True)
                self._up.discard(there)
            if self._here.keys() & gone:
                self._here = {there: here for there, here in self._here.items() if there not in gone}
                self._keep()

    async def _reached(self, there: int) -> int | None:
        async with self._turn:
            if there not in self._up and len(self._up) < MOST:
                await self._forward(there)
            return self._here[there] if there in self._up else None

    async def _forward(self, there: int) -> None:
        for wanted in (self._here.get(there), there, 0):
            if wanted is None or 0 < wanted < LOWEST or (here := _free(wanted)) is None:
                continue
            self._here[there] = here
            if await self._ssh.forward(self._words(there)):
                self._up.add(there)
                self._keep()
                return
        log.warning("port %d cannot be forwarded", there)

    def _words(self, there: int) -> str:
        return f"{LOOPBACK}:{self._here[there]}:{LOOPBACK}:{there}"

    def _keep(self) -> None:
        with contextlib.suppress(OSError):
            wholeness.write_new(self._file, json.dumps(self._here).encode())


def _free(port: int) -> int | None:
    """The port, or any for 0, if nobody listens there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _port(record: dict[str, Any]) -> int | None:
    """The loopback port over there that a record of a published one names. Labels and the like are no such record."""
    if record.get("host") != LOOPBACK or "guest_port" not in record:
        return None
    port = record.get("host_port")
    return port if type(port) is int and 0 < port < 1 << 16 else None


def published(record: Any) -> set[int]:
    """The loopback ports that a result of the other computer names."""
    if isinstance(record, dict):
        port = _port(record)
        return {port} if port is not None else set().union(*map(published, record.values()))
    return set().union(*map(published, record)) if isinstance(record, list) else set()
