"""Starts the emulated computer and reads what it prints."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
from typing import Any

from lab.outer import Outer

RESULT = "LAB-RESULT "
MEMORY_MIB = 6000


def command(outer: Outer, task: str) -> list[str]:
    """The command line that worked; -M microvm and more than one CPU hang (docs/engines.md)."""
    argv = "qemu-system-x86_64 -M q35 -accel tcg,thread=multi,tb-size=1024 -cpu EPYC,+svm,+npt -smp 1 -nodefaults"
    argv += f" -m {MEMORY_MIB} -no-user-config -nographic -serial stdio -no-reboot"
    append = f"console=ttyS0 panic=-1 reboot=t mitigations=off quiet loglevel=3 pyro.task={task}"
    disks = []
    for number, disk in enumerate((outer.root, outer.payload, outer.cache)):
        # snapshot=on: what is written is forgotten, so the cached images stay as they are
        disks += ["-drive", f"id=d{number},file={disk},format=raw,if=none,snapshot=on,cache=unsafe"]
        disks += ["-device", f"virtio-blk-pci,drive=d{number}"]
    return [*argv.split(), "-kernel", str(outer.kernel), "-initrd", str(outer.initrd), *disks, "-append", append]


def run(outer: Outer, task: list[str], seconds: float) -> tuple[int, list[Any]]:
    """Run one task in there. Gives its exit status (125 when it never said one) and its results."""
    # The kernel's command line takes no quotes in a value: a comma stands for a space.
    assert all("," not in word for word in task), shlex.join(task)
    process = subprocess.Popen(
        command(outer, ",".join(task)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    status, results = 125, []
    assert process.stdout is not None
    try:
        for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip()
            if line.startswith(RESULT):
                results.append(json.loads(line.removeprefix(RESULT)))
            elif line.startswith("LAB-EXIT "):
                status = int(line.split()[1])
            else:
                print(line, file=sys.stderr, flush=True)
        process.wait()
    finally:
        timer.cancel()
        process.kill()
    return status, results
