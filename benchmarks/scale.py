"""What one computer carries: `python -m benchmarks.scale [MOST]` prints a row for 1, 10, 25, 50, 100 … MOST workspaces.

One daemon with directories of its own, the caches of this user. Each row is taken when that many workspaces exist: how
long the last creates took (median, one after the other, each with one command), how long `true` takes in the newest and
in the oldest, the memory that is gone since the beginning (MemAvailable of proc_meminfo(5), and the sum of what
sandboxes alone have, Pss), the processor time of all of it in ten seconds in which nothing is asked (per cent of one
core), and the disk of the state directory.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.checkpoints import cpu_seconds

STEPS = (1, 10, 25, 50, 100, 150, 200, 300, 400)
QUIET_SECONDS = 10
LAST = 10


def _available() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise LookupError("MemAvailable")


def _pss(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def _disk(top: Path) -> int:
    return sum(place.lstat().st_blocks * 512 for place in top.rglob("*"))


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    root = tempfile.mkdtemp(prefix="pyro-scale-", dir="/tmp")
    os.environ |= {"XDG_STATE_HOME": f"{root}/state", "XDG_RUNTIME_DIR": f"{root}/run"}
    os.mkdir(f"{root}/run", 0o700)
    from pyro_mcp import Pyro
    from pyro_mcp.machines.processes import with_word_in_command_line

    def ours() -> list[int]:
        return [process.pid for process in with_word_in_command_line(f"{root}/state/pyro/machines/".encode())]

    def daemons() -> list[int]:
        own = f"XDG_STATE_HOME={root}/state\0".encode()
        found = with_word_in_command_line(b"pyro_mcp.daemon")
        return [process.pid for process in found if own in Path(f"/proc/{process.pid}/environ").read_bytes()]

    print("| workspaces | create + first command, ms | `true` in newest / oldest, ms | memory gone, MiB ", end="")
    print("| sandboxes (Pss), MiB | idle, % of a core | disk, MiB |\n|---|---|---|---|---|---|---|", flush=True)
    with Pyro() as pyro:
        first = pyro.create_workspace()
        first.exec("true")
        first.delete()
        before, made, taken = _available(), [], []
        try:
            for number in range(1, most + 1):
                begun = time.perf_counter()
                made.append(pyro.create_workspace())
                made[-1].exec("true")
                taken.append((time.perf_counter() - begun) * 1000)
                if number not in STEPS and number != most:
                    continue
                runs = []
                for workspace in (made[-1], made[0]):
                    times = []
                    for _ in range(7):
                        begun = time.perf_counter()
                        workspace.exec("true")
                        times.append((time.perf_counter() - begun) * 1000)
                    runs.append(statistics.median(times[1:]))
                time.sleep(3)
                processes = ours() + daemons()
                spent, begun = cpu_seconds(processes), time.perf_counter()
                time.sleep(QUIET_SECONDS)
                idle = 100 * (cpu_seconds(processes) - spent) / (time.perf_counter() - begun)
                gone, pss = (before - _available()) >> 20, _pss(ours()) >> 20
                disk = _disk(Path(root, "state")) >> 20
                create = statistics.median(taken[-LAST:])
                row = (number, f"{create:.0f}", f"{runs[0]:.1f} / {runs[1]:.1f}", gone, pss, f"{idle:.1f}", disk)
                print("| " + " | ".join(map(str, row)) + " |", flush=True)
        finally:
            for workspace in made:
                workspace.delete()
    for pid in daemons():
        os.kill(pid, 15)
    time.sleep(2)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
