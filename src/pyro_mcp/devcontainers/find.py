"""Where in a seed the file stands. Opens nothing through a symbolic link."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyro_mcp import trees

FOLDER = ".devcontainer"
FILE = "devcontainer.json"
MAX_BYTES = 256 * 1024
_MAX_FOLDERS = 1000


@dataclass(frozen=True)
class Found:
    """The file, or why none is used although something is there."""

    path: str
    text: bytes = field(default=b"", repr=False)
    problem: str = ""


def find(root: Path, seeded: Container[str] | None = None) -> Found | None:
    """The project's file below `root`, by the places that containers.dev names; None when there is none.

    With `seeded`, only what is among these paths: what git ignores is not part of the seed. Blocks.
    """
    for place in (f"{FOLDER}/{FILE}", f".{FILE}"):
        if (seeded is None or place in seeded) and (found := _read(root, place)) is not None:
            return found
    several = [each for each in _folders(root) if seeded is None or each in seeded]
    present = [found for each in several if (found := _read(root, each)) is not None]
    if len(present) > 1:
        names = ", ".join(each.path for each in present[:5])
        return Found(
            f"{FOLDER}/*/{FILE}",
            problem=f"There are {len(present)} of them ({names}) and nothing says which to use, so none was used",
        )
    return present[0] if present else None


def _folders(root: Path) -> list[str]:
    names: list[str] = []
    with contextlib.suppress(OSError), _opened(root, FOLDER) as folder, os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number >= _MAX_FOLDERS:
                break
            if entry.is_dir(follow_symlinks=False):
                names.append(f"{FOLDER}/{entry.name}/{FILE}")
    return sorted(names)


@contextlib.contextmanager
def _opened(root: Path, relative: str) -> Iterator[int]:
    """The descriptor of a directory below `root`, reached through real directories only."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(root, flags)
    try:
        for part in [each for each in relative.split("/") if each]:
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def read_below(root: Path, relative: str, most: int) -> bytes | None:
    """The first `most` bytes of a regular file below `root`; None when there is none but through a link. Blocks."""
    folder, _, name = relative.rpartition("/")
    try:
        with _opened(root, folder) as directory, trees.opened(name, directory) as file:
            return file.read(most)
    except (OSError, ValueError):
        return None


def _read(root: Path, path: str) -> Found | None:
    text = read_below(root, path, MAX_BYTES + 1)
    if text is None:
        if os.path.islink(root / path):
            return Found(path, problem="It is a symbolic link, which is not followed")
        return None
    if len(text) > MAX_BYTES:
        return Found(path, problem=f"It is larger than {MAX_BYTES} bytes")
    return Found(path, text)
