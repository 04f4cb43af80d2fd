"""Starting the daemon on demand.

The daemon is a session and process group of its own, out of reach of the signals with which chat hosts
end their servers. The starter waits for one line on a pipe: `ready`, or what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from pyro_mcp import ownership
from pyro_mcp.client.wire import Outdated, Record, check_health
from pyro_mcp.errors import DaemonUnavailable, PyroError, from_record
from pyro_mcp.locations import Locations

START_SECONDS = 30.0
"""How long a daemon may take to listen: adoption of many machines on a slow disk included."""
REMOTE_SECONDS = 90.0
"""How long a relay may take: to log in over ssh, and to start the daemon over there."""

Ask = Callable[[str, str], Iterable[Record]]
"""Sends a request, by method and path, to the daemon that runs, whatever its version; starts none."""


def accepts(locations: Locations) -> bool:
    """Whether a daemon listens on the socket, or on that of another runtime directory; then ours leads to it."""
    if ownership.listens(locations.socket_name):
        return True
    found = ownership.owner(locations.ownership)
    if found is None or found[1] == locations.socket_name or not ownership.listens(found[1]):
        return False
    locations.prepare()
    return ownership.led(found[1], locations.socket_name)


def start_daemon(locations: Locations) -> None:
    """Start the daemon unless one listens, and return when its socket accepts.

    Raises:
        DaemonUnavailable: it did not start within 30 s.
        PyroError: whatever it said stopped it, such as a missing component.
    """
    with _only_starter(locations) as lock:
        _have_one(locations, lock)


def replace_daemon(locations: Locations, ask: Ask) -> None:
    """Have an older daemon hand over: it leaves, its machines and their commands live on, and ours adopts them.

    Raises:
        DaemonUnavailable: it did not leave within 30 s, or ours did not start.
        PyroError: whatever stopped ours.
    """
    with _only_starter(locations) as lock:
        if _outdated(ask):
            _have_it_leave(locations, ask)
        _have_one(locations, lock)


@contextlib.contextmanager
def _only_starter(locations: Locations) -> Iterator[int]:
    """One starter at a time; the others find its daemon running. Gives the lock, which the daemon holds at first."""
    locations.prepare()
    lock = os.open(locations.runtime / "launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not ownership.taken(lock, START_SECONDS):
            raise DaemonUnavailable(
                f"Another pyro process has been trying to start the daemon for {START_SECONDS:.0f} s.",
                hint=f"Try again. The log shows what it is doing: {locations.daemon_log}",
                code="daemon_starts",
            )
        yield lock
    finally:
        os.close(lock)


def _outdated(ask: Ask) -> bool:
    """Whether the daemon that runs, if any, is an older one; another caller may have replaced it."""
    try:
        for record in ask("GET", "/v1/health"):
            check_health(record)
    except Outdated:
        return True
    except DaemonUnavailable:
        pass  # it has left by itself, or is a newer one
    return False


def _have_it_leave(locations: Locations, ask: Ask) -> None:
    try:
        for _ in ask("POST", "/v1/stop"):
            pass
    except DaemonUnavailable:
        pass  # it left before it could say so
    for file in (locations.daemon_lock, locations.ownership):
        held = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not ownership.taken(held, START_SECONDS):
                raise DaemonUnavailable(
                    "The daemon of an earlier pyro was asked to hand over but is still running after "
                    f"{START_SECONDS:.0f} s.",
                    hint="Stop it with `pyro daemon stop`; machines keep running.",
                    code="daemon_stays",
                )
        finally:
            os.close(held)


def _have_one(locations: Locations, lock: int) -> None:
    if accepts(locations):
        return
    try:
        _spawn(locations, lock)
    except PyroError as error:
        # One was started at the same time for another runtime directory, and owns the state.
        if error.code != "daemon_runs" or not accepts(locations):
            raise


def _spawn(locations: Locations, lock: int) -> None:
    """The daemon keeps the lock with us, so that one whose starter is killed is waited for all the same."""
    ready_r, ready_w = os.pipe()
    try:
        log = os.open(locations.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)  # the daemon itself says what is wrong with the place
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", *_program(locations), "--ready-fd", str(ready_w), "--launch-fd", str(lock)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=(ready_w, lock),
            start_new_session=True,
        )
    finally:
        os.close(log)
        os.close(ready_w)
    try:
        patience = REMOTE_SECONDS if locations.on else START_SECONDS
        said = _read_line(ready_r, patience)
    finally:
        os.close(ready_r)
    if said == b"ready":
        # It outlives us on purpose; without this, Popen's destructor would warn.
        process.returncode = 0
        return
    process.poll()
    if said.startswith(b"{"):
        raise from_record(json.loads(said))
    raise DaemonUnavailable(
        f"The pyro {'relay' if locations.on else 'daemon'} did not start within {patience:.0f} s, or exited at once.",
        hint=f"Its log says why: {locations.daemon_log}",
    )


def _program(locations: Locations) -> list[str]:
    """Where the daemon is on another computer, what stands in for it here."""
    return ["pyro_mcp.remote", "--on", locations.on] if locations.on else ["pyro_mcp.daemon"]


def _read_line(fd: int, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    collected = b""
    while not collected.endswith(b"\n"):
        readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            break
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        collected += chunk
    return collected.strip()
