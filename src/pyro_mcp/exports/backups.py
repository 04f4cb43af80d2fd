"""What an export replaced, kept for a while: one directory for each export, with a manifest.

    backups/20261127-013000-1a2b3c/manifest.json     where it was, and what was replaced
    backups/20261127-013000-1a2b3c/files/…           the files as they were

The manifest is written before anything is changed, so that a later start finds what a killed export left in the stage
beside its target, and removes it. Blocks.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp import trees
from pyro_mcp.exports.copies import copy_file
from pyro_mcp.wholeness import write_new

STAGE = ".pyro-export-"
"""Names of directories in which files are finished before they are put in place."""
STAGING = ".staging"
"""In the backups' directory: what is being unpacked."""
KEPT_SECONDS = 30 * 86400
LEAST_SECONDS = 7 * 86400
"""Younger ones stay, whatever room they take."""
YOUNG = 5
"""So many stay however old they seem, within `MOST_BYTES`: a clock that is set forward must end none of them."""
MOST_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Backups:
    """The backups of one installation."""

    directory: Path

    def open(self, target: Path) -> Keeper:
        """A place for what one export replaces."""
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
        place = self.directory / name
        (place / "files").mkdir(parents=True, mode=0o700)
        return Keeper(place, target)

    def sweep(self) -> None:
        """Remove what killed exports left, and old backups; never one that is younger than a week."""
        if not self.directory.is_dir():
            return
        kept: list[tuple[float, int, Path]] = []
        shutil.rmtree(self.directory / STAGING, ignore_errors=True)
        for place in self.directory.iterdir():
            record = _read(place)
            stage = record.get("stage")
            if not record.get("done") and isinstance(stage, str):
                _remove_stage(Path(stage))
            files = place / "files"
            if not files.is_dir() or not any(files.iterdir()):
                shutil.rmtree(place, ignore_errors=True)
                continue
            size = _size(place)
            kept.append((place.lstat().st_mtime, size, place))
        used = 0
        for number, (made, size, place) in enumerate(sorted(kept, reverse=True)):
            age = time.time() - made
            used += size
            if (age > KEPT_SECONDS and number >= YOUNG) or (used > MOST_BYTES and age > LEAST_SECONDS):
                shutil.rmtree(place, ignore_errors=True)


class Keeper:
    """Keeps what one export replaces."""

    def __init__(self, place: Path, target: Path) -> None:
        self._place = place
        self._target = target
        self._stage = ""
        self._saved: list[str] = []

    def stage(self, stage: Path) -> None:
        """Say where the files are finished, before that is made."""
        self._stage = str(stage)
        self._write(done=False)

    def save(self, below: str, directory: int, name: str) -> None:
        """Keep a copy of what stands at a name, which is `below` the export's target."""
        parent = self._place / "files" / os.path.dirname(below)
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        to = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copy_file(directory, name, to, os.path.basename(below))
        finally:
            os.close(to)
        self._saved.append(below)

    def keep(self) -> Path:
        """The export is whole: the backup stays. Gives where the files are."""
        self._write(done=True)
        return self._place / "files"

    def drop(self) -> None:
        """Nothing was replaced, or all was taken back."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _write(self, done: bool) -> None:
        record = {
            "target": os.fsencode(self._target).decode("utf-8", "backslashreplace"),
            "stage": self._stage,
            "replaced": [os.fsencode(name).decode("utf-8", "backslashreplace") for name in self._saved],
            "done": done,
        }
        write_new(self._place / "manifest.json", json.dumps(record, indent=1).encode())


def _size(place: Path) -> int:
    with suppress(OSError):
        return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in trees.walk(place))
    return MOST_BYTES  # what cannot be looked through goes first, when it is old enough


def _read(place: Path) -> dict[str, object]:
    try:
        found = json.loads((place / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remove_stage(stage: Path) -> None:
    """A stage that a killed export left: a private directory of ours, by name, owner and mode."""
    with suppress(OSError):
        info = os.lstat(stage)
        if stage.name.startswith(STAGE) and info.st_uid == os.geteuid() and stat.S_ISDIR(info.st_mode):
            shutil.rmtree(stage, ignore_errors=True)
