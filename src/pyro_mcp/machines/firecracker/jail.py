"""Firecracker's own jailer: where the daemon is root, its process runs as a user of its own, and root nowhere.

unshare(1) makes the PID, network, IPC and UTS namespaces, and stays as the machine's keeper; the jailer (docs/jailer.md
of Firecracker) makes the mount namespace and the root, and gives up root for good. It makes no cgroup: `limits.py`
has done that by then. The jailer wants its root in a place of its own, so `cell` is a symbolic link here:

    ID/cell -> jail/FIRECRACKER/ID/root

Firecracker may write its own disk, and make its sockets in its root. What is shared is mounted read-only, as in
`cell.py`, and readable for the group of all jailed processes; nobody else is in that group.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pyro_mcp import enclosure
from pyro_mcp.errors import EngineError
from pyro_mcp.machines.firecracker import cell as cells
from pyro_mcp.machines.firecracker import images
from pyro_mcp.machines.firecracker.components import find_jailer

GID = 0x70000000
"""The group of all jailed processes. The ids from here to 0x7FFFFFFF are unused (systemd, docs/UIDS-GIDS.md)."""
FIRST_UID = GID + 1
UID_COUNT = 1 << 27
"""So many that two machines hardly ever share one; then namespaces and roots of their own still part them."""
NAMESPACES = ("pid", "net", "ipc", "uts")
WRITTEN = ("state", "memory")
"""What Firecracker itself writes of a snapshot, and reads."""
SNAPSHOT_MODES = {**dict.fromkeys(WRITTEN, 0o640), "disk.img": 0o600}
"""What is in a snapshot."""
_UNUSED_DEVICES = ("net/tun", "userfaultfd")
_TRIAL_SECONDS = 20


@dataclass(frozen=True)
class Jail:
    """Where the jailer is. The methods are those of `cell.Cell`."""

    jailer: Path
    forks = True

    @property
    def description(self) -> str:
        """In words, for `doctor`."""
        return (
            "seccomp; jailer: a user id of its own, own mount, PID, network, IPC and UTS namespaces; "
            "empty root; no capabilities"
        )

    def furnish(self, directory: Path, firecracker: Path, shared: dict[str, Path], disk: Path) -> None:
        root = directory / "jail" / firecracker.resolve().name / directory.name / "root"
        root.mkdir(parents=True)
        (directory / "cell").symlink_to(root.relative_to(directory))
        for source in shared.values():
            admit(source)
        cells.show_all(root, shared)
        images.clone(disk, root / "disk.img")
        os.chown(root / "disk.img", uid_of(directory), GID)

    def command(self, directory: Path, firecracker: Path, arguments: Sequence[str]) -> list[str]:
        # No --new-pid-ns: with it the jailer ends, and nobody would be the machine's keeper. The kernel forgets
        # --kill-child when the child changes its user; `endings` kills Firecracker by its own id anyway.
        unshare = ["unshare", *(f"--{name}" for name in NAMESPACES), "--fork", "--kill-child", "--"]
        jailer = [str(self.jailer), "--id", directory.name, "--exec-file", str(firecracker.resolve())]
        jailer += ["--uid", str(uid_of(directory)), "--gid", str(GID), "--chroot-base-dir", str(directory / "jail")]
        return [*unshare, *jailer, "--", *arguments]

    def settle(self, directory: Path) -> None:
        """Before any guest runs: names in the root that are not Firecracker's stay what they are.

        So the daemon, which is root, may rely on `seed.img` when it mounts on it, and on `out` when it looks there.
        """
        root = directory / "cell"
        for device in _UNUSED_DEVICES:
            (root / "dev" / device).unlink(missing_ok=True)
        for place, mode in ((root, 0o1770), (root / "dev", 0o750), (root / "out", 0o770)):
            os.chown(place, 0, GID)
            os.chmod(place, mode)

    def problem(self, firecracker: Path, machines: Path) -> str | None:
        """Why the jailer cannot work here, found out by having it start `firecracker --version`; None when it can."""
        directory = machines / f"trial-{os.getpid()}-{time.monotonic_ns()}"  # what is left of one, `sweep` ends
        root = directory / "jail" / firecracker.resolve().name / directory.name / "root"
        try:
            root.mkdir(mode=0o700, parents=True)
            argv = self.command(directory, firecracker, ["--version"])
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TRIAL_SECONDS
            )
            if done.returncode != 0:
                return said(done.stderr) or f"status {done.returncode}"
            try:
                os.close(os.open(root / "dev" / "kvm", os.O_RDWR | os.O_CLOEXEC))
            except PermissionError:
                return f"no device can be opened below {machines}; its file system may be mounted nodev"
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return None


def strongest(cache: Path, firecracker: Path, machines: Path) -> Jail | cells.Cell:
    """What Firecracker is confined with: the jail for root, where it works, else a cell that says why not."""
    if not enclosure.root_outside():
        return cells.possible()
    found = find_jailer(cache)
    if found.path is None:
        return replace(cells.possible(), unjailed=f"it is missing: {found.remedy}")
    jail = Jail(Path(found.path))
    problem = jail.problem(firecracker, machines)
    return jail if problem is None else replace(cells.possible(), unjailed=problem)


def said(stderr: str) -> str:
    """The jailer's own reason out of what a Rust program prints when it panics."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    reasons = [line.removeprefix("Jailer error: ") for line in lines if line.startswith("Jailer error: ")]
    return (reasons or lines or [""])[-1]


def uid_of(directory: Path) -> int:
    """The user id of a machine's Firecracker: made of the machine's id, so that every daemon knows it."""
    number = int.from_bytes(hashlib.sha256(directory.name.encode()).digest()[:8], "big")
    return FIRST_UID + number % UID_COUNT


def jailed(directory: Path) -> bool:
    """Whether this computer was started with a jail; an earlier daemon may have had none."""
    return (directory / "jail").exists()


def admit(source: Path) -> None:
    """Let jailed processes read a file, or a snapshot; what they may read already stays as it is."""
    source = source.resolve()
    if source.is_dir():
        _let_group(source, 0o050)
        for name in WRITTEN:
            _let_group(source / name, 0o040)
    else:
        _let_group(source, 0o040)


def _let_group(path: Path, bits: int) -> None:
    try:
        info = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # whoever opens it says so
    if stat.S_ISLNK(info.st_mode) or info.st_mode & (bits >> 3) == bits >> 3:
        return
    if info.st_gid != GID or info.st_mode & bits != bits:
        os.chown(path, -1, GID)
        os.chmod(path, stat.S_IMODE(info.st_mode) | bits)


def show_seed(directory: Path, image: Path) -> None:
    """Show a machine, jailed or not, its seed; it may run already."""
    if jailed(directory):
        admit(image)
    enclosure.bind_read_only(image, directory / "cell" / "seed.img")


def lend(directory: Path, out: Path) -> None:
    """Let a jailed machine write what is laid ready for its snapshot; what it adds is its own."""
    if jailed(directory):
        for path in out.iterdir():
            os.chown(path, uid_of(directory), GID)


def take_back(directory: Path, snapshot: Path) -> None:
    """A snapshot belongs to root again, and every jailed process may read it.

    Raises:
        EngineError: there is something in it that no Firecracker puts there. Root would follow a link.
    """
    if not jailed(directory):
        return
    os.chown(snapshot, 0, GID)  # first: from here on nothing appears in it
    os.chmod(snapshot, 0o750)
    for name in os.listdir(snapshot):
        mode = SNAPSHOT_MODES.get(name)
        try:
            descriptor = os.open(snapshot / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            mode = None
        else:
            try:
                info = os.fstat(descriptor)
                if mode is not None and stat.S_ISREG(info.st_mode):
                    os.fchown(descriptor, 0, GID)
                    os.fchmod(descriptor, mode)
                else:
                    mode = None
            finally:
                os.close(descriptor)
        if mode is None:
            raise EngineError(
                f"A snapshot holds {name!r}, which Firecracker would not have written; it was discarded.",
                hint="A program may have broken out of the machine: delete the workspace.",
                code="snapshot_damaged",
            )
