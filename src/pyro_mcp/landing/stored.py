"""Changes with their contents as git would store them: a patch of these is the one that `git diff` would give.

`git apply` converts what it finds in a work tree before it compares, and what it writes; so a patch that holds a
work tree's own line ends, encodings or `$Id$` fits only in some of its modes. Nothing is written to the user's
repository. Blocks.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyro_mcp.errors import PyroError
from pyro_mcp.landing.attributes import Attributes
from pyro_mcp.landing.land import below
from pyro_mcp.landing.objects import Objects
from pyro_mcp.landing.repository import Repository
from pyro_mcp.patches.diff import DiffEntry, FileVersion


def as_stored(repo: Path, prefix: str, base_commit: str | None, entries: Sequence[DiffEntry]) -> list[DiffEntry]:
    """The entries, whose paths are below `prefix` in the repository, converted; as they are where git cannot say.

    What goes through a filter that the user's repository defines stays as it is: no filter is run.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="pyro-stored-") as scratch:
            return _converted(Path(scratch), repo, prefix, base_commit, entries)
    except (PyroError, OSError):
        return list(entries)  # the repository has gone, say: a patch with line ends of the work tree is one as well


def _converted(
    scratch: Path, repo: Path, prefix: str, base_commit: str | None, entries: Sequence[DiffEntry]
) -> list[DiffEntry]:
    repository = Repository(repo)
    changes = below(prefix, entries)
    store = Objects(scratch, repository, apart=True)
    base = store.existing(base_commit) or repository.head()
    listing = store.listing(base)
    attributes = Attributes(repository, scratch)
    if not attributes.matter(listing, changes):
        return list(entries)
    raw = store.write_blobs(changes)
    sides: dict[str, dict[bytes, bytes]] = {}
    for side in ("old", "new"):
        versions: dict[bytes, FileVersion | None] = {path: getattr(entry, side) for path, entry in changes.items()}
        sides[side] = attributes.cleaned(store, base, side, versions, refuse=False)
    for path, entry in changes.items():
        # What the commit has as it is was never converted, whatever the attributes say.
        if entry.old and path in listing and listing[path][1] == raw.get(entry.old.content):
            sides["old"].pop(path, None)
    contents = store.contents({name for side in sides.values() for name in side.values()})
    found = []
    for path, entry in changes.items():
        old, new = (
            replace(version, content=contents[sides[side][path]]) if version and path in sides[side] else version
            for side, version in (("old", entry.old), ("new", entry.new))
        )
        if old != new:
            name = os.fsdecode(path)
            found.append(DiffEntry(name[len(name) - len(entry.path) :], old, new))
    return found
