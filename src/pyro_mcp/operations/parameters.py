"""The parameters of an operation as plain facts, read from its signature.

Command line, MCP schemas and reference page need name, type, default, description and bounds of each
parameter, and need them quickly: this reads the annotations directly and builds no pydantic model.
"""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from pyro_mcp.operations._base import Operation, Taken
from pyro_mcp.operations.field import Field
from pyro_mcp.plain import Plain

Kind = Literal["string", "integer", "number", "boolean", "list", "dict"]
_KINDS: dict[Any, Kind] = {str: "string", int: "integer", float: "number", bool: "boolean", list: "list", dict: "dict"}


class Parameter(Plain):
    """One parameter. Bounds that do not hold are None."""

    name: str
    kind: Kind
    description: str
    required: bool
    default: Any = None
    nullable: bool = False
    """None may be given, and means what the description says."""
    or_list: bool = False
    """A string that may be a list of strings instead."""
    of_objects: bool = False
    """A list whose members are objects, not strings."""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    @property
    def tri_state(self) -> bool:
        """A truth value for which "not said" means something else than false."""
        return self.kind == "boolean" and self.default is None


_known: dict[str, tuple[Parameter, ...]] = {}


def parameters(operation: Operation) -> tuple[Parameter, ...]:
    """The parameters of an operation, in the order of its signature."""
    if operation.name not in _known:
        _known[operation.name] = tuple(_parameter(p) for p in operation.takes.values())
    return _known[operation.name]


def _parameter(p: Taken) -> Parameter:
    bases: list[Any] = []
    fields: list[Field] = []
    _collect(p.annotation, bases, fields)
    bounds: dict[str, Any] = {}
    description = ""
    for said in fields:
        description = said.description or description
        for ours, theirs in (
            ("minimum", "ge"),
            ("above", "gt"),
            ("maximum", "le"),
            ("min_length", "min_length"),
            ("max_length", "max_length"),
            ("pattern", "pattern"),
        ):
            value = getattr(said, theirs)
            if value is not None:
                bounds[ours] = value
    nullable = type(None) in bases
    real = [base for base in bases if base is not type(None)]
    choices: tuple[str, ...] = ()
    if typing.get_origin(real[0]) is Literal:
        choices = typing.get_args(real[0])
        kind: Kind = "string"
    else:
        kind = _KINDS[typing.get_origin(real[0]) or real[0]]
    return Parameter(
        name=p.name,
        kind=kind,
        description=description,
        required=p.required,
        default=p.default,
        nullable=nullable,
        of_objects=kind == "list" and any(typing.get_origin(m) is dict for m in typing.get_args(real[0])),
        or_list=kind == "string" and any(typing.get_origin(base) is list for base in real[1:]),
        choices=choices,
        **bounds,
    )


def _collect(annotation: Any, bases: list[Any], fields: list[Field]) -> None:
    """Take unions and `Annotated` apart: the types in them, and what `Field` says about them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *extras = typing.get_args(annotation)
        fields.extend(extra for extra in extras if isinstance(extra, Field))
        _collect(inner, bases, fields)
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            _collect(member, bases, fields)
    else:
        bases.append(annotation)
