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


class Ports:
    """Which port here leads to which port there. What was chosen stays, also for the next relay (`file`)."""

    def __init__(self, ssh: Ssh, file: Path) -> None:
        self._ssh, self._file = ssh, file
        self._turn = asyncio.Lock()
        self._here: dict[int, int] = {}
        self._up: set[int] = set()
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._here = {int(there): int(here) for there, here in wholeness.read_record(file).items()}

    def __bool__(self) -> bool:
        return bool(self._up)

    async def localised(self, record: Any) -> Any:
        """A result in which each published port is the one of this computer."""
        if isinstance(record, dict):
            if {"host", "host_port", "guest_port"} <= record.keys() and record["host"] == LOOPBACK:
                here = await self._reached(int(record["host_port"]))
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

    async def only(self, present: set[int]) -> None:
        """Stop what leads to no published port any more."""
        async with self._turn:
            for there in self._up - present:
                await self._ssh.forward(self._words(there), cancel=True)
                self._up.discard(there)
            if self._here.keys() - present:
                self._here = {there: here for there, here in self._here.items() if there in present}
                self._keep()

    async def _reached(self, there: int) -> int | None:
        async with self._turn:
            if there not in self._up:
                await self._forward(there)
            return self._here[there] if there in self._up else None

    async def _forward(self, there: int) -> None:
        for wanted in (self._here.get(there), there, 0):
            if wanted is None or (here := _free(wanted)) is None:
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


def published(record: Any) -> set[int]:
    """The loopback ports that a result of the other computer names."""
    if isinstance(record, dict):
        if {"host", "host_port", "guest_port"} <= record.keys():
            return {int(record["host_port"])} if record["host"] == LOOPBACK else set()
        return set().union(*map(published, record.values()))
    return set().union(*map(published, record)) if isinstance(record, list) else set()
