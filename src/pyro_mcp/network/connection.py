"""What the egress proxy is given, and what it tells of each connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.masking.substitution import Substitution
from pyro_mcp.network.authority import Authority


@dataclass(frozen=True)
class EgressEvent:
    """One connection out, at its end."""

    protocol: str
    host: str
    port: int
    verdict: str
    """allowed, refused or failed."""
    reason: str = ""
    bytes_up: int = 0
    bytes_down: int = 0
    seconds: float = 0.0
    rule: str = ""
    """Of a refusal: `policy.Refused.rule`."""


@dataclass(frozen=True)
class Interception:
    """Hosts whose TLS is taken apart, so that secrets can be put into requests: see `network.intercept`."""

    authority: Authority
    substitutions: Mapping[str, Substitution]
    """By host."""


Ask = Callable[[str, int], Awaitable[None]]
"""Has the user asked about a host and a port; raises `policy.Refused` where the answer is no."""


Inside = Callable[[str, int], Awaitable[Streams | None]]
"""Connects to an address of the guest's own loopback; None where nothing listens there."""


def refusal_text(host: str, reason: str, how: str = "") -> str:
    """What a guest reads when a connection is refused."""
    allow = (
        f"The user of this computer can allow it: {how}\n"
        if how
        else "The user of this computer decides which hosts a workspace may reach; loopback, private and metadata\n"
        "addresses are never reachable.\n"
    )
    return f"pyro refused the connection to {host}: {reason}.\nThe workspace cannot allow it itself. {allow}"
