"""Puts layers on top of each other: a tree of hard links, so that images share on disk what they have in common.

The layers' files are never written again: what pyro adds to a tree goes into new files (`rooted`).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.environments.oci.layer import LayerNotes, apply
from pyro_mcp.environments.oci.manifest import bad
from pyro_mcp.environments.rooted import exactly, resolve
from pyro_mcp.paths import show


@dataclass(frozen=True)
class UnpackedLayer:
    root: Path
    notes: LayerNotes


def compose(layers: list[UnpackedLayer], into: Path) -> None:
    """Make the tree of an image at `into`, which is an empty directory. Blocks.

    Raises:
        InvalidInput: the layers do not fit together.
    """
    attributes: dict[str, tuple[int, int, int, int]] = {"": (0o755, 0, 0, 0)}
    for layer in layers:
        _take_away(layer.notes, into)
        _lay(layer, into, attributes)
    # Inner ones first: a directory's mtime changes when something is made in it.
    for path in sorted(attributes, reverse=True):
        # A link may stand by now where the path of a lower layer's directory goes through.
        place = exactly(into, path)
        if place is not None and place.is_dir() and not place.is_symlink():
            apply(str(place), *attributes[path])


def _place(into: Path, path: str) -> Path | None:
    """Where a path of an upper layer is in the tree so far: links of lower layers on the way to it are followed."""
    parent, _, name = path.rpartition("/")
    found = resolve(into, parent)
    return found / name if found is not None and found.is_dir() else None


def _take_away(notes: LayerNotes, into: Path) -> None:
    for path in notes.whiteouts:
        place = _place(into, path)
        if place is not None:
            _remove(place)
    for path in notes.opaque:
        place = resolve(into, path)
        if place is not None and place.is_dir():
            for entry in list(os.scandir(place)):
                _remove(Path(entry.path))


def _remove(place: Path) -> None:
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
    else:
        shutil.rmtree(place)


def _lay(layer: UnpackedLayer, into: Path, attributes: dict[str, tuple[int, int, int, int]]) -> None:
    later = dict(layer.notes.links)
    named = layer.notes.dirs
    if "" in named:
        attributes[""] = named[""]

    def merge(source: str, target: str, relative: str) -> None:
        """`relative` is the path in the layer; `target` may be elsewhere in the tree, behind a lower layer's link."""
        with os.scandir(source) as entries:
            found = list(entries)
        for entry in found:
            path = f"{relative}/{entry.name}" if relative else entry.name
            place = os.path.join(target, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                if os.path.lexists(place):
                    _remove(Path(place))
                if path not in later:
                    _link(entry.path, place)
                continue
            if os.path.islink(place):
                # Only on the way to something: the lower layer's link leads there, as it would in the machine.
                inside = str(into)
                behind = resolve(into, os.path.relpath(place, inside)) if path not in named else None
                if behind is not None and behind.is_dir():
                    merge(entry.path, str(behind), path)
                    continue
            if os.path.lexists(place) and (os.path.islink(place) or not os.path.isdir(place)):
                os.unlink(place)
            where = os.path.relpath(place, into)
            if not os.path.lexists(place):
                os.mkdir(place, 0o755)
                attributes[where] = (0o755, 0, 0, 0)
            if path in named:
                attributes[where] = named[path]
            merge(entry.path, place, path)

    merge(str(layer.root), str(into), "")
    for path, source in layer.notes.links:
        wanted, place = _place(into, source), _place(into, path)
        if wanted is None or place is None or wanted.is_symlink() or not wanted.is_file():
            raise bad(f"has the hard link {show(path)} to {show(source)}, which is not a file in it")
        if place != wanted:
            _remove(place)
            _link(str(wanted), str(place))


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place, follow_symlinks=False)
    except OSError:
        # Too many links to one file (EMLINK), or a disk without any: a copy does as well.
        info = os.lstat(source)
        if os.path.islink(source):
            os.symlink(os.readlink(source), place)
        else:
            shutil.copy2(source, place)
        apply(place, info.st_mode & 0o7777, info.st_uid, info.st_gid, info.st_mtime_ns, link=os.path.islink(source))
