"""Checks the arguments of an operation and says in words what is wrong with them."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from pyro_mcp.errors import InvalidInput
from pyro_mcp.models import NAME_PATTERN
from pyro_mcp.operations._base import Operation

NAME_RULE = "a name has letters, digits, dots, _ and -, begins with a letter or digit, and is at most 64 long"
CONTENT = frozenset({"text", "stdin", "patch", "old_string", "new_string", "edits"})
"""Parameters that are content of files or input of programs: any character may be in them."""


def validated(operation: Operation, arguments: Any) -> dict[str, Any]:
    """The arguments with defaults filled in.

    Raises:
        InvalidInput: unknown names (the nearest is offered), missing ones, wrong types, out of bounds.
    """
    if not isinstance(arguments, dict):
        raise InvalidInput(f"The arguments of {operation.name} must be an object.", code="invalid_arguments")
    known = list(operation.takes)
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            raise InvalidInput(
                f"{operation.name} has no parameter {name!r}; it has: {', '.join(known) or 'none'}.",
                hint=f"Did you mean {near[0]!r}?" if near else "Omit it.",
                code="unknown_parameter",
            )
    try:
        model = operation.parameters.model_validate(arguments)
    except ValidationError as error:
        raise InvalidInput(
            f"{operation.name}: " + "; ".join(_say(problem) for problem in _distinct(error)) + ".",
            hint="Nothing was changed.",
            code="invalid_arguments",
        ) from None
    given = {name: getattr(model, name) for name in known}
    for name, value in given.items():
        _refuse_characters(name, value)
    return given


def _refuse_characters(name: str, value: Any) -> None:
    """No NUL but where content may hold one, and no text that is none.

    Names of this computer's files come with surrogate escapes where they are not UTF-8 (PEP 383); other lone
    surrogates are no characters at all.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_characters(name, key)
            _refuse_characters(name, item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_characters(name, item)
    elif isinstance(value, str):
        if "\0" in value and name not in CONTENT:
            raise InvalidInput(
                f"{name} contains a NUL character, which is not allowed.", hint="Omit it.", code="invalid_arguments"
            )
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise InvalidInput(
                f"{name} contains a lone surrogate, which is not a character.",
                hint="Send text as UTF-8.",
                code="invalid_arguments",
            ) from None


def _distinct(error: ValidationError) -> list[Any]:
    """One problem per parameter: a union reports one for each of its members."""
    seen: dict[str, Any] = {}
    for problem in error.errors(include_url=False):
        seen.setdefault(str(problem["loc"][0]) if problem["loc"] else "", problem)
    return list(seen.values())


def _say(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "arguments"
    if problem["type"] == "missing":
        return f"{name} is missing"
    shown = ascii(problem.get("input"))
    if len(shown) > 80:
        shown = shown[:80] + "…"
    said = str(problem["msg"])
    if problem["type"] == "string_pattern_mismatch" and problem["ctx"]["pattern"] == NAME_PATTERN:
        said = NAME_RULE
    return f"{name} = {shown}: {said[:1].lower()}{said[1:]}"
