"""What the files of a gVisor machine may grow to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.machines.gvisor.disk import GIB, RESERVE, growth

sizes = st.lists(st.integers(0, 2000 * GIB), max_size=3)


@given(st.integers(1, 1024), sizes, st.integers(0, 4000 * GIB), st.integers(1, 64))
def test_files_together_keep_to_the_limit_and_memory_keeps_its_room(
    limit: int, taken: list[int], free: int, least: int
) -> None:
    each = growth(limit * GIB, taken, free, least * GIB)
    assert each % GIB == 0
    assert each >= least * GIB
    if free < RESERVE:
        assert each == least * GIB
    elif taken and each > least * GIB:
        # The largest may grow so far that all together are at the limit, in whole steps.
        assert sum(taken) - max(taken) + each < (limit + 1) * GIB
