"""What `workspace_try` is given, and what it says of it: alternatives read from records, and the lines that tell why a
check failed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pyro_mcp.errors import InvalidInput
from pyro_mcp.patches.diff import DiffEntry
from pyro_mcp.visible import shortened

MOST = 8
"""Alternatives at once: each is a machine of its own."""
MOST_COMMANDS = 50
NAME_CHARACTERS = 64
LINES = 6
"""Of what a check printed that are named."""
LINE_CHARACTERS = 160
_SHAPE = "Each is {patch: text} or {commands: [text, ...]}, and may have a name."
_TELLS = re.compile(
    r"\b(FAIL(ED|URE)?|ERROR|FATAL|panicked|Traceback)\b|\b\w*(Error|Exception|Failure)\b"
    r"|^\s*(E |✕|✗|×|not ok\b|--- FAIL)"
    r"|\b(error|fatal|failed|assert\w*|undefined|not found|No such file)\b",
)
"""What test runners and compilers say of a failure; the last such lines are the nearest to the cause."""


@dataclass(frozen=True)
class Alternative:
    """One way to try."""

    name: str
    patch: str | None
    commands: tuple[str, ...]


def read_alternatives(records: list[dict[str, Any]]) -> list[Alternative]:
    """The alternatives that a call gives.

    Raises:
        InvalidInput: there are none or too many, or one has neither a patch nor commands, or something else.
    """
    if not 1 <= len(records) <= MOST:
        raise InvalidInput(f"There are {len(records)} alternatives; 1 to {MOST} can be tried.", code="bad_alternatives")
    return [_read(number, record) for number, record in enumerate(records, 1)]


def _read(number: int, record: dict[str, Any]) -> Alternative:
    def wrong(what: str) -> InvalidInput:
        return InvalidInput(f"Alternative {number} {what}. Nothing was tried.", hint=_SHAPE, code="bad_alternatives")

    given = {name: value for name, value in record.items() if value is not None}
    for ours, theirs in (("commands", "command"), ("patch", "diff")):
        if theirs in given:
            if ours in given:
                raise wrong(f"has both {ours} and {theirs}")
            given[ours] = given.pop(theirs)
    if unknown := sorted(given.keys() - {"name", "patch", "commands"}):
        raise wrong(f"has {unknown[0]!r:.60}, which no alternative has")
    commands = given.get("commands", [])
    commands = [commands] if isinstance(commands, str) else commands
    if not isinstance(commands, list) or not all(isinstance(each, str) and each.strip() for each in commands):
        raise wrong("has commands that are no list of command lines")
    if len(commands) > MOST_COMMANDS:
        raise wrong(f"has {len(commands)} commands, more than {MOST_COMMANDS}")
    patch, name = given.get("patch"), given.get("name", "")
    if not isinstance(patch, str | None) or not isinstance(name, str):
        raise wrong("has a patch or a name that is not text")
    if not patch and not commands:
        raise wrong("has neither a patch nor commands")
    return Alternative(shortened(name, NAME_CHARACTERS), patch or None, tuple(commands))


def failing_lines(output: str) -> list[str]:
    """The lines that tell why a check failed, in their order; where none does, the last ones."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip(" =-_*#~.\t")]
    telling = [line for line in lines if _TELLS.search(line)]
    return [shortened(line, LINE_CHARACTERS) for line in (telling or lines)[-LINES:]]


def between(before: list[DiffEntry], after: list[DiffEntry]) -> list[DiffEntry]:
    """What changed between two moments, of both of which the changes since the baseline are known."""
    then = {entry.path: entry for entry in before}
    now = {entry.path: entry for entry in after}
    found: list[DiffEntry] = []
    for path in sorted(then.keys() | now.keys()):
        if path not in then:
            found.append(now[path])
        elif path not in now:
            found.append(DiffEntry(path, then[path].new, then[path].old))  # it is as in the baseline again
        elif then[path].new != now[path].new:
            found.append(DiffEntry(path, then[path].new, now[path].new))
    return found
