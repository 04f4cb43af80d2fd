"""The decorator that defines an operation from a typed method.

The method itself is the definition: its signature gives the parameters (with a `Field` for description and
bounds), its return annotation the result, its docstring the help. The decorator adds
what a signature cannot say: the command, the MCP profiles and the annotations. SDK, MCP
server and reference page all read `REGISTRY`, the command line a table that is written from it
(`pyro_mcp.definitions`); nothing about an operation is written twice.

A definition is never run: `pyro_mcp.deriving` makes the methods of `Pyro` and `Workspace` from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pyro_mcp.definitions.operation import Operation
from pyro_mcp.vocabulary import Profile

F = TypeVar("F", bound=Callable[..., Any])
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
        op = Operation.defined(
            function,
            cli=tuple(cli.split()),
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


__all__ = ["REGISTRY", "Operation", "Operations", "Profile", "operation"]
