"""Closes the ways round the sandbox in a host's own permission settings, and opens them again.

What was changed is kept in pyro's state directory, one record per file: undoing takes back that and nothing else. When
the file is still as the guard left it, its backup goes back byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mcp.errors import NotFound
from pyro_mcp.hosts import files
from pyro_mcp.hosts.base import Host, Rule, Scope
from pyro_mcp.hosts.documents import MISSING, Document, JsonDocument
from pyro_mcp.locations import Locations


@dataclass(frozen=True)
class Change:
    """Something done to a file, and how to take it back."""

    path: tuple[str, ...]
    after: Any
    before: Any = MISSING
    in_list: bool = False
    says: str = ""

    def to_record(self) -> dict[str, Any]:
        record: dict[str, Any] = {"path": list(self.path), "after": self.after, "in_list": self.in_list}
        return record if self.before is MISSING else {**record, "before": self.before}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Change:
        return cls(tuple(record["path"]), record["after"], record.get("before", MISSING), bool(record["in_list"]))


@dataclass(frozen=True)
class Guarding:
    """A guard to put up or to take down; nothing is changed until `apply`."""

    host: Host
    edit: files.Edit
    changes: tuple[Change, ...]
    up: bool

    def apply(self) -> Path | None:
        """Gives the backup's path."""
        path = self.edit.path
        if self.up and not self.edit.changes:
            return None
        if not self.up:
            saved = self.edit.apply()
            if self.edit.after == "" or (self.edit.after.strip() == "{}" and _record(path).get("made_file")):
                path.unlink(missing_ok=True)
            _keep(path, None)
            return saved
        saved = self.edit.apply()
        earlier = _record(path)
        _keep(
            path,
            {
                "host": self.host.name,
                "made_file": earlier.get("made_file", self.edit.before is None),
                "backup": earlier.get("backup", str(saved) if saved else None),
                # Put up a second time, others have written in between: then there is no going back to a whole file.
                "sha256": None if earlier else _digest(self.edit.after),
                "changes": [*earlier.get("changes", ()), *(change.to_record() for change in self.changes)],
            },
        )
        return saved


def raising(host: Host, scope: Scope, project: Path, *, planned: files.Edit | None = None) -> Guarding:
    """The guard as it would be put up; with a planned edit of the same file, after that."""
    path = host.guard_file(scope, project)
    text, document = host.load(path)
    if planned is not None and planned.path == path and planned.changes and text == planned.before:
        text, document = planned.after, host.document(path, planned.after)
    changes: list[Change] = []
    for rule in host.guard_rules():
        changes += _obeyed(document, rule)
    return Guarding(host, files.Edit(path, text, document.text), tuple(changes), up=True)


def _obeyed(document: Document, rule: Rule) -> list[Change]:
    if rule.in_list:
        assert isinstance(document, JsonDocument)
        added = document.append(rule.path, rule.value)
        return [Change(rule.path, rule.value, in_list=True, says=rule.says)] if added else []
    changes = []
    parent, now = document.get(rule.path[:-1]), document.get(rule.path)
    if isinstance(parent, str):
        # One word for all tools, as OpenCode has it: it becomes the rule for the others.
        document.put(rule.path[:-1], {"*": parent})
        changes.append(Change(rule.path[:-1], {"*": parent}, parent, says=f"all else stays {parent!r}"))
    if now != rule.value:
        document.put(rule.path, rule.value)
        changes.append(Change(rule.path, rule.value, now, says=rule.says))
    return changes


def lowering(host: Host, scope: Scope, project: Path) -> Guarding:
    """The guard as it would be taken down.

    Raises:
        NotFound: pyro put up none there.
    """
    path = host.guard_file(scope, project)
    record = _record(path)
    if not record:
        raise NotFound(
            f"pyro has not set a guard in {path}.",
            hint="Give the --scope and --project with which it was set.",
            code="guard_not_found",
        )
    changes = tuple(Change.from_record(each) for each in record["changes"])
    text, document = host.load(path)
    saved = Path(record["backup"]) if record.get("backup") else None
    if text is not None and _digest(text) == record["sha256"] and (record["made_file"] or (saved and saved.exists())):
        after = "" if record["made_file"] else files.read(saved) if saved else None
        return Guarding(host, files.Edit(path, text, after or ""), changes, up=False)
    for change in reversed(changes):
        _undone(document, change)
    return Guarding(host, files.Edit(path, text, document.text), changes, up=False)


def _undone(document: Document, change: Change) -> None:
    now = document.get(change.path)
    if change.in_list:
        if isinstance(document, JsonDocument):
            document.drop(change.path, change.after)
    elif now != change.after:
        return  # somebody has set it to something else since: theirs
    elif change.before is MISSING:
        document.remove(change.path)
    else:
        document.put(change.path, change.before)
        return
    place = change.path if change.in_list else change.path[:-1]
    if place and document.get(place) in ([], {}):
        while len(place) > 1 and len(document.get(place[:-1])) == 1:
            place = place[:-1]
        document.remove(place)


@dataclass(frozen=True)
class State:
    """Whether a guard is up: `asked` says that pyro put one up, `missing` which rules do not hold."""

    path: Path
    asked: bool
    missing: tuple[Rule, ...]


def state(host: Host, scope: Scope, project: Path) -> State:
    """What the configuration says; whether the host obeys is another question (`probe`)."""
    path = host.guard_file(scope, project)
    _, document = host.load(path)
    missing = []
    for rule in host.guard_rules():
        now = document.get(rule.path)
        if not (isinstance(now, list) and rule.value in now if rule.in_list else now == rule.value):
            missing.append(rule)
    return State(path, bool(_record(path)), tuple(missing))


# -- records


def _records() -> Path:
    return Locations.of_this_user().state / "guards.json"


def _all_records() -> dict[str, Any]:
    try:
        found = json.loads(_records().read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _record(path: Path) -> dict[str, Any]:
    found = _all_records().get(os.path.realpath(path))
    return dict(found) if isinstance(found, dict) else {}


def _keep(path: Path, record: dict[str, Any] | None) -> None:
    records = _all_records()
    records.pop(os.path.realpath(path), None)
    if record is not None:
        records[os.path.realpath(path)] = record
    file = _records()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(records, indent=1))
    fresh.chmod(0o600)
    os.replace(fresh, file)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
