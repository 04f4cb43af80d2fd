"""Paths in the tree of an environment, whose symbolic links are a stranger's: none of them is ever left to the kernel.

The trees lie still while they are worked on, so a walk by names is as good as one by descriptors.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pyro_mcp.trees import opened as opened
from pyro_mcp.wholeness import write_new

MAX_LINKS = 40
"""As many as Linux follows (include/linux/namei.h)."""
MAX_READ = 16 * 1024 * 1024


def resolve(root: Path, path: str) -> Path | None:
    """Where a path leads for somebody whose root is `root`; None when it is not there or goes in circles.

    What is given is below `root`, and neither it nor anything above it is a symbolic link.
    """
    left = [part for part in path.split("/") if part not in ("", ".")][::-1]
    done: list[str] = []
    links = 0
    while left:
        part = left.pop()
        if part == "..":
            done = done[:-1]
            continue
        place = os.path.join(root, *done, part)
        try:
            target = os.readlink(place) if os.path.islink(place) else None
        except OSError:
            return None
        if target is None:
            if not os.path.lexists(place):
                return None
            done.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            return None
        if target.startswith("/"):
            done = []
        left += [each for each in target.split("/") if each not in ("", ".")][::-1]
    return root.joinpath(*done)


def read_text(root: Path, path: str) -> str | None:
    """The text of a regular file of the tree, at most 16 MiB; None when there is none."""
    place = resolve(root, path)
    if place is None or not place.is_file():
        return None
    with opened(place) as file:
        return file.read(MAX_READ).decode("utf-8", "replace")


def directory(root: Path, path: str, mode: int = 0o755) -> Path:
    """A real directory at exactly this path; whatever else stands there or on the way to it gives way."""
    place = root
    for part in path.split("/"):
        place = place / part
        if place.is_symlink() or (os.path.lexists(place) and not place.is_dir()):
            place.unlink()
        if not os.path.lexists(place):
            place.mkdir(mode=mode)
    return place


def write_text(root: Path, path: str, text: str, mode: int = 0o644) -> None:
    """A new file at exactly this path. The one that stood there is left as it is: other trees may share it."""
    parent, _, name = path.rpartition("/")
    place = directory(root, parent) if parent else root
    if not (place / name).is_dir() or (place / name).is_symlink():
        write_new(place / name, text.encode(), mode)


def exactly(root: Path, path: str) -> Path | None:
    """The place of exactly this path, whatever stands there; None where a link, or no directory, is on the way."""
    *above, name = path.split("/")
    place = str(root)
    for part in above:
        place = f"{place}/{part}"
        if os.path.islink(place) or not os.path.isdir(place):
            return None
    return Path(place, name)


def holds(root: Path, path: str) -> bool:
    """Whether anything, a link included, stands at exactly this path."""
    place = exactly(root, path)
    return place is not None and os.path.lexists(place)


def remove(root: Path, path: str) -> None:
    """Remove what stands at exactly this path, a directory with all in it; nothing where a link is on the way."""
    place = exactly(root, path)
    if place is None:
        return
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
    else:
        shutil.rmtree(place)


def executable(root: Path, *candidates: str) -> str | None:
    """The first of these absolute paths at which the tree has a program."""
    for path in candidates:
        place = resolve(root, path)
        if place is not None and place.is_file() and place.stat().st_mode & 0o111:
            return path
    return None
