"""Fetching what is to be kept: by the daemon, with a request of its own, over TLS that it verifies.

One fetch serves all who want the same thing at once. It goes at the pace of the registry, into a file of which each
reader takes what has come at its own pace; the last bytes are given out only once the whole was found to be sound.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO

import h11

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.http1 import next_event
from pyro_mcp.network.cache.registries import Wanted
from pyro_mcp.network.cache.store import Answer, Store, confirmed
from pyro_mcp.network.policy import Refused
from pyro_mcp.network.resolve import Unreachable
from pyro_mcp.version import VERSION

log = logging.getLogger(__name__)
CHUNK = 256 * 1024
HELD_BACK = 1
"""Bytes at the end that wait for the verdict about the whole."""
IDLE_SECONDS = 60.0
KEEP_ALIVE_SECONDS = 10.0
MAX_IDLE = 8
"""Connections of one host that wait for its next request."""
MAX_HEADER = 64 * 1024
KEPT_HEADERS = (
    "content-type",
    "etag",
    "last-modified",
    "cache-control",
    "x-pypi-last-serial",
    "location",
    "retry-after",
)
MAX_VALUE = 1024
LOOK_BYTES = 64 << 20
"""After so many bytes the disk is looked at again: other fetches fill it, too."""
LARGEST_SHARE = 2
"""One answer takes at most this part of all that may be kept."""
Open = Callable[[str], Awaitable[Streams]]
"""Connects to a host's HTTPS port, by the rules that hold for every connection out; raises Unreachable or Refused."""


class Damaged(Unreachable):
    """What came is not what its path says, or broke off."""


class Unkept(Unreachable):
    """It cannot be kept here, though the registry may well have it."""


class Connections:
    """Connections to registries over TLS, used again for a while."""

    def __init__(self, open_host: Open, context: Callable[[], ssl.SSLContext] = ssl.create_default_context) -> None:
        self._open = open_host
        self._make_context = context
        self._context: ssl.SSLContext | None = None
        self._idle: dict[str, list[tuple[Streams, float]]] = {}
        self.opened = 0

    async def take(self, host: str) -> tuple[Streams, bool]:
        """A connection, and whether it was used before.

        Raises:
            Unreachable: the host does not answer or prove itself.
        """
        idle = self._idle.get(host, [])
        while idle:
            streams, since = idle.pop()
            if time.monotonic() - since < KEEP_ALIVE_SECONDS and await _silent(streams):
                return streams, True
            streams[1].close()
        if self._context is None:
            self._context = await asyncio.to_thread(self._make_context)  # it reads the authorities
        streams = await self._open(host)
        try:
            await streams[1].start_tls(self._context, server_hostname=host, ssl_handshake_timeout=IDLE_SECONDS)
        except (OSError, ssl.SSLError) as error:
            streams[1].close()
            raise Unreachable(f"{host} failed to prove its identity: {error}") from None
        except BaseException:
            streams[1].close()
            raise
        self.opened += 1
        return streams, False

    def give_back(self, host: str, streams: Streams) -> None:
        idle = self._idle.setdefault(host, [])
        idle.append((streams, time.monotonic()))
        while len(idle) > MAX_IDLE or time.monotonic() - idle[0][1] > KEEP_ALIVE_SECONDS:
            idle.pop(0)[0][1].close()
            if not idle:
                break

    def close(self) -> None:
        for idle in self._idle.values():
            for streams, _ in idle:
                streams[1].close()
        self._idle.clear()


class Fetch:
    """One answer on its way. `readers` counts who waits for it; without any it is given up."""

    def __init__(self, wanted: Wanted, known: Answer | None, connections: Connections, store: Store) -> None:
        self.wanted = wanted
        self.readers = 0
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.length: int | None = None
        self.confirmed: Answer | None = None
        """What was kept already, where the registry says that it still holds."""
        self._known = known
        self._connections = connections
        self._store = store
        self._file: BinaryIO | None = None
        self._left = False
        self._size = 0
        self._done = False
        self._failure: Unreachable | None = None
        self._news = asyncio.Condition()
        self.task = asyncio.create_task(self._run(), name=f"fetch {wanted.host}{wanted.path}")

    async def head(self) -> None:
        """Wait for the beginning of the answer.

        Raises:
            Unreachable: there is none.
        """
        async with self._news:
            await self._news.wait_for(lambda: self.status or self._done)
        if self._failure is not None and not self.status:
            raise self._failure

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content as it comes.

        Raises:
            Unreachable: it broke off, or is not what it should be; its last bytes were not given out then.
        """
        at = 0
        while True:
            until = await self._come(at)
            if at == until:
                return
            assert self._file is not None
            piece = await asyncio.to_thread(os.pread, self._file.fileno(), min(CHUNK, until - at), at)
            if not piece:
                raise Damaged("the file on this computer is not whole")
            at += len(piece)
            yield piece

    async def _come(self, at: int) -> int:
        """How far one may read, once that is beyond `at` or nothing more comes. Raises as `pieces`."""
        async with self._news:
            await self._news.wait_for(lambda: self._done or self._size - HELD_BACK > at)
            if self._failure is not None:
                raise self._failure
            return self._size if self._done else self._size - HELD_BACK

    def close(self) -> None:
        """All readers have left."""
        self._left = True
        self.task.cancel()
        self.task.add_done_callback(lambda _: self._dispose())

    def _dispose(self) -> None:
        if self._file is not None:
            self._file.close()
            with contextlib.suppress(OSError):
                os.unlink(self._file.name)  # moved away where it is kept

    def _begin(self) -> None:
        """Blocks, and may end after `close`: a cancelled thread goes on."""
        self._file = self._store.partial()
        if self._left:
            self._dispose()

    async def _run(self) -> None:
        try:
            await self._fetch()
        except Unreachable as failure:
            self._failure = failure
        except Refused as refusal:
            self._failure = Unreachable(str(refusal))  # who passes the request on is refused the same, and says so
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            self._failure = Damaged(f"{self.wanted.host} broke off: {str(error) or 'timeout'}")
        except Exception as error:
            log.exception("a fetch failed")
            self._failure = Damaged(str(error))
        finally:
            self._done = True
        async with self._news:
            self._news.notify_all()

    async def _fetch(self) -> None:
        host = self.wanted.host
        while True:
            streams, reused = await self._connections.take(host)
            http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEADER)
            try:
                streams[1].write(http.send(self._request()) or b"")
                streams[1].write(http.send(h11.EndOfMessage()) or b"")
                response = await self._next(http, streams)
                while isinstance(response, h11.InformationalResponse):
                    response = await self._next(http, streams)
                if not isinstance(response, h11.Response):
                    raise ConnectionResetError("no answer")
            except (OSError, h11.ProtocolError):
                streams[1].close()
                if reused:
                    continue  # it had ended while it was idle
                raise
            except BaseException:
                streams[1].close()
                raise
            break
        good = False
        try:
            await self._take_in(response, http, streams)
            good = http.our_state is h11.DONE and http.their_state is h11.DONE and not http.trailing_data[0]
        finally:
            if good:
                self._connections.give_back(host, streams)
            else:
                streams[1].close()

    def _request(self) -> h11.Request:
        wanted, known = self.wanted, self._known
        headers = [
            ("Host", wanted.host),
            ("User-Agent", f"pyro/{VERSION}"),
            ("Accept", wanted.accept),
            ("Accept-Encoding", "identity"),
        ]
        if known is not None and known.header("etag"):
            headers.append(("If-None-Match", known.header("etag")))
        elif known is not None and known.header("last-modified"):
            headers.append(("If-Modified-Since", known.header("last-modified")))
        return h11.Request(method="GET", target=wanted.path, headers=headers)

    async def _next(self, http: h11.Connection, streams: Streams) -> Any:
        async def read() -> bytes:
            async with asyncio.timeout(IDLE_SECONDS):
                return await streams[0].read(CHUNK)

        return await next_event(http, read)

    async def _take_in(self, response: h11.Response, http: h11.Connection, streams: Streams) -> None:
        if response.status_code == 304 and self._known is not None:
            self.confirmed = confirmed(self._known)
            await asyncio.to_thread(self._confirm, self.confirmed)
            await self._tell(response)
            while not isinstance(event := await self._next(http, streams), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    raise Damaged(f"{self.wanted.host} broke off")
            return
        await asyncio.to_thread(self._begin)
        if self._file is None:
            raise Unkept("there is no room on this computer's disk")
        largest = self._store.limit() // LARGEST_SHARE
        await self._tell(response)
        looked_at = 0
        sha256 = hashlib.sha256()
        named = hashlib.blake2b(digest_size=32) if self.wanted.digest and self.wanted.digest[0] == "blake2b" else None
        while not isinstance(event := await self._next(http, streams), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise Damaged(f"{self.wanted.host} broke off")
            data = bytes(event.data)
            if self._size + len(data) > largest:
                raise Unkept("it is too large to be kept")
            if self._size - looked_at > LOOK_BYTES:
                looked_at = self._size
                if not await asyncio.to_thread(self._store.room):
                    raise Unkept("there is no room on this computer's disk")
            await asyncio.to_thread(self._write, data, sha256, named)
            async with self._news:
                self._size += len(data)
                self._news.notify_all()
        if self.status != 200:
            return
        digest = sha256.hexdigest()
        if self.wanted.digest is not None:
            found = named.hexdigest() if named is not None else digest
            if found != self.wanted.digest[1]:
                raise Damaged(f"{self.wanted.host} gave something else than {self.wanted.path} says")
        wanted = self.wanted
        kept = tuple(self.headers)
        answer = Answer(wanted.host, wanted.path, wanted.accept, wanted.lasting, digest, self._size, kept, time.time())
        await asyncio.to_thread(self._keep, answer)

    async def _tell(self, response: h11.Response) -> None:
        said = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in response.headers}
        if said.get("content-encoding", "identity").lower() not in ("identity", "") and response.status_code == 200:
            # Kept as it is, it would be wrong for a guest that knows no such coding.
            raise Unkept(f"{self.wanted.host} answers in a coding that was not asked for")
        length = said.get("content-length", "")
        if length.isdigit() and int(length) > self._store.limit() // LARGEST_SHARE:
            raise Unkept("it is too large to be kept")
        if length.isdigit() and not await asyncio.to_thread(self._store.room, int(length)):
            raise Unkept("there is no room on this computer's disk")
        if response.status_code == 200 and not _plausible(self.wanted, said):
            raise Unkept(f"{self.wanted.host} answers with something else than it should")
        if any(len(said[name]) > MAX_VALUE or not said[name].isascii() for name in KEPT_HEADERS if name in said):
            raise Unkept(f"a header of {self.wanted.host} is too long, or not text")
        async with self._news:
            self.status = response.status_code
            self.headers = [(name, said[name]) for name in KEPT_HEADERS if name in said]
            self.length = int(length) if length.isdigit() and "transfer-encoding" not in said else None
            self._news.notify_all()

    def _write(self, data: bytes, *digests: Any) -> None:
        assert self._file is not None
        self._file.write(data)
        self._file.flush()
        for digest in digests:
            if digest is not None:
                digest.update(data)

    def _keep(self, answer: Answer) -> None:
        """What cannot be kept is given out all the same."""
        assert self._file is not None
        with contextlib.suppress(OSError):
            self._store.keep(answer, self._file)

    def _confirm(self, answer: Answer) -> None:
        with contextlib.suppress(OSError):
            self._store.confirm(answer)


async def _silent(streams: Streams) -> bool:
    """Whether an idle connection holds nothing: what came unasked would be taken for the next answer, and kept."""
    with contextlib.suppress(OSError):
        try:
            async with asyncio.timeout(0):
                await streams[0].read(1)
        except TimeoutError:
            return True
    return False


def _plausible(wanted: Wanted, said: dict[str, str]) -> bool:
    """Whether a 200 can be what its path says, by its head: a page of a proxy or a guard that this computer trusts
    would be given out for ever, and where only the close ends an answer, one that was cut looks whole."""
    page = "html" in said.get("content-type", "").lower() and "html" not in wanted.accept
    return not page and ("content-length" in said or "transfer-encoding" in said)
