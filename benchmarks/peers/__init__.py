"""What a user could take instead, behind one small interface (`driver.py`), and pyro behind the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.bubblewrap import Bubblewrap
from benchmarks.peers.containers import Containers
from benchmarks.peers.driver import Absent, Driver
from benchmarks.peers.ours import Ours
from benchmarks.peers.sandbox_runtime import SandboxRuntime

PEERS: dict[str, Callable[[Path], Driver]] = {
    "pyro": Ours,
    "bubblewrap": Bubblewrap,
    "sandbox-runtime": SandboxRuntime,
    "podman": lambda work: Containers(work, "podman"),
    "docker": lambda work: Containers(work, "docker"),
    "docker with runsc": lambda work: Containers(work, "docker", "runsc"),
}


def present(work: Path, names: list[str] | None = None) -> tuple[list[Driver], dict[str, str]]:
    """The peers that work on this computer, and why the others do not."""
    found: list[Driver] = []
    absent: dict[str, str] = {}
    for name, make in PEERS.items():
        if names is None or name in names:
            place = work / name.replace(" ", "-")
            place.mkdir()
            try:
                found.append(make(place))
            except Absent as why:
                absent[name] = str(why)
    return found, absent
