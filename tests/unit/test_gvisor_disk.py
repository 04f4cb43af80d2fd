"""What the files of a gVisor machine may grow to."""

from __future__ import annotations

import resource
import subprocess

from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.machines.gvisor.disk import GIB, RESERVE, Disk, growth, whole

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


def test_a_process_is_held_let_go_and_held_again_and_one_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    try:
        disk = Disk(process.pid, 256 << 20)
        disk.settle()  # without a limit nothing is held
        assert resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
        disk.limit = 5 * GIB
        disk.settle()
        assert resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0] == 5 * GIB
        disk.lift()
        assert resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
        disk.settle(again=True)
        assert resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[0] == 5 * GIB
    finally:
        process.kill()
        process.wait()
    disk.settle(again=True)
    disk.lift()
    assert whole(1) == GIB
    assert whole(GIB) == GIB
