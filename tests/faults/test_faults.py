"""The short form of `make test-faults`; PYRO_FAULT_STEPS sets how many operations one run has."""

from __future__ import annotations

import os
import random

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults import soak
from tests.faults.model import Faults, cycles

STEPS = int(os.environ.get("PYRO_FAULT_STEPS") or 30)
SEED = int(os.environ.get("PYRO_FAULT_SEED") or random.randrange(2**32))
CYCLES = int(os.environ.get("PYRO_FAULT_CYCLES") or 10)


def test_random_operations_with_kills_leave_everything_whole_gone_or_honestly_lost(engine: str) -> None:
    print(f"PYRO_FAULT_SEED={SEED} PYRO_FAULT_STEPS={STEPS} repeats this run")
    # One run of Hypothesis may be short; each is another one, and what it does follows from the seed alone.
    for number in range(STEPS):
        run_state_machine_as_test(
            hypothesis.seed(SEED + number)(Faults),
            settings=settings(
                max_examples=2,
                stateful_step_count=min(STEPS, 60),
                deadline=None,
                phases=[Phase.generate],
                database=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if sum(Faults.counts.values()) >= STEPS:
            break
    print(f"operations: {Faults.counts}; the slowest call: {Faults.slowest:.1f} s")


def test_creating_and_deleting_leaves_nothing(engine: str) -> None:
    figures = cycles(CYCLES)
    print(figures)
    assert figures["descriptors after"] <= figures["descriptors before"] + 8
    assert figures["daemon's memory after, MiB"] < figures["daemon's memory before, MiB"] + 40


def test_a_short_soak_has_no_errors_and_nothing_grows(engine: str) -> None:
    figures, errors = soak.run(minutes=0, workspaces=4, commands=24)
    print(figures)
    assert errors == []
