"""Where pyro keeps things, following the XDG base directories; `PYRO_HOME` puts all of them in one place.

| what | default | with PYRO_HOME |
|---|---|---|
| runtime (daemon's socket) | `$XDG_RUNTIME_DIR/pyro`, else `/tmp/pyro-UID` | `$PYRO_HOME/run` |
| state (database, machines, seeds, logs) | `$XDG_STATE_HOME/pyro`, else `~/.local/state/pyro` | `$PYRO_HOME/state` |
| cache (environments, templates, components) | `$XDG_CACHE_HOME/pyro`, else `~/.cache/pyro` | `$PYRO_HOME/cache` |

Directories are made with mode 0700. A runtime directory in /tmp that belongs to somebody else is refused.
"""

from __future__ import annotations

import functools
import os
import stat

from pyro_mcp.errors import HostError, InvalidInput, NotPermitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

SOCKET_PATH_LIMIT = 107
"""sun_path holds 108 bytes with the closing NUL (unix(7))."""


ON = "PYRO_ON"
"""The variable that names another computer, whose daemon is meant (`client.place`)."""


class Locations:
    """The directories of one user's pyro.

    `pathlib` is imported when the first path is asked for: the command line needs none but the socket's name.
    """

    def __init__(self, runtime: str | Path, state: str | Path, cache: str | Path, *, on: str = "") -> None:
        self._roots = (os.fspath(runtime), os.fspath(state), os.fspath(cache))
        self.on = on
        """The address of the computer whose daemon is meant; empty: this one (`client.place`)."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Locations) and self._roots == other._roots

    def __hash__(self) -> int:
        return hash(self._roots)

    def __repr__(self) -> str:
        return "Locations({!r}, {!r}, {!r})".format(*self._roots)

    @functools.cached_property
    def runtime(self) -> Path:
        return _path(self._roots[0])

    @functools.cached_property
    def state(self) -> Path:
        return _path(self._roots[1])

    @functools.cached_property
    def cache(self) -> Path:
        return _path(self._roots[2])

    @property
    def socket_name(self) -> str:
        """The socket's path as text."""
        return os.path.join(self._roots[0], "daemon.sock")

    @property
    def state_name(self) -> str:
        """The state directory as text."""
        return self._roots[1]

    @property
    def contexts_name(self) -> str:
        """The path, as text, of the file that names other computers."""
        return os.path.join(self._roots[1], "contexts.json")

    @classmethod
    def meant(cls) -> Locations | None:
        """Those of this user, where nothing names another computer; None where something does."""
        here = cls.of_this_user()
        return None if os.environ.get(ON) or os.path.lexists(here.contexts_name) else here

    @property
    def socket(self) -> Path:
        return _path(self.socket_name)

    @property
    def daemon_lock(self) -> Path:
        return self.runtime / "daemon.lock"

    @property
    def ownership(self) -> Path:
        """Held by the daemon that owns the state, whatever its runtime directory is (`ownership`)."""
        return self.state / "daemon.lock"

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
    def registries(self) -> Path:
        """Answers of public package registries, which the daemon fetched for workspaces."""
        return self.cache / "registries"

    @property
    def registries_settings(self) -> Path:
        """What the user set about them: it outlives the cache."""
        return self.state / "registries.json"

    @property
    def seeds(self) -> Path:
        """With the state, not the caches: only the daemon that owns the workspaces knows which seeds they use."""
        return self.state / "seeds"

    @property
    def arrived(self) -> Path:
        """What other computers of this user send over ssh, and fetch (`seeds.arrivals`)."""
        return self.state / "arrived"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def images(self) -> Path:
        """Whole-machine images: snapshots and stopped workspaces."""
        return self.state / "images"

    @property
    def backups(self) -> Path:
        """What exports replaced on this computer, kept for a while."""
        return self.state / "backups"

    @property
    def decisions(self) -> Path:
        """Hosts that the user allowed or refused for a project; the user may edit it."""
        return self.state / "network.toml"

    @property
    def outputs(self) -> Path:
        return self.state / "outputs"

    @classmethod
    def of_this_user(cls) -> Locations:
        """The locations that the environment names."""
        home = os.environ.get("PYRO_HOME")
        if home:
            base = home if os.path.isabs(home) else os.path.join(_here(), home)
            return cls(os.path.join(base, "run"), os.path.join(base, "state"), os.path.join(base, "cache"))
        user_home = os.path.expanduser("~")
        runtime = _of_xdg("XDG_RUNTIME_DIR")
        state = _of_xdg("XDG_STATE_HOME") or os.path.join(user_home, ".local", "state")
        cache = _of_xdg("XDG_CACHE_HOME") or os.path.join(user_home, ".cache")
        return cls(
            os.path.join(runtime, "pyro") if runtime and os.path.isdir(runtime) else f"/tmp/pyro-{os.getuid()}",
            os.path.join(state, "pyro"),
            os.path.join(cache, "pyro"),
        )

    def prepare(self) -> None:
        """Make the directories, private to this user."""
        for directory in (self.runtime, self.state, self.cache):
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                raise _cannot_be_made(os.fspath(directory), error) from None
        found = os.lstat(self.runtime)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise NotPermitted(
                f"{self.runtime} belongs to another user; pyro keeps its socket only in a directory that you own.",
                hint="Remove it, or set PYRO_HOME to a directory you own.",
                code="runtime_directory_not_ours",
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.chmod(self.runtime, 0o700)
        if len(os.fsencode(self.socket)) > SOCKET_PATH_LIMIT:
            raise NotPermitted(
                f"The socket's path {self.socket} is longer than {SOCKET_PATH_LIMIT} bytes, the kernel's limit.",
                hint="Set PYRO_HOME to a shorter path.",
                code="socket_path_too_long",
            )


def _of_xdg(variable: str) -> str:
    """A directory that the environment names; relative ones are to be ignored (XDG base directories, "Basics")."""
    name = os.environ.get(variable, "")
    return name if os.path.isabs(name) else ""


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        raise InvalidInput(
            "PYRO_HOME is relative, and the present directory has been deleted.",
            hint="Change to another directory, or make PYRO_HOME absolute.",
            code="folder_gone",
        ) from None


def said_by(place: str) -> str:
    """The variable of the environment that puts a directory of pyro's where it is; empty where none does."""
    for variable in ("PYRO_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        named = os.environ.get(variable)
        if named and os.path.isabs(named) and place.startswith(named):
            return variable
    return "PYRO_HOME" if os.environ.get("PYRO_HOME") else ""


def _cannot_be_made(place: str, error: OSError) -> HostError:
    from pyro_mcp.host_errors import in_the_way  # it knows SQLite, which most commands can do without

    variable = said_by(place)
    found = None if variable else in_the_way(error)
    return found or HostError(
        f"{place} cannot be used as pyro's directory: {error.strerror or error}.",
        hint=f"{variable or 'PYRO_HOME'} sets its location: point it at a directory you can write to.",
        code="directory_impossible",
    )


def _path(name: str) -> Path:
    from pathlib import Path

    return Path(name)
