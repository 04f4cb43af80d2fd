"""Starting the daemon on demand.

The daemon is a session and process group of its own, out of reach of the signals with which chat hosts
end their servers. The starter waits for one line on a pipe: `ready`, or what went wrong.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import time

from pyro_mcp.errors import DaemonUnavailable, from_record
from pyro_mcp.locations import Locations

START_SECONDS = 30.0
"""How long a daemon may take to listen: adoption of many machines on a slow disk included."""


def accepts(locations: Locations) -> bool:
    """Whether a daemon listens on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(locations.socket))
        except OSError:
            return False
        return True


def start_daemon(locations: Locations) -> None:
    """Start the daemon unless one listens, and return when its socket accepts.

    Raises:
        DaemonUnavailable: it did not start within 30 s.
        PyroError: whatever it said stopped it, such as a missing component.
    """
    locations.prepare()
    lock = os.open(locations.runtime / "launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one starter at a time; the others find it running
        if not accepts(locations):
            _spawn(locations)
    finally:
        os.close(lock)


def _spawn(locations: Locations) -> None:
    ready_r, ready_w = os.pipe()
    log = os.open(locations.daemon_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "pyro_mcp.daemon", "--ready-fd", str(ready_w)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            pass_fds=(ready_w,),
            start_new_session=True,
        )
    finally:
        os.close(log)
        os.close(ready_w)
    try:
        said = _read_line(ready_r, START_SECONDS)
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
        f"The pyro daemon did not start within {START_SECONDS:.0f} s or ended at once.",
        hint=f"Its log says why: {locations.daemon_log}",
    )


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
