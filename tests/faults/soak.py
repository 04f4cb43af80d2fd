"""`make soak MINUTES=60`: many workspaces, many commands at once, mixed work; what grows, what fails, who suffers.

Prints one line a round and a table of figures at the end; exits with 1 when something failed or grew without end.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.sdk import Pyro
from tests.support import Installation, leftovers, wait_until

CALL_SECONDS = 50.0
"""The longest that any call may take (docs/public-contract.md)."""
MISBEHAVIOUR = "timeout 20 bash -c 'for i in 1 2 3 4; do while :; do :; done & done; yes | head -c 50000000; wait'"


def disk_bytes(directory: Path) -> int:
    total = 0
    for root, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


class Soak:
    def __init__(self, place: Installation, workspaces: int, commands: int) -> None:
        self.place = place
        self.errors: list[str] = []
        self.times: dict[str, list[float]] = {}
        self._turn = threading.Lock()
        self.random = random.Random(1)
        self.pyro = Pyro()
        self.seed = place.root / "seed"
        self.seed.mkdir()
        (self.seed / "seeded").write_text("seeded\n")
        self.pool = ThreadPoolExecutor(min(commands, 64))
        self.commands = commands
        self.ids = list(self.pool.map(self.create, range(workspaces)))

    def create(self, _: int) -> str:
        begun = time.monotonic()
        made = self.pyro.create_workspace(seed_path=str(self.seed)).id
        self.note("create", time.monotonic() - begun)
        return made

    def note(self, what: str, seconds: float) -> None:
        with self._turn:
            self.times.setdefault(what, []).append(seconds)

    def one(self, number: int) -> None:
        workspace = self.ids[number % len(self.ids)]
        what = ("exec", "exec", "exec", "write", "read", "diff", "list")[number % 7]
        begun = time.monotonic()
        try:
            if what == "exec":
                said = self.pyro.exec_workspace(workspace, f"echo {number}; ls / >/dev/null; sleep 0.05")
                assert said.stdout == f"{number}\n", said
            elif what == "write":
                self.pyro.write_workspace_file(workspace, f"f{number % 5}", "x" * 1000)
            elif what == "read":
                assert self.pyro.read_workspace_file(workspace, "seeded").content == "seeded\n"
            elif what == "diff":
                self.pyro.diff_workspace(workspace)
            else:
                self.pyro.list_workspaces()
        except (PyroError, AssertionError) as error:
            with self._turn:
                self.errors.append(f"{what}: {error}")
        seconds = time.monotonic() - begun
        self.note(what, seconds)
        if seconds > CALL_SECONDS:
            with self._turn:
                self.errors.append(f"{what} took {seconds:.0f} s")

    def churn(self) -> None:
        """A few come and go, are reset, kept and put back."""
        place = self.random.randrange(len(self.ids))
        self.pyro.reset_workspace(self.ids[place])
        gone, self.ids[place] = self.ids[place], self.create(0)
        self.pyro.delete_workspace(gone)

    def neighbours(self, seconds: float = 6.0) -> dict[str, float]:
        """How long a neighbour's `true` takes, alone and while one workspace misbehaves."""
        quiet = statistics.median(self.latency() for _ in range(15))
        bad = self.pyro.exec_workspace(self.ids[0], MISBEHAVIOUR, wait_seconds=0)
        until, found = time.monotonic() + seconds, []
        while time.monotonic() < until:
            found.append(self.latency())
        self.pyro.cancel_workspace_exec(self.ids[0], bad.handle)
        return {
            "neighbour's exec, quiet, ms": round(quiet * 1000, 1),
            "neighbour's exec, one misbehaving, median, ms": round(statistics.median(found) * 1000, 1),
            "neighbour's exec, one misbehaving, worst, ms": round(max(found) * 1000, 1),
        }

    def latency(self) -> float:
        begun = time.monotonic()
        self.pyro.exec_workspace(self.ids[1], ["/bin/true"])
        return time.monotonic() - begun

    def holdings(self) -> tuple[float, int, float]:
        """The daemon's memory in MiB, its descriptors, and the state directory in MiB."""
        pid = self.place.daemon_pid()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        return resident, len(os.listdir(f"/proc/{pid}/fd")), disk_bytes(self.place.locations.state) / 2**20

    def close(self) -> None:
        list(self.pool.map(self.pyro.delete_workspace, self.ids))
        self.pool.shutdown()
        self.pyro.close()


def run(minutes: float, workspaces: int, commands: int) -> tuple[dict[str, float], list[str]]:
    """Figures and errors."""
    figures: dict[str, float] = {"workspaces": workspaces, "commands at once": commands}
    with Installation("gvisor") as place, place.active():
        soak = Soak(place, workspaces, commands)
        try:
            # What is filled once, such as pools and caches, is filled before the first look.
            list(soak.pool.map(soak.one, range(commands)))
            first = soak.holdings()
            until, rounds = time.monotonic() + minutes * 60, 0
            while not rounds or time.monotonic() < until:
                list(soak.pool.map(soak.one, range(rounds * commands, (rounds + 1) * commands)))
                soak.churn()
                rounds += 1
                held = soak.holdings()
                print(
                    f"round {rounds}: {held[0]:.0f} MiB, {held[1]} descriptors, {held[2]:.0f} MiB of disk, "
                    f"{len(soak.errors)} errors",
                    flush=True,
                )
            figures |= soak.neighbours()
            last = soak.holdings()
        finally:
            soak.close()
        wait_until(lambda: len(list(place.machines.iterdir())) <= 2, 60)
    for number, name in enumerate(("daemon's memory, MiB", "daemon's descriptors", "state on disk, MiB")):
        figures[f"{name}, first"], figures[f"{name}, last"] = round(first[number], 1), round(last[number], 1)
    for what, times in sorted(soak.times.items()):
        figures[f"{what}, calls"] = len(times)
        figures[f"{what}, median, ms"] = round(statistics.median(times) * 1000, 1)
        figures[f"{what}, worst, s"] = round(max(times), 2)
    errors = soak.errors + [f"left behind: {each}" for each in leftovers(place.root)]
    if last[0] > first[0] * 1.5 + 40:
        errors.append(f"the daemon's memory grew from {first[0]:.0f} to {last[0]:.0f} MiB")
    if last[1] > first[1] + commands:
        errors.append(f"the daemon's descriptors grew from {first[1]} to {last[1]}")
    return figures, errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--workspaces", type=int, default=50)
    parser.add_argument("--commands", type=int, default=200)
    options = parser.parse_args()
    figures, errors = run(options.minutes, options.workspaces, options.commands)
    for name, value in figures.items():
        print(f"{name:50} {value}")
    print(f"{'errors':50} {len(errors)}")
    for error in errors[:20]:
        print(f"  {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
