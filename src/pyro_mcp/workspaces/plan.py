"""What is asked for when a workspace is created."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyro_mcp.vocabulary import NetworkPolicy
from pyro_mcp.workspaces.secrets import NONE, Secrets


@dataclass(frozen=True)
class Plan:
    """What `create` is asked for, after its input was checked."""

    environment: str
    engine: str
    name: str | None
    labels: dict[str, str]
    network_policy: NetworkPolicy
    vcpu_count: int
    mem_mib: int
    ttl_seconds: int | None
    one_shot: bool = False
    disk_gib: int = 20
    lifetime_seconds: int | None = None
    allow_domains: list[str] = field(default_factory=list)
    allow_host_ports: list[str] = field(default_factory=list)
    allow_addresses: list[str] = field(default_factory=list)
    ssh_hosts: list[str] = field(default_factory=list)
    secrets: Secrets = NONE
    project: str | None = None
    devcontainer: dict[str, Any] | None = None
    user: str = ""
    """Who commands run as; empty is root."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables of every command, beside those of the image."""
