"""Which CPUs a machine is held to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.machines.limits import Limits


def _pins(limits: Limits, machine: str, count: int) -> list[int]:
    limits.command(machine, count, 64, ["true"])
    return limits.pins(machine)


def _limits(cpus: list[int], first: int) -> Limits:
    limits = Limits(cpus=cpus, first=first)
    limits._cgroup_parent = None
    return limits


def test_daemons_side_by_side_begin_on_different_cpus() -> None:
    assert [_pins(_limits([2, 5, 7], first), "m", 1) for first in (0, 1, 2, 3)] == [[2], [5], [7], [2]]


@given(st.sets(st.integers(0, 99), min_size=2, max_size=9), st.integers(0, 1 << 22), st.lists(st.integers(1, 9)))
def test_the_least_used_cpus_are_taken_and_given_back(cpus: set[int], first: int, counts: list[int]) -> None:
    limits = _limits(sorted(cpus), first)
    used = dict.fromkeys(cpus, 0)
    for number, count in enumerate(counts):
        pins = _pins(limits, str(number), count)
        if count >= len(cpus):
            assert pins == []
            continue
        assert len(set(pins)) == count
        assert max(used[cpu] for cpu in pins) <= min([used[cpu] for cpu in cpus if cpu not in pins])
        for cpu in pins:
            used[cpu] += 1
    for number in range(len(counts)):
        limits.release(str(number))
    assert _pins(limits, "after", 1) == [sorted(cpus)[first % len(cpus)]]
