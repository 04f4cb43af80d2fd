"""Expiry goes by the clock of the wall, as far as the steady one agrees."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.workspaces.expiry import Clock


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(-1e6, 1e6)), max_size=10))
def test_no_more_time_passes_than_passed(steps: list[tuple[float, float]]) -> None:
    """Each step: seconds that pass, and by how much the clock is set."""
    wall, steady = 1.7e9, 100.0
    clock = Clock(lambda: wall, lambda: steady)
    begun, passed = clock.now().timestamp(), 0.0
    for seconds, jump in steps:
        wall, steady, passed = wall + seconds + jump, steady + seconds, passed + seconds
        assert clock.now().timestamp() - begun <= passed + 0.001


def test_time_passes() -> None:
    wall, steady = 1.7e9, 100.0
    clock = Clock(lambda: wall, lambda: steady)
    begun = clock.now()
    wall, steady = wall + 60, steady + 60
    assert (clock.now() - begun).total_seconds() == 60
