"""What an engine offers. Nothing here knows of workspaces; engines do not know each other.

An engine boots an environment once into a template (a snapshot with the agent waiting); every machine is a
restore of a template or of a snapshot. A machine has no network card and shares no directory; its agent's
byte streams are all that crosses the boundary, and the seed, which is shown read-only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pyro_mcp.guest.client import Guest


@dataclass(frozen=True)
class RootTree:
    """An installed environment, as an engine needs it."""

    name: str
    digest: str
    path: Path
    runtime: dict[str, Any] = field(default_factory=dict, compare=False)
    """How commands are run in it, where that differs: `env` (variables of every command), `shell` (a path, or None
    where there is none), `user` (who runs them), and what an image says of its `workdir`, `entrypoint` and `cmd`."""


DISK_GIB = 20


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is to be."""

    id: str
    root: RootTree
    vcpu_count: int
    """Virtual CPUs, at least 1."""
    mem_mib: int
    """Memory in MiB, at least 128."""
    disk_gib: int = DISK_GIB
    """What each of its file systems shows as its size, where the engine can give them one."""


@dataclass(frozen=True)
class Probe:
    """Whether an engine can run machines here, found out by booting one."""

    ok: bool
    detail: str
    boot_seconds: float | None = None


class Machine(Protocol):
    """A running machine."""

    id: str
    directory: Path
    guest: Guest

    @property
    def limits(self) -> str:
        """How CPU and memory limits are held, in words."""

    async def show_seed(self, tree: Path | None) -> None:
        """Make `tree` visible, read-only, where the guest looks for its seed; None takes it away."""

    async def snapshot(self, destination: Path) -> None:
        """Write memory, processes and file systems of one moment to the new directory `destination`.

        The machine goes on. Connections to the agent end; processes and their output do not.
        """

    @property
    def memory_limit_bytes(self) -> int:
        """What the guest may use."""

    def memory_bytes(self) -> int:
        """What the guest uses now. Raises OSError when the machine is gone."""

    @property
    def main_pid(self) -> int:
        """The process on this computer that it is, as far as one is."""

    def hold_disk(self, limit_bytes: int) -> None:
        """From now on its files may take so many bytes. Never raises because the machine is gone."""

    def settle_disk(self) -> None:
        """Look at what its files take, and hold what may still be written to the limit. Quick, and done often."""

    async def wait_gone(self) -> str:
        """Wait until the machine's processes are gone; say how that looked."""

    def alive(self) -> bool:
        """Whether the machine's processes run."""

    async def destroy(self) -> None:
        """End the machine at once and remove what it left. Never raises because it was gone already."""


class Engine(Protocol):
    """Runs machines."""

    name: str
    isolation: str
    """The boundary in words, for status."""

    async def probe(self, root: RootTree) -> Probe:
        """Boot a machine and say whether it worked; the verdict holds until this computer restarts."""

    async def template(self, root: RootTree, vcpu_count: int, disk_gib: int = DISK_GIB) -> Path:
        """The snapshot of the environment booted with so many CPUs and so large a disk, made on first use."""

    async def restore(self, spec: MachineSpec, snapshot: Path, seed: Path | None = None) -> Machine:
        """A new machine from a snapshot, its agent answering. A snapshot that knew a seed needs it from the start."""

    async def adopt(self, machine_id: str) -> Machine | None:
        """The machine of this id that an earlier daemon started, when it still runs.

        Raises:
            EngineError: it runs, and must not be used; the message completes «it is lost: …».
        """

    def prune_templates(self, digests: set[str]) -> int:
        """Remove the templates of environments that are not among these; gives the bytes that were freed. Blocks."""

    def leave(self) -> None:
        """This daemon ends: machines run on without it."""

    async def finish_cleaning(self) -> None:
        """Wait until everything that was destroyed is removed."""

    async def sweep(self, keep: set[str]) -> list[str]:
        """End every machine whose id is not in `keep`, running or half made; give their ids."""
