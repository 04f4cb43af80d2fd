"""What a .dockerignore leaves out of a build's context, by Docker's rules (docs.docker.com/build/concepts/context).

Pure. No pattern, however it is written, takes long: a path is held against it name by name.
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_BYTES = 256 * 1024
MAX_PATTERNS = 1000


@dataclass(frozen=True)
class _Pattern:
    names: tuple[str, ...]
    """Of the path, each a pattern; `**` stands for any number of them."""
    excepts: bool


def ignoring(text: str) -> Callable[[str], bool]:
    """Tells of a path in the context, relative, whether it stays out."""
    patterns = _patterns(text)

    @functools.lru_cache(maxsize=65536)
    def ignored(path: str) -> bool:
        out = False
        for pattern in patterns:
            if out == pattern.excepts and _holds(pattern.names, tuple(path.split("/"))):
                out = not pattern.excepts
        return out

    return ignored


def _patterns(text: str) -> list[_Pattern]:
    found: list[_Pattern] = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        wanted = line.strip()
        excepts = wanted.startswith("!")
        wanted = posixpath.normpath(wanted[1:].strip() if excepts else wanted).lstrip("/")
        if wanted not in ("", ".", "..") and not wanted.startswith("../") and len(found) < MAX_PATTERNS:
            names = wanted.split("/")
            # One of several `**` in a row is enough: then no pattern goes on after the names of a path are used up.
            once = (name for before, name in zip(["", *names], names, strict=False) if (before, name) != ("**", "**"))
            found.append(_Pattern(tuple(once), excepts))
        elif wanted == "." and not excepts:
            found.append(_Pattern(("**",), False))
    return found


def _holds(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether the pattern is that of the path, or of a directory above it."""
    # reached[n]: the pattern so far may be the first n names of the path.
    reached = {0}
    for number, name in enumerate(pattern):
        if name == "**":
            least = min(reached, default=len(path) + 1)
            last = number == len(pattern) - 1
            # At the end it stands for something: `a/**` leaves `a` itself in.
            reached = set(range(least + 1 if last else least, len(path) + 1))
        else:
            reached = {each + 1 for each in reached if each < len(path) and _name(name)(path[each])}
        if not reached:
            return False
    return True


@functools.lru_cache(maxsize=4096)
def _name(pattern: str) -> Callable[[str], bool]:
    # Python's `[!x]` is Go's `[^x]`; what a backslash stands before means itself.
    spelled = re.sub(r"\\(.)", lambda found: f"[{found[1]}]" if found[1] in "*?[" else found[1], pattern)
    matches = re.compile(fnmatch.translate(spelled.replace("[^", "[!"))).match
    return lambda name: matches(name) is not None
