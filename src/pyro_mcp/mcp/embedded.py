"""`create_server`: the MCP server for a program of your own, which runs it over the streams it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from mcp.server.lowlevel import Server

from pyro_mcp.aio import AsyncPyro
from pyro_mcp.errors import InvalidInput
from pyro_mcp.mcp.access import Access
from pyro_mcp.mcp.catalogue import Catalogue
from pyro_mcp.mcp.server import server_of
from pyro_mcp.mcp.toolbox import Toolbox
from pyro_mcp.models import NetworkPolicy
from pyro_mcp.operations import Profile


def create_server(
    profile: Profile = "workspace-core",
    *,
    allow_paths: Sequence[str] = (),
    network: NetworkPolicy = "egress",
    allow_domains: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
    secret_files: Mapping[str, str] | None = None,
    secret_hosts: Mapping[str, str] | None = None,
    pyro: AsyncPyro | None = None,
) -> Server[Any]:
    """An MCP server with pyro's tools, as `pyro mcp serve` runs it, from the official MCP library.

    >>> from mcp.server.stdio import stdio_server
    >>> server = create_server()
    >>> async with stdio_server() as (reader, writer):
    ...     await server.run(reader, writer, server.create_initialization_options())

    The working directory (or `CLAUDE_PROJECT_DIR`) is the project: workspaces start from it, and files leave to it.

    Args:
        profile: Which tools: `vm-run`, `workspace-core` or `workspace-full`.
        allow_paths: More directories of this computer that the tools may read and write.
        network: The most that a workspace may ask for.
        allow_domains: The only hosts that workspaces may reach: exact names, or *.suffix. None: every public host.
        secrets: Name to value, for every workspace. The model sees names only.
        secret_files: Name to the file that holds the value.
        secret_hosts: Name to the one host whose requests get the value.
        pyro: The connection to use; by default a new one.

    Returns:
        Server: Not yet running.

    Raises:
        InvalidInput: There is no such profile or network policy.
    """
    for name, value, known in (("profile", profile, get_args(Profile)), ("network", network, get_args(NetworkPolicy))):
        if value not in known:
            raise InvalidInput(f"There is no {name} {value!r}.", hint=f"Known: {', '.join(known)}.")
    access = Access.chosen(
        list(allow_paths),
        network,
        allow_domains=allow_domains,
        secrets=secrets,
        secret_files=secret_files,
        secret_hosts=secret_hosts,
    )
    client = pyro or AsyncPyro(face="mcp", client="embedded", project=access.scope)
    return server_of(Toolbox(profile, access, client), Catalogue.of(profile, access))
