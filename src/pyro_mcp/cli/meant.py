"""Which workspace is meant where none is named: the only one of the project's directory.

A project is the directory that a workspace was seeded from, or the one that its MCP server was started in. Where the
directory has none, one that belongs to no directory may be meant, if it is the only one there is.
"""

from __future__ import annotations

import os
import sys

from pyro_mcp.cli.options import usage_error
from pyro_mcp.cli.parsing import COMMAND, Parsed, parse
from pyro_mcp.client import place
from pyro_mcp.client.connection import Connection
from pyro_mcp.client.launch import accepts
from pyro_mcp.client.sync import Transport
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.definitions.operation import Operation
from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.visible import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HIGHEST = 32
"""Folders above the present one that are looked at."""
ALWAYS_NAMED = frozenset({"delete_workspace"})
"""What cannot be taken back is said by name."""
SHOWN = 8


def may_be_unsaid(operation: Operation) -> bool:
    """Whether the workspace of a command may be left out."""
    return operation.positional[:1] == ("workspace",) and operation.name not in ALWAYS_NAMED


def parsed(operation: Operation, prog: str, words: list[str], after: list[str] | None) -> Parsed:
    """As `parse`; where the words fit only if a workspace stands before them, with the one that is meant.

    Raises:
        InvalidInput: words that do not fit, or no workspace or several that could be meant.
    """
    try:
        return parse(operation, prog, words, after)
    except InvalidInput as error:
        if not may_be_unsaid(operation) or error.code != "bad_usage":
            raise
        first = _first_word(words)
        try:
            # Whether they would fit, before a daemon is asked or even started.
            parse(operation, prog, ["w", *words], after)
        except InvalidInput:
            raise error from None
        missing = "missing" in error.details
        if not missing and not accepts(place.locations()):
            raise error from None
        known, meant = look()
        if (first is not None and first in known) or (not missing and len(meant) != 1):
            raise error from None
        return _with(meant, operation, prog, words, after)


def again(operation: Operation, prog: str, words: list[str], after: list[str] | None, error: NotFound) -> Parsed:
    """The words of a command whose first names no workspace, read as if it were left unsaid.

    Raises:
        NotFound: `error`, where that cannot be meant.
    """
    if error.code != "unknown_workspace" or not may_be_unsaid(operation):
        raise error
    try:
        parse(operation, prog, ["w", *words], after)
        known, meant = look()
        first = str(parse(operation, prog, words, after).arguments.get("workspace"))
        if _is_near(first, known):
            raise error
        return _with(meant, operation, prog, words, after)
    except InvalidInput:
        raise error from None


def only_one() -> str:
    """The id of the workspace that is meant here.

    Raises:
        InvalidInput: there is none, or there are several.
    """
    _, meant = look()
    return id_of(meant)


def look() -> tuple[set[str], list[dict[str, Any]]]:
    """The names and ids of all workspaces, and those that may be meant in the present folder."""
    with Connection(face="cli", client="pyro") as pyro:
        every = pyro.call(KNOWN["list_workspaces"], {})["workspaces"]
    known = {str(word) for found in every for word in (found["id"], found["name"]) if word}
    if not every:
        return known, []
    transport = Transport(place.locations())
    try:
        for folder in folders():
            scoped = Connection(face="cli", client="pyro", transport=transport, project=folder)
            here = scoped.call(KNOWN["list_workspaces"], {})["workspaces"]
            if here:
                return known, here
    finally:
        transport.close()
    return known, every if len(every) == 1 and every[0]["seed"] is None else []


def folders() -> list[str]:
    """The present directory, and those above it up to the top of its git work tree; none where it is gone."""
    try:
        place = os.path.realpath(os.getcwd())
    except OSError:
        return []
    home = os.path.realpath(os.path.expanduser("~"))
    found: list[str] = []
    while place not in ("/", home) and len(found) < HIGHEST:
        found.append(place)
        if os.path.lexists(os.path.join(place, ".git")):
            break
        place = os.path.dirname(place)
    return found


def top() -> str | None:
    """The top of the git work tree that the present directory is in."""
    found = folders()
    return found[-1] if found and os.path.lexists(os.path.join(found[-1], ".git")) else None


def _with(
    meant: list[dict[str, Any]], operation: Operation, prog: str, words: list[str], after: list[str] | None
) -> Parsed:
    chosen = id_of(meant, prog, COMMAND in operation.positional)
    if sys.stderr.isatty():
        print(f"(workspace {visible(str(meant[0]['name'] or chosen))})", file=sys.stderr)
    return parse(operation, prog, [chosen, *words], after)


def id_of(meant: list[dict[str, Any]], prog: str = "", command: bool = False) -> str:
    """The id of the only one of these workspaces; `prog` is the command that needs it.

    Raises:
        InvalidInput: there is none, or there are several.
    """
    if len(meant) == 1:
        return str(meant[0]["id"])
    if not meant:
        raise usage_error(
            "Which workspace? None belongs to this directory.",
            hint="Name one (`pyro ls` lists them all), or create one with `pyro new`.",
        )
    names = [visible(str(found["name"] or found["id"])) for found in meant]
    raise usage_error(
        f"Which workspace? This directory has {len(meant)}: "
        f"{', '.join(names[:SHOWN])}{', …' if names[SHOWN:] else ''}.",
        hint=f"Name one, for example: {prog} {names[0]}{' COMMAND' if command else ''}"
        if prog
        else "Name one of them.",
    )


def _first_word(words: list[str]) -> str | None:
    return next((word for word in words if not word.startswith("-")), None)


def _is_near(word: str, known: set[str]) -> bool:
    """A name that was mistyped, rather than a command."""
    import difflib

    return bool(difflib.get_close_matches(word, known, 1, 0.75))
