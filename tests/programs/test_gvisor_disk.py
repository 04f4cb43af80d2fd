"""A process is held to what the files of a gVisor machine may grow to."""

from __future__ import annotations

import resource
import subprocess

from pyro_mcp.machines.gvisor.disk import GIB, Disk, whole


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
