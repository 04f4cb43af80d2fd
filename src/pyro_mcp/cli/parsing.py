"""From words to arguments: the options of a command, derived from its operation's parameters.

argparse reads options only. What is left are the positionals, taken in order, and what follows `--` is the
command to run; so the order of options and positionals never matters, on any version of Python.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable

from pyro_mcp.cli.options import Parser, too_many, usage_error
from pyro_mcp.cli.words import number, one_by_one
from pyro_mcp.definitions.operation import Operation
from pyro_mcp.definitions.parameter import Parameter
from pyro_mcp.errors import InvalidInput
from pyro_mcp.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TEXT_OPTIONS = frozenset({("write_workspace_file", "text"), ("apply_workspace_patch", "patch")})
"""Texts that may also come from a file: `--text-file FILE`, `-` for standard input."""
FOLLOWED = frozenset({"logs_workspace", "history_workspace", "logs_service"})
"""Operations that take `--follow`."""
COMMAND = "command"
OUTPUT_FLAGS = ("json", "id_only", "content_only")


class Parsed(Plain):
    """What a command line asks for."""

    arguments: dict[str, Any]
    json: bool = False
    id_only: bool = False
    content_only: bool = False
    follow: bool = False


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    hide: dict[str, Any] = {"default": argparse.SUPPRESS, "action": "store_true"}
    group.add_argument("--json", help="Print one JSON object.", **hide)
    group.add_argument("--id-only", help="Print only ids.", **hide)
    group.add_argument("--content-only", help="Print only the content.", **hide)


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def singular(parameter: Parameter) -> str:
    """Options that may be repeated are named for one of them: `labels` is `--label`."""
    name = parameter.name
    repeated = parameter.kind == "dict" or (parameter.kind == "list" and not parameter.of_objects)
    if not repeated or not name.endswith("s"):
        return name
    return name[:-2] if name.endswith("sses") else name[:-1]  # addresses


def takes_command(operation: Operation) -> bool:
    return COMMAND in operation.positional


def passes_output_on(operation: Operation) -> bool:
    """It runs a command whose output and exit status become this program's."""
    return takes_command(operation) and operation.streams


def option_parser(operation: Operation, prog: str, *, with_positionals: bool = False) -> Parser:
    """The parser of one command's options; with its positionals only to print the help."""
    said = _description(operation) if with_positionals else None
    parser = Parser(prog=prog, description=said, add_help=with_positionals)
    if with_positionals:
        parser.usage = f"{prog} {_usage_of(operation)} [options]".replace("  ", " ")
    for p in operation.listed:
        if p.name in operation.positional:
            if with_positionals:
                _add_positional(parser, operation, p)
        else:
            _add_option(parser, operation, p)
    if operation.name == "run_in_vm":
        parser.add_argument("--rm", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # always so
    if operation.name == "list_workspaces":
        parser.add_argument("-a", "--all", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    if operation.name == "build_environment":
        said = "The name, as docker has it: `-t NAME CONTEXT` is `NAME CONTEXT`."
        parser.add_argument("-t", "--tag", metavar="NAME", default=argparse.SUPPRESS, help=said)
    if operation.name in FOLLOWED:
        parser.add_argument(
            "--follow",
            action="store_true",
            default=argparse.SUPPRESS,
            help="Keep printing new output until the command ends or you press Ctrl-C.",
        )
    add_output_flags(parser)
    return parser


def _description(operation: Operation) -> str:
    text = operation.help
    if passes_output_on(operation):
        text = operation.summary + (
            "\n\nThe command comes last, after `--` if it could be mistaken for options. A single word is a "
            "shell command line; several words are a program and its arguments, exactly as given. Its output is "
            "printed as it runs, and its exit status becomes pyro's (124 after a timeout). Ctrl-C ends the "
            "command; pressing it again leaves at once."
        )
    if operation.positional[:1] == ("workspace",) and operation.name != "delete_workspace":
        text += "\n\nYou can omit the workspace when the current directory has only one."
    return text


def _add_positional(parser: argparse.ArgumentParser, operation: Operation, p: Parameter) -> None:
    if p.name == COMMAND:
        parser.usage = f"{parser.prog} {_usage_of(operation)} [options] -- COMMAND…"
        return
    said = p.description if p.required else f"{p.description} {_default(operation, p)}"
    parser.add_argument(p.name, metavar=p.name.upper(), nargs=None if p.required else "?", help=_escaped(said))


def _usage_of(operation: Operation) -> str:
    words = []
    for p in operation.listed:
        if p.name in operation.positional and p.name != COMMAND:
            words.append(p.name.upper() if p.required else f"[{p.name.upper()}]")
        elif _needed(operation, p) and p.name != COMMAND and (operation.name, p.name) not in TEXT_OPTIONS:
            words.append(f"{option(singular(p))} …")
    return " ".join(words)


def _needed(operation: Operation, p: Parameter) -> bool:
    return p.required and p.name not in operation.cli_defaults


def _default(operation: Operation, p: Parameter) -> str:
    value = operation.cli_defaults.get(p.name, p.default)
    if value is None or value is False or value == {}:
        return ""
    return f"(default: {value:g})" if isinstance(value, float) else f"(default: {value})"


def _escaped(text: str) -> str:
    return text.replace("%", "%%").strip()


def _add_option(parser: argparse.ArgumentParser, operation: Operation, p: Parameter) -> None:
    given: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": p.name}
    said = f"{p.description} {_default(operation, p)}"
    name, needed = option(singular(p)), _needed(operation, p)
    if (operation.name, p.name) in TEXT_OPTIONS:
        parser.add_argument(name, metavar="TEXT", help=_escaped(said), **given)
        parser.add_argument(
            f"{name}-file",
            metavar="FILE",
            default=argparse.SUPPRESS,
            dest=f"{p.name}_file",
            help="Read it from a file; - means standard input.",
        )
        return
    if p.name == "stdin":
        said = "Pass standard input to the command. Default: when it is a pipe or a file."
        parser.add_argument(name, action="store_true", help=said, **given)
        parser.add_argument(
            "--tty",
            action="store_true",
            default=argparse.SUPPRESS,
            help="Give the command this terminal. Default: when input and output are a terminal. Also -it.",
        )
        return
    if p.name == "wait_seconds" and passes_output_on(operation):
        said = "Wait at most this many seconds (0 to 50), then leave the command running. Default: wait until it ends."
    if p.kind == "boolean":
        action: Any = argparse.BooleanOptionalAction if p.tri_state else "store_true"
        parser.add_argument(name, action=action, help=_escaped(said), **given)
    elif p.kind == "dict":
        action = {"secrets": SecretValue, "secret_hosts": SecretHost, "secret_env": SameName}.get(p.name, Pairs)
        parser.add_argument(name, action=action, metavar=action.shape, help=_escaped(f"{said} Repeatable."), **given)
    elif (operation.name, p.name) == ("try_workspace", "alternatives"):
        said = "A way to try: a command line, or @FILE, a patch. Repeatable, 1 to 8. Without any: the last try."
        parser.add_argument("--alternative", action="append", type=_alternative, metavar="WAY", help=said, **given)
    elif p.of_objects:
        parser.add_argument(name, type=_json_list, metavar="JSON", help=_escaped(said), **given)
    elif p.kind == "list":
        parser.add_argument(name, action="append", metavar="TEXT", help=_escaped(f"{said} Repeatable."), **given)
    elif (operation.name, p.name) == ("build_environment", "file"):
        parser.add_argument("-f", name, metavar="FILE", help=_escaped(said), **given)
    elif p.choices:
        parser.add_argument(name, choices=p.choices, help=_escaped(said), required=needed, **given)
    else:
        metavar = {"integer": "N", "number": "SECONDS" if p.name.endswith("seconds") else "N"}.get(p.kind, "TEXT")
        parser.add_argument(name, type=_reader(p), metavar=metavar, help=_escaped(said), required=needed, **given)


class Pairs(argparse.Action):
    """`k=v`, repeated, into a dictionary."""

    shape = "KEY=VALUE"

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        key, sign, value = str(values).partition("=")
        if not sign or not key:
            key, value = self.alone(parser, namespace, str(values), option_string)
        pairs = dict(getattr(namespace, self.dest, {}))
        pairs[key] = value
        setattr(namespace, self.dest, pairs)

    def alone(self, parser: Any, namespace: Any, text: str, option_string: str | None) -> tuple[str, str]:
        """What a value with no `=` means."""
        return parser.error(f"{option_string} takes {self.shape}, not {text!r}")  # type: ignore[no-any-return]


class SecretValue(Pairs):
    """A name alone takes the value from the environment: a command line is seen by every user of the machine."""

    shape = "NAME[=VALUE]"

    def alone(self, parser: Any, namespace: Any, text: str, option_string: str | None) -> tuple[str, str]:
        if text.startswith("=") or text not in os.environ:
            parser.error(f"{option_string} {text}: the environment has no variable {text}")
        return text, os.environ[text]


class SecretHost(Pairs):
    """A host alone is that of the secret given last."""

    shape = "[NAME=]HOST"

    def alone(self, parser: Any, namespace: Any, text: str, option_string: str | None) -> tuple[str, str]:
        given = [*getattr(namespace, "secrets", {}), *getattr(namespace, "secret_files", {})]
        if text.startswith("=") or len(given) != 1:
            parser.error(f"{option_string} takes NAME=HOST, not {text!r}: {len(given)} secrets come before it")
        return given[0], text


class SameName(Pairs):
    """A name alone is the variable's and the secret's."""

    shape = "VARIABLE[=SECRET]"

    def alone(self, parser: Any, namespace: Any, text: str, option_string: str | None) -> tuple[str, str]:
        if text.startswith("=") or not text:
            parser.error(f"{option_string} takes {self.shape}, not {text!r}")
        return text, text


def _alternative(text: str) -> dict[str, Any]:
    """`@FILE` is a patch, anything else a command line; JSON says exactly what it is."""
    if text.startswith("@"):
        return {"name": text[1:], "patch": read_text(text[1:])}
    if text.lstrip().startswith("{"):
        found: dict[str, Any] = _json_list(f"[{text}]")[0]
        return found
    return {"name": text, "commands": [text]}


def _json_list(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
        raise argparse.ArgumentTypeError("it is not a JSON list of objects")
    return value


def _reader(p: Parameter) -> Callable[[str], Any]:
    """Reads one value and holds its bounds; argparse puts the option's name before the message."""

    def read(text: str) -> Any:
        value: Any = text
        if p.kind in ("integer", "number"):
            try:
                plain = number(p.name, text)
                value = int(plain) if p.kind == "integer" else float(plain)
            except ValueError:
                kind = "a whole number" if p.kind == "integer" else "a number"
                raise argparse.ArgumentTypeError(f"{text!r} is not {kind}") from None
            if not _within(p, value):
                raise argparse.ArgumentTypeError(f"{text} is out of range: {p.description.rstrip('.')}")
        elif p.pattern and not re.search(p.pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is not valid: {p.description.rstrip('.')}")
        return value

    return read


def _within(p: Parameter, value: float) -> bool:
    return (
        value == value
        and (p.minimum is None or value >= p.minimum)
        and (p.above is None or value > p.above)
        and (p.maximum is None or value <= p.maximum)
    )


def parse(operation: Operation, prog: str, words: list[str], after: list[str] | None) -> Parsed:
    """The arguments that a command line gives; `after` is what follows `--`, None without one.

    Raises:
        InvalidInput: words that do not fit.
    """
    parser = option_parser(operation, prog)
    positionals = [p for p in operation.listed if p.name in operation.positional and p.name != COMMAND]
    if takes_command(operation) and after is None:
        begin = begin_of_command(operation, prog, words)
        if begin is not None:
            words, after = words[:begin], words[begin:]
    found, rest = parser.take(words)
    arguments = vars(found)
    flags = {flag: bool(arguments.pop(flag, False)) for flag in OUTPUT_FLAGS}
    follow = bool(arguments.pop("follow", False))
    for habit in ("rm", "all"):  # what we do without being asked
        arguments.pop(habit, None)
    if sum(flags.values()) > 1:
        raise usage_error("Use only one of --json, --id-only and --content-only.")
    if not takes_command(operation):
        rest += after or []
    if operation.name == "build_environment":
        rest = _of_build(prog, arguments, rest)
    if len(rest) > len(positionals):
        if takes_command(operation) and after is None:
            raise usage_error(
                "Put the command to run after `--`.", hint=f"For example: {prog} {_usage_of(operation)} -- ls -l"
            )
        if operation.name == "delete_workspace":
            raise usage_error("One workspace is deleted at a time.", hint=one_by_one(prog, rest))
        raise too_many(rest[len(positionals)], prog)
    for p, word in zip(positionals, rest, strict=False):
        arguments[p.name] = word
    if takes_command(operation) and after is not None:
        if not after:
            raise usage_error("There is no command after `--`.", hint="For example: -- ls -l")
        arguments[COMMAND] = after[0] if len(after) == 1 else after
    _take_texts(operation, arguments)
    for p in operation.listed:
        if _needed(operation, p) and p.name not in arguments:
            if p.name == COMMAND:
                raise usage_error(
                    "The command to run is missing.",
                    hint=f"For example: {prog} {_usage_of(operation)} -- ls -l",
                    missing=p.name,
                )
            shown = p.name.upper() if p.name in operation.positional else option(singular(p))
            if (operation.name, p.name) in TEXT_OPTIONS:
                shown += f" or {shown}-file"
            raise usage_error(f"{shown} is missing: {p.description}", hint=f"See `{prog} --help`.", missing=p.name)
    return Parsed({**operation.cli_defaults, **arguments}, **flags, follow=follow)


def _of_build(prog: str, arguments: dict[str, Any], words: list[str]) -> list[str]:
    """The words of a build without its context, which may stand second, or where --tag has the name alone."""
    tag = arguments.pop("tag", None)
    if tag is None and len(words) == 1 and (words[0] in (".", "..") or "/" in words[0]):
        raise usage_error(
            "NAME is missing: of the environment that is built.", hint=f"For example: {prog} NAME {words[0]}"
        )
    words = words if tag is None else [tag, *words]
    if len(words) == 2 and "context" not in arguments:
        arguments["context"] = words.pop()
    return words


def begin_of_command(operation: Operation, prog: str, words: list[str]) -> int | None:
    """Where the command to run begins among words without `--`; None when there is none."""
    before = [p for p in operation.listed if p.name in operation.positional and p.name != COMMAND]
    return option_parser(operation, prog).begin_of_command(words, len(before), _names_first(before))


def _names_first(positionals: list[Parameter]) -> Callable[[str], bool]:
    """Whether a word is the first positional and not the command: one that may be left out must look like itself."""
    if not positionals or positionals[0].required:
        return lambda word: True
    return looks_like_environment


def looks_like_environment(word: str) -> bool:
    """`debian:12`, `docker.io/library/node:22`, `oci:DIR`: a program's name holds no colon."""
    return bool(re.match(r"^[\w][\w.+-]*(?:[/:@][\w.@/+-]+)*$", word)) and (":" in word or "@" in word)


def _take_texts(operation: Operation, arguments: dict[str, Any]) -> None:
    for owner, name in TEXT_OPTIONS:
        if owner != operation.name or f"{name}_file" not in arguments:
            continue
        if name in arguments:
            raise usage_error(f"Give {option(name)} or {option(name)}-file, not both.")
        arguments[name] = read_text(arguments.pop(f"{name}_file"))


MAX_TEXT = 1024 * 1024
"""Bytes of a text argument: the operations take no more (operations/fields.py, FILE_TEXT_CAP)."""


_read: dict[int, bytes] = {}


def _standard_input() -> bytes:
    """What comes in, which may be asked for twice: words are parsed again where the workspace was left unsaid."""
    if sys.stdin is None:
        raise InvalidInput("Standard input is closed.", code="file_unreadable")
    if id(sys.stdin) not in _read:
        _read[id(sys.stdin)] = sys.stdin.buffer.read(MAX_TEXT + 1)
    return _read[id(sys.stdin)]


def read_text(path: str) -> str:
    """The text of a file, or of standard input for `-`.

    Raises:
        InvalidInput: it cannot be read, is larger than 1 MiB, or is not UTF-8.
    """
    shown = "standard input" if path == "-" else path
    try:
        if path == "-":
            data = _standard_input()
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            raise InvalidInput(
                f"{shown} is larger than {MAX_TEXT} bytes (1 MiB), the limit for text.",
                hint="Copy larger files in with `pyro workspace sync push`.",
                code="text_too_large",
            )
        return data.decode()
    except OSError as error:
        raise InvalidInput(f"{shown} cannot be read: {error.strerror}.", code="file_unreadable") from None
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{shown} is not UTF-8 text.", hint="For other files use `pyro workspace sync push`.", code="not_text"
        ) from None
