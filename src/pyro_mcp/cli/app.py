"""Finds the command that the words name, runs it, and turns errors into messages and exit statuses.

Start-up counts: only the parser of the command at hand is built, and nothing heavy is imported here.
"""

from __future__ import annotations

import difflib
import gc
import json
import os
import sys
from typing import Any

from pyro_mcp.cli import extra
from pyro_mcp.cli.parsing import OUTPUT_FLAGS, Parsed, option_parser, parse, usage_error
from pyro_mcp.errors import InternalError, PyroError
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.version import VERSION

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
_ORDER = {"doctor": 0, "env": 1, "run": 2, "workspace": 3}


def in_order() -> list[Operation]:
    """The operations in the order in which a person meets them."""

    def place(op: Operation) -> tuple[int, bool]:
        return _ORDER.get(op.cli[0], len(_ORDER)), not op.function.__qualname__.startswith("Workspace")

    return sorted(REGISTRY.values(), key=place)


def commands() -> dict[tuple[str, ...], Operation | extra.Extra]:
    """Every command by its words."""
    table: dict[tuple[str, ...], Operation | extra.Extra] = {op.cli: op for op in in_order()}
    table.update({e.words: e for e in extra.extras()})
    return table


def run(argv: list[str] | None = None) -> int:
    """Run one command line; see `pyro_mcp.cli.main`."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    try:
        return _run(words)
    except PyroError as error:
        return report(error, as_json)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + 13
    except Exception as error:
        if os.environ.get("PYRO_DEBUG"):
            raise
        internal = InternalError(
            f"A defect of pyro: {type(error).__name__}: {error}.", hint="PYRO_DEBUG=1 shows the trace."
        )
        return report(internal, as_json)


def report(error: PyroError, as_json: bool) -> int:
    """Print an error where it belongs, and give its exit status."""
    if as_json:
        print(json.dumps({"error": error.to_record()}), flush=True)
    else:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
    return error.exit_status


def _run(words: list[str]) -> int:
    before, after = words, None
    if "--" in words:
        cut = words.index("--")
        before, after = words[:cut], words[cut + 1 :]
    leading: list[str] = []
    while before and before[0].removeprefix("--").replace("-", "_") in OUTPUT_FLAGS and before[0].startswith("--"):
        leading.append(before[0])
        before = before[1:]
    if before[:1] == ["--version"]:
        print(json.dumps({"version": VERSION}) if leading == ["--json"] else f"pyro {VERSION}")
        return 0
    table = commands()
    path, rest = _match(before, table)
    if path not in table:
        return _group(path, rest, table)
    command, prog = table[path], " ".join(("pyro", *path))
    if isinstance(command, extra.Extra):
        gc.enable()
        return command.run(prog, leading + rest, after)
    if "--help" in rest or "-h" in rest:
        print(option_parser(command, prog, with_positionals=True).format_help(), end="")
        return 0
    parsed = parse(command, prog, leading + rest, after)
    return execute(command, parsed)


def execute(operation: Operation, parsed: Parsed) -> int:
    from pyro_mcp.cli.execute import execute as carry_out

    gc.enable()
    return carry_out(operation, parsed)


def _match(words: list[str], table: dict[tuple[str, ...], Any]) -> tuple[tuple[str, ...], list[str]]:
    """The longest run of words that leads to a command or a group of them."""
    path: tuple[str, ...] = ()
    for word in words:
        longer = (*path, word)
        if not any(known[: len(longer)] == longer for known in table):
            break
        path = longer
        if path in table and not any(len(known) > len(path) and known[: len(path)] == path for known in table):
            break
    return path, words[len(path) :]


def _group(path: tuple[str, ...], rest: list[str], table: dict[tuple[str, ...], Any]) -> int:
    prog = " ".join(("pyro", *path))
    below = {known[len(path)] for known in table if known[: len(path)] == path and len(known) > len(path)}
    if rest and rest[0] not in ("--help", "-h"):
        near = difflib.get_close_matches(rest[0], below, 1)
        what = "option" if rest[0].startswith("-") else "command"
        raise usage_error(
            f"There is no {what} {rest[0]!r} of `{prog}`; there are: {', '.join(sorted(below))}.",
            hint=f"Did you mean `{prog} {near[0]}`?" if near else f"See `{prog} --help`.",
        )
    print(group_help(path, table), file=sys.stdout if rest else sys.stderr)
    return 0 if rest else 2


def group_help(path: tuple[str, ...], table: dict[tuple[str, ...], Any]) -> str:
    """The commands below some words, one a line."""
    prog = " ".join(("pyro", *path))
    chosen = {known: command for known, command in table.items() if known[: len(path)] == path}
    names = {known: " ".join(known[len(path) :]) for known in chosen}
    width = max(len(name) for name in names.values())
    lines = [f"usage: {prog} COMMAND …", ""]
    if not path:
        lines[2:] = ["pyro: the disposable workspace for chat-based coding agents.", ""]
    for known, command in chosen.items():
        lines.append(f"  {names[known]:{width}}  {command.summary}")
    lines += ["", "Everywhere: --json, --id-only, --content-only, --help."]
    if not path:
        lines.append("`pyro --version` says the version.")
    return "\n".join(lines)
