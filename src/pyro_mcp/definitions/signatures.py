"""Reads a typed method: what it takes, as types, as plain facts, and as a pydantic model."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_type_hints

from pyro_mcp.definitions.field import Field
from pyro_mcp.definitions.parameter import Parameter, Taken

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pyro_mcp.definitions.parameter import Kind

_KINDS: dict[Any, Kind] = {str: "string", int: "integer", float: "number", bool: "boolean", list: "list", dict: "dict"}


def taken(method: Callable[..., Any]) -> dict[str, Taken]:
    """What it takes, by name, in the order of the signature; read without `inspect`, which is slow to import."""
    function = cast("types.FunctionType", method)
    said = {name: text for name, text in function.__annotations__.items() if name != "return"}
    hints = get_type_hints(types.SimpleNamespace(__annotations__=said), function.__globals__, include_extras=True)
    code, defaults = function.__code__, dict(function.__kwdefaults__ or {})
    by_place = code.co_varnames[: code.co_argcount]
    last = function.__defaults__ or ()
    defaults.update(zip(by_place[len(by_place) - len(last) :], last, strict=True))
    return {
        name: Taken(name, hints[name], name not in defaults, defaults.get(name))
        for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if name != "self"
    }


def model_of(name: str, all_taken: Iterable[Taken]) -> type[BaseModel]:
    """A pydantic model that refuses unknown names."""
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {}
    for p in all_taken:
        fields[p.name] = (_for_pydantic(p.annotation), ... if p.required else p.default)
    return create_model(f"{name}_parameters", __config__=ConfigDict(extra="forbid"), **fields)


def _for_pydantic(annotation: Any) -> Any:
    """The annotation with pydantic's `Field` in the place of ours."""
    from pydantic import Field as Theirs

    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        extras = [Theirs(**each.facts()) if isinstance(each, Field) else each for each in inside[1:]]
        return Annotated[_for_pydantic(inside[0]), *extras]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_for_pydantic(member) for member in inside)]  # noqa: UP007
    return annotation


def parameter(p: Taken) -> Parameter:
    """The facts of one parameter, read from its annotation."""
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
