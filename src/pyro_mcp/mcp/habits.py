"""The names by which models call things elsewhere, in one table: taken where they can mean one thing only.

Claude Code, Codex and OpenCode train their models on tools of their own (`file_path`, `workdir`, `timeout` in
milliseconds). A habit that means one of our parameters becomes it; one that only explains is left out and named in the
result; anything else is unknown, as before. No habit ever changes what is run, or where. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from pyro_mcp.errors import InvalidInput

ALIASES: dict[str, tuple[str, ...]] = {
    "command": ("cmd", "command_line", "script", "shell_command", "bash_command"),
    "cwd": ("workdir", "working_directory", "work_dir", "working_dir", "directory"),
    "text": ("content", "contents", "file_text"),
    "path": ("file_path", "filepath", "filename", "file", "file_name", "absolute_path", "target_file", "relative_path"),
    "old_string": ("old_str", "old_text", "old_content", "old", "search"),
    "new_string": ("new_str", "new_text", "new_content", "new", "replace", "replacement"),
    "patch": ("diff", "patch_text", "input"),
    "pattern": ("query", "regex", "search_term"),
    "glob": ("include", "include_pattern", "includes", "file_pattern", "globs"),
    "ignore_case": ("case_insensitive", "-i"),
    "files_only": ("files_with_matches",),
    "number_lines": ("show_line_numbers", "line_numbers"),
    "workspace": ("workspace_id", "workspace_name", "id", "name"),
    "env": ("environment_variables", "envs", "environ"),
    "output": ("output_path", "destination"),
    "environment": ("image", "template"),
    "mem_mib": ("memory_mib", "memory_mb", "mem_mb"),
    "vcpu_count": ("cpus", "vcpus", "cpu_count"),
    "to": ("checkpoint", "checkpoint_number"),
    "alternatives": ("candidates", "variants"),
    "check": ("test_command", "check_command", "test"),
}
"""Our name to those of others. An alias counts only where its parameter is offered and it is none itself."""
LINE_ALIASES: dict[str, tuple[str, ...]] = {
    "offset": ("first_line", "start_line", "line_start", "from_line", "line"),
    "limit": ("max_lines", "line_count", "num_lines", "lines"),
    "paths": ("file_paths", "files"),
}
"""Where `offset` and `limit` count lines; elsewhere they are bytes, or members of a list."""
LAST_LINES = ("last_line", "end_line", "line_end", "to_line")
TIMEOUTS = ("timeout", "timeout_ms", "timeout_s", "timeout_sec", "timeout_secs")
BACKGROUND = ("run_in_background", "is_background", "detach", "detached", "background")
IGNORED = frozenset(
    {
        *("description", "explanation", "justification", "reason", "instruction", "thought", "login"),
        *("sandbox_permissions", "with_escalated_permissions", "dangerously_disable_sandbox", "prefix_rule"),
        *("max_output_tokens", "max_tokens"),
    }
)
"""They say why, how it is shown, or what the host's own sandbox would need, and nothing of what is done."""
AS_IT_IS: dict[str, tuple[Any, ...]] = {
    "shell": ("bash", "/bin/bash", True),
    "tty": (False,),
    "expected_replacements": (1,),
    "output_mode": ("content",),
    "-n": (True, False),
    "multiline": (False,),
}
"""Ignored where they ask for what is done anyway; with another value they are unknown."""
INSTEAD: dict[str, tuple[str, str]] = {
    "append": (
        "text",
        "The whole file is replaced. To add to it, use workspace_edit, or `cat >> FILE` in workspace_exec.",
    ),
    "overwrite": ("text", "An existing file is always replaced; look for it first."),
    "mode": ("executable", "Give executable=true, or chmod in workspace_exec."),
    "insert_line": ("old_string", "Replace a line by itself and the new ones: old_string, new_string."),
    "expected_replacements": ("old_string", "old_string must be unique; replace_all=true takes every place."),
    "stdin": ("command", "Put the input into the command: a pipe, or a here-document."),
    "input": ("command", "Put the input into the command: a pipe, or a here-document."),
    "allow_domains": (
        "network_policy",
        "Which hosts it reaches is the user's choice: `pyro workspace update WS --allow-domain HOST`.",
    ),
    "restart": ("session", "Another name in session begins a new shell."),
}
"""What the call would lose if this were left out, where a tool with that parameter of ours is asked: how it is said."""
MILLISECONDS_FROM = 1000
"""A bare `timeout` from here on counts milliseconds, as in Claude Code and OpenCode; below, seconds."""
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?(?:ec|ecs|econds?|ins?|inutes?)?$")
_FENCED = re.compile(r"```(?:bash|sh|shell|console)?\s*\n(.*?)\n?```$", re.S)
_PATHS = ("/", "./", "../")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OURS = {theirs: ours for ours, names in ALIASES.items() for theirs in names}
_OURS_OF_SEARCH = dict.fromkeys(("head_limit", "max_results", "max_count", "max_matches"), "limit")
_KINDS = (
    "py",
    "js",
    "ts",
    "tsx",
    "jsx",
    "go",
    "rs",
    "java",
    "c",
    "h",
    "cpp",
    "rb",
    "php",
    "sh",
    "md",
    "json",
    "css",
    "html",
)
_OURS_OF_LINES = {theirs: ours for ours, names in LINE_ALIASES.items() for theirs in names}


def taken(
    arguments: dict[str, Any], names: Collection[str], *, can_note: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """The arguments under our names, and what is to be said of it. Unknown ones stay as they are.

    Args:
        names: the parameters that the tool has.
        can_note: the result has a place where it can say that something was left out.

    Raises:
        InvalidInput: two names for one thing have different values, or a timeout is not a number.
    """
    # Null stands for a parameter that is not given, whatever its name.
    arguments = {name: value for name, value in arguments.items() if value is not None or name in names}
    found: dict[str, Any] = {}
    notes: list[str] = []

    def give(name: str, value: Any, said: str) -> None:
        if name in arguments and arguments[name] is not None and arguments[name] != value:
            raise InvalidInput(
                f"{said} and {name} say different things.", hint=f"Give {name} only.", code="ambiguous_arguments"
            )
        if name in found and found[name] != value and name not in arguments:
            raise InvalidInput(
                f"{said} and another name for {name} say different things.",
                hint=f"Give {name} only.",
                code="ambiguous_arguments",
            )
        found[name] = value

    ours = _OURS
    if "byte_offset" in names:
        arguments, ours = _lines_meant(arguments), {**_OURS, **_OURS_OF_LINES}
    if "files_only" in names:
        arguments, ours = _search_meant(arguments), {**_OURS, **_OURS_OF_SEARCH}
    for said, value in arguments.items():
        snake = _CAMEL.sub("_", said).lower() if said not in names else said
        if snake in names:
            if snake == said:
                found[said] = value
            else:
                give(snake, value, said)
        elif ours.get(snake) in names:
            give(ours[snake], value, said)
        elif snake in TIMEOUTS and "timeout_seconds" in names:
            seconds = _seconds(snake, value)
            give("timeout_seconds", seconds, said)
            if snake == "timeout" and seconds is not None:
                notes.append(f"timeout was read as {seconds:g} s")
        elif snake in BACKGROUND and "wait_seconds" in names and (wanted := _truth(value)) is not None:
            if "background" in names:
                give("background", wanted, said)
            elif wanted:
                give("wait_seconds", 0, said)
        elif snake == "yield_time_ms" and "wait_seconds" in names and _seconds(snake, value) is not None:
            give("wait_seconds", _seconds("timeout_ms", value), said)
        elif snake in IGNORED or (snake in AS_IT_IS and _plain(value) in AS_IT_IS[snake]):
            if can_note:
                notes.append(f"{said} was ignored")
        else:
            found[said] = value
    if "command" in found:
        found["command"] = command_meant(found["command"])
    return found, notes


def instead(name: str, names: Collection[str]) -> str:
    """How a tool with these parameters is told what an unknown one was to say; empty where nobody knows."""
    needed, said = INSTEAD.get(_CAMEL.sub("_", name).lower(), ("", ""))
    return said if needed in names else ""


def _plain(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _lines_meant(arguments: dict[str, Any]) -> dict[str, Any]:
    """Ranges of lines as offset and limit: a last line, or a pair `view_range` (-1: the end); a list under `path`."""
    meant = {_CAMEL.sub("_", name).lower(): value for name, value in arguments.items()}
    for name in ("view_range", *LAST_LINES, "offset", *LINE_ALIASES["offset"]):
        meant |= {name: _written(meant[name])} if isinstance(meant.get(name), str) else {}
    view = meant.get("view_range")
    if isinstance(view, list) and len(view) == 2 and all(type(line) is int for line in view):
        del meant["view_range"]
        meant |= {"offset": view[0]} | ({"end_line": view[1]} if view[1] != -1 else {})
    for name in LAST_LINES:
        last = meant.get(name)
        if type(last) is not int or "limit" in meant:
            continue
        first = next((meant[n] for n in ("offset", *LINE_ALIASES["offset"]) if type(meant.get(n)) is int), 1)
        if last < first:
            raise InvalidInput(
                f"Line {last} comes before line {first}.", hint="Swap them, or give offset and limit.", code="bad_range"
            )
        del meant[name]
        meant["limit"] = last - max(1, first) + 1
    for name in ("path", *ALIASES["path"]):
        if isinstance(meant.get(name), list):
            meant["paths"] = meant.pop(name)
    return meant


def _search_meant(arguments: dict[str, Any]) -> dict[str, Any]:
    """What Claude Code's Grep and ripgrep call otherwise, where one of ours says the same."""
    meant: dict[str, Any] = {}
    around = [value for name in ("-A", "-B", "-C") if (value := _whole(arguments.get(name))) is not None]
    for name, value in arguments.items():
        snake = _CAMEL.sub("_", name).lower()
        if name in ("-A", "-B", "-C") and _whole(value) is not None:
            meant.setdefault("context", max(around))
        elif snake == "output_mode" and value == "files_with_matches":
            meant["files_only"] = True
        elif snake == "case_sensitive" and _truth(value) is not None:
            meant["ignore_case"] = not _truth(value)
        elif snake == "type" and value in _KINDS and "glob" not in arguments:
            meant["glob"] = [f"*.{value}"]
        elif snake == "path" and isinstance(value, list) and len(value) == 1:
            meant["path"] = value[0]
        else:
            meant[name] = value
    return meant


def _written(text: str) -> Any:
    """A whole number, or a list of them, that was written as text; any other text as it is."""
    if re.fullmatch(r"\s*-?\d{1,18}\s*", text):
        return int(text)
    pair = re.fullmatch(r"\s*\[\s*(-?\d{1,18})\s*,\s*(-?\d{1,18})\s*\]\s*", text)
    return [int(pair[1]), int(pair[2])] if pair else text


def _whole(value: Any) -> int | None:
    return int(value) if type(value) is int or (isinstance(value, str) and value.isdigit()) else None


def edits_meant(edits: Any) -> Any:
    """The members of a list of edits under our names; a single edit may stand without its list."""
    edits = [edits] if isinstance(edits, dict) else edits
    if not isinstance(edits, list):
        return edits
    found: list[Any] = []
    for edit in edits:
        if not isinstance(edit, dict):
            found.append(edit)
            continue
        if edit.keys() & {"commands", "command", "patch"}:
            found.append(edit)  # an alternative, which has names of its own
            continue
        made: dict[str, Any] = {}
        for name, value in edit.items():
            snake = _CAMEL.sub("_", name).lower()
            ours = _OURS.get(snake, snake)
            if snake in IGNORED or value is None:
                continue
            if ours == "replace_all" and isinstance(value, str):
                truth = _truth(value)
                value = value if truth is None else truth
            made[ours if ours not in made else name] = value
        found.append(made)
    return found


def shaped(value: Any, kind: str, of_objects: bool = False) -> Any:
    """A value in the shape that its parameter has: JSON that was written as text, and one member without its list."""
    if kind not in ("list", "dict"):
        return value
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value] if kind == "list" and not of_objects else value
    if kind == "list":
        if of_objects:
            return edits_meant(value)
        value = [value] if isinstance(value, str) else value
        if isinstance(value, list) and all(isinstance(item, dict) and item.keys() == {"path"} for item in value):
            return [item["path"] for item in value]
        return value
    if isinstance(value, list) and all(isinstance(item, str) and "=" in item for item in value):
        value = dict(item.split("=", 1) for item in value)
    if isinstance(value, dict):
        value = {name: str(item) if type(item) in (int, float) else item for name, item in value.items()}
    return value


def _truth(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower()) if isinstance(value, bool | str) else None


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    written = _DURATION.match(value.strip()) if isinstance(value, str) else None
    if written:
        number = float(written[1])
        if written[2]:
            return number * {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}[written[2]]
        value = number
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{name} is not a number.", hint="Give timeout_seconds.", code="invalid_arguments")
    in_milliseconds = name == "timeout_ms" or (name == "timeout" and value >= MILLISECONDS_FROM)
    return value / 1000 if in_milliseconds else value


def command_meant(command: Any) -> Any:
    """A command line, or a list of words: also where it was written as JSON, wrapped once too often, or fenced."""
    if isinstance(command, str):
        fenced = _FENCED.match(command.strip())
        if fenced:
            return fenced[1]
        if not command.lstrip().startswith(("[", "{")):
            return command
        try:
            meant = command_meant(json.loads(command))
        except (ValueError, RecursionError):
            return command
        return meant if isinstance(meant, str) or _is_words(meant) else command
    if isinstance(command, dict):
        inner = [value for name, value in command.items() if name in ("command", "cmd")]
        return command_meant(inner[0]) if len(command) == len(inner) == 1 else command
    if isinstance(command, list):
        flat = [word for part in command for word in (part if isinstance(part, list) else [part])]
        if len(flat) == 1 and isinstance(flat[0], str) and re.search(r"\s", flat[0]) and not flat[0].startswith(_PATHS):
            return flat[0]  # a whole line in a list of its own: no program has such a name
        return flat if _is_words(flat) else command
    return command


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
