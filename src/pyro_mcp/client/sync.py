"""The blocking way to the daemon: a small pool of kept-alive connections to its unix socket.

Safe to use from many threads: each call has a connection of its own. A request is sent again only when
the connection could not be made, or a kept one was closed before any byte of it was accepted.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from _thread import allocate_lock

from pyro_mcp.client.wire import Outdated, Record, Wire, cannot_replace, check_health, silent, went_away
from pyro_mcp.errors import DaemonUnavailable, NotPermitted
from pyro_mcp.locations import SOCKET_PATH_LIMIT, Locations, said_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

SILENCE_SECONDS = 45.0
"""A daemon that says nothing for this long counts as stuck; at work it says so every 5 s (`daemon.app`)."""
CONNECT_SECONDS = SILENCE_SECONDS
REPLACEMENTS = 3
"""Attempts to put a daemon of this version in the place of an older one."""
POOL_SIZE = 8
"""Idle connections kept; more calls at once open more and close them afterwards."""
_CHUNK = 256 * 1024


def start_on_demand(locations: Locations) -> None:
    from pyro_mcp.client.launch import start_daemon

    start_daemon(locations)


def replace_outdated(locations: Locations) -> None:
    from pyro_mcp.client.launch import replace_daemon

    replace_daemon(locations, Transport(locations, start=None, any_version=True).request)


def check_owner(connected: socket.socket, path: str) -> None:
    """See that who listens is this user: the runtime directory may be in /tmp, where others could have been first.

    Raises:
        NotPermitted: it is somebody else.
    """
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)  # pid, uid, gid (unix(7))
    uid = int.from_bytes(told[4:8], sys.byteorder)
    if uid != os.geteuid():
        raise NotPermitted(
            f"{path} belongs to another user (uid {uid}); nothing was sent there.",
            hint="Set PYRO_HOME or XDG_RUNTIME_DIR to a directory you own.",
            code="runtime_directory_not_ours",
        )


class _Connection:
    def __init__(self, path: str) -> None:
        self.wire = Wire()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(CONNECT_SECONDS)
        try:
            self.socket.connect(path)
            check_owner(self.socket, path)
        except BaseException:
            self.socket.close()
            raise
        self.socket.settimeout(SILENCE_SECONDS)

    def close(self) -> None:
        self.socket.close()

    def stale(self) -> bool:
        """An idle connection is readable only when the other side has closed it."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def exchange(self, request: bytes) -> Iterator[Record]:
        """Send and give the records of the answer. `_Untouched` when nothing of the request was accepted."""
        try:
            accepted = self.socket.send(request)
        except (BrokenPipeError, ConnectionResetError):
            raise _Untouched from None
        return self._records(request[accepted:])

    def _records(self, rest: bytes) -> Iterator[Record]:
        try:
            if rest:
                self.socket.sendall(rest)
            while not self.wire.done:
                yield from self.wire.receive(self.socket.recv(_CHUNK))
        except TimeoutError:
            raise silent(SILENCE_SECONDS) from None
        except OSError:
            raise went_away() from None


class _Untouched(Exception):
    """The connection was closed before any byte was accepted."""


class Transport:
    """Connections to one user's daemon, which is started when it does not run.

    Args:
        locations: where the daemon's socket is.
        start: starts the daemon and returns when its socket accepts; None never starts one.
        any_version: talk to a daemon of another version, too: to stop it, or to ask what it is.
    """

    def __init__(
        self,
        locations: Locations,
        start: Callable[[Locations], None] | None = start_on_demand,
        *,
        any_version: bool = False,
        replace: Callable[[Locations], None] = replace_outdated,
    ) -> None:
        self._locations = locations
        self._start = start
        self._any_version = any_version
        self._replace = replace
        self._idle: list[_Connection] = []
        self._lock = allocate_lock()

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Iterator[Record]:
        """The records of one answer, as they come. Leaving the iterator early closes the connection,
        which the daemon takes as: the caller went away."""
        while True:
            connection = self._kept()
            fresh = connection is None
            if connection is None:
                connection = self._connect()
            whole = False
            try:
                yield from connection.exchange(connection.wire.request(method, path, body, headers))
                whole = True
                return
            except _Untouched:
                if fresh:
                    raise went_away() from None
            finally:
                self._give_back(connection, whole)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # -- connections

    def _kept(self) -> _Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not connection.stale():
                return connection
            connection.close()

    def _give_back(self, connection: _Connection, whole: bool) -> None:
        if whole and connection.wire.reusable:
            with self._lock:
                if len(self._idle) < POOL_SIZE:
                    self._idle.append(connection)
                    return
        connection.close()

    def _connect(self) -> _Connection:
        for _ in range(REPLACEMENTS):
            connection = self._open()
            if self._any_version:
                return connection
            try:
                for record in connection.exchange(connection.wire.request("GET", "/v1/health")):
                    check_health(record)
                return connection
            except Outdated as outdated:
                connection.close()
                if self._start is None:
                    raise cannot_replace(outdated.found) from None
                self._replace(self._locations)
            except _Untouched:
                connection.close()
                raise went_away() from None
            except BaseException:
                connection.close()
                raise
        raise cannot_replace("of several versions, one after another")

    def _open(self) -> _Connection:
        path = self._locations.socket_name
        try:
            return _Connection(path)
        except (FileNotFoundError, ConnectionRefusedError):
            if self._start is not None:
                self._start(self._locations)
            elif not _listens_elsewhere(self._locations):
                raise not_running(path) from None
            try:
                return _Connection(path)
            except OSError as error:
                raise not_reached(path, error) from None
        except OSError as error:
            raise not_reached(path, error) from None


def _listens_elsewhere(locations: Locations) -> bool:
    from pyro_mcp.client.launch import accepts

    return accepts(locations)


def not_running(path: str) -> DaemonUnavailable:
    return DaemonUnavailable(
        f"No daemon is listening on {path}.", hint="Start it with `pyro daemon start`.", code="daemon_not_running"
    )


def not_reached(path: str, error: OSError) -> DaemonUnavailable:
    if error.errno is None and "too long" in str(error):  # it comes from Python, before the kernel is asked
        return DaemonUnavailable(
            f"The socket's path {path} is longer than {SOCKET_PATH_LIMIT} bytes, the kernel's limit.",
            hint="Set PYRO_HOME to a shorter path.",
            code="socket_path_too_long",
        )
    variable = said_by(path)
    return DaemonUnavailable(
        f"The daemon's socket {path} cannot be reached: {error.strerror or error}.",
        hint=f"{variable} sets its location: point it at a directory you can write to."
        if variable
        else "Its log has more; `pyro doctor` shows where it is.",
        code="daemon_not_reached",
    )
