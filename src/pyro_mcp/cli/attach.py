"""`pyro workspace shell attach WS SHELL`: the live terminal of a shell, for a person.

Output comes by following the shell's log, keys go out as they are typed. Leaving (Ctrl-]) leaves the shell open.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from typing import Any

from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.client.answers import Output, Result
from pyro_mcp.client.connection import Connection
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import Conflict, PyroError
from pyro_mcp.visible import visible

DETACH = b"\x1d"
"""Ctrl-], as telnet has it: no editor or shell wants it."""
BACKLOG = 16 * 1024
"""Bytes of what was printed before that are shown first."""
WAIT_SECONDS = 45.0


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Attach until the shell ends (its exit status) or the person leaves (0)."""
    parser = Parser(
        prog=prog,
        usage=f"{prog} WORKSPACE SHELL",
        description="Attach to a shell's live terminal. Ctrl-] detaches; the shell stays open.",
    )
    _, rest = parser.take(list(words))
    if len(rest) != 2 or after:
        raise usage_error("Name a workspace and a shell.", hint=f"For example: {prog} try 1a2b3c4d-1")
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise usage_error(
            "You can only attach from a terminal.",
            hint="From a program, use `pyro workspace shell read` and `shell write`.",
        )
    workspace, shell = rest
    with Connection(face="cli", client="attach") as pyro:
        return show(pyro, workspace, shell)


def show(pyro: Connection, workspace: str, shell: str) -> int:
    """Attach to an open shell: its exit status when it ends, 0 when the person leaves."""
    return _Session(pyro, workspace, shell).run()


def run_in_terminal(pyro: Connection, arguments: dict[str, Any]) -> int:
    """Run a command with this terminal as its own, until it ends; gives its exit status.

    When this program goes, the terminal is hung up, as at the end of a login.
    """
    size = shutil.get_terminal_size()
    given = {**arguments, "rows": min(500, max(1, size.lines)), "cols": min(500, max(1, size.columns))}
    opened = pyro.call(KNOWN["open_shell"], given)
    workspace, shell = str(opened["workspace"]), str(opened["shell"])
    try:
        return _Session(pyro, workspace, shell, quiet=True).run()
    finally:
        with contextlib.suppress(PyroError):
            pyro.call(KNOWN["close_shell"], {"workspace": workspace, "shell": shell})


ONE_SHOT_SECONDS = 600
"""Of a machine for one command on a terminal, once it is unused: if this program is killed, it goes by itself."""
_OF_A_MACHINE = ("environment", "network_policy", "vcpu_count", "mem_mib")
_OF_A_RUN = ("command", "env", "cwd")


def one_shot_in_terminal(pyro: Connection, arguments: dict[str, Any], on_event: Any = None) -> int:
    """Run a command on this terminal in a machine of its own, which is gone afterwards."""
    made = {name: arguments[name] for name in _OF_A_MACHINE if name in arguments}
    workspace = str(
        pyro.call(KNOWN["create_workspace"], {**made, "ttl_seconds": ONE_SHOT_SECONDS}, on_event=on_event)["id"]
    )
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        asked = {name: arguments[name] for name in _OF_A_RUN if name in arguments}
        return run_in_terminal(pyro, {"workspace": workspace, **asked})
    finally:
        with contextlib.suppress(PyroError):
            pyro.call(KNOWN["delete_workspace"], {"workspace": workspace})
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def run_shell(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """`pyro sh [WORKSPACE]`: an interactive shell; unnamed, in the workspace of this directory, or in a new one."""
    parser = Parser(
        prog=prog,
        add_help=False,
        usage=f"{prog} [WORKSPACE]",
        description="Open a terminal in a workspace. Ctrl-] detaches. Without a name, it opens this directory's only\n"
        "workspace, or creates one from the git work tree that this directory is in.",
    )
    _, rest = parser.taken([word for word in words if word not in ("-it", "-ti", "-t", "-i")])
    if len(rest) > 1 or after:
        raise usage_error(
            "Give the workspace and nothing else.", hint=f"To run a command, use `pyro exec`; see `{prog} --help`."
        )
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise usage_error("Standard input and output must be a terminal.", hint="From a program, use `pyro exec`.")
    with Connection(face="cli", client="sh") as pyro:
        return run_in_terminal(pyro, {"workspace": rest[0] if rest else _here(pyro)})


def _here(pyro: Connection) -> str:
    """The workspace of this directory; a new one where the project, or the user, has none."""
    from pyro_mcp.cli import meant

    known, found = meant.look()
    source = meant.top()
    if found or (known and source is None):
        return meant.id_of(found)
    made = pyro.call(KNOWN["create_workspace"], {"seed_path": source} if source else {})
    said = f"a copy of {source}" if source else "empty"
    print(f"Created workspace {made['id']}, {visible(said)}. Delete it with `pyro rm {made['id']}`.", file=sys.stderr)
    return str(made["id"])


class _Session:
    def __init__(self, pyro: Connection, workspace: str, shell: str, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._pyro = pyro
        self._place = {"workspace": workspace, "shell": shell}
        self._wake_r, self._wake_w = os.pipe()
        self._ended: dict[str, Any] | None = None
        self._failure: PyroError | None = None

    def run(self) -> int:
        self._resize()
        record = self._pyro.call(KNOWN["write_shell"], {**self._place, "text": ""})
        left = False
        with _raw(), _window_changes(self._wake_w):
            if not self._quiet:
                sys.stdout.write("Attached. Ctrl-] detaches; the shell stays open.\r\n")
                sys.stdout.flush()
            threading.Thread(target=self._show, args=(max(0, record["cursor"] - BACKLOG),), daemon=True).start()
            left = self._type()
        if not self._quiet:
            print()
        if self._failure is not None:
            raise self._failure
        if left and not self._quiet:
            print(
                "Detached; the shell stays open. Reattach with: pyro workspace shell attach "
                f"{' '.join(self._place.values())}"
            )
        if left:
            return 0
        code = (self._ended or {}).get("exit_code")
        return code if isinstance(code, int) else 1

    def _type(self) -> bool:
        """Pass keys on until the shell ends (False) or the person leaves (True)."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a key may come in two reads
        while True:
            ready, _, _ = select.select([0, self._wake_r], [], [])
            if self._wake_r in ready:
                os.read(self._wake_r, 64)
                if self._ended is not None or self._failure is not None:
                    return False
                self._resize()
            if 0 in ready:
                keys = os.read(0, 4096)
                if not keys:
                    return True
                before, leave, _ = keys.partition(DETACH)
                if before:
                    try:
                        self._pyro.call(KNOWN["write_shell"], {**self._place, "text": decoder.decode(before)})
                    except Conflict:
                        pass  # it has just ended; the other side says so
                if leave:
                    return True

    def _resize(self) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(Conflict):
            self._pyro.call(
                KNOWN["resize_shell"],
                {**self._place, "rows": min(500, max(1, size.lines)), "cols": min(500, max(1, size.columns))},
            )

    def _show(self, offset: int) -> None:
        try:
            while self._ended is None:
                place = {"workspace": self._place["workspace"], "handle": self._place["shell"], "offset": offset}
                asked = {**place, "wait_seconds": WAIT_SECONDS, "max_output_bytes": 200}
                for said in self._pyro.events(KNOWN["logs_workspace"], asked):
                    if isinstance(said, Output):
                        offset += len(said.data)
                        view = memoryview(said.data)
                        while view:
                            view = view[os.write(1, view) :]
                    elif isinstance(said, Result) and said.record["status"] != "running":
                        self._ended = said.record
        except PyroError as error:
            self._failure = error
        finally:
            os.write(self._wake_w, b"e")


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    def ended(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)  # the terminal is put back on the way

    before = termios.tcgetattr(0)
    handlers = {number: signal.signal(number, ended) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(0, termios.TCSANOW)  # what was typed ahead stays
        yield
    finally:
        # Where the terminal is gone there is nothing to put back.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _window_changes(wake: int) -> Iterator[None]:
    def changed(number: int, frame: Any) -> None:
        os.write(wake, b"w")

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
