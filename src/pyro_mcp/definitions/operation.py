"""What an operation is, as every face sees it.

An operation is defined by a typed method (`pyro_mcp.operations`). The command line takes the same facts from
`definitions.table`, which is written from those definitions, and reads no signature.
"""

from __future__ import annotations

import functools
import types

from pyro_mcp.definitions.parameter import Parameter
from pyro_mcp.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping
    from typing import Any

    from pydantic import BaseModel

    from pyro_mcp.definitions.parameter import Taken
    from pyro_mcp.vocabulary import Profile


class Operation(Plain):
    """One operation, as every face sees it."""

    name: str
    """The SDK method, and the name on the daemon's wire."""
    cli: tuple[str, ...]
    """The command's words, such as `("workspace", "create")`."""
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

    @classmethod
    def defined(cls, function: Callable[..., Any], **facts: Any) -> Operation:
        """The operation that a typed method defines."""
        made = cls(function.__name__, **facts)
        made.__dict__["function"] = function
        return made

    @classmethod
    def written(cls, facts: dict[str, Any], text: str, result: str, listed: tuple[dict[str, Any], ...]) -> Operation:
        """The operation as a row of the table has it."""
        made = cls(**facts)
        made.__dict__.update(help=text, result_name=result, _rows=listed)
        return made

    @functools.cached_property
    def function(self) -> Callable[..., Any]:
        """The method that defines it; one from the table looks for it when it is asked."""
        import importlib

        defined: Operation = importlib.import_module("pyro_mcp.operations").REGISTRY[self.name]
        return defined.function

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
        """What it takes, by name, in the order of the signature."""
        from pyro_mcp.definitions.signatures import taken

        return taken(self.function)

    @functools.cached_property
    def listed(self) -> tuple[Parameter, ...]:
        """The same as plain facts, which need no types."""
        if "_rows" in self.__dict__:
            return tuple(Parameter(**row) for row in self.__dict__["_rows"])
        from pyro_mcp.definitions.signatures import parameter

        return tuple(parameter(p) for p in self.takes.values())

    @functools.cached_property
    def parameters(self) -> type[BaseModel]:
        """The parameters as a pydantic model that refuses unknown names."""
        from pyro_mcp.definitions.signatures import model_of

        return model_of(self.name, self.takes.values())

    @functools.cached_property
    def result_name(self) -> str:
        """The name of the result's model; the command line needs no more of it."""
        return str(self.function.__annotations__["return"])

    @functools.cached_property
    def result(self) -> type[BaseModel]:
        import importlib

        found: type[BaseModel] = getattr(importlib.import_module("pyro_mcp.models"), self.result_name)
        return found
