"""The coding loop: what an agent does all day, timed step by step, with pyro and with what one could take instead.

    python -m benchmarks.coding_loop                       # all peers that work here, both projects
    python -m benchmarks.coding_loop --peers pyro,bubblewrap --projects python --rounds 3 --json loop.json

Rounds go by turns over the peers, so that a slow minute hits all. `coding_loop.md` says what each step is.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import busy
from benchmarks.peers import PEERS, present
from benchmarks.peers.driver import GIT, Driver, must
from pyro_mcp.errors import PyroError

Figures = dict[str, dict[str, list[tuple[float, float, int]]]]
"""By peer and step: seconds, CPU seconds of this whole computer, bytes that its network took in."""
FORKS = 3


@dataclass(frozen=True)
class Project:
    """A real repository of a thousand files or more, and one change to it."""

    name: str
    fetch: Callable[[Path], Path]
    """Puts the archive, as its registry has it, into a directory."""
    sha256: str
    inside: str
    """What of the archive is the project; the part of a path before it goes."""
    install: str
    test: str
    file: str
    begin: str
    """What an edit replaces, standing once in `file`."""
    ignored: str
    needs: str
    """A program that the environment must have."""


def from_pypi(place: Path) -> Path:
    wheel = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(place), "sympy==1.13.3"]
    pip = wheel if not shutil.which("pip") else ["pip", *wheel[3:]]
    must(pip)
    return next(place.glob("*.whl"))


def from_npm(place: Path) -> Path:
    must(["npm", "pack", "--silent", "--pack-destination", str(place), "lodash@4.17.21"])
    return next(place.glob("*.tgz"))


PROJECTS = [
    Project(
        "python",
        from_pypi,
        "54612cf55a62755ee71824ce692986f23c88ffa77207b30c1368eda4a7060f73",
        "",
        "python3 -m venv .venv && .venv/bin/pip install -q --disable-pip-version-check"
        " pytest==8.3.4 hypothesis==6.122.3 mpmath==1.3.0",
        ".venv/bin/python -m pytest -q -p no:cacheprovider sympy/core/tests/test_priority.py"
        " sympy/core/tests/test_truediv.py sympy/core/tests/test_containers.py",
        "sympy/core/tests/test_truediv.py",
        "def test_truediv():\n",
        ".venv\n__pycache__\n",
        "python3",
    ),
    Project(
        "node",
        from_npm,
        "6a087ac9e5702a0c9d60fbcd48696012646ec8df1491dea472b150e79fcaf804",
        "package/",
        "npm install --silent --no-fund --no-audit --no-save --no-package-lock mocha@10.8.2",
        "node_modules/.bin/mocha loop.test.js",
        "loop.test.js",
        "// tests\n",
        "node_modules\n",
        "npm",
    ),
]
NODE_TEST = """const assert = require('assert');
const _ = require('./lodash.js');
// tests
it('chunks', () => assert.deepEqual(_.chunk([1, 2, 3], 2), [[1, 2], [3]]));
"""


def edit(project: Project, number: int) -> str:
    """The text that stands for `begin` after edit `number`: one more test."""
    if project.name == "python":
        return f"def test_edit_{number}():\n    assert {number} / 1 == {number}\n\n\n{project.begin}"
    return f"{project.begin}it('edit {number}', () => assert.equal(_.add({number}, 1), {number + 1}));\n"


def seed_of(project: Project, work: Path) -> Path:
    """The project as a git repository with one commit."""
    place = work / f"archive-{project.name}"
    place.mkdir()
    archive = project.fetch(place)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != project.sha256:
        raise SystemExit(f"{archive.name} is not what is pinned")
    raw, seed = work / f"raw-{project.name}", work / f"seed-{project.name}"
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(raw)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(raw, filter="data")
    (raw / project.inside if project.inside else raw).rename(seed)
    (seed / ".gitignore").write_text(project.ignored)
    if project.name == "node":
        (seed / "loop.test.js").write_text(NODE_TEST)
    git = [*GIT, "-C", str(seed)]
    must([*git, "init", "-q", "-b", "main"])
    must([*git, "add", "-A"])
    must([*git, "commit", "-qm", "as published"])
    count = must([*git, "ls-files"]).count("\n")
    assert count >= 1000, f"{project.name} has {count} files"
    return seed


class Failed(Exception):
    """A step did not do what it says; names it."""


class Clock:
    """Takes down each step of one round."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[float, float, int]] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        cpu, network, begun = busy(), received(), time.perf_counter()
        try:
            yield
        except (AssertionError, RuntimeError, OSError, PyroError) as error:
            raise Failed(f"{name}: {error}") from error
        spent = time.perf_counter() - begun
        self.steps[name] = (spent, (busy() - cpu) / 1000, received() - network)


def received() -> int:
    """Bytes that came in over this computer's network cards, loopback apart (proc(5), /proc/net/dev)."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return sum(int(line.split(":")[1].split()[0]) for line in lines if line.split(":")[0].strip() != "lo")


def passes(driver: Driver, machine: str, project: Project, mark: str) -> None:
    done = driver.run(machine, project.test)
    assert done.status == 0, f"{driver.name}: {done.output[-2000:]}"
    assert mark in done.output, f"{driver.name}: {mark!r} is not in {done.output[-500:]}"


def play(driver: Driver, project: Project, seed: Path, branch: str) -> dict[str, tuple[float, float, int]]:
    """One round; every step is checked to have done what it says."""
    clock = Clock()
    count = {"python": 24, "node": 1}[project.name]
    said = "passed" if project.name == "python" else "passing"
    with clock.step("seed"):
        machine = driver.create(seed)
        assert driver.run(machine, "true").status == 0
    made = [machine]
    try:
        with clock.step("install"):
            done = driver.run(machine, project.install)
            assert done.status == 0, f"{driver.name}: {done.output[-2000:]}"
        with clock.step("test"):
            passes(driver, machine, project, f"{count} {said}")
        with clock.step("keep"):
            driver.keep(machine)
        with clock.step("edit"):
            before = driver.read(machine, project.file)
            assert before.count(project.begin) == 1
            driver.write(machine, project.file, before.replace(project.begin, edit(project, 1)))
        with clock.step("rerun"):
            passes(driver, machine, project, f"{count + 1} {said}")
        with clock.step("diff"):
            patch = driver.diff(machine)
        assert project.file in patch and patch.count("\n+") == edit(project, 1).count("\n") - 1 + 1, patch[:2000]
        with clock.step("reset"):
            driver.reset(machine)
        assert driver.read(machine, project.file) == before
        with clock.step(f"fork x{FORKS}"):
            forks = driver.fork(machine, FORKS)
        made += forks
        with clock.step("edit and test in each fork"):
            for number, fork in enumerate(forks, 2):
                driver.write(fork, project.file, before.replace(project.begin, edit(project, number)))
                passes(driver, fork, project, f"{count + 1} {said}")
        with clock.step("land"):
            driver.land(forks[1], seed, branch)
        landed = must([*GIT, "-C", str(seed), "show", f"{branch}:{project.file}"])
        assert landed == before.replace(project.begin, edit(project, 3)).rstrip("\n") + "\n"
        with clock.step("delete all"):
            while made:
                driver.delete(made.pop())
    finally:
        for left in made:
            with contextlib.suppress(Exception):
                driver.delete(left)
    return clock.steps


def table(figures: Figures) -> str:
    """Median seconds (CPU seconds; MB from the network) per step and peer."""
    peers = list(figures)
    lines = [["step", *peers]]
    for step in next(iter(figures.values()), {}):
        line = [step]
        for peer in peers:
            times = figures[peer][step]
            spent, cpu, came = (statistics.median(one[i] for one in times) for i in range(3))
            line.append(f"{spent:.2f} ({cpu:.2f}{f'; {came / 1e6:.1f} MB' if came > 1e5 else ''})")
        lines.append(line)
    whole = [sum(statistics.median(one[0] for one in times) for times in figures[peer].values()) for peer in peers]
    lines.append(["all", *(f"{spent:.2f}" for spent in whole)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def loops(drivers: list[Driver], projects: list[Project], rounds: int, work: Path) -> dict[str, Figures]:
    """All rounds of all projects. A peer that cannot do one is left out of it, with a word on standard error."""
    everything: dict[str, Figures] = {}
    for project in projects:
        seed = seed_of(project, work)
        figures = everything[project.name] = {}
        able = list(drivers)
        for number in range(rounds):
            for driver in list(able):
                print(f"  {project.name}, round {number + 1}, {driver.name} …", file=sys.stderr, flush=True)
                branch = f"loop-{driver.name.replace(' ', '-')}-{number}"
                try:
                    steps = play(driver, project, seed, branch)
                except (Failed, AssertionError, RuntimeError, OSError, PyroError) as error:
                    print(f"  {driver.name} cannot: {error}", file=sys.stderr, flush=True)
                    able.remove(driver)
                    figures.pop(driver.name, None)
                    continue
                for step, spent in steps.items():
                    figures.setdefault(driver.name, {}).setdefault(step, []).append(spent)
    return everything


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coding_loop", description=__doc__)
    parser.add_argument("--peers", help=f"some of: {', '.join(PEERS)}")
    parser.add_argument("--projects", default="python", help="python, node or python,node (default: python)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    chosen = [project for project in PROJECTS if project.name in options.projects.split(",")]
    with tempfile.TemporaryDirectory(prefix="pyro-loop-") as name:
        work = Path(name)
        drivers, absent = present(work, options.peers.split(",") if options.peers else None)
        try:
            everything = loops(drivers, chosen, options.rounds, work)
        finally:
            for driver in drivers:
                driver.close()
            subprocess.run(["chmod", "-R", "u+rwX", str(work)], check=False)
    for project, figures in everything.items():
        print(f"\n{project}: seconds (CPU seconds of this computer; from the network), medians of {options.rounds}\n")
        print(table(figures))
    for driver in drivers:
        print(f"{driver.name}: {driver.boundary}")
    for peer, why in absent.items():
        print(f"{peer}: not here: {why}")
    if options.json:
        Path(options.json).write_text(json.dumps({"loops": everything, "absent": absent, "cores": os.cpu_count()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
