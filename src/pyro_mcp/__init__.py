"""pyro: the disposable workspace for chat-based coding agents.

`Pyro`, the errors and the result models are found here. They are loaded when first asked for, so that
`import pyro_mcp` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_mcp.version import VERSION as __version__

if TYPE_CHECKING:
    from pyro_mcp.aio import AsyncPyro as AsyncPyro
    from pyro_mcp.errors import *  # noqa: F403
    from pyro_mcp.models import *  # noqa: F403
    from pyro_mcp.sdk import Pyro as Pyro

_HOMES = {"Pyro": "pyro_mcp.sdk", "AsyncPyro": "pyro_mcp.aio"}


def __getattr__(name: str) -> Any:
    if name[:1].isupper():
        import importlib

        for home in [_HOMES[name]] if name in _HOMES else ["pyro_mcp.errors", "pyro_mcp.models"]:
            found = getattr(importlib.import_module(home), name, None)
            if getattr(found, "__module__", None) == home:
                return found
    raise AttributeError(f"module 'pyro_mcp' has no attribute {name!r}")


__all__ = ["AsyncPyro", "Pyro", "__version__"]
