"""The daemon's listening socket, which answers even when the daemon has no descriptor left.

A caller that is not accepted hears nothing, and cannot tell a daemon without descriptors from one that is stuck. So a
few descriptors are kept aside: with one of them the caller is accepted, told what is wrong, and let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_mcp.host_errors import out_of_descriptors
from pyro_mcp.version import PROTOCOL, SERVES, VERSION

SPARES = 8
"""Callers that are told at the same time."""
ASKING_SECONDS = 1.0
"""How long one of them may take to ask anything."""


class Door(socket.socket):
    """Listens on `path`, for this user alone. Accepts within an event loop. `stop` ends the daemon."""

    def __init__(self, path: Path, stop: Callable[[], None]) -> None:
        super().__init__(socket.AF_UNIX)
        self._stop = stop
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            self.bind(str(path))
        finally:
            os.umask(mask)
        self.listen(4096)  # more than any number of clients: where it is full, a connect is refused or hangs
        self._spares: list[int] = []
        self._restock()

    def accept(self) -> tuple[socket.socket, Any]:
        """As of any socket; whoever comes when there is no descriptor is told so, and is not seen here."""
        try:
            accepted = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            if _allow_more():
                return super().accept()
            if not self._spares:
                raise  # the event loop comes again after a second
            os.close(self._spares.pop())
            try:
                self._tell(super().accept()[0])
            except OSError:
                self._restock()
                raise
            raise BlockingIOError(errno.EAGAIN, "there is nobody more to accept") from error
        if len(self._spares) < SPARES:
            self._restock()
        return accepted

    def close(self) -> None:
        super().close()
        while self._spares:
            os.close(self._spares.pop())

    def _restock(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._spares) < SPARES:
                self._spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _tell(self, caller: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        caller.setblocking(False)

        def tell() -> None:
            late.cancel()
            loop.remove_reader(caller)
            with contextlib.suppress(OSError):
                # A client's first request is shorter, and comes whole.
                if caller.recv(65536).startswith(b"POST /v1/stop "):
                    caller.send(_answer(200, {"stopping": True}))
                    self._stop()
                else:
                    caller.send(_answer(503, _refusal()))
            caller.close()
            self._restock()

        loop.add_reader(caller, tell)
        late = loop.call_later(ASKING_SECONDS, tell)


def _allow_more() -> bool:
    """Take as many descriptors as this user may; somebody may have lowered the limit of a daemon that runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return False
    return True


def _refusal() -> dict[str, Any]:
    """An answer to the first thing that a client asks, who the daemon is; and why it is of no use now."""
    return {
        "pid": os.getpid(),
        "version": VERSION,
        "protocol": PROTOCOL,
        "serves": SERVES,
        "error": out_of_descriptors().to_record(),
    }


def _answer(status: int, record: dict[str, Any]) -> bytes:
    body = json.dumps(record).encode() + b"\n"
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
    return f"HTTP/1.1 {status} \r\n{fields}\r\n\r\n".encode() + body
