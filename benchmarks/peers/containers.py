"""podman and docker: one container per machine, from an image of the same root; kept states are committed images."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

from benchmarks.peers.driver import PATCH, Absent, Done, call, land_patch, must, root_tree

IMAGE = "pyro-bench:root"


class Containers:
    def __init__(self, work: Path, program: str, runtime: str | None = None) -> None:
        self.name = program if runtime is None else f"{program} with {runtime}"
        self.boundary = "a guest kernel (runsc)" if runtime else "namespaces; this computer's kernel"
        self._program, self._machines = program, set[str]()
        self._stands_for: dict[str, str] = {}
        # Docker's knows no --time, and kills at once.
        self._remove = [program, "rm", "--force", *(["--time=0"] if program == "podman" else [])]
        self._flags = ["--network=host", *([f"--runtime={runtime}"] if runtime else [])]
        if shutil.which(program) is None:
            raise Absent(f"{program} is not installed")
        info = call([program, "info"])
        if info.status or (runtime and runtime not in info.output):
            said = info.output.strip().splitlines()
            raise Absent((said[-1] if said and info.status else f"{program} has no runtime {runtime}")[:200])
        tree = root_tree()
        with subprocess.Popen(["tar", "-C", str(tree), "-c", "."], stdout=subprocess.PIPE) as tar:
            done = subprocess.run([program, "import", "-", IMAGE], stdin=tar.stdout, capture_output=True, check=False)
        if done.returncode:
            raise Absent(f"{program} import: {done.stderr.decode(errors='replace').strip()[-200:]}")
        try:
            self.delete(self._begin(IMAGE))
        except RuntimeError as error:
            self.close()
            raise Absent(str(error)[-200:]) from None

    def _begin(self, image: str) -> str:
        line = ["run", "--detach", *self._flags, "--workdir=/workspace", image, "sleep", "infinity"]
        machine = must([self._program, *line]).split()[-1]
        self._machines.add(machine)
        return machine

    def create(self, seed: Path) -> str:
        machine = self._begin(IMAGE)
        must([self._program, "cp", f"{seed}/.", f"{machine}:/workspace"])
        must([self._program, "exec", machine, "chown", "-R", "root:root", "/workspace"])
        return machine

    def run(self, machine: str, line: str) -> Done:
        return call([self._program, "exec", "--workdir=/workspace", self._now(machine), "/bin/bash", "-c", line])

    def write(self, machine: str, path: str, text: str) -> None:
        there = [self._program, "exec", "-i", "--workdir=/workspace", self._now(machine)]
        must([*there, "/bin/sh", "-c", 'cat > "$0"', path], stdin=text)

    def read(self, machine: str, path: str) -> str:
        return must([self._program, "exec", "--workdir=/workspace", self._now(machine), "cat", path])

    def keep(self, machine: str) -> None:
        must([self._program, "commit", "--quiet", self._now(machine), self._kept(machine)])

    def reset(self, machine: str) -> None:
        old, new = self._now(machine), self._begin(self._kept(machine))
        must([*self._remove, old])
        self._machines.discard(old)
        self._stands_for[machine] = new

    def fork(self, machine: str, count: int) -> list[str]:
        return [self._begin(self._kept(machine)) for _ in range(count)]

    def diff(self, machine: str) -> str:
        return self.run(machine, PATCH).output

    def land(self, machine: str, repository: Path, branch: str) -> None:
        land_patch(self.diff(machine), repository, branch)

    def delete(self, machine: str) -> None:
        now = self._now(machine)
        must([*self._remove, now])
        self._machines.discard(now)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            for machine in list(self._machines):
                must([*self._remove, machine])
            images = must([self._program, "images", "--quiet", "--filter=reference=*pyro-bench*"]).split()
            if images:
                must([self._program, "rmi", "--force", *set(images)])

    def _now(self, machine: str) -> str:
        """The container that a machine is by now: a reset makes another one."""
        return self._stands_for.get(machine, machine)

    def _kept(self, machine: str) -> str:
        return f"pyro-bench:kept-{machine[:12]}"
