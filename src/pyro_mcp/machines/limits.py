"""How a machine is held to its CPUs and memory, on hosts that grant different things.

CPU: the machine's processes are pinned to as many of this computer's CPUs as it has virtual ones, the least
used ones first. That needs no privilege, holds hard, and is faster for small machines: with sentry and
guest on one core, starting a process in gVisor took 12 ms instead of 23 ms.

Memory: a cgroup where this user may make one (v1 or v2), as the last line; before that, and alone where
there is no cgroup, a watchdog looks four times a second at the memory file of each machine and has the agent end
the largest guest process, so that a greedy command costs itself and not the workspace.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

CGROUP_HEADROOM = 3.0
"""The cgroup's limit over the guest's. It must leave the watchdog time: a guest fills about 1 GB a second, and
the kernel can only end the whole machine."""
_ENGINE_OVERHEAD_MIB = 256
_CGROUPS = Path("/sys/fs/cgroup")


def _v1_memory() -> Path | None:
    root = _CGROUPS / "memory"
    return root if (root / "memory.limit_in_bytes").exists() and os.access(root, os.W_OK) else None


def _v2_parent() -> Path | None:
    """The nearest cgroup above this process that is delegated to us with the memory controller switched on."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    if own is None or not (_CGROUPS / "cgroup.controllers").exists():
        return None
    place = _CGROUPS / own.lstrip("/")
    while place != _CGROUPS and place.is_relative_to(_CGROUPS):
        try:
            switched_on = (place / "cgroup.subtree_control").read_text().split()
        except OSError:
            switched_on = []
        if "memory" in switched_on and os.access(place, os.W_OK) and os.access(place / "cgroup.procs", os.W_OK):
            return place
        place = place.parent
    return None


@dataclass
class Limits:
    """Hands out CPUs and cgroups; one per daemon."""

    cpus: list[int] = field(default_factory=lambda: sorted(os.sched_getaffinity(0)))
    _used: Counter[int] = field(default_factory=Counter)
    _pins: dict[str, list[int]] = field(default_factory=dict)
    first: int = field(default_factory=os.getpid)
    """Which of equally used CPUs is the first: with one for each daemon, those of several users do not all begin on
    the same."""

    def __post_init__(self) -> None:
        v1 = _v1_memory()
        self._cgroup_parent = v1 or _v2_parent()
        self._limit_file = "memory.limit_in_bytes" if v1 else "memory.max"

    @property
    def description(self) -> str:
        """How limits are held here, for `doctor` and status."""
        cpu = "CPU: pinned to as many CPUs as it has"
        if self._cgroup_parent is None:
            return f"{cpu}; memory: watchdog (this user may not create cgroups here)"
        version = "v1" if self._limit_file == "memory.limit_in_bytes" else "v2"
        return f"{cpu}; memory: watchdog, then cgroup {version}"

    def _cgroup(self, machine_id: str) -> Path | None:
        return self._cgroup_parent / f"pyro-{machine_id}" if self._cgroup_parent else None

    def command(
        self, machine_id: str, vcpu_count: int, mem_mib: int, argv: list[str], *, pinned: bool = False
    ) -> list[str]:
        """`argv`, wrapped so that it starts within the machine's limits.

        With `pinned` it has its CPUs from the start, and the guest counts them; else `pin` holds it to them later.
        """
        if vcpu_count < len(self.cpus):
            start = self.first % len(self.cpus)
            order = self.cpus[start:] + self.cpus[:start]
            pins = sorted(sorted(order, key=lambda cpu: self._used[cpu])[:vcpu_count])
            self._used.update(pins)
            self._pins[machine_id] = pins
            if pinned:
                argv = ["taskset", "--cpu-list", ",".join(map(str, pins)), *argv]
        cgroup = self._cgroup(machine_id)
        if cgroup is not None:
            try:
                cgroup.mkdir(exist_ok=True)
                limit = int(mem_mib * CGROUP_HEADROOM + _ENGINE_OVERHEAD_MIB) * 1024 * 1024
                (cgroup / self._limit_file).write_text(str(limit))
            except OSError:
                # Delegation can end under us; the watchdog still holds the limit.
                self._cgroup_parent = None
            else:
                join = 'echo $$ > "$0"/cgroup.procs; exec "$@"'
                argv = ["/bin/sh", "-c", join, str(cgroup), *argv]
        return argv

    def pin(self, machine_id: str, *pids: int) -> None:
        """Hold the processes' threads, and all that they will start, to the machine's CPUs.

        Only once they run: a sentry that starts on one CPU gives itself a single Go processor, and then each
        wake-up waits for Go's monitor thread (measured: 19 ms instead of 1).
        """
        pins = self._pins.get(machine_id)
        if pins is None:
            return
        for pid in pids:
            pinned: set[int] = set()
            # Again until nothing is new: a thread may be started by one that was not pinned yet.
            while unpinned := {int(tid) for tid in os.listdir(f"/proc/{pid}/task")} - pinned:
                for tid in unpinned:
                    with contextlib.suppress(ProcessLookupError):
                        os.sched_setaffinity(tid, pins)
                pinned |= unpinned

    def adopt(self, machine_id: str, pins: list[int]) -> None:
        """Count a machine that an earlier daemon started."""
        self._used.update(pins)
        self._pins[machine_id] = pins

    def pins(self, machine_id: str) -> list[int]:
        return self._pins.get(machine_id, [])

    def release(self, machine_id: str) -> None:
        """The machine is gone: give back its CPUs and remove its cgroup."""
        self._used.subtract(self._pins.pop(machine_id, []))
        cgroup = self._cgroup(machine_id)
        if cgroup is not None:
            try:
                cgroup.rmdir()
            except OSError:
                pass  # not made, or a process is still ending in it: `sweep` comes by again

    def sweep(self, keep: set[str]) -> None:
        """Remove the cgroups of machines that are gone."""
        if self._cgroup_parent is None:
            return
        for cgroup in self._cgroup_parent.glob("pyro-*"):
            if cgroup.name.removeprefix("pyro-") not in keep:
                try:
                    cgroup.rmdir()
                except OSError:
                    pass
