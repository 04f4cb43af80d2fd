"""Starts the emulated computer and reads what it prints."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from typing import Any, TextIO

from lab.outer import Outer

RESULT = "LAB-RESULT "
MEMORY_MIB = 6000
SILENCE_SECONDS = 60
ATTEMPTS = 3


def command(outer: Outer, task: str) -> list[str]:
    """The command line that worked; -M microvm and more than one CPU hang (docs/engines.md)."""
    argv = "qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=1024 -cpu EPYC,+svm,+npt -smp 1 -nodefaults"
    argv += f" -m {MEMORY_MIB} -no-user-config -nographic -serial stdio -no-reboot"
    append = f"console=ttyS0 panic=-1 reboot=t mitigations=off quiet loglevel=3 pyro.task={task}"
    # QEMU's own network: a way out through this computer, and none in.
    network = ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]
    disks = []
    for number, disk in enumerate((outer.root, outer.payload, outer.cache)):
        # snapshot=on: what is written is forgotten, so the cached images stay as they are
        disks += ["-drive", f"id=d{number},file={disk},format=raw,if=none,snapshot=on,cache=unsafe"]
        disks += ["-device", f"virtio-blk-pci,drive=d{number}"]
    return [
        *argv.split(),
        "-kernel",
        str(outer.kernel),
        "-initrd",
        str(outer.initrd),
        *disks,
        *network,
        "-append",
        append,
    ]


_running: set[subprocess.Popen[bytes]] = set()


def end_all() -> None:
    """End every emulated computer of this process."""
    for process in list(_running):
        process.kill()


def run(outer: Outer, task: list[str], seconds: float, log: TextIO = sys.stderr) -> tuple[int, list[Any]]:
    """Run one task in there. Gives its exit status (125 when it never said one) and its results."""
    # The kernel's command line takes no quotes in a value: a comma stands for a space.
    assert all("," not in word for word in task), shlex.join(task)
    for attempt in range(ATTEMPTS):
        status, results, hung = _run_once(outer, task, seconds, log)
        if not hung:
            break
        again = "; once more" if attempt + 1 < ATTEMPTS else ""
        print(f"lab: the emulated computer said nothing for {SILENCE_SECONDS} s: QEMU hung{again}", file=log)
    return status, results


def _run_once(outer: Outer, task: list[str], seconds: float, log: TextIO) -> tuple[int, list[Any], bool]:
    process = subprocess.Popen(
        command(outer, ",".join(task)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    _running.add(process)
    watch = _Watch(process, seconds)
    status, results = 125, []
    assert process.stdout is not None
    try:
        for raw in process.stdout:
            watch.heard()
            line = raw.decode(errors="replace").rstrip()
            if line.startswith(RESULT):
                results.append(json.loads(line.removeprefix(RESULT)))
            elif line.startswith("LAB-EXIT "):
                status = int(line.split()[1])
            elif line and line != "LAB-ALIVE":
                print(line, file=log, flush=True)
        process.wait()
    finally:
        process.kill()
        process.wait()
        _running.discard(process)
        watch.join()
    return status, results, watch.hung


class _Watch(threading.Thread):
    """Nudges the emulated computer, and ends it when it has hung or takes too long.

    Software emulation of nested virtualization now and then loses a timer's interrupt, and an idle CPU then sleeps
    for ever. A character on its serial line is an interrupt, too.
    """

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._deadline = time.monotonic() + seconds
        self._last = time.monotonic()
        self.hung = False
        self.start()

    def heard(self) -> None:
        self._last = time.monotonic()

    def run(self) -> None:
        assert self._process.stdin is not None
        while self._process.poll() is None:
            time.sleep(0.5)
            with contextlib.suppress(OSError):
                os.write(self._process.stdin.fileno(), b"\n")
            now = time.monotonic()
            self.hung = now - self._last > SILENCE_SECONDS
            if self.hung or now > self._deadline:
                self._process.kill()
                return
