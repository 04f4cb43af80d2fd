"""An operation in words that a programmer knows: types without metadata, a docstring with Args, Returns and Raises.

`help()`, the type stubs and the SDK reference show these; all of it is read off the definition.
"""

from __future__ import annotations

import inspect
import textwrap
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from pyro_mcp import models
from pyro_mcp.definitions.parameter import Parameter
from pyro_mcp.definitions.standing import records_for
from pyro_mcp.operations._base import Operation

WIDTH = 100
_ROWS_ONLY = ("status_workspace", "update_workspace", "delete_workspace", "history_workspace", "list_snapshots")
"""Operations on a workspace that need no machine: they work on one that is lost, too."""
_STOPPED_TOO = ("start_workspace", "stop_workspace", "logs_workspace", "reset_workspace", "delete_snapshot")
"""And those that work on one that is stopped."""


def signature(operation: Operation, *, of_workspace: bool = False, without: tuple[str, ...] = ()) -> inspect.Signature:
    """The signature with plain types; `of_workspace`: the method of `Workspace`, which needs no `workspace`."""
    kept = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    for p in operation.plain_signature.parameters.values():
        if p.name == "self" or p.name in without or (of_workspace and p.name == "workspace"):
            continue
        kind = plain(operation.takes[p.name].annotation)
        if p.name == "workspace":
            kind = str
        for record in records_for(operation, p.name):
            kind = kind | getattr(models, record)
        kept.append(p.replace(annotation=kind))
    return inspect.Signature(kept, return_annotation=operation.result)


def plain(annotation: Any) -> Any:
    """A type without what `Annotated` adds to it."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return plain(inside[0])
    if origin in (typing.Union, types.UnionType):
        made = plain(inside[0])
        for member in inside[1:]:
            made = made | plain(member)
        return made
    if origin in (list, dict):
        return origin[tuple(plain(member) for member in inside)]
    return annotation


def typed(annotation: Any) -> str:
    """A plain type as it is written in code."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(typed(member) for member in inside)
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, inside))}]"
    if origin is not None:
        return f"{origin.__name__}[{', '.join(typed(member) for member in inside)}]"
    return "None" if annotation is type(None) else str(getattr(annotation, "__name__", annotation))


def document(
    operation: Operation,
    *,
    lead: str | None = None,
    of_workspace: bool = False,
    without: tuple[str, ...] = (),
    returns: str = "",
) -> str:
    """The docstring of the method: what it does, Args with bounds and defaults, Returns, Raises."""
    parts = [lead or operation.help]
    given = [p for p in operation.listed if p.name not in without and not (of_workspace and p.name == "workspace")]
    if given:
        parts.append("Args:\n" + "\n".join(_item(p.name, _parameter(p, records_for(operation, p.name))) for p in given))
    parts.append("Returns:\n" + _item("", returns or _result(operation)))
    parts.append("Raises:\n" + "\n".join(_item(name, when) for name, when in raised(operation).items()))
    return "\n\n".join(parts) + "\n"


def _item(name: str, text: str) -> str:
    return textwrap.fill(
        f"{name}: {text}" if name else text,
        WIDTH,
        initial_indent="    ",
        subsequent_indent=" " * (8 if name else 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _parameter(p: Parameter, records: Mapping[str, str]) -> str:
    text = p.description
    if p.name == "workspace":
        return "The workspace: its id, its name, or a `Workspace`."
    if p.kind == "string" and p.max_length is not None and not any(c.isdigit() for c in text):
        text += f" At most {p.max_length} characters."
    if p.kind in ("list", "dict") and p.max_length is not None and str(p.max_length) not in text:
        text += f" At most {p.max_length} entries."
    if records:
        *others, last = (f"`{record}`" for record in records)
        text += f" Or {'the' if not others else 'its'} {', '.join(others)}{' or ' if others else ''}{last}."
    if p.choices:
        text += f" One of {', '.join(p.choices)}."
    return text


def _result(operation: Operation) -> str:
    name = operation.result.__name__
    return f"{name}: {inspect.cleandoc(operation.result.__doc__ or '').split(chr(10) * 2)[0]}"


def raised(operation: Operation) -> dict[str, str]:
    """The errors that may come, by class, and when: those of its kind, then its own."""
    known = {p.name for p in operation.listed}
    found = {"InvalidInput": "An argument is wrong. Nothing was changed."}
    if "workspace" in known:
        also = " ".join(f"or no such {name}" for name in ("handle", "shell", "snapshot") if name in known)
        found["NotFound"] = f"There is no such workspace{', ' + also if also else ''}."
    elif "environment" in known:
        found["NotFound"] = "There is no such environment."
    if "workspace" in known and operation.name not in _ROWS_ONLY:
        if operation.name not in _STOPPED_TOO:
            found["Conflict"] = "The workspace is stopped; start it first."
        found["MachineLost"] = "The machine is gone; the message says why."
        found["GuestUnreachable"] = "The machine is not answering; try again, or reset the workspace."
    elif operation.name in ("create_workspace", "run_in_vm"):
        found["EngineError"] = "No machine could be started."
        found["ComponentMissing"] = "This computer lacks something; `doctor` shows what."
    if operation.host_paths:
        found["HostError"] = "This computer cannot read or write a file: no permission, or no space."
    found |= operation.raises
    found["DaemonUnavailable"] = "The daemon cannot be started or reached."
    return found
