"""What is too much for a seed, or hardly meant as one: said at once, before anything is read."""

from __future__ import annotations

import os
import pwd
from collections import Counter
from pathlib import Path

from pyro_mcp.errors import InvalidInput
from pyro_mcp.paths import show

MAX_FILES = 1_000_000
"""Files, directories and links of a seed, be it a tree or an archive."""
MAX_BYTES = 32 * 1024**3
"""Of a seed's contents."""
_NEVER = ("/proc", "/sys", "/dev")
"""What stands here is this computer's kernel, no files."""
_ROOTS = ("bin", "boot", "etc", "home", "lib", "lib32", "lib64", "libx32", "nix", "root", "run", "sbin", "snap", "tmp")
_SYSTEM = frozenset(f"/{name}" for name in (*_ROOTS, "usr", "var"))
"""Folders of the Filesystem Hierarchy Standard; what stands below may be a project."""
_HINT = "Give the project's own directory."


def refuse_unmeant(source: Path, work_tree: bool, meant: bool) -> None:
    """Refuse this whole machine, a home, or a system directory: a slip that would copy all a user has.

    A git work tree says by itself what belongs to it. `meant` is that somebody asked for everything in so many words.
    """
    path = str(source)
    if path == "/" or any(path == top or path.startswith(top + "/") for top in _NEVER):
        what = "all of this computer" if path == "/" else "this computer's kernel, not files"
        raise InvalidInput(f"{show(path)} is {what}, and no seed.", hint=_HINT, code="seed_unmeant")
    if meant or work_tree:
        return
    if path in _SYSTEM or path in _homes():
        what = "a system directory" if path in _SYSTEM - {"/home", "/root"} else "a home directory"
        raise InvalidInput(
            f"{show(path)} is {what} with everything in it, including keys; nothing was read.",
            hint=f"{_HINT} To seed all of it, the user can give --include-ignored.",
            code="seed_unmeant",
        )


def _homes() -> set[str]:
    found = {os.path.realpath(os.path.expanduser("~"))}
    try:
        found.add(os.path.realpath(pwd.getpwuid(os.geteuid()).pw_dir))
    except KeyError:
        pass  # a user without an entry
    return found


def too_much(source: str, paths: list[str]) -> InvalidInput:
    """The refusal of a seed that is over the bounds; `paths` is what was listed of it."""
    parts = Counter(path.split("/", 1)[0] for path in paths if "/" in path)
    most = f" Most that was seen is in {show(parts.most_common(1)[0][0])}." if parts else ""
    return InvalidInput(
        f"{show(source)} has more than {MAX_FILES:,} files or {MAX_BYTES >> 30} GiB, the limit for a seed."
        f"{most} Nothing was copied.",
        hint="Give a smaller directory, or exclude generated files with a .gitignore.",
        code="seed_too_large",
    )
