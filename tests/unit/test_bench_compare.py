"""A comparison of two benchmark runs finds what changed, and cries no wolf at noise."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from pathlib import Path

import pytest
from benchmarks import compare as comparing
from benchmarks.compare import FEWEST, chance, compare, holm, ratios, read, render, shift, ways
from hypothesis import given
from hypothesis import strategies as st


def _noise(random_: random.Random, count: int, factor: float = 1.0) -> list[float]:
    """Logarithms as loaded computers make them: most close together, some far above."""
    return [
        math.log(factor) + random_.gauss(0, 0.08) + (abs(random_.gauss(0, 1)) if random_.random() < 0.1 else 0)
        for _ in range(count)
    ]


def test_the_orders_are_counted_as_by_hand() -> None:
    for n, m in [(1, 1), (2, 3), (3, 3), (4, 2)]:
        by_hand = Counter(
            sum(y > x for x in chosen for y in range(n + m) if y not in chosen)
            for chosen in itertools.combinations(range(n + m), n)
        )
        assert ways(n, m) == [by_hand[wins] for wins in range(n * m + 1)]
        assert sum(ways(n, m)) == math.comb(n + m, n)


def test_the_chance_is_exact_for_few_and_near_it_by_approximation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chance([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    a, b = [float(i) for i in range(30)], [i + 7.5 for i in range(30)]
    exact = chance(a, b)
    monkeypatch.setattr(comparing, "EXACT", 0)
    assert exact == pytest.approx(chance(a, b), rel=0.25)
    assert chance([1.0] * 5, [1.0] * 5) == 1.0


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_a_chance_is_one_and_no_matter_of_the_order(a: list[float], b: list[float]) -> None:
    assert 0 <= chance(a, b) <= 1
    assert chance(a, b) == pytest.approx(chance(b, a))
    middle, low, high = shift(a, b)
    assert low <= middle <= high


def test_holm_lets_fewer_pass_the_more_are_looked_at() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.9}, 0.05) == {"a"}
    assert holm({"a": 0.01, "b": 0.02}, 0.05) == {"a", "b"}
    assert holm({}, 0.05) == set()


def test_the_same_thing_is_hardly_ever_called_another() -> None:
    random_ = random.Random(16)
    alarms = 0
    for _ in range(60):
        before = {f"row {i}": _noise(random_, 10) for i in range(30)}
        after = {f"row {i}": _noise(random_, 10) for i in range(30)}
        alarms += any(one.word in ("slower", "faster") for one in compare(before, after))
    assert alarms <= 9  # 3 are expected of 60 at 5 %


def test_what_became_half_as_slow_again_is_found_among_forty() -> None:
    random_ = random.Random(17)
    found = 0
    for _ in range(40):
        before = {f"row {i}": _noise(random_, 10) for i in range(40)}
        after = {name: _noise(random_, 10, 1.5 if name == "row 7" else 1.0) for name in before}
        verdicts = {one.what: one for one in compare(before, after)}
        found += verdicts["row 7"].word == "slower"
        if verdicts["row 7"].word == "slower":
            assert verdicts["row 7"].change == pytest.approx(1.5, rel=0.3)
            assert render([*verdicts.values()]).startswith("slower")
    assert found >= 28  # three of four, with 10 pairs each


def test_what_is_certain_and_small_is_the_same_and_too_few_pairs_say_nothing() -> None:
    before = [i / 1000 for i in range(30)]
    after = [value + math.log(1.05) for value in before]
    assert compare({"row": before}, {"row": after})[0].word == "same"
    few = compare({"row": [0.0] * (FEWEST - 1)}, {"row": [1.0, 1.1, 1.2, 1.3]})
    assert few[0].word == "unclear"


def test_pairs_are_read_from_the_files_of_runs_and_rows_without_a_baseline_are_left_out(tmp_path: Path) -> None:
    paired = {"what": "exec", "samples": [2.0, 4.0], "baseline_samples": [1.0, 4.0]}
    alone = {"what": "memory", "samples": [], "baseline_samples": []}
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps({"rows": [paired, alone]}))
    found = read([tmp_path / "a.json", tmp_path / "b.json"])
    assert found == {"exec": [math.log(2), 0.0] * 2, "memory": []}
    assert ratios(alone) == []
    assert [one.what for one in compare(found, found)] == ["exec"]
