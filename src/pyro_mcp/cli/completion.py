"""`pyro completion bash|zsh|fish`: completion of commands and options, and of names that exist at this moment.

The scripts ask `pyro __complete WORDS…` at each TAB; that never starts a daemon.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.cli.parsing import option_parser
from pyro_mcp.cli.words import SHORT, expanded
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.definitions.operation import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCRIPTS = {
    "bash": """\
_pyro() {
    local IFS=$'\\n'
    COMPREPLY=($(pyro __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _pyro pyro
""",
    "zsh": """\
#compdef pyro
_pyro() {
    local -a found
    found=("${(@f)$(pyro __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -a found || _files
}
compdef _pyro pyro
""",
    "fish": """\
complete -c pyro -f -a '(pyro __complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}
"""Printed for `eval "$(pyro completion bash)"`, `pyro completion fish | source` and the like."""


OF_A_WORKSPACE = frozenset({"sh", "cp", "port", "top", "stats"})
"""Commands that are no operations and take a workspace."""


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Print the script for a shell, by default the one that is used."""
    parser = Parser(
        prog=prog, usage=f"{prog} bash|zsh|fish", description="Print a completion script for your shell to eval."
    )
    _, rest = parser.taken(words)
    shell = rest[0] if rest else os.path.basename(os.environ.get("SHELL", ""))
    if shell not in SCRIPTS or len(rest) > 1:
        raise usage_error(f"No completion is available for {shell!r}.", hint="Use bash, zsh or fish.")
    print(SCRIPTS[shell], end="")
    return 0


def complete(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Print what the last word may become, one a line; says nothing at all where something is wrong."""
    typed = list(after or [""])
    for choice in choices(typed):
        print(choice)
    return 0


def choices(typed: list[str]) -> list[str]:
    """What the last of the typed words may become."""
    from pyro_mcp.cli.app import commands

    table = commands()
    *before, last = typed or [""]
    if "--" in before:
        return []
    full = expanded(before, table)
    path: tuple[str, ...] = ()
    for word in full:
        if not any(known[: len(path) + 1] == (*path, word) for known in table):
            break
        path = (*path, word)
    rest = full[len(path) :]
    below = sorted({known[len(path)] for known in table if known[: len(path)] == path and len(known) > len(path)})
    if below and not rest:
        short = [] if path else sorted({*SHORT, "help", "version"})
        found = [word for word in sorted({*below, *short}) if not word.startswith("_")]
        return [word for word in found if word.startswith(last)]
    command = table.get(path)
    if command is not None and path[0] in OF_A_WORKSPACE:
        names = _workspaces() if not [word for word in rest if not word.startswith("-")] or path == ("cp",) else []
        ending = ":" if path == ("cp",) else ""
        return [name + ending for name in names if name.startswith(last)]
    if not isinstance(command, Operation):
        return []
    if last.startswith("-"):
        known = option_parser(command, "pyro")._option_string_actions
        return sorted(name for name in known if name.startswith(last) and name.startswith("--"))
    return [name for name in _names(command, rest) if name.startswith(last)]


def _names(operation: Operation, rest: list[str]) -> list[str]:
    """Names that exist at this moment and fit here: the workspace, and then what is in it."""
    place = len([word for word in rest if not word.startswith("-")])
    if place >= len(operation.positional):
        return []
    wanted = operation.positional[place]
    given = [word for word in rest if not word.startswith("-")]
    if wanted == "workspace":
        return _workspaces()
    if wanted in ("environment",):
        return sorted(str(e["name"]) for e in _asked("list_environments", {}).get("environments", []))
    lists = {"name": ("list_snapshots", "snapshots"), "snapshot": ("list_snapshots", "snapshots")}
    lists |= {"service": ("list_services", "services")}
    if wanted not in lists or not given:
        return []
    if wanted == "name" and operation.cli[1:2] == ("service",):
        lists["name"] = lists["service"]
    name, key = lists[wanted]
    return sorted(str(record["name"]) for record in _asked(name, {"workspace": given[0]}).get(key, []))


def _workspaces() -> list[str]:
    found = _asked("list_workspaces", {}).get("workspaces", [])
    return sorted(str(w["name"] or w["id"]) for w in found)


def _asked(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """An operation's answer from a daemon that runs; nothing where none does."""
    from pyro_mcp.client import place
    from pyro_mcp.client.connection import Connection
    from pyro_mcp.client.launch import accepts
    from pyro_mcp.errors import PyroError

    if not accepts(place.locations()):
        return {}
    try:
        with Connection(face="cli", client="completion") as pyro:
            return dict(pyro.call(KNOWN[name], arguments))
    except PyroError:
        return {}
