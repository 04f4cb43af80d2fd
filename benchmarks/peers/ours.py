"""pyro itself, through the SDK and a daemon of this run's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.driver import Done
from pyro_mcp.sdk import Pyro

KEPT = "kept"


class Ours:
    name = "pyro"

    def __init__(self, work: Path) -> None:
        (work / "run").mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(work / "run")
        os.environ["XDG_STATE_HOME"] = str(work / "state")
        self._pyro = Pyro().__enter__()
        self._pyro.pull_environment()
        spare = self._pyro.create_workspace()
        self.boundary = f"a guest kernel ({spare.engine})"
        spare.delete()
        self._made: set[str] = set()

    def create(self, seed: Path) -> str:
        machine = self._pyro.create_workspace(
            seed_path=str(seed), network_policy="egress", vcpu_count=os.cpu_count() or 1, mem_mib=2048
        ).id
        self._made.add(machine)
        return machine

    def run(self, machine: str, line: str) -> Done:
        done = self._pyro.exec_workspace(machine, line, wait_seconds=50)
        output, status = done.stdout + done.stderr, done.exit_code
        while status is None:
            log = self._pyro.logs_workspace(machine, handle=done.handle, wait_seconds=45, max_output_bytes=20_000)
            output, status = log.output, log.exit_code
        return Done(status, output)

    def write(self, machine: str, path: str, text: str) -> None:
        self._pyro.write_workspace_file(machine, path, text)

    def read(self, machine: str, path: str) -> str:
        return self._pyro.read_workspace_file(machine, path).content

    def keep(self, machine: str) -> None:
        self._pyro.create_snapshot(machine, KEPT)

    def reset(self, machine: str) -> None:
        self._pyro.reset_workspace(machine, snapshot=KEPT)

    def fork(self, machine: str, count: int) -> list[str]:
        forks = [fork.id for fork in self._pyro.fork_workspace(machine, count=count, snapshot=KEPT).workspaces]
        self._made.update(forks)
        return forks

    def diff(self, machine: str) -> str:
        return self._pyro.diff_workspace(machine).patch

    def land(self, machine: str, repository: Path, branch: str) -> None:
        self._pyro.land_workspace(machine, branch, repo=str(repository))

    def delete(self, machine: str) -> None:
        self._pyro.delete_workspace(machine)
        self._made.discard(machine)

    def close(self) -> None:
        for machine in list(self._made):
            with contextlib.suppress(Exception):
                self.delete(machine)
        self._pyro.close()
        stop = [sys.executable, "-m", "pyro_mcp", "daemon", "stop"]
        subprocess.run(stop, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
