"""Finds the command that the words name, runs it, and turns errors into messages and exit statuses.

Start-up counts: only the parser of the command at hand is built, and nothing heavy is imported here.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import sys

from pyro_mcp.cli import extra
from pyro_mcp.cli.help import group_page
from pyro_mcp.cli.options import HelpShown, usage_error
from pyro_mcp.cli.parsing import OUTPUT_FLAGS, Parsed, begin_of_command, option_parser, parse, takes_command
from pyro_mcp.cli.words import SHORT, expanded, nearest_command
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import InternalError, InvalidInput, NotFound, PyroError
from pyro_mcp.locations import ON
from pyro_mcp.version import VERSION
from pyro_mcp.visible import visible_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyro_mcp.definitions.operation import Operation

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EFBIG, errno.EDQUOT)
"""A write to standard output that fails: a full disk, a terminal that is gone, a closed descriptor."""


def commands() -> dict[tuple[str, ...], Operation | extra.Extra]:
    """Every command by its words."""
    table: dict[tuple[str, ...], Operation | extra.Extra] = {op.cli: op for op in KNOWN.values()}
    table.update({e.words: e for e in extra.extras()})
    return table


def run(argv: list[str] | None = None) -> int:
    """Run one command line; see `pyro_mcp.cli.main`."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    try:
        status = _run(words)
        sys.stdout.flush()
        return status
    except PyroError as error:
        return report(error, as_json)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left, as `head` does.
        _leave_to_nothing(1)
        return 128 + 13
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
            _leave_to_nothing(1)
            said = f"The output could not be written: {error.strerror}."
            return report(PyroError(said, code="output_unwritable"), as_json=False)
        if isinstance(error, FileNotFoundError) and _folder_is_gone():
            gone = InvalidInput(
                "The current directory has been deleted.",
                hint="Change to another directory and try again.",
                code="folder_gone",
            )
            return report(gone, as_json)
        if os.environ.get("PYRO_DEBUG"):
            raise
        internal = InternalError(
            f"This is a bug in pyro: {type(error).__name__}: {error}.", hint="Set PYRO_DEBUG=1 to see the traceback."
        )
        return report(internal, as_json)


def report(error: PyroError, as_json: bool) -> int:
    """Print an error where it belongs, and give its exit status."""
    try:
        if as_json:
            print(json.dumps({"error": error.to_record()}), flush=True)
        else:
            said = visible_lines(error.message) + (f"\n{visible_lines(error.hint)}" if error.hint else "")
            print(f"error: {said}", file=sys.stderr, flush=True)
    except OSError:
        _leave_to_nothing(1 if as_json else 2)  # there is no place to say it at
    return error.exit_status


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _leave_to_nothing(descriptor: int) -> None:
    """What is still to be written, at the latest when Python ends, goes nowhere."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)


def _run(words: list[str]) -> int:
    before, after = words, None
    if "--" in words:
        cut = words.index("--")
        before, after = words[:cut], words[cut + 1 :]
    before = _with_place(before)
    leading: list[str] = []
    while before and before[0].removeprefix("--").replace("-", "_") in OUTPUT_FLAGS and before[0].startswith("--"):
        leading.append(before[0])
        before = _with_place(before[1:])
    if before[:1] == ["--version"]:
        print(json.dumps({"version": VERSION}) if leading == ["--json"] else f"pyro {VERSION}")
        return 0
    table = commands()
    if before[:1] == ["version"]:
        before = ["--version", *before[1:]]
        return _run([*leading, *before])
    if before[:1] == ["help"]:
        before = [*before[1:], "--help"]
    before = expanded(before, table)
    path, rest = _match(before, table)
    if path not in table:
        return _group(path, rest, table)
    command, prog = table[path], " ".join(("pyro", *path))
    if isinstance(command, extra.Extra):
        gc.enable()
        try:
            return command.run(prog, leading + rest, after)
        except HelpShown:
            return 0
    if _asks_for_help(command, prog, rest):
        print(option_parser(command, prog, with_positionals=True).format_help(), end="")
        return 0
    return _carry_out(command, prog, leading + rest, after)


def _with_place(words: list[str]) -> list[str]:
    """The words without a leading `--on PLACE`, which holds for all that this process does."""
    if not words or words[0].partition("=")[0] != "--on":
        return words
    _, sign, named = words[0].partition("=")
    if not sign and len(words) < 2:
        raise usage_error("--on needs a computer.", hint="For example: pyro --on ssh://me@box workspace list")
    os.environ[ON] = (named if sign else words[1]) or "local"
    return words[1:] if sign else words[2:]


def _carry_out(operation: Operation, prog: str, words: list[str], after: list[str] | None) -> int:
    """Run an operation; the workspace may be left unsaid where only one is meant."""
    try:
        parsed = parse(operation, prog, words, after)
    except InvalidInput:
        from pyro_mcp.cli import meant

        parsed = meant.parsed(operation, prog, words, after)
    try:
        return execute(operation, parsed)
    except NotFound as error:
        from pyro_mcp.cli import meant

        return execute(operation, meant.again(operation, prog, words, after, error))
    except PyroError as error:
        if error.code != "command_not_found" or operation.name != "run_in_vm" or "environment" in parsed.arguments:
            raise
        command = parsed.arguments["command"]
        word = command[0] if isinstance(command, list) else command.split()[0]
        error.hint = (
            f"If {word!r} is an environment, name its version as well: {prog} {word}:latest COMMAND. "
            "`pyro env list` shows those of pyro."
        )
        raise


def _asks_for_help(operation: Operation, prog: str, words: list[str]) -> bool:
    """A command to run may have a --help of its own."""
    asked = [place for place, word in enumerate(words) if word in ("--help", "-h")]
    if not asked or not takes_command(operation):
        return bool(asked)
    begin = begin_of_command(operation, prog, [word for word in words if word not in ("--help", "-h")])
    return begin is None or asked[0] <= begin


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
    below = {word for word in below if not word.startswith("_")}
    if rest and rest[0] not in ("--help", "-h"):
        near = nearest_command(rest[0], below if path else {*below, *SHORT, "help"})
        what = "option" if rest[0].startswith("-") else "command"
        there_are = f"; it has: {', '.join(sorted(below))}" if path else ""
        raise usage_error(
            f"`{prog}` has no {what} {rest[0]!r}{there_are}.",
            hint=f"Did you mean `{prog} {near}`?" if near else f"See `{prog} --help`.",
        )
    print(group_page(path, table), file=sys.stdout if rest else sys.stderr)
    return 0 if rest else 2
