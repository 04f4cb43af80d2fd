"""Random operations on several workspaces, and kill -9 of whatever takes part, at random moments.

What was acknowledged is there afterwards; what was not is there whole or not at all; a lost machine is said to be lost;
and in the end nothing is left over: no process, mount, directory, descriptor, row or seed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pyro_mcp.errors import DaemonUnavailable, MachineLost, NotFound, PyroError
from pyro_mcp.machines.processes import kill, with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests.support import Installation, leftovers, wait_until

SLOTS = 8
SLOT = st.integers(0, SLOTS - 1)
FILE = st.sampled_from(["a", "b", "c"])
DELAY = st.floats(0, 0.25)
CALL_SECONDS = 50.0
Maybe = set[str | None]
"""What a file may hold: one of these; None: it is not there."""


@dataclass
class Known:
    """What must be true of a workspace."""

    id: str
    files: dict[str, Maybe] = field(default_factory=dict)
    snapshots: dict[str, dict[str, Maybe]] = field(default_factory=dict)
    lost: bool = False


class Faults(RuleBasedStateMachine):
    """One run. `counts` says what was done in all runs of this process."""

    counts: dict[str, int] = {}  # noqa: RUF012
    slowest: float = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.place = self.stack.enter_context(Installation("gvisor"))
        self.stack.enter_context(self.place.active())
        self.pyro = self.stack.enter_context(Pyro())
        self.seed = self.place.root / "seed"
        self.seed.mkdir()
        (self.seed / "seeded").write_text("seeded\n")
        self.known: dict[int, Known] = {}
        self.serial = 0

    # -- helpers

    def said(self, what: str) -> None:
        Faults.counts[what] = Faults.counts.get(what, 0) + 1

    def timed(self, what: str, call: Callable[[], object]) -> PyroError | None:
        """Do it; no call may last longer than a chat host waits, and none is a defect."""
        self.said(what)
        begun = time.monotonic()
        try:
            call()
        except PyroError as error:
            assert error.kind != "internal", error
            return error
        finally:
            seconds = time.monotonic() - begun
            Faults.slowest = max(Faults.slowest, seconds)
            assert seconds < CALL_SECONDS, f"{what} took {seconds:.0f} s"
        return None

    def killing(self, delay: float, what: str, call: Callable[[], object]) -> PyroError | None:
        """Do it while the daemon is killed."""
        failed: list[PyroError | None] = []
        thread = threading.Thread(target=lambda: failed.append(self.timed(what, call)))
        thread.start()
        time.sleep(delay)
        with contextlib.suppress(AssertionError):  # it may not run at this moment
            self.place.kill_daemon()
            self.said("kill daemon")
        thread.join(2 * CALL_SECONDS)
        assert failed, f"{what} did not end"
        return failed[0]

    def some(self, slot: int) -> tuple[int, Known] | None:
        """A workspace that there is."""
        if not self.known:
            return None
        chosen = sorted(self.known)[slot % len(self.known)]
        return chosen, self.known[chosen]

    def fresh_content(self) -> str:
        self.serial += 1
        return f"{self.serial}\n"

    def resolve(self, slot: int) -> None:
        """A create or delete without an answer: the list says what came of it."""
        there = {w.name: w for w in self.pyro.list_workspaces().workspaces}
        found = there.get(f"slot-{slot}")
        if found is None:
            self.known.pop(slot, None)
        elif slot not in self.known:
            self.known[slot] = Known(found.id)

    # -- rules

    @rule(slot=SLOT, delay=st.none() | DELAY)
    def create(self, slot: int, delay: float | None) -> None:
        if slot in self.known:
            return

        def call() -> None:
            self.pyro.create_workspace(name=f"slot-{slot}", seed_path=str(self.seed))

        failed = self.timed("create", call) if delay is None else self.killing(delay, "create", call)
        assert failed is None or delay is not None, failed
        self.resolve(slot)
        assert failed is not None or slot in self.known

    @rule(slot=SLOT, delay=st.none() | DELAY)
    def delete(self, slot: int, delay: float | None) -> None:
        if slot not in self.known:
            return
        name = f"slot-{slot}"
        call = lambda: self.pyro.delete_workspace(name)  # noqa: E731
        failed = self.timed("delete", call) if delay is None else self.killing(delay, "delete", call)
        assert failed is None or delay is not None, failed
        self.resolve(slot)
        assert failed is not None or slot not in self.known

    @rule(slot=SLOT, name=FILE, delay=st.none() | DELAY)
    def write(self, slot: int, name: str, delay: float | None) -> None:
        found, content = self.some(slot), self.fresh_content()
        if found is None or found[1].lost:
            return
        known = found[1]
        call = lambda: self.pyro.write_workspace_file(known.id, name, content)  # noqa: E731
        failed = self.timed("write", call) if delay is None else self.killing(delay, "write", call)
        assert failed is None or delay is not None, failed
        known.files[name] = {content} if failed is None else known.files.get(name, {None}) | {content}

    @rule(slot=SLOT, name=FILE)
    def look(self, slot: int, name: str) -> None:
        chosen = self.some(slot)
        if chosen is None:
            return
        known = chosen[1]
        found: list[str | None] = []

        def call() -> None:
            said = self.pyro.exec_workspace(known.id, f"cat seeded; cat {name} 2>/dev/null")
            assert said.stdout.startswith("seeded\n"), said
            found.append(said.stdout.removeprefix("seeded\n") or None)

        failed = self.timed("exec", call)
        if known.lost:
            assert isinstance(failed, MachineLost), failed
            return
        assert failed is None, failed
        assert found[0] in known.files.get(name, {None}), (found, known.files.get(name))
        known.files[name] = {found[0]}

    @rule(slot=SLOT, name=st.sampled_from(["s", "t"]))
    def snapshot(self, slot: int, name: str) -> None:
        chosen = self.some(slot)
        if chosen is None or chosen[1].lost or name in chosen[1].snapshots:
            return
        known = chosen[1]
        failed = self.timed("snapshot", lambda: self.pyro.create_snapshot(known.id, name))
        assert failed is None, failed
        known.snapshots[name] = {key: set(value) for key, value in known.files.items()}

    @rule(slot=SLOT, name=st.sampled_from(["baseline", "s", "t"]), delay=st.none() | DELAY)
    def reset(self, slot: int, name: str, delay: float | None) -> None:
        chosen = self.some(slot)
        if chosen is None or (name != "baseline" and name not in chosen[1].snapshots):
            return
        known = chosen[1]
        call = lambda: self.pyro.reset_workspace(known.id, snapshot=name)  # noqa: E731
        failed = self.timed("reset", call) if delay is None else self.killing(delay, "reset", call)
        assert failed is None or delay is not None, failed
        after = {} if name == "baseline" else {key: set(value) for key, value in known.snapshots[name].items()}
        if failed is None:
            known.files, known.lost = after, False
            return
        known.lost = self.pyro.status_workspace(known.id).state == "lost"
        for each in ("a", "b", "c"):
            known.files[each] = known.files.get(each, {None}) | after.get(each, {None})

    @rule(slot=SLOT)
    def kill_sandbox(self, slot: int) -> None:
        chosen = self.some(slot)
        if chosen is None or chosen[1].lost:
            return
        known = chosen[1]
        with contextlib.closing(sqlite3.connect(self.place.locations.database)) as db:
            (machine,) = db.execute("SELECT machine_id FROM workspaces WHERE id = ?", (known.id,)).fetchone()
        for process in with_word_in_command_line(f"{self.place.machines}/{machine}/".encode()):
            kill(process)
        self.said("kill sandbox")
        wait_until(lambda: self.pyro.status_workspace(known.id).state == "lost")
        assert self.pyro.status_workspace(known.id).cause
        known.lost = True

    @rule(slot=SLOT, delay=DELAY, mcp=st.booleans())
    def kill_client(self, slot: int, delay: float, mcp: bool) -> None:
        """A client, or an MCP server, that dies in a call lets go of the workspace; what it had begun may be done."""
        chosen = self.some(slot)
        if chosen is None or chosen[1].lost:
            return
        known = chosen[1]
        content = self.fresh_content()
        command = f"sleep 0.05; echo {content.strip()} > a"
        module = ["pyro_mcp.cli", "workspace", "exec", known.id, "--", "bash", "-c", command]
        argv = [sys.executable, "-c", "from pyro_mcp.cli import main; main()", *module[1:]]
        if mcp:
            argv = [sys.executable, "-c", MCP_CALL, known.id, command]
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
        )
        time.sleep(delay * 4)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        self.said("kill MCP server" if mcp else "kill client")
        wait_until(lambda: not self.pyro.status_workspace(known.id).running_commands, 30)
        known.files["a"] = known.files.get("a", {None}) | {content}

    @rule()
    def kill_daemon(self) -> None:
        with contextlib.suppress(AssertionError):
            self.place.kill_daemon()
            self.said("kill daemon")

    @precondition(lambda self: bool(self.known))
    @rule()
    def all_are_accounted_for(self) -> None:
        listed: dict[str, str] = {}

        def call() -> None:
            listed.update({w.id: w.state for w in self.pyro.list_workspaces().workspaces})

        failed = self.timed("list", call)
        if isinstance(failed, DaemonUnavailable):
            return
        assert failed is None, failed
        assert set(listed) == {known.id for known in self.known.values()}
        for known in self.known.values():
            assert listed[known.id] == ("lost" if known.lost else "running")

    def teardown(self) -> None:
        problem = sys.exc_info()[1]
        try:
            for known in self.known.values():
                with contextlib.suppress(NotFound):
                    self.pyro.delete_workspace(known.id)
            # A client that was killed while it started a daemon leaves a second one for a moment.
            if self.known:
                wait_until(lambda: self.one_daemon() is not None, 30)
            pid = self.one_daemon()
            wait_until(lambda: not list(self.place.locations.seeds.glob("*")) if self.known else True)
            if pid is not None and problem is None:
                self.nothing_is_left(pid)
        finally:
            self.stack.close()
        if problem is None:
            assert not leftovers(self.place.root)

    def one_daemon(self) -> int | None:
        try:
            return self.place.daemon_pid()
        except AssertionError:
            return None

    def nothing_is_left(self, pid: int) -> None:
        """While the daemon still runs: at most a spare machine, and no row."""
        state = self.place.locations
        wait_until(lambda: len(list(self.place.machines.iterdir())) <= 1, 30)
        for directory in (state.outputs, state.images, state.secrets):
            assert not directory.exists() or not list(directory.iterdir()), directory
        with contextlib.closing(sqlite3.connect(state.database)) as db:
            for table in ("workspaces", "commands", "events", "snapshots", "services"):
                assert db.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,), table
        assert len(os.listdir(f"/proc/{pid}/fd")) < 80


MCP_CALL = """
import json, subprocess, sys
server = subprocess.Popen([sys.executable, "-c", "from pyro_mcp.cli import main; main()", "mcp", "serve"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
def send(record):
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **record}).encode() + b"\\n"); server.stdin.flush()
send({"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {},
      "clientInfo": {"name": "t", "version": "1"}}})
server.stdout.readline()
send({"method": "notifications/initialized"})
send({"id": 2, "method": "tools/call", "params": {"name": "workspace_exec",
      "arguments": {"workspace": sys.argv[1], "command": sys.argv[2]}}})
server.stdout.readline()
"""


def cycles(count: int) -> dict[str, float]:
    """Create and delete so many workspaces, one after the other; what the daemon holds before and after."""
    with Installation("gvisor") as place, place.active(), Pyro() as pyro:
        seed = place.root / "seed"
        seed.mkdir()
        (seed / "seeded").write_text("seeded\n")

        def once() -> None:
            pyro.delete_workspace(pyro.create_workspace(seed_path=str(seed)).id)

        for _ in range(10):
            once()
        pid = place.daemon_pid()
        before = (_resident(pid), len(os.listdir(f"/proc/{pid}/fd")))
        begun = time.monotonic()
        for _ in range(count):
            once()
        seconds = time.monotonic() - begun
        wait_until(lambda: len(list(place.machines.iterdir())) <= 2, 60)
        after = (_resident(pid), len(os.listdir(f"/proc/{pid}/fd")))
    left = leftovers(place.root)
    assert not left, left
    return {
        "cycles": count,
        "seconds a cycle": round(seconds / max(count, 1), 3),
        "daemon's memory before, MiB": before[0],
        "daemon's memory after, MiB": after[0],
        "descriptors before": before[1],
        "descriptors after": after[1],
    }


def _resident(pid: int) -> float:
    return round(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
