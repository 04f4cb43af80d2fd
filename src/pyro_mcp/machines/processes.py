"""Finding, watching and ending processes on this computer without ever hitting a stranger.

A process is known by pid and start time (field 22 of /proc/PID/stat), which together are unique until the
computer restarts.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessId:
    pid: int
    start_time: int
    """Clock ticks since boot."""


def boot_id() -> str:
    """Changes with every start of this computer (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none or it is a zombie."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in (b"Z", b"X") else int(fields[19])


def cpu_seconds(pid: int) -> float | None:
    """Processor time that the process has used; None when there is none."""
    fields = _stat(pid)
    return None if fields is None else (int(fields[11]) + int(fields[12])) / _TICK  # utime and stime


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the state on (proc(5), its field 3); None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return stat[stat.rfind(b")") + 2 :].split()


def identify(pid: int) -> ProcessId | None:
    started = start_time(pid)
    return None if started is None else ProcessId(pid, started)


def runs(process: ProcessId) -> bool:
    return start_time(process.pid) == process.start_time


def kill(process: ProcessId) -> None:
    """End the process; one that is gone is fine."""
    send(process, signal.SIGKILL)


def send(process: ProcessId, number: signal.Signals) -> None:
    """A signal through a pidfd, so that a reused pid cannot be hit; a process that is gone is fine."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if runs(process):
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)


async def wait_gone(process: ProcessId) -> None:
    """Wait until the process has ended; it need not be a child."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if not runs(process):
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(fd, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(fd)
    finally:
        os.close(fd)


def with_word_in_command_line(word: bytes) -> list[ProcessId]:
    """Processes one of whose arguments contains `word`: how stragglers of a machine are found."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            line = Path(f"/proc/{entry}/cmdline").read_bytes()
        except OSError:
            continue
        if word in line:
            process = identify(int(entry))
            if process is not None:
                found.append(process)
    return found
