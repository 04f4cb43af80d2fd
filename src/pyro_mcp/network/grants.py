"""What a user lets a workspace reach beside public hosts: single ports of this computer, single addresses. Pure.

A port of this computer's loopback is reached as `host.pyro.internal:PORT`, an address as itself, or, by programs that
read no proxy variable, as `ADDRESS.pyro.internal`. Nothing else of this computer or its network is opened by that.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyro_mcp.network.policy import METADATA, IPAddress, Refused, check_address

INNER = "pyro.internal"
HOST = f"host.{INNER}"
"""This computer, seen from inside."""
LOOPBACK: tuple[IPAddress, ...] = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))
_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_ADDRESS = re.compile(
    r"\[([0-9a-fA-F:.]+)\](?::([0-9]{1,5}))?"  # of IPv6, with or without a port
    r"|([0-9.]+)(?::([0-9]{1,5}))?"
    r"|([0-9a-fA-F:.]+)"
)
_LOCAL = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
"""Private networks (RFC 1918, 6598, 4193): what a user may let in one address of."""


@dataclass(frozen=True)
class HostPort:
    """One port of this computer's loopback."""

    port: int
    name: str = ""
    """Another name for it inside."""

    def __str__(self) -> str:
        return f"{self.port}:{self.name}" if self.name else str(self.port)

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """From `PORT` or `PORT:NAME`.

        Raises:
            ValueError: it is neither.
        """
        number, colon, name = text.strip().lower().partition(":")
        if not re.fullmatch(r"[0-9]{1,5}", number) or not 0 < int(number) < 65536:
            raise ValueError(f"{text!r} does not name a port")
        if colon and (not _LABEL.match(name) or name in ("localhost", "host")):
            raise ValueError(f"{name!r} is not a valid name for a port: use letters, digits and -, without dots")
        return cls(int(number), name)


@dataclass(frozen=True)
class LanAddress:
    """One address of the network around this computer; all its ports, or one."""

    address: IPAddress
    port: int | None = None

    def __str__(self) -> str:
        if self.port is None:
            return str(self.address)
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> LanAddress:
        """From `ADDRESS` or `ADDRESS:PORT`, IPv6 in brackets with a port.

        Raises:
            ValueError: it is neither, or an address that nobody may let in.
        """
        match = _ADDRESS.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not an IP address; networks and names cannot be allowed")
        address = ipaddress.ip_address(match[1] or match[3] or match[5])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        number = match[2] or match[4]
        if number is not None and not 0 < int(number) < 65536:
            raise ValueError(f"{text!r} does not name a port")
        try:
            check_granted(address)
        except Refused as refusal:
            raise ValueError(str(refusal)) from None
        return cls(address, int(number) if number else None)


def check_granted(address: IPAddress, own: frozenset[IPAddress] = frozenset()) -> None:
    """An address that a user let in is one of a private network or of the internet, and never this computer.

    Raises:
        Refused: it is not.
    """
    if address.is_loopback or address in own:
        raise Refused(f"{address} is an address of this computer; allow its ports one by one (--allow-host-port)")
    if address in METADATA or not any(address.version == net.version and address in net for net in _LOCAL):
        check_address(address, own)


@dataclass(frozen=True)
class Grants:
    """All of one workspace."""

    host_ports: tuple[HostPort, ...] = ()
    addresses: tuple[LanAddress, ...] = ()

    @classmethod
    def parse(cls, host_ports: Iterable[str], addresses: Iterable[str]) -> Grants:
        """From how they are kept."""
        return cls(tuple(map(HostPort.parse, host_ports)), tuple(map(LanAddress.parse, addresses)))

    def names(self) -> list[str]:
        """What resolves inside beside public names."""
        found = [HOST] if self.host_ports else []
        for each in self.host_ports:
            found += [each.name, f"{each.name}.{INNER}"] if each.name else []
        return found + [f"{each.address}.{INNER}" for each in self.addresses if each.address.version == 4]

    def target(self, name: str, port: int, own: frozenset[IPAddress]) -> list[IPAddress] | None:
        """The addresses to connect to; None when no grant is about this name (in `policy.normalised` spelling).

        Raises:
            Refused: it is about this computer or a let-in address, but not at this port.
        """
        ours = [each for each in self.host_ports if name in (HOST, each.name, f"{each.name}.{INNER}")]
        if any(each.port == port for each in ours):
            return list(LOOPBACK)
        if ours:
            raise Refused(f"port {port} of this computer is not open to the workspace", "host_port")
        try:
            address = ipaddress.ip_address(name.removesuffix(f".{INNER}"))
        except ValueError:
            return None
        granted = [each for each in self.addresses if each.address == address]
        if not granted:
            return None
        if not any(each.port in (None, port) for each in granted):
            raise Refused(f"port {port} of {address} is not open to the workspace")
        check_granted(address, own)
        return [address]
