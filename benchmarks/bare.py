"""The baseline: runsc driven by hand, with the product's own flags and root tree, and nothing around it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.catalog import CATALOG, DEFAULT
from pyro_mcp.locations import Locations
from pyro_mcp.machines.components import find_runsc
from pyro_mcp.machines.gvisor.runsc import FLAGS
from pyro_mcp.machines.processes import kill, with_word_in_command_line


class BareRunsc:
    """An idle container (`sleep`) on the default environment's tree."""

    def __init__(self, work: Path) -> None:
        cache = Locations.of_this_user().cache
        runsc = find_runsc(cache)
        environments = EnvironmentCache(cache / "environments")
        manifest = environments.installed(CATALOG[DEFAULT])
        assert manifest is not None and runsc.path is not None, "run `pyro doctor --fix` first"
        self._runsc = runsc.path
        self._root = environments.tree(manifest.digest)
        self._work = work / "bare"
        self._work.mkdir()
        self._number = 0
        # As an ordinary user, inside the same kind of namespaces that the daemon makes.
        self._enclosure = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--map-auto", "--mount"]

    def _command(self, *arguments: str) -> list[str]:
        state = f"--root={self._work / 'state'}"
        return [*self._enclosure, self._runsc, state, *FLAGS, f"--overlay2=root:dir={self._work}", *arguments]

    def run(self) -> str:
        """`runsc run --detach`, until it returns: the container is up."""
        name, bundle = self._bundle()
        self._call("run", "--detach", f"--bundle={bundle}", name)
        return name

    def _bundle(self) -> tuple[str, Path]:
        self._number += 1
        name = f"bare{self._number}"
        bundle = self._work / name
        bundle.mkdir()
        specification = {
            "ociVersion": "1.0.0",
            "root": {"path": str(self._root)},
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"]},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
        }
        (bundle / "config.json").write_text(json.dumps(specification))
        return name, bundle

    def checkpoint(self, name: str) -> Path:
        """`runsc checkpoint --leave-running`, uncompressed as pyro writes it."""
        image = self._work / f"image-{self._number}"
        shutil.rmtree(image, ignore_errors=True)
        self._call("checkpoint", "--leave-running", "--compression=none", f"--image-path={image}", name)
        return image

    def restore(self, image: Path) -> str:
        """`runsc restore --detach` from it, until it returns."""
        name, bundle = self._bundle()
        self._call("restore", "--detach", f"--image-path={image}", f"--bundle={bundle}", name)
        return name

    def exec_true(self, name: str) -> None:
        self._call("exec", name, "/bin/true")

    def _call(self, *arguments: str) -> None:
        with (self._work / "log").open("ab") as log:
            subprocess.run(self._command(*arguments), check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def close(self) -> None:
        for process in with_word_in_command_line(os.fsencode(self._work)):
            kill(process)
        shutil.rmtree(self._work, ignore_errors=True)


def proportional_bytes(word: str) -> int:
    """Memory of all processes whose command line has the word: shared pages count by their share (PSS)."""
    total = 0
    for process in with_word_in_command_line(word.encode()):
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total
