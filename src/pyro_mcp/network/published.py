"""Published ports: listeners on this computer whose connections lead into a guest.

They live in the daemon. A listener stands while its service does, whatever becomes of the machine in between:
a reset to a snapshot gives it another one, and `connect` always leads to the present.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pyro_mcp.errors import Conflict, InvalidInput, PyroError
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.network.relay import join

LOOPBACK = "127.0.0.1"
DRAIN_SECONDS = 10.0
"""For the rest of a reply after its service has ended."""
Connect = Callable[[int], Awaitable[Streams]]


_NUMBER = re.compile("[0-9]{1,5}")


@dataclass(frozen=True)
class Publication:
    """What is asked for: a port of the guest, and where it appears. Port 0 lets the system choose."""

    guest_port: int
    host_port: int = 0
    host: str = LOOPBACK


def parse(text: str) -> Publication:
    """`GUEST`, `HOST:GUEST` or `ADDRESS:HOST:GUEST`.

    Raises:
        InvalidInput: it is none of these.
    """
    address, host_port, guest_port = LOOPBACK, "0", text
    if ":" in text:
        rest, _, guest_port = text.rpartition(":")
        address, _, host_port = rest.rpartition(":")
        address = address.strip("[]") or LOOPBACK
    try:
        if not _NUMBER.fullmatch(guest_port) or not _NUMBER.fullmatch(host_port):
            raise ValueError
        parsed = Publication(int(guest_port), int(host_port), str(ipaddress.ip_address(address)))
        if not (0 < parsed.guest_port < 65536 and 0 <= parsed.host_port < 65536):
            raise ValueError
    except ValueError:
        raise InvalidInput(
            f"{text!r} does not say which port to publish.",
            hint="Give GUEST (pyro picks a free port), HOST:GUEST or ADDRESS:HOST:GUEST, such as 8080:80.",
            code="bad_publish",
        ) from None
    return parsed


class Listener:
    """One published port."""

    def __init__(self, publication: Publication, connect: Connect, used: Callable[[], None]) -> None:
        self.wanted = publication
        self.port = publication.host_port
        self._connect = connect
        self._used = used
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen.

        Raises:
            Conflict: the port is taken.
            InvalidInput: the address is none of this computer, or the port needs privileges.
        """
        wanted = self.wanted
        try:
            self._server = await asyncio.start_server(self._accept, wanted.host, wanted.host_port)
        except OSError as error:
            where = f"{wanted.host}:{wanted.host_port}"
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"Port {where} of this computer is already in use.",
                    hint=f"Publish just {wanted.guest_port} to get a free port, or name another one.",
                    code="port_in_use",
                ) from None
            raise InvalidInput(
                f"Cannot listen on {where}: {error.strerror or error}.",
                hint="Ports below 1024 need privileges that pyro does not have; publish on a higher one.",
                code="port_refused",
            ) from None
        self.port = int(self._server.sockets[0].getsockname()[1])

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name=f"published {self.port}")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside: asyncio.StreamWriter | None = None
        self._used()
        try:
            guest = await self._connect(self.wanted.guest_port)
            inside = guest[1]
            # No idle limit: a WebSocket may be silent for hours.
            await join((reader, writer), guest, idle_seconds=None)
        except (PyroError, OSError):
            # Nothing answers inside: the connection is broken off, as a closed port would.
            with contextlib.suppress(OSError, RuntimeError):
                writer.transport.abort()
        except asyncio.CancelledError:
            # The port is closed; a client that reads slowly, or not at all, must not hold its connection.
            for end in (writer, inside):
                if end is not None:
                    end.transport.abort()
            raise
        finally:
            self._used()
            for end in (writer, inside):
                if end is not None:
                    end.close()

    async def close(self) -> None:
        """Stop listening, and end the connections."""
        self._stop_listening()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def drain(self) -> None:
        """Stop listening at once; what is on its way still arrives, for a while."""
        self._stop_listening()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=DRAIN_SECONDS)
        await self.close()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
