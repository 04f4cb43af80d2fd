"""Which files of this computer belong to a project that the user works in: git tracks them. Blocks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from pyro_mcp.git import SAFE, environment

GIT_SECONDS = 30


def work_tree_of(path: Path) -> Path | None:
    """The git work tree that a path is in, by its `.git`; None where there is none."""
    for place in (path, *path.parents):
        if os.path.lexists(place / ".git"):
            return place
    return None


def tracked(target: Path, below: list[str]) -> set[str]:
    """Those of the paths `below` the target (`""` is itself) that git tracks. All of them where git cannot say."""
    tops: dict[Path, Path | None] = {}
    by_top: dict[Path, list[str]] = {}
    for name in below:
        directory = (target / name).parent if name else target.parent
        if directory not in tops:
            tops[directory] = work_tree_of(directory)
        if (top := tops[directory]) is not None:
            by_top.setdefault(top, []).append(name)
    # A repository within another has files of its own.
    return {name for top, names in by_top.items() for name in _tracked_in(top, target, names)}


def _tracked_in(top: Path, target: Path, below: list[str]) -> set[str]:
    git = shutil.which("git")
    names = {os.path.relpath(os.path.join(target, name) if name else target, top): name for name in below}
    if git is None:
        return set(below)
    # The work tree may itself have come out of a workspace: git reads its index and runs nothing of it.
    command = [git, *SAFE, "-c", "core.untrackedCache=false", "ls-files", "-z", "--cached"]
    try:
        done = subprocess.run(
            command,
            cwd=top,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return set(below)
    if done.returncode:
        return set(below)
    found = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
    return {name for path, name in names.items() if path in found}
