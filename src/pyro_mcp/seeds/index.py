"""Which files of a source an earlier seed has already, so that the next seed of it copies only what changed since.

As git's index does, it knows a file by its name, kind, mode, size, times, inode and device as they were when it was
copied. The change time is the kernel's and cannot be set back, so who restores size and modification time is found
out. A file whose times are of the last seconds before it was listed may change again under the same times ("racy",
git's word): it is not noted, and copied again. What an earlier seed has is linked, not copied: nobody writes to a
seed's files, and what was linked is looked at before it counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyro_mcp import wholeness
from pyro_mcp.seeds.scan import Entry

NAME = "files.json"
RACY_NS = 3_000_000_000
"""Longer than a tick of any file system's clock: FAT counts in two seconds."""
_WHOLE = re.compile(r"[0-9a-f]{64}\Z")


def _known(entry: Entry) -> list[int]:
    return [entry.mode, entry.size, entry.mtime_ns, entry.ctime_ns, entry.ino, entry.dev]


def write(home: Path, entries: Iterable[Entry], listed_ns: int, unlike: frozenset[str]) -> None:
    """Note what the seed in `home` has; `unlike` are files of it that are not the source's. Raises OSError."""
    files = {
        entry.path: _known(entry)
        for entry in entries
        if stat.S_ISREG(entry.mode)
        and max(entry.ctime_ns, entry.mtime_ns) < listed_ns - RACY_NS
        and entry.path not in unlike
    }
    wholeness.write_new(home / NAME, json.dumps(files).encode())


class Index:
    """What one earlier seed of the same source has; of none, nothing."""

    def __init__(self, tree: Path | None, files: dict[str, Any]) -> None:
        self._tree, self._files = None if tree is None else f"{tree}/", files

    @classmethod
    def of_seed(cls, root: Path, like: dict[str, Any]) -> Index:
        """That of the newest seed below `root` whose record says the same. Blocks.

        One file has one owner, so what is `like` names that; and the boot: what an earlier one left may be torn.
        """
        found: list[tuple[int, Path]] = []
        for home in root.iterdir():
            if _WHOLE.match(home.name):
                with contextlib.suppress(OSError, ValueError):
                    record = wholeness.read_record(home / "seed.json")
                    if like.items() <= record.items():
                        found.append((os.lstat(home / NAME).st_mtime_ns, home))
        for _, home in sorted(found, reverse=True):
            with contextlib.suppress(OSError, ValueError):
                return cls(home / "tree", wholeness.read_record(home / NAME))
        return cls(None, {})

    def link(self, entry: Entry, name: str, directory: int) -> bool:
        """Put the earlier seed's file at `name` of an open directory, if it has the same; else nothing is there."""
        if self._tree is None or self._files.get(entry.path) != _known(entry):
            return False
        try:
            os.link(self._tree + entry.path, name, dst_dir_fd=directory, follow_symlinks=False)
        except OSError:
            return False  # gone, or as many names as there can be
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        same = (stat.S_IFREG | entry.mode & 0o777, entry.size, entry.mtime_ns)
        if (info.st_mode, info.st_size, info.st_mtime_ns) == same:
            return True
        os.unlink(name, dir_fd=directory)
        return False
