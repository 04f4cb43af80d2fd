"""The second table of `make bench`: the same few things with each peer that works here, by turns."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from benchmarks.measure import Step, busy, clock, spread
from benchmarks.peers import present
from benchmarks.peers.driver import GIT, Driver, must

FILES = 1000
IDLE = 5
"""Machines that idle side by side while memory is looked at."""
SETTLED = 1.2
"""Seconds until a pool has another spare, and what was freed is free."""
Times = dict[str, dict[str, list[tuple[float, float]]]]
"""By operation and peer: milliseconds, and CPU milliseconds of this whole computer."""


def seed(work: Path) -> Path:
    """A git work tree of small files."""
    root = work / "peers-seed"
    for number in range(FILES):
        file = root / f"d{number // 100}" / f"f{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"file {number}\n" * 20)
    git = [*GIT, "-C", str(root)]
    must([*git, "init", "-q", "-b", "main"])
    must([*git, "add", "-A"])
    must([*git, "commit", "-qm", "seed"])
    time.sleep(0.2)
    return root


def free() -> int:
    """Bytes that this computer could still give (MemAvailable, proc_meminfo(5))."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def one_round(driver: Driver, source: Path, times: Times) -> None:
    """Every operation once with one peer."""

    def take(what: str, step: Step) -> None:
        before = busy()
        spent = clock(step)
        times.setdefault(what, {}).setdefault(driver.name, []).append((spent, busy() - before))

    made: list[str] = []

    def begin() -> None:
        made.append(driver.create(source))
        driver.run(made[0], "true")

    def there_and_back() -> None:
        driver.write(made[0], "note", "x" * 1000)
        assert driver.read(made[0], "note") == "x" * 1000

    take(f"create with {FILES} files, first command", begin)
    try:
        for _ in range(3):
            take("command: true", lambda: driver.run(made[0], "true"))
            take("command: echo x | wc -c", lambda: driver.run(made[0], "echo x | wc -c"))
            take("write and read 1 kB", there_and_back)
        take("git status", lambda: driver.run(made[0], "git status --short"))
        take("keep the state", lambda: driver.keep(made[0]))
        take("reset to it", lambda: driver.reset(made[0]))
        take("fork of it", lambda: made.extend(driver.fork(made[0], 1)))
    finally:
        for machine in made:
            take("delete", lambda machine=machine: driver.delete(machine))  # type: ignore[misc]
    time.sleep(SETTLED)


def memory(driver: Driver, source: Path) -> float:
    """MiB that an idle machine with its files takes of this computer."""
    time.sleep(SETTLED)
    before = free()
    made = [driver.create(source) for _ in range(IDLE)]
    time.sleep(SETTLED * 2)
    taken = (before - free()) / IDLE / 1024**2
    for machine in made:
        driver.delete(machine)
    return taken


def measured(work: Path, runs: int) -> tuple[str, dict[str, object]]:
    """The table, and what stands in it for the file of figures."""
    source, times = seed(work), Times()
    drivers, absent = present(work)
    taken: dict[str, float] = {}
    try:
        for number in range(runs):
            for driver in drivers:
                print(f"  peers, round {number + 1} of {runs}, {driver.name} …", file=sys.stderr, flush=True)
                one_round(driver, source, times)
        for driver in drivers:
            taken[driver.name] = memory(driver, source)
    finally:
        for driver in drivers:
            driver.close()
    text = render(times, taken, [driver.name for driver in drivers])
    text += "".join(f"\n{driver.name}: {driver.boundary}" for driver in drivers)
    text += "".join(f"\n{peer}: not measured: {why}" for peer, why in absent.items())
    return text, {"times": times, "memory": taken, "absent": absent}


def render(times: Times, taken: dict[str, float], names: list[str]) -> str:
    """Median, the middle half, and CPU of each peer."""
    lines = [["median ms (middle half; CPU)", *names]]
    for what, of in times.items():
        line = [what]
        for name in names:
            spent = [one[0] for one in of.get(name, [])]
            cpu = statistics.fmean(one[1] for one in of[name]) if spent else 0.0
            line.append(f"{statistics.median(spent):.1f} ({spread(spent)}; {cpu:.0f})" if spent else "-")
        lines.append(line)
    lines.append(["memory of one that idles, MiB", *(f"{taken[name]:.1f}" if name in taken else "-" for name in names)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
