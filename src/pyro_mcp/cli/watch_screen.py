"""`pyro watch --tui`: the board on a terminal, by the standard library's curses, which works over ssh and in tmux."""

from __future__ import annotations

import contextlib
import locale
import os
import select
import signal
import sys
import threading
import time
from typing import Any

from pyro_mcp.cli.board import ANSWERS, BOLD, REVERSED, Board
from pyro_mcp.cli.options import usage_error
from pyro_mcp.client import place
from pyro_mcp.client.connection import Connection
from pyro_mcp.client.sync import Transport
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import DaemonUnavailable, PyroError, Unsupported

WAIT_SECONDS = 45
AGAIN_SECONDS = 1.0
GATHER_SECONDS = 0.05
SETTLED_SECONDS = 1.0
"""For which no key answers after a question has made way: it was pressed for the one before."""
TAIL_BYTES = 16 * 1024
"""Of the end of an output that are shown."""


def run(only: str | None) -> int:
    """Show the board until q or Ctrl-C.

    Raises:
        InvalidInput: there is no terminal.
        Unsupported: it cannot move its cursor, or Python has no curses.
    """
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        raise usage_error("--tui needs a terminal.", hint="Without it, `pyro watch` prints lines anywhere.")
    curses = _curses()
    ended = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        curses.wrapper(lambda window: _Screen(curses, window, only).run())
    except KeyboardInterrupt:
        return 130
    finally:
        for number, handler in ended.items():
            signal.signal(number, handler)
    return 0


def _curses() -> Any:
    """The module, once this terminal is known to do."""
    term = os.environ.get("TERM", "")
    try:
        import curses

        with contextlib.suppress(locale.Error):  # as in C: wide characters may be drawn wrong, nothing else
            locale.setlocale(locale.LC_ALL, "")
        curses.setupterm()
        if curses.tigetstr("cup"):
            return curses
        why = "it cannot move its cursor"
    except ImportError:
        why = "this Python has no curses"
    except curses.error as error:
        why = str(error)
    raise Unsupported(
        f"No screen can be drawn on this terminal (TERM={term}): {why}.",
        hint="`pyro watch` without --tui prints lines on any terminal.",
        code="no_screen",
    )


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)  # curses puts the terminal back on the way


class _Screen:
    """The main thread draws and reads keys; one other follows the daemon, and one carries out an answer."""

    def __init__(self, curses: Any, window: Any, only: str | None) -> None:
        self._curses = curses
        self._window = window
        self._board = Board(only)
        self._lock = threading.Lock()
        self._news, self._tell = os.pipe()
        os.set_blocking(self._tell, False)
        self._look = threading.Event()
        self._resized = False
        self._shown: str | None = None
        """The question on the screen."""
        self._left = -SETTLED_SECONDS

    def run(self) -> None:
        self._window.keypad(True)
        self._window.nodelay(True)
        with contextlib.suppress(self._curses.error):
            self._curses.curs_set(0)
        before = signal.signal(signal.SIGWINCH, self._resize)
        try:
            self._loop()
        finally:
            signal.signal(signal.SIGWINCH, before)

    def _loop(self) -> None:
        for work in (self._follow, self._read_output):
            threading.Thread(target=work, daemon=True).start()
        while True:
            self._draw()
            ready, _, _ = select.select([0, self._news], [], [])
            if self._news in ready:
                os.read(self._news, 4096)
            if self._resized:
                self._resized = False
                size = os.get_terminal_size()
                self._curses.resizeterm(size.lines, size.columns)
                self._window.clear()
            while (key := self._key()) is not None:
                if key == "q":
                    return
                self._pressed(key)

    def _resize(self, number: int, frame: Any) -> None:
        self._resized = True  # select goes on waiting over a signal, so it is woken
        self._wake()

    def _key(self) -> str | int | None:
        try:
            key: str | int = self._window.get_wch()
        except self._curses.error:
            return None
        return key

    def _pressed(self, key: str | int) -> None:
        curses, board = self._curses, self._board
        steps = {curses.KEY_UP: -1, "k": -1, curses.KEY_DOWN: 1, "j": 1, curses.KEY_PPAGE: -10, curses.KEY_NPAGE: 10}
        with self._lock:
            if key in steps:
                board.move(steps[key])
                self._look.set()
            elif key == "\t":
                board.next_question()
                self._shown = None  # nobody is surprised
            elif key == "\x0c":  # Ctrl-L
                self._window.clear()
            elif key in ANSWERS and board.question is not None and board.answerable(*self._window.getmaxyx()):
                asked = board.question["id"]
                if asked != self._shown or time.monotonic() - self._left < SETTLED_SECONDS:
                    board.said = "another question: press again"
                    return
                board.said = "…"
                threading.Thread(target=self._answer, args=(asked, ANSWERS[str(key)]), daemon=True).start()

    def _draw(self) -> None:
        looks = {BOLD: self._curses.A_BOLD, REVERSED: self._curses.A_REVERSE}
        rows, columns = self._window.getmaxyx()
        with self._lock:
            pieces = self._board.pieces(rows, columns)
            asked = self._board.question["id"] if self._board.question is not None else None
            if self._shown not in (None, asked):
                self._left = time.monotonic()
            self._shown = asked
        self._window.erase()
        for piece in pieces:
            with contextlib.suppress(self._curses.error):  # the last cell cannot be written without an error
                self._window.addstr(piece.row, piece.column, piece.text, looks.get(piece.look, 0))
        self._window.refresh()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is woken already
            os.write(self._tell, b"n")

    # -- the daemon

    def _follow(self) -> None:
        """One that does not run is waited for, and not started."""
        cursor: str | None = None
        pause = threading.Event()
        with _connection(start=False) as pyro:
            while True:
                arguments: dict[str, Any] = {"after": cursor, "wait_seconds": WAIT_SECONDS} if cursor else {}
                try:
                    told = pyro.call(KNOWN["follow_activity"], {**arguments, "limit": 100})
                except PyroError as error:
                    with self._lock:
                        gone = isinstance(error, DaemonUnavailable)
                        self._board.said = "The daemon does not run." if gone else error.message
                    self._wake()
                    pause.wait(AGAIN_SECONDS)
                    continue
                with self._lock:
                    if self._board.said.startswith("The daemon"):
                        self._board.said = ""
                    cursor = told["cursor"]
                    self._board.take(told)
                self._look.set()
                self._wake()
                pause.wait(GATHER_SECONDS)

    def _read_output(self) -> None:
        """The end of what the chosen workspace's command printed, whenever that may have changed."""
        last: tuple[str, str, int] | None = None
        with _connection(start=False) as pyro:
            while self._look.wait():
                self._look.clear()
                with self._lock:
                    wanted = self._board.wanted
                if wanted is None or wanted == last:
                    continue
                workspace, handle, size = wanted
                asked = {"workspace": workspace, "handle": handle, "offset": max(0, size - TAIL_BYTES), "raw": True}
                try:
                    told = pyro.call(KNOWN["logs_workspace"], {**asked, "max_output_bytes": TAIL_BYTES})
                except PyroError:
                    continue  # it is gone, or the daemon: the other thread says so
                last = wanted
                with self._lock:
                    self._board.show_output(workspace, told["output"].encode("utf-8", "surrogateescape"))
                self._wake()

    def _answer(self, asked: str, answer: str) -> None:
        try:
            with _connection(start=True) as pyro:
                pyro.call(KNOWN["answer_question"], {"asked": asked, "answer": answer})
            said = f"answered: {answer}"
        except PyroError as error:
            said = error.message
        with self._lock:
            self._board.said = said
        self._wake()


def _connection(*, start: bool) -> Connection:
    locations = place.locations()
    return Connection(
        face="cli", client="watch", transport=Transport(locations) if start else Transport(locations, start=None)
    )
