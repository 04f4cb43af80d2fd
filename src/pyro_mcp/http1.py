"""Reading HTTP/1.1 by h11: the one loop that every connection needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import h11

READ_SIZE = 64 * 1024
Read = Callable[[], Awaitable[bytes]]


async def next_event(connection: h11.Connection, read: Read) -> Any:
    """The next thing that the peer says; `read` gives more bytes, and none at the end. It sets the time limit.

    Raises:
        h11.RemoteProtocolError: what came is not HTTP.
    """
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await read())
    return event
