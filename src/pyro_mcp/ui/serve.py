"""`pyro ui`: serve the page on loopback until told to stop, and hand out links to it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.client import place
from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.serving import Server, listening
from pyro_mcp.ui.app import Application
from pyro_mcp.ui.door import Door
from pyro_mcp.ui.feed import Feed

ADDRESS = "127.0.0.1"
LINGER_SECONDS = 1


def serve(port: int, announce: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; `announce` is given each link. Gives the exit status."""
    listener = listening(ADDRESS, port)
    asyncio.run(_serve(listener, announce))
    return 0


async def _serve(listener: socket.socket, announce: Callable[[str], None]) -> None:
    port = listener.getsockname()[1]
    door = Door(port)
    locations = place.locations()
    pyro = AsyncPyro(face="ui", client="page", locations=locations)
    watching = AsyncPyro(face="ui", client="page", transport=AsyncTransport(locations, start=None))
    feed = Feed(watching)
    server = Server.of(Application(door, pyro, feed), timeout_graceful_shutdown=LINGER_SECONDS)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def link() -> None:
        announce(f"http://{ADDRESS}:{port}/?token={door.new_token()}")

    def asked() -> None:
        """Enter was pressed; where standard input is closed, no more is read of it."""
        if sys.stdin.readline():
            link()
        else:
            loop.remove_reader(sys.stdin)

    serving = asyncio.create_task(server.serve(sockets=[listener]))
    asking = asyncio.create_task(stop.wait())
    await pyro.list_workspaces()  # starts the daemon, or says why there is none
    link()
    if sys.stdin is not None and sys.stdin.isatty():
        with contextlib.suppress(OSError, ValueError):
            loop.add_reader(sys.stdin, asked)
    await asyncio.wait({serving, asking}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    server.force_exit = True
    feed.close()
    asking.cancel()
    await serving
    await pyro.close()
    await watching.close()
