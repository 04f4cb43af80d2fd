"""What a user opens of the network for a workspace: checked, in one spelling, and put into its row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyro_mcp.errors import InvalidInput
from pyro_mcp.network.grants import HostPort, LanAddress
from pyro_mcp.network.policy import NOTHING, Refused, normalised
from pyro_mcp.network.rules import Rule, split
from pyro_mcp.network.ssh_agent import SshHost
from pyro_mcp.network.ssh_keys import UserKeys
from pyro_mcp.store import WorkspaceRow
from pyro_mcp.vocabulary import NetworkPolicy, asks, online


def with_network(
    row: WorkspaceRow, policy: NetworkPolicy | None, domains: list[str] | None, grants: dict[str, list[str]]
) -> WorkspaceRow:
    """The row with what its network may reach besides.

    Raises:
        InvalidInput: that is nothing, or the network would stay off.
    """
    more = checked_domains(domains or [])
    after = policy or row.network_policy
    if not online(after):
        if more or any(grants.values()):
            raise InvalidInput(
                f"Workspace {row.id} cannot reach anything: its network is off.",
                hint="Add network_policy egress to what it may reach.",
                code="no_domain_list",
            )
        # What was open is not open again by itself, the next time that the network is.
        closed: dict[str, Any] = {name: [] for name in ("allow_domains", *grants)}
        return replace(row, network_policy=after, **closed)
    if more and not row.allow_domains and online(row.network_policy) and not asks(row.network_policy):
        raise InvalidInput(
            f"Workspace {row.id} has no list of allowed domains, so it already reaches every public host.",
            hint="Give the list when you create the workspace or open its network (--allow-domain).",
            code="no_domain_list",
        )
    both = [*row.allow_domains, *more]
    return replace(
        row,
        network_policy=after,
        allow_domains=list(dict.fromkeys(name for name in both if name != NOTHING or set(both) == {NOTHING})),
        allow_host_ports=list(dict.fromkeys([*row.allow_host_ports, *grants["allow_host_ports"]])),
        allow_addresses=list(dict.fromkeys([*row.allow_addresses, *grants["allow_addresses"]])),
        ssh_hosts=list(dict.fromkeys([*row.ssh_hosts, *grants["ssh_hosts"]])),
    )


def checked_grants(host_ports: list[str] | None, addresses: list[str] | None) -> dict[str, list[str]]:
    """Ports of this computer and addresses of its network, in one spelling.

    Raises:
        InvalidInput: one is none, or nothing that may be let in.
    """
    try:
        ports = [str(HostPort.parse(text)) for text in host_ports or []]
    except ValueError as error:
        raise InvalidInput(
            f"This port cannot be allowed: {error}.",
            hint="Give PORT or PORT:NAME, such as 5432:db.",
            code="bad_host_port",
        ) from None
    try:
        found = [str(LanAddress.parse(text)) for text in addresses or []]
    except ValueError as error:
        raise InvalidInput(
            f"This address cannot be allowed: {error}.",
            hint="Give ADDRESS or ADDRESS:PORT, such as 192.168.1.5:5432.",
            code="bad_address",
        ) from None
    return {"allow_host_ports": ports, "allow_addresses": found}


async def checked_ssh_hosts(texts: list[str] | None) -> dict[str, list[str]]:
    """Servers at which the user's keys log in, in one spelling.

    Raises:
        InvalidInput: one is none, or the user does not know its key.
    """
    found, keys = [], UserKeys()
    for text in texts or []:
        try:
            host = SshHost.parse(text)
        except ValueError as error:
            raise InvalidInput(
                f"This ssh server cannot be allowed: {error}.",
                hint="Give HOST or USER@HOST, such as git@github.com; a port as HOST:2222.",
                code="bad_ssh_host",
            ) from None
        if not await keys.host_keys(host):
            raise InvalidInput(
                f"No known_hosts file has a key of {host.known_as}: nobody could tell the server from another.",
                hint=f"Connect to it once yourself: `ssh {f'-p {host.port} ' if host.port != 22 else ''}{host.host}`.",
                code="unknown_ssh_host",
            )
        found.append(str(host))
    return {"ssh_hosts": found}


def checked_domains(patterns: list[str]) -> list[str]:
    """Allowed domains in one spelling.

    Raises:
        InvalidInput: one is neither a host name nor `*.suffix`.
    """
    checked = []
    for pattern in patterns:
        host, rule = split(pattern.strip())
        name = host.lower().rstrip(".")
        try:
            spelled = normalised(name.removeprefix("*."))
            rule = f":{Rule.parse(rule)}" if rule or host != pattern.strip() else ""
        except (Refused, ValueError):
            spelled = ""
        if name == NOTHING and len(patterns) > 1:
            spelled = ""
        if not spelled or "*" in spelled:
            raise InvalidInput(
                f"{pattern!r} is not a domain.",
                hint="Give an exact name such as example.com, or a suffix such as *.example.com; you may add "
                "which requests are allowed, such as example.com:GET or example.com:GET,POST/below/here.",
                code="bad_domain",
            )
        checked.append((f"*.{spelled}" if name.startswith("*.") else spelled) + rule)
    return checked
