"""The asyncio way to the daemon: as `sync`, with tasks instead of threads.

A cancelled call closes its connection, which the daemon takes as: the caller went away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from pyro_mcp.client.sync import (
    CONNECT_SECONDS,
    POOL_SIZE,
    REPLACEMENTS,
    SILENCE_SECONDS,
    check_owner,
    not_reached,
    not_running,
    replace_outdated,
    start_on_demand,
)
from pyro_mcp.client.wire import Outdated, Record, Wire, cannot_replace, check_health, silent, went_away
from pyro_mcp.locations import Locations

_CHUNK = 256 * 1024


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.wire = Wire()
        self.reader = reader
        self.writer = writer

    def stale(self) -> bool:
        """The event loop has seen the other side close it."""
        return self.reader.at_eof() or self.writer.is_closing() or self.reader.exception() is not None

    def close(self) -> None:
        self.writer.close()

    async def exchange(self, request: bytes, silence_seconds: float = SILENCE_SECONDS) -> AsyncIterator[Record]:
        try:
            self.writer.write(request)
            await self.writer.drain()
            while not self.wire.done:
                async with asyncio.timeout(silence_seconds):
                    data = await self.reader.read(_CHUNK)
                for record in self.wire.receive(data):
                    yield record
        except TimeoutError:
            raise silent(silence_seconds) from None
        except OSError:
            raise went_away() from None


class AsyncTransport:
    """Connections to one user's daemon, which is started when it does not run. Of one event loop."""

    def __init__(
        self,
        locations: Locations,
        start: Callable[[Locations], None] | None = start_on_demand,
        replace: Callable[[Locations], None] = replace_outdated,
    ) -> None:
        self._locations = locations
        self._start = start
        self._replace = replace
        self._idle: list[_Connection] = []

    async def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[Record]:
        """The records of one answer, as they come. Close the iterator (`aclosing`) when leaving it early."""
        connection = self._kept() or await self._connect()
        whole = False
        try:
            async for record in connection.exchange(connection.wire.request(method, path, body, headers)):
                yield record
            whole = True
        finally:
            if whole and connection.wire.reusable and len(self._idle) < POOL_SIZE:
                self._idle.append(connection)
            else:
                connection.close()

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _kept(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.stale():
                return connection
            connection.close()
        return None

    async def _open(self) -> _Connection:
        async with asyncio.timeout(CONNECT_SECONDS):
            path = str(self._locations.socket)
            reader, writer = await asyncio.open_unix_connection(path, limit=_CHUNK)
        try:
            check_owner(writer.get_extra_info("socket"), path)
        except BaseException:
            writer.close()
            raise
        return _Connection(reader, writer)

    async def _connect(self) -> _Connection:
        for _ in range(REPLACEMENTS):
            connection = await self._reached()
            try:
                request = connection.wire.request("GET", "/v1/health")
                async for record in connection.exchange(request):
                    check_health(record)
                return connection
            except Outdated as outdated:
                connection.close()
                if self._start is None:
                    raise cannot_replace(outdated.found) from None
                await asyncio.to_thread(self._replace, self._locations)
            except BaseException:
                connection.close()
                raise
        raise cannot_replace("of several versions, one after another")

    async def _reached(self) -> _Connection:
        path = str(self._locations.socket)
        try:
            return await self._open()
        except (FileNotFoundError, ConnectionRefusedError):
            if self._start is None:
                raise not_running(path) from None
            await asyncio.to_thread(self._start, self._locations)
            try:
                return await self._open()
            except OSError as error:
                raise not_reached(path, error) from None
        except OSError as error:
            raise not_reached(path, error) from None
