"""Timing one thing against another in the same run: A B A B, so that a noisy machine hits both."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

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
    note: str = ""

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
        for _ in range(runs or self.runs):
            if before is not None:
                before()
            ours.append(timed() if timed is not None else clock(step))
            if baseline is not None:
                theirs.append(clock(baseline))
        row = Row(
            what,
            statistics.median(ours),
            min(ours),
            baseline_name,
            statistics.median(theirs) if theirs else None,
            aim,
        )
        self.rows.append(row)
        return row

    def add(self, row: Row) -> None:
        self.rows.append(row)

    def render(self) -> str:
        head = ("operation", "median", "best", "baseline", "", "ratio", "aim")
        lines = [head]
        for row in self.rows:
            lines.append(
                (
                    row.what,
                    f"{row.value:.1f} {row.unit}",
                    "" if row.best is None else f"{row.best:.1f}",
                    row.baseline_name,
                    "" if row.baseline is None else f"{row.baseline:.1f} {row.unit}",
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


def clock(step: Step) -> float:
    """Milliseconds that a step takes."""
    begun = time.perf_counter()
    step()
    return (time.perf_counter() - begun) * 1000
