"""bubblewrap: namespaces around each command, on directories of this computer; what has no command is a copy."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from benchmarks.peers.driver import PATCH, Absent, Done, call, land_patch, must, root_tree

_HOST_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/etc/npmrc", "/etc/ssl/certs", "/opt/pypi")
"""What a command needs for the network, where this computer has it."""
_VARIABLES: tuple[str, ...] = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PIP_INDEX_URL",
)
_VARIABLES += ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "npm_config_registry")


class Bubblewrap:
    name = "bubblewrap"
    boundary = "namespaces; this computer's kernel"

    def __init__(self, work: Path) -> None:
        self._work, self._numbers = work, itertools.count()
        self.prepare()
        probe = self.run(self._directory(), "true")
        if probe.status:
            raise Absent(f"bwrap does not work here: {probe.output.strip()[-200:]}")

    def prepare(self) -> None:
        if shutil.which("bwrap") is None:
            raise Absent("bwrap is not installed (Debian: bubblewrap)")
        self._root = root_tree()

    def command(self, machine: str, line: str) -> list[str]:
        words = ["bwrap", "--unshare-user-try", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--die-with-parent"]
        words += ["--ro-bind", str(self._root), "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        words += ["--tmpfs", "/root", "--bind", machine, "/workspace", "--chdir", "/workspace", "--clearenv"]
        for file in _HOST_FILES:
            if os.path.exists(file) and os.path.exists(f"{self._root}{file}"):
                words += ["--ro-bind", os.path.realpath(file), file]
        given = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        for name, value in {
            "PATH": os.defpath + ":/usr/sbin:/sbin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
            **given,
        }.items():
            words += ["--setenv", name, value]
        return [*words, "/bin/bash", "-c", line]

    def _directory(self) -> str:
        place = self._work / f"m{next(self._numbers)}"
        place.mkdir()
        return str(place)

    def create(self, seed: Path) -> str:
        machine = self._directory()
        must(["cp", "-a", "--reflink=auto", f"{seed}/.", machine])
        return machine

    def run(self, machine: str, line: str) -> Done:
        return call(self.command(machine, line))

    def write(self, machine: str, path: str, text: str) -> None:
        Path(machine, path).write_text(text)

    def read(self, machine: str, path: str) -> str:
        return Path(machine, path).read_text()

    def keep(self, machine: str) -> None:
        must(["cp", "-a", "--reflink=auto", machine, f"{machine}.kept"])

    def reset(self, machine: str) -> None:
        # The directory itself stays: it is the machine's name.
        must(["find", machine, "-mindepth", "1", "-delete"])
        must(["cp", "-a", "--reflink=auto", f"{machine}.kept/.", machine])

    def fork(self, machine: str, count: int) -> list[str]:
        forks = [self._directory() for _ in range(count)]
        for fork in forks:
            must(["cp", "-a", "--reflink=auto", f"{machine}.kept/.", fork])
        return forks

    def diff(self, machine: str) -> str:
        return self.run(machine, PATCH).output

    def land(self, machine: str, repository: Path, branch: str) -> None:
        land_patch(self.diff(machine), repository, branch)

    def delete(self, machine: str) -> None:
        shutil.rmtree(machine, ignore_errors=True)
        shutil.rmtree(f"{machine}.kept", ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
