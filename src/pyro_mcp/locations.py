"""Where pyro keeps things, following the XDG base directories; `PYRO_HOME` puts all of them in one place.

| what | default | with PYRO_HOME |
|---|---|---|
| runtime (daemon's socket) | `$XDG_RUNTIME_DIR/pyro`, else `/tmp/pyro-UID` | `$PYRO_HOME/run` |
| state (database, machines, seeds, logs) | `$XDG_STATE_HOME/pyro`, else `~/.local/state/pyro` | `$PYRO_HOME/state` |
| cache (environments, templates, components) | `$XDG_CACHE_HOME/pyro`, else `~/.cache/pyro` | `$PYRO_HOME/cache` |

Directories are made with mode 0700. A runtime directory in /tmp that belongs to somebody else is refused.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import NotPermitted

SOCKET_PATH_LIMIT = 107
"""sun_path holds 108 bytes with the closing NUL (unix(7))."""


@dataclass(frozen=True)
class Locations:
    """The directories of one user's pyro."""

    runtime: Path
    state: Path
    cache: Path

    @property
    def socket(self) -> Path:
        return self.runtime / "daemon.sock"

    @property
    def daemon_lock(self) -> Path:
        return self.runtime / "daemon.lock"

    @property
    def daemon_log(self) -> Path:
        return self.state / "daemon.log"

    @property
    def database(self) -> Path:
        return self.state / "pyro.sqlite3"

    @property
    def reserve(self) -> Path:
        """What is given up when the disk is full, so that deleting works."""
        return self.state / "reserve"

    @property
    def machines(self) -> Path:
        return self.state / "machines"

    @property
    def microvms(self) -> Path:
        """Firecracker's machines, beside gVisor's: each engine ends what it finds and does not know."""
        return self.state / "microvms"

    @property
    def shown(self) -> Path:
        """Where the daemon mounts read-only twins of what machines are shown; empty directories to everybody else."""
        return self.state / "shown"

    @property
    def agents(self) -> Path:
        """The guest agents that machines and snapshots run, each under a name made of its content."""
        return self.cache / "agents"

    @property
    def environments(self) -> Path:
        return self.cache / "environments"

    @property
    def seeds(self) -> Path:
        """With the state, not the caches: only the daemon that owns the workspaces knows which seeds they use."""
        return self.state / "seeds"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def images(self) -> Path:
        """Whole-machine images: snapshots and stopped workspaces."""
        return self.state / "images"

    @property
    def backups(self) -> Path:
        """What exports replaced on this machine, kept for a while."""
        return self.state / "backups"

    @property
    def outputs(self) -> Path:
        return self.state / "outputs"

    @classmethod
    def of_this_user(cls) -> Locations:
        """The locations that the environment names."""
        home = os.environ.get("PYRO_HOME")
        if home:
            base = Path(home).absolute()
            return cls(base / "run", base / "state", base / "cache")
        user_home = Path(os.path.expanduser("~"))
        runtime = os.environ.get("XDG_RUNTIME_DIR")
        state = os.environ.get("XDG_STATE_HOME") or user_home / ".local" / "state"
        cache = os.environ.get("XDG_CACHE_HOME") or user_home / ".cache"
        return cls(
            Path(runtime) / "pyro" if runtime and os.path.isdir(runtime) else Path(f"/tmp/pyro-{os.getuid()}"),
            Path(state) / "pyro",
            Path(cache) / "pyro",
        )

    def prepare(self) -> None:
        """Make the directories, private to this user."""
        for directory in (self.runtime, self.state, self.cache):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = os.lstat(self.runtime)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise NotPermitted(
                f"{self.runtime} does not belong to this user; pyro keeps its socket only in a directory of its own.",
                hint="Remove it, or set PYRO_HOME to a directory of yours.",
                code="runtime_directory_not_ours",
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(self.runtime, 0o700)
        if len(os.fsencode(self.socket)) > SOCKET_PATH_LIMIT:
            raise NotPermitted(
                f"The socket's path {self.socket} is longer than {SOCKET_PATH_LIMIT} bytes, which the kernel refuses.",
                hint="Set PYRO_HOME to a shorter path.",
                code="socket_path_too_long",
            )
