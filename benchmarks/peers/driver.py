"""One page that anything with commands and files can be put behind, to be measured beside the others.

A new peer is a class with these methods, and a line in `__init__.py`. A machine is a word of the driver's own; its
files stand at /workspace and are its own; commands are lines for bash, run there. What cannot be done raises `Absent`
from the constructor, with the reason, which the table then says.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.catalog import CATALOG, DEFAULT
from pyro_mcp.locations import Locations


class Absent(Exception):
    """This peer does not work here; says why."""


class Done(NamedTuple):
    """How a command ended, and what it printed on both streams."""

    status: int
    output: str


class Driver(Protocol):
    """A peer. Everything blocks until it is done; what fails raises."""

    name: str
    boundary: str
    """What stands between a command and this computer's kernel."""

    def create(self, seed: Path) -> str:
        """A machine with a copy of the git work tree `seed`, able to reach the network."""

    def run(self, machine: str, line: str) -> Done: ...

    def write(self, machine: str, path: str, text: str) -> None: ...

    def read(self, machine: str, path: str) -> str: ...

    def keep(self, machine: str) -> None:
        """Remember the present state, for `reset` and `fork`."""

    def reset(self, machine: str) -> None:
        """Back to what was kept."""

    def fork(self, machine: str, count: int) -> list[str]:
        """More machines, as the one that was kept."""

    def diff(self, machine: str) -> str:
        """What changed since `create`, as a patch, without what git ignores."""

    def land(self, machine: str, repository: Path, branch: str) -> None:
        """The changes as a commit on a new branch of the seed's repository."""

    def delete(self, machine: str) -> None: ...

    def close(self) -> None:
        """Leave nothing behind."""


def root_tree() -> Path:
    """The default environment's files: the same for each peer that takes a root."""
    environments = EnvironmentCache(Locations.of_this_user().cache / "environments")
    manifest = environments.installed(CATALOG[DEFAULT])
    if manifest is None:
        raise Absent("the environment is not here: `pyro env pull`")
    return environments.tree(manifest.digest)


def call(command: Sequence[str], *, stdin: str | None = None, env: dict[str, str] | None = None) -> Done:
    """Run a program of this computer; its output, both streams."""
    done = subprocess.run(
        command,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        check=False,
    )
    return Done(done.returncode, done.stdout)


def must(command: Sequence[str], *, stdin: str | None = None) -> str:
    """As `call`, for what must succeed."""
    done = call(command, stdin=stdin)
    if done.status:
        raise RuntimeError(f"{' '.join(command)[:300]}: {done.status}: {done.output[-2000:]}")
    return done.output


GIT = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgSign=false"]
PATCH = "git add -A -N . && git diff --binary"


def land_patch(patch: str, repository: Path, branch: str) -> None:
    """What landing is where a peer has nothing for it: apply, commit, and put the work tree back."""
    git = [*GIT, "-C", os.fspath(repository)]
    before = must([*git, "symbolic-ref", "--short", "HEAD"]).strip()
    must([*git, "checkout", "-q", "-b", branch])
    must([*git, "apply", "--index", "-"], stdin=patch)
    must([*git, "commit", "-qm", branch])
    must([*git, "checkout", "-q", before])
