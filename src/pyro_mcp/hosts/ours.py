"""The connections that `pyro up` made, so that `pyro down` takes away those and no other.

What is intended is written down before it is done: whoever is killed in between leaves a note too many, never a
connection that nobody knows of. A connection serves all of the user's projects, so it goes with the last that asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pyro_mcp import hosts, ownership
from pyro_mcp.errors import Conflict
from pyro_mcp.hosts import connect, files
from pyro_mcp.wholeness import write_new

OTHERS_SECONDS = 30.0
"""How long one process waits for another that is at it: some files are written meanwhile."""
Became = Literal["removed", "gone", "changed", "needed"]


class Ours:
    """What stands in `folder/connections.json`; of the user's scope only."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._path = folder / "connections.json"

    def make(self, plan: connect.Plan, project: Path) -> Path | None:
        """Carry out a plan, and remember it as made for a project. Gives the backup's path."""
        with self._changing() as known:
            earlier = known.get(plan.host.name, {})
            before = plan.before
            again = before is not None and [before.command, *before.arguments] == earlier.get("argv")
            untouched = again and earlier["text"] == _mark(plan.edit.before)
            known[plan.host.name] = {
                "argv": list(plan.argv),
                "projects": sorted({str(project), *earlier.get("projects", [])}),
                "new_file": earlier["new_file"] if untouched else plan.edit.before is None,
                "backup": earlier["backup"] if untouched else None,
                "text": None,
            }
            self._write(known)
            saved = connect.apply(plan)
            known[plan.host.name]["text"] = _mark(files.read(plan.edit.path))
            # A backup with an earlier entry of ours in it is none to go back to.
            if not again:
                known[plan.host.name]["backup"] = str(saved) if saved else None
        return saved

    def join(self, plan: connect.Plan, project: Path) -> None:
        """A project uses what `up` made for another; what somebody else made is left alone."""
        with self._changing() as known:
            made = known.get(plan.host.name)
            if made is not None and made["argv"] == list(plan.argv):
                made["projects"] = sorted({str(project), *made["projects"]})

    def used_by(self, project: Path) -> list[str]:
        """The hosts that `up` connected for a project."""
        with self._changing() as known:
            return [name for name in hosts.NAMES if str(project) in known.get(name, {}).get("projects", [])]

    def leave(self, name: str, project: Path) -> tuple[Became, list[str]]:
        """A project needs a host's connection no more: it is taken away with the last. Gives who else needs it.

        Raises:
            PyroError: the configuration could not be changed; it is still known as made.
        """
        with self._changing() as known:
            made = known[name]
            others = [each for each in made["projects"] if each != str(project)]
            if others:
                made["projects"] = others
                return "needed", others
            became = _take_away(name, made, project)
            del known[name]
        return became, []

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        """What is known, by one process at a time; written when it was changed, and not after a failure."""
        with open(self._folder / "lock", "a") as lock:
            if not ownership.taken(lock.fileno(), OTHERS_SECONDS):
                raise Conflict(
                    "Another pyro is changing the chat hosts' connections; nothing was changed.",
                    hint="Try again when it has ended.",
                    code="busy",
                )
            try:
                known = json.loads(self._path.read_text())
            except (FileNotFoundError, ValueError):
                known = {}
            before = json.dumps(known)
            yield known
            if json.dumps(known) != before:
                self._write(known)

    def _write(self, known: dict[str, Any]) -> None:
        write_new(self._path, json.dumps(known, indent=1).encode())


def _take_away(name: str, made: dict[str, Any], project: Path) -> Became:
    host = hosts.host(name)
    found = host.found("user", project)
    if found is None:
        return "gone"
    if [found.command, *found.arguments] != made["argv"]:
        return "changed"
    path = found.path
    now = files.read(path)
    as_made = made["text"] is not None and made["text"] == _mark(now)
    backup = Path(made["backup"]) if made["backup"] else None
    if as_made and made["new_file"]:
        Path(os.path.realpath(path)).unlink()
    elif as_made and backup is not None and backup.exists():
        files.Edit(path, now, files.read(backup) or "").apply(with_backup=False)
        backup.unlink()
    else:
        host.remove("user", project)
    return "removed"


def _mark(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode()).hexdigest()
