"""The operations as methods, which `deriving` puts here.

What type checkers see of them stands in `methods.pyi`, written by `python -m pyro_mcp.reference`.
"""

from __future__ import annotations


class PyroMethods:
    """Every operation by its name."""


class AsyncPyroMethods:
    """Every operation by its name, as a coroutine."""


class WorkspaceMethods:
    """Every operation on a workspace."""


class AsyncWorkspaceMethods:
    """Every operation on a workspace, as a coroutine."""
