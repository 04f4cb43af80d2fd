"""The cell that a Firecracker process runs in, on top of its own seccomp filters.

unshare(1) gives it user, mount, PID, network, IPC and UTS namespaces and a root with nothing in it but its own
files. It becomes an ordinary user of its user namespace, so its exec drops every capability; outside it is
still the daemon's user, who may open /dev/kvm. What is shared between machines is mounted read-only. All
paths that it is told are relative to its root, and so are those in its snapshots.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pyro_mcp import enclosure
from pyro_mcp.machines.firecracker import images

NAMESPACES = ("user", "mount", "pid", "net", "ipc", "uts")
SHARED = ("firecracker", "vmlinux", "initrd", "root.img", "image", "seed.img", "dev/kvm")
"""What may be mounted in a cell; all are unmounted at its end."""
KVM = Path("/dev/kvm")


class Confinement(Protocol):
    """What a Firecracker runs in: a `Cell`, or the jailer's `jail.Jail`."""

    @property
    def description(self) -> str:
        """In words, for `doctor`."""

    @property
    def forks(self) -> bool:
        """Whether what `command` starts has Firecracker as its only child; else it becomes Firecracker."""

    def furnish(self, directory: Path, firecracker: Path, shared: dict[str, Path], disk: Path) -> None:
        """Make `directory`/cell, with what is shared, read-only, and a copy of `disk` of its own."""

    def command(self, directory: Path, firecracker: Path, arguments: Sequence[str]) -> list[str]:
        """What starts Firecracker in there."""

    def settle(self, directory: Path) -> None:
        """Firecracker listens now, and has no guest yet."""


@dataclass(frozen=True)
class Cell:
    """How much of the isolation this computer allows."""

    namespaces: tuple[str, ...]
    missing: tuple[str, ...]
    unjailed: str = ""
    """Why root does without the jailer; empty for an ordinary user, who cannot have it."""

    @property
    def description(self) -> str:
        """In words, for `doctor`."""
        unjailed = f"; the jailer cannot be used: {self.unjailed}" if self.unjailed else ""
        if not self.missing:
            whole = "seccomp; own user, mount, PID, network, IPC and UTS namespaces; empty root; no capabilities"
            return whole + unjailed
        held = ", ".join(self.namespaces) or "none"
        return f"seccomp; own namespaces: {held}; not possible here: {', '.join(self.missing)}{unjailed}"

    @property
    def confines(self) -> bool:
        """Whether the process gets an empty root."""
        return "mount" in self.namespaces

    @property
    def forks(self) -> bool:
        return "pid" in self.namespaces

    def furnish(self, directory: Path, firecracker: Path, shared: dict[str, Path], disk: Path) -> None:
        root = directory / "cell"
        (root / "dev").mkdir(parents=True)
        show_all(root, {"firecracker": firecracker, **shared, "dev/kvm": KVM})
        images.clone(disk, root / "disk.img")

    def command(self, directory: Path, firecracker: Path, arguments: Sequence[str]) -> list[str]:
        return self.wrap(directory / "cell", ["firecracker", "--id", directory.name, *arguments])

    def settle(self, directory: Path) -> None:
        pass

    def wrap(self, root: Path, argv: Sequence[str]) -> list[str]:
        """`argv`, a path in `root` first, within the cell."""
        if not self.namespaces:
            return [str(root / argv[0]), *argv[1:]]
        flags = [f"--{name}" for name in self.namespaces]
        if "user" in self.namespaces:
            flags += ["--map-user=1000", "--map-group=1000"]
        if self.confines:
            # slave: a seed that is mounted here later appears in there.
            flags += ["--propagation=slave", f"--root={root}", "--wd=/"]
        if "pid" in self.namespaces:
            flags += ["--fork", "--kill-child"]
        program = "/" + argv[0] if self.confines else str(root / argv[0])
        return ["unshare", *flags, "--", program, *argv[1:]]


def possible() -> Cell:
    """The strongest cell that can be made here, found out by making one. Runs inside the enclosure."""
    for namespaces in (NAMESPACES, NAMESPACES[1:], ()):
        if not namespaces or _works(namespaces):
            return Cell(namespaces, tuple(name for name in NAMESPACES if name not in namespaces))
    raise AssertionError


def _works(namespaces: tuple[str, ...]) -> bool:
    argv = Cell(namespaces, ()).wrap(Path("/"), ["bin/true"])
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def show_all(root: Path, shared: dict[str, Path]) -> None:
    """Show in a cell that is being made, read-only, what is shared."""
    (root / "out").mkdir()
    for name, source in shared.items():
        target = root / name
        if source.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.touch(0o600)
        enclosure.bind_read_only(source, target)


def clear(root: Path) -> None:
    """Take away every mount in the cell."""
    for name in SHARED:
        for _ in range(2):  # a seed stands on its placeholder
            enclosure.unmount(str(root / name))
