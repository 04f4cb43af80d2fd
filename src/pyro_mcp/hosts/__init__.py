"""Chat hosts: how each is told of pyro, and how one finds out whether that works.

`base` says what a host is, one module per host says how that one does it. `documents` and `files` edit
configuration and keep everything else in it; `connect` and `guard` change it, `doctor` looks, with `dialogue` at the
server and with `probe` at the host.
"""

from __future__ import annotations

from pyro_mcp.errors import NotFound
from pyro_mcp.hosts.base import Host

NAMES = ("claude-code", "codex", "opencode")


def host(name: str) -> Host:
    """The host of that name.

    Raises:
        NotFound: pyro knows no such host.
    """
    if name == "claude-code":
        from pyro_mcp.hosts.claude_code import ClaudeCode

        return ClaudeCode()
    if name == "codex":
        from pyro_mcp.hosts.codex import Codex

        return Codex()
    if name == "opencode":
        from pyro_mcp.hosts.opencode import OpenCode

        return OpenCode()
    raise NotFound(
        f"There is no host {name!r}; pyro knows {', '.join(NAMES)}.",
        hint="In any other MCP host, use the command `pyro mcp serve`.",
        code="host_unknown",
    )
