"""Passes this program's standard input on to a command in a workspace, as it comes, in pieces."""

from __future__ import annotations

import os
import select
import stat
from binascii import b2a_base64

from pyro_mcp.client.connection import Connection
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import PyroError

PIECE = 64 * 1024
ALIVE_SECONDS = 20.0
"""How often a word is said while nothing comes: an input about which nothing is said ends (`feed_workspace_exec`)."""


def is_given(descriptor: int) -> bool:
    """Whether standard input is something to pass on: a pipe, a socket or a file; no terminal, /dev/null or nothing."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


class Feeder:
    """Reads standard input until its end and hands each piece over. Ends with the program."""

    def __init__(self, pyro: Connection, workspace: str, handle: str) -> None:
        self._pyro = pyro
        self._place = {"workspace": workspace, "handle": handle}

    def start(self) -> None:
        """Begin, in a thread that ends with the program."""
        import threading  # most commands are given no input

        threading.Thread(target=self._run, daemon=True, name="stdin").start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        try:
            while True:
                data = b""
                if poll.poll(ALIVE_SECONDS * 1000):
                    data = os.read(0, PIECE)
                    if not data:
                        self._offer(b"", end=True)
                        return
                self._offer(data, end=False)
        except OSError:
            return

    def _offer(self, data: bytes, *, end: bool) -> None:
        """Hand a piece over, however long the command takes to read what it got before.

        Raises:
            BrokenPipeError: the command has ended, or reads no more.
        """
        arguments = {**self._place, "data": b2a_base64(data, newline=False).decode(), "end": end}
        while True:
            try:
                self._pyro.call(KNOWN["feed_workspace_exec"], arguments)
                return
            except PyroError as error:
                if error.code != "input_full":
                    raise BrokenPipeError from None
