"""A pyro installation for tests, and what one may leave behind: nothing."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from pyro_mcp.client.launch import accepts
from pyro_mcp.locations import Locations
from pyro_mcp.machines.processes import with_word_in_command_line
from pyro_mcp.models import Logs
from pyro_mcp.sdk import Pyro

SLOWNESS = float(os.environ.get("PYRO_TEST_SLOWNESS") or 1)
"""How many times slower than usual this computer is: an emulated one sets it, for the few tests with short times."""
SEED = int(os.environ.get("PYRO_TEST_SEED") or random.randrange(2**32))
"""Where a test leaves something to chance: set PYRO_TEST_SEED to what a failed one printed, and it does the same."""


def chance() -> random.Random:
    """Chance of the present test's own, the same in every run with this seed, which is printed if the test fails."""
    print(f"PYRO_TEST_SEED={SEED} repeats this run")
    return _chance(os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0])


@functools.cache
def _chance(test: str) -> random.Random:
    return random.Random(f"{SEED} {test}")


def slowness() -> float:
    """How many times longer than on an idle machine a thing may take at this moment, by what else runs."""
    return SLOWNESS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Installation:
    """State and runtime directories of their own, the user's caches; leaves nothing on exit."""

    def __init__(self, engine: str | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="pyro-t-", dir="/tmp"))
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
        (self.root / "run").mkdir(mode=0o700)
        self.environment = {
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_CACHE_HOME": cache,
            "PYRO_DAEMON_IDLE_SECONDS": "60",
            **({"PYRO_ENGINE": engine} if engine else {}),
        }
        self.locations = Locations(self.root / "run" / "pyro", self.root / "state" / "pyro", Path(cache) / "pyro")
        self.machines = self.locations.microvms if engine == "firecracker" else self.locations.machines

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _environment(self.environment):
            try:
                if accepts(self.locations) or self.locations.database.exists():
                    with Pyro() as client:
                        for workspace in client.list_workspaces().workspaces:
                            client.delete_workspace(workspace.id)
                self.stop_daemon()
            finally:
                if kind is not None and self.locations.daemon_log.exists():
                    print(self.locations.daemon_log.read_text()[-4000:])
        if os.environ.get("PYRO_TEST_SHOW_LOG") and self.locations.daemon_log.exists():
            print(self.locations.daemon_log.read_text()[-6000:])
        shutil.rmtree(self.root, ignore_errors=True)

    def close(self) -> None:
        self.__exit__(None, None, None)

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Make this the installation that new daemons belong to."""
        return _environment(self.environment)

    def running_daemon(self) -> list[int]:
        """Its process, if there is one."""
        found = [
            p.pid
            for p in with_word_in_command_line(b"pyro_mcp.daemon")
            if f"XDG_STATE_HOME={self.root}/state\0".encode() in _environ(p.pid)
        ]
        # A child that is about to become another program still looks like the daemon.
        return [pid for pid in found if _parent(pid) not in found]

    def daemon_pid(self) -> int:
        found = self.running_daemon()
        assert len(found) == 1, f"{len(found)} daemons"
        return found[0]

    def kill_daemon(self) -> None:
        """SIGKILL, and wait until it is gone."""
        _end(self.daemon_pid(), signal.SIGKILL)

    def stop_daemon(self) -> None:
        try:
            pid = self.daemon_pid()
        except AssertionError:
            return
        _end(pid, signal.SIGTERM)


def _end(pid: int, number: signal.Signals) -> None:
    """Signal a process and wait until all of its threads are gone, and with them its sockets."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, number)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(30_000), f"process {pid} did not end"
    finally:
        os.close(descriptor)


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat[stat.rfind(")") + 2 :].split()[1])


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    """Wait for something that happens outside this process and offers no event to a test."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds * slowness(), "it did not happen in time"
        time.sleep(0.01)


def to_the_end(pyro: Pyro, workspace: str, command: str | list[str], *, seconds: float = 50) -> Logs:
    """Run a command and follow it until it has ended, by its timeout at the latest: what it may take on an idle
    machine."""
    handle = pyro.exec_workspace(workspace, command, timeout_seconds=seconds * slowness()).handle
    while True:
        ended = pyro.logs_workspace(workspace, handle=handle, wait_seconds=30)
        if ended.status != "running":
            return ended


def leftovers(root: Path) -> list[str]:
    """Processes, mounts and directories that still refer to an installation's root."""
    word = os.fsencode(str(root))
    left = [f"process {p.pid}: {_command_line(p.pid)}" for p in with_word_in_command_line(word)]
    left += [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line]
    if root.exists():
        left += [f"file {path}" for path in list(root.rglob("*"))[:20]]
    return left


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    except OSError:
        return "gone"
