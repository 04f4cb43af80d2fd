"""What a machine may use: it sees its own memory, a limit that is met is named, and nothing that fills up loses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyro_mcp.errors import InvalidInput
from pyro_mcp.sdk import Pyro
from tests.conftest import ENVIRONMENT
from tests.support import Installation, to_the_end

pytestmark = pytest.mark.as_root

MEM_MIB = 256
HOG = "b = bytearray(700 << 20); b[::4096] = b'x' * len(b[::4096]); import time; time.sleep(60)"


@pytest.fixture(scope="module")
def small(session_installation: Installation) -> Iterator[str]:
    """A workspace of 256 MiB that these tests share: each leaves it alive."""
    with session_installation.active(), Pyro() as pyro:
        workspace = pyro.create_workspace(ENVIRONMENT, mem_mib=MEM_MIB).id
        yield workspace
        pyro.delete_workspace(workspace)


def meminfo(text: str) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if ":" in line}


def test_the_guest_sees_its_own_memory(pyro: Pyro, small: str) -> None:
    figures = meminfo(pyro.exec_workspace(small, "cat /proc/meminfo").stdout)
    assert MEM_MIB * 1024 * 0.8 < figures["MemTotal"] <= MEM_MIB * 1024
    assert 0 < figures["MemFree"] <= figures["MemTotal"]
    assert figures["MemAvailable"] <= figures["MemTotal"]
    sizes = "import os; print(os.cpu_count(), os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 20)"
    assert pyro.exec_workspace(small, ["python3", "-c", sizes]).stdout.split()[0] == "1"
    assert pyro.exec_workspace(small, "nproc; grep -c ^processor /proc/cpuinfo").stdout.split() == ["1", "1"]


def test_control_groups_tell_the_limit_where_the_kernel_does_not(pyro: Pyro, small: str, engine: str) -> None:
    if engine != "gvisor":
        return  # a virtual machine's kernel knows its memory
    read = pyro.exec_workspace(small, "cd /sys/fs/cgroup && cat memory/memory.limit_in_bytes memory.max cpu.max")
    assert read.stdout.split() == [str(MEM_MIB << 20), str(MEM_MIB << 20), "100000", "100000"]


def test_figures_of_free_memory_move_while_a_command_runs(pyro: Pyro, small: str, engine: str) -> None:
    """A program that watches its own memory by them, as `free` in a loop does."""
    watch = """
import re, time
def used():
    text = open("/proc/meminfo").read()
    total, free = (int(re.search(name + r":\\s+(\\d+)", text)[1]) for name in ("MemTotal", "MemFree"))
    files = [open("/sys/fs/cgroup/memory.current").read()] if GVISOR else []
    return min([total - free, *(int(text) >> 10 for text in files)])
def reaches(holds):
    end = time.monotonic() + 40
    while not holds(used()) and time.monotonic() < end: time.sleep(0.1)
    return holds(used())
before = used()
held = bytearray(80 << 20); held[::4096] = b"x" * len(held[::4096])
print(reaches(lambda now: now > before + 60_000))
del held
print(reaches(lambda now: now < before + 40_000))
""".replace("GVISOR", str(engine == "gvisor"))
    assert to_the_end(pyro, small, ["python3", "-c", watch]).output == "True\nTrue\n"


def test_switches_that_set_up_scripts_turn_can_be_turned(pyro: Pyro, small: str) -> None:
    """What databases and file watchers ask for; each machine has its own, which go along with a copy."""
    turn = (
        "sysctl -q -w vm.max_map_count=262144 fs.inotify.max_user_watches=524288 vm.overcommit_memory=1 vm.swappiness=1"
    )
    assert pyro.exec_workspace(small, turn).exit_code == 0
    read = "sysctl -n vm.max_map_count fs.inotify.max_user_watches vm.overcommit_memory"
    forked = pyro.fork_workspace(small).workspaces[0].id
    for place in (small, forked):
        assert pyro.exec_workspace(place, read).stdout.split() == ["262144", "524288", "1"]
    pyro.reset_workspace(forked)
    again = pyro.exec_workspace(
        forked, "sysctl -n vm.max_map_count vm.overcommit_memory vm.mmap_min_addr"
    ).stdout.split()
    assert int(again[0]) >= 65530 and again[1] == "0" and int(again[2]) >= 4096


def test_a_kill_for_memory_says_so_with_its_figures(pyro: Pyro, small: str) -> None:
    result = to_the_end(pyro, small, ["python3", "-c", HOG])
    assert result.exit_code == 137
    assert f"{MEM_MIB} MiB" in result.cause
    assert "python3" in result.cause
    # The same from below a shell that goes on, in the log, and in the history.
    below = to_the_end(pyro, small, f'python3 -c "{HOG}"; echo went on')
    assert below.output.endswith("went on\n")
    assert "memory" in below.cause
    assert "memory" in pyro.logs_workspace(small, handle=result.handle).cause
    events = pyro.history_workspace(small).events
    assert any(event.operation == "memory_limit" and "python3" in event.summary for event in events)
    assert pyro.status_workspace(small).state == "running"


def test_filling_shared_memory_or_any_file_system_in_memory_costs_the_writer_only(
    pyro: Pyro, small: str, engine: str
) -> None:
    full = to_the_end(pyro, small, "dd if=/dev/zero of=/dev/shm/x bs=1M; rm -f /dev/shm/x")
    assert "No space left on device" in full.output
    if engine == "gvisor":
        pyro.exec_workspace(small, "mkdir -p /mnt/m && mount -t tmpfs none /mnt/m")
        for place in ("/dev/x", "/mnt/m/x"):
            filled = to_the_end(pyro, small, f"dd if=/dev/zero of={place} bs=1M count=2500")
            assert filled.exit_code != 0
            assert f"{place}, a file in memory" in filled.cause
            pyro.exec_workspace(small, f"rm -f {place}")
    assert pyro.exec_workspace(small, "echo alive").stdout == "alive\n"
    assert pyro.status_workspace(small).state == "running"


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        ("kill -9 $$", "SIGKILL"),
        ("kill -SEGV $$", "SIGSEGV"),
        ("bash -c 'kill -ABRT $$'; exit $?", "SIGABRT"),
    ],
)
def test_a_signal_is_named(pyro: Pyro, small: str, command: str, cause: str) -> None:
    assert cause in pyro.exec_workspace(small, command).cause


def test_ends_that_were_asked_for_and_plain_failures_are_told_apart(pyro: Pyro, small: str) -> None:
    late = pyro.exec_workspace(small, "sleep 60", timeout_seconds=1)
    assert "1 s" in late.cause
    begun = pyro.exec_workspace(small, "sleep 60", wait_seconds=0.2)
    assert pyro.cancel_workspace_exec(small, begun.handle).cause == "It was ended on request."
    assert pyro.exec_workspace(small, "exit 3").cause == ""
    assert pyro.exec_workspace(small, "true").cause == ""


def test_a_copy_sees_its_own_memory_too(pyro: Pyro, small: str) -> None:
    forked = pyro.fork_workspace(small).workspaces[0].id
    text = "head -1 /proc/meminfo; df -m --output=size /dev/shm | tail -1"
    here = pyro.exec_workspace(small, text).stdout
    assert pyro.exec_workspace(forked, text).stdout == here
    pyro.reset_workspace(forked)
    assert pyro.exec_workspace(forked, text).stdout == here
    assert int(here.split()[-1]) <= MEM_MIB // 2


def test_a_workspace_cannot_fill_this_machines_disk(pyro: Pyro, engine: str) -> None:
    if engine != "gvisor":
        return  # a disk of a fixed size
    workspace = pyro.create_workspace(ENVIRONMENT, mem_mib=MEM_MIB, disk_gib=1)
    assert workspace.disk_gib == 1
    for place in ("/root/x", "/workspace/x"):
        full = to_the_end(pyro, workspace.id, f"dd if=/dev/zero of={place} bs=1M count=1300")
        assert full.exit_code == 1
        assert "The disk is full" in full.cause
        assert "1024 MiB" in full.cause
        if place == "/workspace/x":
            assert "No space left on device" in full.output
            sizes = pyro.exec_workspace(workspace.id, "df -B1M --output=size,avail /workspace /tmp | tail -2").stdout
            assert [line.split() for line in sizes.splitlines()] == [["1024", "0"], ["1024", "1024"]]
        # What is freed can be filled again, and meanwhile everything else works.
        again = pyro.exec_workspace(workspace.id, f"rm {place} && head -c 99999999 /dev/zero > {place} && rm {place}")
        assert (again.exit_code, again.cause) == (0, "")
    with pytest.raises(InvalidInput):
        pyro.create_workspace(ENVIRONMENT, disk_gib=0)
