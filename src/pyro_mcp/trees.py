"""Walks through trees that somebody else made: no link is followed, none is looked behind, nothing is passed over in
silence (`Path.rglob` looks behind links and fails at a long one; `os.walk` leaves out what it cannot list). Blocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator


def walk(top: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """All that is below a directory; a directory before what is in it. Raises OSError where one cannot be listed."""
    waiting = [os.fspath(top)]
    while waiting:
        with os.scandir(waiting.pop()) as found:
            entries = list(found)
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
