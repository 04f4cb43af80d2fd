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
    "command": ("cmd", "command_line"),
    "cwd": ("workdir", "working_directory", "work_dir", "working_dir", "directory"),
    "text": ("content", "contents", "file_text"),
    "path": ("file_path", "filepath", "filename", "file", "file_name"),
    "old_string": ("old_str", "old_text"),
    "new_string": ("new_str", "new_text"),
    "patch": ("diff", "patch_text", "input"),
    "pattern": ("query", "regex"),
    "workspace": ("workspace_id", "workspace_name", "id"),
    "env": ("environment_variables",),
    "output": ("output_path", "destination"),
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
IGNORED = frozenset({"description", "explanation", "justification", "reason", "login"})
"""They say why, or how it is shown, and nothing of what is done."""
MILLISECONDS_FROM = 1000
"""A bare `timeout` from here on counts milliseconds, as in Claude Code and OpenCode; below, seconds."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OURS = {theirs: ours for ours, names in ALIASES.items() for theirs in names}
_OURS_OF_LINES = {theirs: ours for ours, names in LINE_ALIASES.items() for theirs in names}


def taken(
    arguments: dict[str, Any], names: Collection[str], *, can_note: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """The arguments under our names, and what is to be said of it. Unknown ones stay as they are.

    Args:
        names: the parameters that the tool has.
        can_note: the result has a place where it can say that something was left out.

    Raises:
        InvalidInput: two names for one thing have different values, or a time-out is no number.
    """
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
        elif snake in IGNORED and can_note:
            notes.append(f"{said} was ignored")
        else:
            found[said] = value
    if isinstance(found.get("command"), str):
        found["command"] = _as_list(found["command"])
    return found, notes


def _lines_meant(arguments: dict[str, Any]) -> dict[str, Any]:
    """Ranges of lines as offset and limit: a last line, or a pair `view_range` (-1: the end); a list under `path`."""
    meant = {_CAMEL.sub("_", name).lower(): value for name, value in arguments.items()}
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


def _truth(value: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower()) if isinstance(value, bool | str) else None


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{name} is no number.", hint="Give timeout_seconds.", code="invalid_arguments")
    in_milliseconds = name == "timeout_ms" or (name == "timeout" and value >= MILLISECONDS_FROM)
    return value / 1000 if in_milliseconds else value


def _as_list(command: str) -> str | list[str]:
    """A command line; or the list of words that was written as one text, which no shell would understand."""
    if not command.lstrip().startswith("["):
        return command
    try:
        words = json.loads(command)
    except (ValueError, RecursionError):
        return command
    return words if isinstance(words, list) and words and all(isinstance(word, str) for word in words) else command
