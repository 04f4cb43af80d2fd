"""The parameters of an operation as plain facts: what MCP schemas and the reference page are made of."""

from __future__ import annotations

from pyro_mcp.definitions.operation import Operation
from pyro_mcp.definitions.parameter import Parameter


def parameters(operation: Operation) -> tuple[Parameter, ...]:
    """The parameters of an operation, in the order of its signature."""
    return operation.listed


__all__ = ["Parameter", "parameters"]
