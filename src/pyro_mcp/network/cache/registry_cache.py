"""What the workspaces' ways out ask of the cache: an answer, from the disk or fetched, as a head and its pieces.

No guest writes here: what is kept is what the daemon itself fetched, with a request that only `registries.Wanted`
shapes. Whether a guest may have it was decided before, by its workspace's policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.network.cache.fetching import CHUNK, Connections, Fetch, Unkept
from pyro_mcp.network.cache.registries import REGISTRIES, Wanted
from pyro_mcp.network.cache.store import Answer, Store
from pyro_mcp.network.resolve import Unreachable, checked_addresses, connect, strict_check, system_resolver
from pyro_mcp.network.upstream import UpstreamProxy

HTTPS = 443
PER_WORKSPACE = 16
"""Fetches of one workspace at once; what is beyond goes its own way out, and is not kept."""
MAX_PASSED = 1024
COMPARING = 2
"""Contents that are compared with their digests at once: a gigabyte takes a second, and guests ask for any number."""


@dataclass(frozen=True)
class Given:
    """One answer, on its way to a guest."""

    status: int
    headers: list[tuple[str, str]]
    length: int | None
    """Bytes of the content; None where only its end tells."""
    pieces: AsyncIterator[bytes]
    kept: bool
    """Whether the registry was not asked."""


class RegistryCache:
    """One user's."""

    def __init__(
        self,
        root: Path,
        settings: Path,
        *,
        connections: Connections | None = None,
    ) -> None:
        self.store = Store(root, settings)
        self.connections = connections or Connections(_open_registry)
        self._threads = ThreadPoolExecutor(COMPARING, "registries")
        self._fetches: dict[str, Fetch] = {}
        self._passed: dict[str, None] = {}
        self._busy: Counter[str] = Counter()
        self.distrusted: dict[tuple[str, str], None] = {}
        """Workspaces and hosts where a program did not take this computer's certificate for the host's."""
        self._left: dict[tuple[str, str], None] = {}
        """Those where the last one left in the middle of the handshake."""

    @property
    def enabled(self) -> bool:
        return self.store.settings().enabled

    def serves(self, workspace: str, host: str) -> bool:
        """Whether a workspace's requests to a host are looked at."""
        return host in REGISTRIES and self.enabled and (workspace, host) not in self.distrusted

    def distrust(self, workspace: str, host: str, *, said: bool) -> None:
        """A program of the workspace did not end the TLS handshake: if it said that it wants to see the host's own
        certificate, from now on it does. Some leave without a word (asyncio's): so does the second in a row.
        """
        key = workspace, host
        found = self.distrusted if said or key in self._left else self._left
        found[key] = None
        while len(found) > MAX_PASSED:
            found.pop(next(iter(found)))

    def trust(self, workspace: str, host: str) -> None:
        """A program of the workspace took this computer's certificate for the host's."""
        self._left.pop((workspace, host), None)

    @contextlib.asynccontextmanager
    async def answer(self, workspace: str, wanted: Wanted) -> AsyncIterator[Given | None]:
        """The answer to a request; None where it has to be asked of the registry as if there were no cache.

        Raises:
            Unreachable: the registry does not answer, and nothing is kept.
            Refused: it is at an address that nobody may reach.
        """
        known = await asyncio.to_thread(self.store.find, wanted)
        if known is not None and known.fresh() and not (wanted.anew and not known.lasting):
            file = await self._content(known)
            if file is not None:
                with file:
                    yield _given(known, file, kept=True)
                return
            known = None
        if wanted.key in self._passed or self._busy[workspace] >= PER_WORKSPACE:
            yield None
            return
        self._busy[workspace] += 1
        fetch = self._fetches.get(wanted.key)
        if fetch is None or fetch.task.done():
            fetch = self._fetches[wanted.key] = Fetch(wanted, known, self.connections, self.store)
        fetch.readers += 1
        try:
            try:
                await fetch.head()
            except Unkept:
                self._pass(wanted)
                yield None
                return
            except Unreachable:
                file = await self._content(known) if known is not None else None
                if known is None or file is None:
                    raise
                with file:  # this computer is offline: better an old index than none
                    yield _given(known, file, kept=True)
                return
            if fetch.confirmed is not None:
                file = await self._content(fetch.confirmed)
                if file is None:
                    yield None
                    return
                with file:
                    yield _given(fetch.confirmed, file, kept=False)
                return
            yield Given(fetch.status, fetch.headers, fetch.length, self._watched(fetch), kept=False)
        finally:
            self._busy[workspace] -= 1
            if not self._busy[workspace]:
                del self._busy[workspace]
            fetch.readers -= 1
            if not fetch.readers:
                if self._fetches.get(wanted.key) is fetch:
                    del self._fetches[wanted.key]
                fetch.close()

    async def close(self) -> None:
        fetches = list(self._fetches.values())
        for fetch in fetches:
            fetch.close()
        await asyncio.gather(*(fetch.task for fetch in fetches), return_exceptions=True)
        self.connections.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _content(self, answer: Answer) -> BinaryIO | None:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.store.open, answer)

    async def _watched(self, fetch: Fetch) -> AsyncIterator[bytes]:
        try:
            async for piece in fetch.pieces():
                yield piece
        except Unkept:
            self._pass(fetch.wanted)
            raise

    def _pass(self, wanted: Wanted) -> None:
        self._passed[wanted.key] = None
        while len(self._passed) > MAX_PASSED:
            self._passed.pop(next(iter(self._passed)))


def _given(answer: Answer, file: BinaryIO, *, kept: bool) -> Given:
    return Given(200, list(answer.headers), answer.size, _read(file), kept)


async def _read(file: BinaryIO) -> AsyncIterator[bytes]:
    at = 0
    while piece := await asyncio.to_thread(os.pread, file.fileno(), CHUNK, at):
        at += len(piece)
        yield piece


async def _open_registry(host: str) -> Streams:
    """A connection to a registry, by the rules and the proxy of every connection out."""
    through = UpstreamProxy.for_host("https", host, HTTPS)
    if through is not None:
        return await through.tunnel(host, HTTPS)
    return await connect(host, HTTPS, await checked_addresses(host, HTTPS, system_resolver, strict_check))
