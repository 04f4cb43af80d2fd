"""Timing one thing against another in the same run: A B A B, so that a noisy machine hits both."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

Step = Callable[[], object]


@dataclass
class Row:
    """One line of the table. Times are milliseconds unless `unit` says otherwise."""

    what: str
    value: float
    best: float | None = None
    baseline_name: str = ""
    baseline: float | None = None
    aim: str = ""
    unit: str = "ms"
    samples: list[float] = field(default_factory=list)
    """All times, in the order in which they were taken; `baseline_samples` beside them, one for each."""
    baseline_samples: list[float] = field(default_factory=list)
    cpu: float | None = None
    """Milliseconds of CPU for each step, of all processes of this computer: the step's own where nothing else runs."""
    baseline_cpu: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None


@dataclass
class Table:
    """Collects rows and prints them."""

    runs: int
    rows: list[Row] = field(default_factory=list)

    def compare(
        self,
        what: str,
        step: Step,
        baseline_name: str = "",
        baseline: Step | None = None,
        *,
        aim: str = "",
        runs: int | None = None,
        before: Step | None = None,
        timed: Callable[[], float] | None = None,
    ) -> Row:
        """Time `step` beside `baseline`; `before` runs untimed before each. `timed` gives its own milliseconds."""
        print(f"  {what} …", file=sys.stderr, flush=True)
        ours: list[float] = []
        theirs: list[float] = []
        count = runs or self.runs
        cpu = [0.0, 0.0]
        for _ in range(count):
            if before is not None:
                before()
            begun = busy()
            ours.append(timed() if timed is not None else clock(step))
            between = busy()
            if baseline is not None:
                theirs.append(clock(baseline))
            cpu = [cpu[0] + between - begun, cpu[1] + busy() - between]
        row = Row(
            what,
            statistics.median(ours),
            min(ours),
            baseline_name,
            statistics.median(theirs) if theirs else None,
            aim,
            samples=ours,
            baseline_samples=theirs,
            cpu=cpu[0] / count,
            baseline_cpu=cpu[1] / count if theirs else None,
        )
        self.rows.append(row)
        return row

    def add(self, row: Row) -> None:
        self.rows.append(row)

    def render(self) -> str:
        head = ("operation", "median", "spread", "CPU", "baseline", "", "CPU", "ratio", "aim")
        lines = [head]
        for row in self.rows:
            lines.append(
                (
                    row.what,
                    f"{row.value:.1f} {row.unit}",
                    spread(row.samples),
                    "" if row.cpu is None else f"{row.cpu:.0f}",
                    row.baseline_name,
                    "" if row.baseline is None else f"{row.baseline:.1f} {row.unit}",
                    "" if row.baseline_cpu is None else f"{row.baseline_cpu:.0f}",
                    "" if row.ratio is None else f"{row.ratio:.2f}",
                    row.aim,
                )
            )
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        out = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        out.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(out)


def spread(samples: list[float]) -> str:
    """The middle half of the times."""
    if len(samples) < 2:
        return ""
    low, _, high = statistics.quantiles(samples, n=4)
    return f"{low:.1f}-{high:.1f}"


def busy() -> float:
    """Milliseconds for which this computer's CPUs have worked since it started, in ticks of 10 (proc_stat(5))."""
    user, nice, system, _idle, _wait, irq, soft = Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
    return sum(map(int, (user, nice, system, irq, soft))) * 1000 / os.sysconf("SC_CLK_TCK")


def clock(step: Step) -> float:
    """Milliseconds that a step takes."""
    begun = time.perf_counter()
    step()
    return (time.perf_counter() - begun) * 1000
