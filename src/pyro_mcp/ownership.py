"""Which daemon owns a state: one at a time, wherever it listens.

Programs of one user may have several runtime directories (a login has one, cron, `sudo -u` and some chat hosts have
not), and all have one state. Two daemons on it would end and reset each other's machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from pathlib import Path

from pyro_mcp.errors import Conflict

_LOOKS_SECONDS = 0.02
"""flock knows no time-out, and an alarm is the caller's."""
_MOST = 4096


def taken(lock: int, seconds: float) -> bool:
    """Whether the lock is ours within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
        time.sleep(_LOOKS_SECONDS)


def listens(path: str) -> bool:
    """Whether a daemon listens on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def owner(file: Path) -> tuple[int, str] | None:
    """Process and socket of the daemon that owns the state; None where none does, or it has not said so yet."""
    try:
        lock = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        process, _, path = os.read(lock, _MOST).rstrip(b"\0").partition(b"\n")
        return (int(process), os.fsdecode(path)) if process.isdigit() and path else None
    finally:
        os.close(lock)


def own(file: Path, seconds: float) -> int:
    """Own the state. Gives the lock, held until it is closed; `say` where its daemon listens once it does.

    A daemon whose socket is gone, as with the runtime directory of a login that ended, is asked to leave: nobody
    reaches it any more, and its machines live on.

    Raises:
        Conflict: another daemon listens, or has not left within so many seconds.
    """
    lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + seconds
    asked = False
    while not taken(lock, 0.2):
        found = owner(file)
        if found is not None and not asked and not os.path.lexists(found[1]):
            asked = _asked_to_leave(found[0])
        if (found is not None and listens(found[1])) or time.monotonic() > deadline:
            os.close(lock)
            raise Conflict(
                "A daemon of this user already owns these workspaces"
                + (f": process {found[0]}, which listens on {found[1]}." if found else "."),
                hint=f"Its socket may be gone; `kill {found[0]}` ends it, and its machines keep running."
                if found
                else "",
                code="daemon_runs",
            )
    with contextlib.suppress(OSError):
        os.pwrite(lock, bytes(_MOST), 0)  # the file keeps its size, and with it its place on a disk that is full
    return lock


def say(lock: int, path: str) -> None:
    """Say that this daemon listens on `path`. Not before it does: one whose socket is not there is asked to leave."""
    with contextlib.suppress(OSError):  # a full disk: it works, though others cannot be led to it
        os.pwrite(lock, (b"%d\n%s" % (os.getpid(), os.fsencode(path))).ljust(_MOST, b"\0"), 0)


def _asked_to_leave(process: int) -> bool:
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        if b"pyro_mcp.daemon" in words or b"pyro_mcp.remote" in words:
            os.kill(process, signal.SIGTERM)
    except OSError:
        return False
    return True


def led(there: str, path: str) -> bool:
    """Have `path` lead to the socket that the daemon listens on; whether that could be done."""
    leading = f"{path}.{os.getpid()}"
    try:
        os.symlink(there, leading)
        os.replace(leading, path)
    except OSError:
        return False
    return True
