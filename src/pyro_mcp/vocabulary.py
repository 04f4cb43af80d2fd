"""Words with a fixed set of values, and the shape of names: what operations and records are made of.

Nothing is imported but `typing`.
"""

from __future__ import annotations

from typing import Literal, get_args

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Workspace, snapshot and service names, and label keys (CONTRACT, "Names, defaults and bounds")."""

NetworkPolicy = Literal["off", "ask", "egress", "egress+published-ports"]
POLICIES: tuple[NetworkPolicy, ...] = get_args(NetworkPolicy)
"""From the least to the most."""
AskedAnswer = Literal["once", "workspace", "project", "no", "never"]
WorkspaceState = Literal["creating", "running", "stopped", "lost", "deleting"]
ExecStatus = Literal["running", "exited", "timed_out", "cancelled", "suspended", "lost"]
ServiceState = Literal["starting", "running", "failed", "stopped", "exited", "suspended"]
Profile = Literal["vm-run", "workspace-core", "workspace-full"]
Face = Literal["cli", "sdk", "mcp", "ui"]
"""By which of them a call came."""
EngineName = Literal["auto", "firecracker", "gvisor"]


def online(policy: NetworkPolicy) -> bool:
    """Whether a machine under this policy reaches anything."""
    return policy != "off"


def asks(policy: NetworkPolicy) -> bool:
    """Whether the user is asked for each host."""
    return policy == "ask"


def publishes(policy: NetworkPolicy) -> bool:
    """Whether ports of its services may be published on this computer."""
    return policy == "egress+published-ports"


def exceeds(policy: NetworkPolicy, most: NetworkPolicy) -> bool:
    """Whether the policy opens more than the other."""
    return POLICIES.index(policy) > POLICIES.index(most)


ROOT_USER = frozenset({"", "root", "0", "0:0", "root:root", "root:0", "0:root"})
"""Ways to say that commands run as root."""
