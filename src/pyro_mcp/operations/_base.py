"""What an operation is, and the decorator that defines one from a typed method.

The method itself is the definition: its signature gives the parameters (with a `Field` for description and
bounds), its return annotation the result, its docstring the help. The decorator adds
what a signature cannot say: the command, the MCP profiles and the annotations. SDK, command line, MCP
server and reference page all read `REGISTRY`; nothing about an operation is written twice.

A definition is never run: `pyro_mcp.deriving` makes the methods of `Pyro` and `Workspace` from it.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_type_hints

from pyro_mcp.operations.field import Field
from pyro_mcp.plain import Plain

if TYPE_CHECKING:
    import inspect

    from pydantic import BaseModel

Profile = Literal["vm-run", "workspace-core", "workspace-full"]
F = TypeVar("F", bound=Callable[..., Any])


class Taken(Plain):
    """One parameter as the signature has it."""

    name: str
    annotation: Any
    """With the types themselves."""
    required: bool
    default: Any
    """None where there is none."""


class Operation(Plain):
    """One operation, as every face sees it."""

    name: str
    """The SDK method, and the name on the daemon's wire."""
    cli: tuple[str, ...]
    """The command's words, such as `("workspace", "create")`."""
    function: Callable[..., Any]
    mcp: str | None = None
    profiles: frozenset[Profile] = frozenset()
    read_only: bool = False
    """It changes nothing, neither in the workspace nor on this computer."""
    destructive: bool = False
    """It may destroy something of the user's that cannot be had back from outside the workspace."""
    open_world: bool = False
    """It reaches beyond the workspace: this computer's files, or the network."""
    idempotent: bool = False
    positional: tuple[str, ...] = ()
    """Parameters that the command line takes by position, in order."""
    hidden: tuple[str, ...] = ()
    """Parameters that MCP tools do not offer."""
    streams: bool = False
    """It may report output while it runs."""
    host_paths: tuple[str, ...] = ()
    """Parameters that are paths of the user's computer: made absolute by the caller, guarded by the MCP server."""
    cli_defaults: Mapping[str, Any] = types.MappingProxyType({})
    """Where the command line's default differs from the SDK's."""
    mcp_defaults: Mapping[str, Any] = types.MappingProxyType({})
    """Where the tool's default differs from the SDK's."""
    method: str = ""
    """The method's name on `Workspace`, where it is not the operation's name without `workspace`."""
    raises: Mapping[str, str] = types.MappingProxyType({})
    """Errors of its own, by class, and when; what every operation raises is said by `described`."""

    @property
    def takes_workspace(self) -> bool:
        """Its first parameter is a workspace: `Workspace` has it as a method."""
        return "workspace" in self.takes

    @property
    def workspace_method(self) -> str:
        """Its name as a method of `Workspace`."""
        return self.method or self.name.replace("_workspace", "")

    @functools.cached_property
    def summary(self) -> str:
        """The docstring's first paragraph, on one line."""
        return " ".join(self.help.split("\n\n")[0].split())

    @functools.cached_property
    def help(self) -> str:
        import inspect

        return inspect.cleandoc(self.function.__doc__ or "")

    @functools.cached_property
    def plain_signature(self) -> inspect.Signature:
        import inspect

        return inspect.signature(self.function)

    @functools.cached_property
    def takes(self) -> dict[str, Taken]:
        """What it takes, by name, in the order of the signature; read without `inspect`, which is slow to import."""
        function = cast("types.FunctionType", self.function)
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

    @functools.cached_property
    def parameters(self) -> type[BaseModel]:
        """The parameters as a pydantic model that refuses unknown names."""
        from pydantic import ConfigDict, create_model

        fields: dict[str, Any] = {}
        for p in self.takes.values():
            fields[p.name] = (_for_pydantic(p.annotation), ... if p.required else p.default)
        return create_model(f"{self.name}_parameters", __config__=ConfigDict(extra="forbid"), **fields)

    @property
    def result_name(self) -> str:
        """The name of the result's model; the command line needs no more of it."""
        return str(self.function.__annotations__["return"])

    @functools.cached_property
    def result(self) -> type[BaseModel]:
        from pyro_mcp import models

        return cast("type[BaseModel]", getattr(models, self.result_name))


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


REGISTRY: dict[str, Operation] = {}


class Operations:
    """Base of the area classes, which are never made: `pyro_mcp.methods` has the methods that run."""


def operation(
    *,
    cli: str,
    mcp: str | None = None,
    profiles: tuple[Profile, ...] = (),
    read_only: bool = False,
    destructive: bool = False,
    open_world: bool = False,
    idempotent: bool = False,
    positional: tuple[str, ...] = (),
    hidden: tuple[str, ...] = (),
    streams: bool = False,
    host_paths: tuple[str, ...] = (),
    cli_defaults: dict[str, Any] | None = None,
    mcp_defaults: dict[str, Any] | None = None,
    method: str = "",
    raises: dict[str, str] | None = None,
) -> Callable[[F], F]:
    """Define the operation that the decorated method describes; see `Operation` for the words."""

    def define(function: F) -> F:
        op = Operation(
            name=function.__name__,
            cli=tuple(cli.split()),
            function=function,
            mcp=mcp,
            profiles=frozenset(profiles),
            read_only=read_only,
            destructive=destructive,
            open_world=open_world,
            idempotent=idempotent,
            positional=positional,
            hidden=hidden,
            streams=streams,
            host_paths=host_paths,
            cli_defaults=cli_defaults or {},
            mcp_defaults=mcp_defaults or {},
            method=method,
            raises=raises or {},
        )
        if op.name in REGISTRY:
            raise RuntimeError(f"operation {op.name} is defined twice")
        REGISTRY[op.name] = op
        return function

    return define
