"""Attempts to get out of a machine (`attempts.py`): none gets through.

`make test-isolation` makes all of them and prints the table; within `make test` the short form runs.
"""

from __future__ import annotations

import pytest

from tests.isolation import crossings, hostile_agent, inside, network
from tests.isolation.attempts import ATTEMPTS, Arena, Attempt
from tests.isolation.conftest import TABLE

assert all((crossings, hostile_agent, inside, network)), "they fill the table"
LEAST = 80
"""Attempts for each engine in the whole form."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "attempted" in metafunc.fixturenames:
        whole = metafunc.config.getoption("isolation") == "whole"
        chosen = [attempt for attempt in ATTEMPTS if whole or attempt.short]
        metafunc.parametrize("attempted", chosen, ids=[f"{a.area}: {a.what}".replace("::", ":") for a in chosen])


def test_there_are_enough_of_them() -> None:
    for engine in ("gvisor", "firecracker"):
        assert sum(engine in attempt.engines for attempt in ATTEMPTS) >= LEAST
    names = [(attempt.area, attempt.what) for attempt in ATTEMPTS]
    assert len(names) == len(set(names))


def test_it_does_not_get_through(arena: Arena, engine: str, attempted: Attempt) -> None:
    if engine not in attempted.engines:
        pytest.skip(f"there is no such way with {engine}")
    try:
        told = attempted.make(arena)
        arena.holds()
    except AssertionError as error:
        if attempted.pending:
            pytest.xfail(f"{attempted.pending}: {error}")
        raise
    TABLE.append((engine, attempted.area, attempted.what, " ".join(told.split())))


def test_at_the_end_everybody_else_is_well(arena: Arena) -> None:
    arena.shared_holds(whole=True)
    arena.lives()
    arena.holds()
