"""What an operation is, and the decorator that defines one from a typed method.

The method itself is the definition: its signature gives the parameters (with pydantic `Field`s for
description and bounds), its return annotation the result, its docstring the help. The decorator adds
what a signature cannot say: the command, the MCP profiles and the annotations. SDK, command line, MCP
server and reference page all read `REGISTRY`; nothing about an operation is written twice.

A definition is never run: `pyro_mcp.deriving` makes the methods of `Pyro` and `Workspace` from it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_type_hints

if TYPE_CHECKING:
    from pydantic import BaseModel

Profile = Literal["vm-run", "workspace-core", "workspace-full"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """One operation, as every face sees it."""

    name: str
    """The SDK method, and the name on the daemon's wire."""
    cli: tuple[str, ...]
    """The command's words, such as `("workspace", "create")`."""
    function: Callable[..., Any]
    mcp: str | None = None
    profiles: frozenset[Profile] = frozenset()
    read_only: bool = False
    """It changes nothing, neither in the workspace nor on this machine."""
    destructive: bool = False
    """It may destroy something of the user's that cannot be had back from outside the workspace."""
    open_world: bool = False
    """It reaches beyond the workspace: this machine's files, or the network."""
    idempotent: bool = False
    positional: tuple[str, ...] = ()
    """Parameters that the command line takes by position, in order."""
    hidden: tuple[str, ...] = ()
    """Parameters that MCP tools do not offer."""
    streams: bool = False
    """It may report output while it runs."""
    host_paths: tuple[str, ...] = ()
    """Parameters that are paths of the user's machine: made absolute by the caller, guarded by the MCP server."""
    cli_defaults: dict[str, Any] = field(default_factory=dict)
    """Where the command line's default differs from the SDK's."""
    method: str = ""
    """The method's name on `Workspace`, where it is not the operation's name without `workspace`."""
    raises: dict[str, str] = field(default_factory=dict)
    """Errors of its own, by class, and when; what every operation raises is said by `described`."""

    @property
    def takes_workspace(self) -> bool:
        """Its first parameter is a workspace: `Workspace` has it as a method."""
        return "workspace" in inspect.signature(self.function).parameters

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
        return inspect.cleandoc(self.function.__doc__ or "")

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The signature with resolved annotations, without `self`."""
        hints = get_type_hints(self.function, include_extras=True)
        plain = inspect.signature(self.function)
        parameters = [p.replace(annotation=hints[p.name]) for p in plain.parameters.values() if p.name != "self"]
        return plain.replace(parameters=parameters, return_annotation=hints["return"])

    @functools.cached_property
    def parameters(self) -> type[BaseModel]:
        """The parameters as a pydantic model that refuses unknown names."""
        from pydantic import ConfigDict, create_model

        fields: dict[str, Any] = {}
        for p in self.signature.parameters.values():
            default = ... if p.default is inspect.Parameter.empty else p.default
            fields[p.name] = (p.annotation, default)
        return create_model(f"{self.name}_parameters", __config__=ConfigDict(extra="forbid"), **fields)

    @property
    def result(self) -> type[BaseModel]:
        return cast("type[BaseModel]", self.signature.return_annotation)


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
            method=method,
            raises=raises or {},
        )
        if op.name in REGISTRY:
            raise RuntimeError(f"operation {op.name} is defined twice")
        REGISTRY[op.name] = op
        return function

    return define
