"""What a set-up depends on, beside its own commands: lock files and manifests, each by the hash of its content."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from pathlib import Path

from pyro_mcp import trees
from pyro_mcp.devcontainers.find import read_below

DEFAULT = (
    *("pyproject.toml", "requirements*.txt", "constraints*.txt", "setup.py", "setup.cfg", "Pipfile", "Pipfile.lock"),
    *("uv.lock", "poetry.lock", "pdm.lock", "pylock*.toml", ".python-version", "environment.yml", "environment.yaml"),
    *("package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"),
    *("yarn.lock", ".yarnrc.yml", "bun.lock", "bun.lockb", ".npmrc", ".nvmrc", ".node-version"),
    *(
        "go.mod",
        "go.sum",
        "go.work",
        "go.work.sum",
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain",
        "rust-toolchain.toml",
    ),
    *("pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "gradle.lockfile"),
    *("Gemfile", "Gemfile.lock", ".ruby-version", "composer.json", "composer.lock"),
    *("CMakeLists.txt", "meson.build", "configure.ac", "Makefile"),
)
"""At the root of a project: what `pyro env suggest` reads, and the lock files beside that."""
MAX_BYTES = 64 * 1024 * 1024
"""Of one such file; of a longer one the beginning counts, and its length."""
MAX_FILES = 1000


def content_keys(tree: Path, globs: list[str] | None) -> dict[str, str]:
    """The files of a seed that key its set-up. Without `globs`, `DEFAULT` at its root; with them, below it, too: a glob
    without a slash is of the root alone, and `**/` is any directory or none. No link is followed. Blocks.
    """
    if globs is None or not any("/" in glob or "**" in glob for glob in globs):
        with os.scandir(tree) as entries:
            paths = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    else:
        paths = [
            os.path.relpath(entry.path, tree) for entry in trees.walk(tree) if entry.is_file(follow_symlinks=False)
        ]
    wanted = DEFAULT if globs is None else globs
    found = sorted(path for path in paths if any(_fits(path, glob) for glob in wanted))[:MAX_FILES]
    keys = {}
    for path in found:
        content = read_below(tree, path, MAX_BYTES)
        if content is not None:
            size = os.lstat(tree / path).st_size
            keys[path] = f"{size}-{hashlib.sha256(content).hexdigest()}"
    return keys


def _fits(path: str, glob: str) -> bool:
    anywhere = False
    while glob.startswith(("./", "**/")):
        before, _, glob = glob.partition("/")
        anywhere |= before == "**"
    have, want = path.split("/"), glob.split("/")
    if anywhere:
        have = have[-len(want) :]
    return len(have) == len(want) and all(fnmatch.fnmatchcase(*pair) for pair in zip(have, want, strict=True))
