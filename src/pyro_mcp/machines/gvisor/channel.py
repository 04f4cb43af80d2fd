"""The way to a gVisor machine's agent: the daemon listens, the agent dials.

The socket stands in a directory that the machine is shown read-only, so nothing in there can be made, renamed or linked
by a guest, and nothing in there is ever opened by name on this side: the daemon only binds and unlinks. The agent keeps
a few connections dialled; each operation takes one, and the agent replaces it as soon as its first bytes come. A
machine whose connections are all taken is waited for. What waits is a bare socket: until somebody takes it, no byte of
the guest's is read.

A guest may dial as well, and be taken for the agent; that is a hostile agent, against which every answer is checked
anyway. It gets no more than `WAITING` sockets of this process: beyond these nothing is accepted.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.errors import GuestUnreachable
from pyro_mcp.guest.duplex import Streams

SOCKET = "agent.sock"
WAITING = 16
"""Connections that may wait here for a machine; its agent dials 3 (agent/dial.go)."""
BACKLOG = 16
LOOK_SECONDS = 1.0
"""How often who waits for a connection looks whether the machine lives."""
_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_RETRY_SECONDS = 0.1


class _Watched(socket.socket):
    """A socket that tells when it is closed, whichever protocol is on it by then."""

    closed: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()


class Channel:
    """Connections from the agent of one machine, in the order in which they came.

    Args:
        directory: shown to the guest, read-only; holds the socket. Only this daemon writes there.
        alive: says whether the machine may still dial.
    """

    used: Callable[[], None] = staticmethod(lambda: None)
    """Called before a connection is taken, and when one that was has ended."""

    def __init__(self, directory: Path, alive: Callable[[], bool] = lambda: True) -> None:
        self._directory = directory
        self.alive = alive
        self.dialler: int | None = None
        """The one process of this computer that dials for its guest (SO_PEERCRED); None until it is known."""
        self._listener: socket.socket | None = None
        self._reading = False
        self._waiting: deque[_Watched] = deque()
        self._wanted: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self.awaited = 0
        """How many wait for a connection, those who take it quietly aside: the machine must run to dial."""

    # -- listening

    def listen(self) -> None:
        """Let the agent dial from now on; again after `hush`. Raises OSError when the directory is gone."""
        if self._listener is not None or self._closed:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        directory = -1
        try:
            directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            _unlink(directory)
            # Through the descriptor: the path may be longer than the 108 bytes of sun_path (unix(7)).
            listener.bind(f"/proc/self/fd/{directory}/{SOCKET}")
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        finally:
            if directory >= 0:
                os.close(directory)
        self._listener = listener
        self._accept_more()

    def hush(self) -> None:
        """Take no connection any more, and drop those that wait: the agent is about to close its ends."""
        self._stop_accepting()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        try:
            directory = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            pass  # the machine is being removed
        else:
            _unlink(directory)
            os.close(directory)
        while self._waiting:
            self._waiting.popleft().close()

    def close(self) -> None:
        """The machine is gone: whoever waits for it hears so."""
        self._closed = True
        self.hush()
        self._wake(all_of_them=True)

    def _accept_more(self) -> None:
        if self._listener is not None and not self._reading and len(self._waiting) < WAITING:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
            self._reading = True

    def _stop_accepting(self) -> None:
        if self._reading and self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
        self._reading = False

    def _accept(self) -> None:
        while self._listener is not None and len(self._waiting) < WAITING:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                break
            except OSError as error:
                self._stop_accepting()
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._accept_more)
                return
            connection.setblocking(False)
            self._waiting.append(_Watched(fileno=connection.detach()))
        if len(self._waiting) >= WAITING:
            self._stop_accepting()
        self._wake()

    # -- taking

    async def take(self, seconds: float, *, quietly: bool = False) -> Streams:
        """A connection that the agent dialled and nobody else has. Taken `quietly`, it does not count as a use.

        Raises:
            GuestUnreachable: the machine is gone, or its agent did not dial within `seconds`.
        """
        if quietly:
            found = await self._next(seconds)
        else:
            self.used()
            self.awaited += 1
            try:
                found = await self._next(seconds)
            finally:
                self.awaited -= 1
        try:
            if not quietly:
                found.closed = self.used
            return await asyncio.open_unix_connection(sock=found)
        except BaseException:
            found.close()
            raise

    async def answers(self, seconds: float) -> None:
        """Wait until the agent has dialled; the connection stays for the next who takes one. Raises as `take`."""
        self._waiting.appendleft(await self._next(seconds))
        self._wake()

    async def _next(self, seconds: float) -> _Watched:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = self._first()
                    if found is not None:
                        return found
                    if self._closed or not self.alive():
                        raise GuestUnreachable("The machine is gone.")
                    await self._something()
        except TimeoutError:
            raise GuestUnreachable(f"The agent did not connect within {seconds:.0f} s.") from None

    def _first(self) -> _Watched | None:
        """The oldest connection that is good: open, silent until it is spoken to, and of this very machine."""
        try:
            while self._waiting:
                connection = self._waiting.popleft()
                if self._good(connection):
                    return connection
                connection.close()
            return None
        finally:
            self._accept_more()

    def _good(self, connection: socket.socket) -> bool:
        try:
            pid, _, _ = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if self.dialler is not None and pid != self.dialler:
                return False
            connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # it ended, or speaks out of turn

    async def _something(self) -> None:
        wanted = asyncio.get_running_loop().create_future()
        self._wanted.append(wanted)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await wanted
        except TimeoutError:
            pass
        finally:
            if wanted in self._wanted:
                self._wanted.remove(wanted)
            elif self._waiting:
                self._wake()  # it was woken and does not come: the next one does

    def _wake(self, *, all_of_them: bool = False) -> None:
        """As many as there are connections for."""
        for _ in range(len(self._wanted) if all_of_them else min(len(self._wanted), len(self._waiting))):
            wanted = self._wanted.popleft()
            if not wanted.done():
                wanted.set_result(None)


def _unlink(directory: int) -> None:
    try:
        os.unlink(SOCKET, dir_fd=directory)
    except FileNotFoundError:
        pass
