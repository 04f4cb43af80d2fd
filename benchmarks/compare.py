"""`make bench-compare BASE=before.json`: which figures are another than before, and which only look so.

A figure counts as its pairs: each of our times over the baseline's that was taken right beside it, so that a slow hour
of the computer hits both. Of two runs the pairs are compared by the Mann-Whitney test (no assumption of how noise is
shaped), all figures together by Holm's rule (with forty figures, two in twenty would look new by chance), and what
is certain but small is no finding either. The change is the Hodges-Lehmann estimate, with its interval.

Several files may stand on each side (`BASE="a.json b.json"`): runs of different hours differ more than the pairs of
one do. Exit status 1: something is certainly slower.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CERTAIN = 0.05
"""How often a whole comparison may cry wolf."""
SMALL = 0.10
"""A change of the ratio by less than this is not worth a word."""
EXACT = 2000
"""Comparisons of single pairs up to which chances are counted out."""
FEWEST = 4
"""Pairs on each side, below which nothing can be certain."""


@dataclass(frozen=True)
class Verdict:
    """What became of one figure: `change` 1.2 is 20 % slower, certain to lie between `low` and `high` (95 %)."""

    what: str
    change: float
    low: float
    high: float
    p: float
    word: str
    """slower, faster, same, or unclear: too few pairs."""


def ratios(row: dict[str, Any]) -> list[float]:
    """The logarithms of a figure's pairs; none where it has no baseline, or was not taken so."""
    ours, theirs = row.get("samples") or [], row.get("baseline_samples") or []
    return [math.log(a / b) for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]


def compare(before: dict[str, list[float]], after: dict[str, list[float]]) -> list[Verdict]:
    """A verdict for each figure that is in both, by the logarithms of its pairs."""
    names = [name for name in before if before[name] and after.get(name)]
    chances = {name: chance(before[name], after[name]) for name in names}
    certain = holm(chances, CERTAIN)
    verdicts = []
    for name in names:
        middle, low, high = shift(before[name], after[name])
        change = math.exp(middle)
        word = "same"
        if min(len(before[name]), len(after[name])) < FEWEST:
            word = "unclear"
        elif name in certain and not 1 / (1 + SMALL) < change < 1 + SMALL:
            word = "slower" if change > 1 else "faster"
        verdicts.append(Verdict(name, change, math.exp(low), math.exp(high), chances[name], word))
    return verdicts


def chance(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided chance that samples of one and the same thing differ this much (Mann-Whitney): exact without
    ties and up to `EXACT` comparisons, else by the normal approximation with its corrections."""
    wins = sum((y > x) + (y == x) / 2 for x in a for y in b)
    n, m = len(a), len(b)
    extreme = max(wins, n * m - wins)
    values = [*a, *b]
    if len(set(values)) == len(values) and n * m <= EXACT:
        counts = ways(n, m)
        return min(1.0, 2 * sum(counts[math.ceil(extreme) :]) / sum(counts))
    ties = sum(values.count(value) ** 3 - values.count(value) for value in set(values))
    spread = math.sqrt(n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))))
    return 1.0 if spread == 0 else min(1.0, math.erfc((extreme - n * m / 2 - 0.5) / spread / math.sqrt(2)))


def ways(n: int, m: int) -> list[int]:
    """In how many orders of n and m values the one side wins 0, 1, … n * m times: the Gaussian binomial."""
    counts = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for at in range(n * m, m + i - 1, -1):  # times (1 - q^(m+i))
            counts[at] -= counts[at - m - i]
        for at in range(i, n * m + 1):  # over (1 - q^i)
            counts[at] += counts[at - i]
    return counts


def holm(chances: dict[str, float], level: float) -> set[str]:
    """Those that are certain together: the smallest must do best."""
    found = set()
    for place, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        if chances[name] > level / (len(chances) - place):
            break
        found.add(name)
    return found


def shift(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """By how much b is above a: the median of all differences, and the interval that holds it 95 times of 100."""
    differences = sorted(y - x for x in a for y in b)
    n, m, count = len(a), len(b), len(differences)
    middle = (differences[(count - 1) // 2] + differences[count // 2]) / 2
    reach = 1.96 * math.sqrt(n * m * (n + m + 1) / 12)
    low = max(0, round(n * m / 2 - reach) - 1)
    return middle, differences[low], differences[count - 1 - low]


def read(paths: Sequence[Path]) -> dict[str, list[float]]:
    """The pairs of all figures of some runs."""
    found: dict[str, list[float]] = {}
    for path in paths:
        for row in json.loads(path.read_text())["rows"]:
            found.setdefault(str(row["what"]), []).extend(ratios(row))
    return found


def render(verdicts: Sequence[Verdict]) -> str:
    """A line for each, what changed first."""
    order = ["slower", "faster", "unclear", "same"]
    lines = []
    for one in sorted(verdicts, key=lambda one: (order.index(one.word), one.what)):
        lines.append(f"{one.word:8} {one.change:6.2f}  [{one.low:.2f}, {one.high:.2f}]  p {one.p:.4f}  {one.what}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-compare", description=__doc__)
    parser.add_argument("--base", nargs="+", type=Path, required=True, help="figures of before (make bench JSON=…)")
    parser.add_argument("--now", nargs="+", type=Path, required=True, help="figures of now")
    options = parser.parse_args()
    verdicts = compare(read(options.base), read(options.now))
    print(render(verdicts))
    return int(any(one.word == "slower" for one in verdicts))


if __name__ == "__main__":
    sys.exit(main())
