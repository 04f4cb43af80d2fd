"""Which hosts and addresses a workspace may reach. Pure: names and addresses in, a verdict out."""

from __future__ import annotations

import ipaddress
import socket
import unicodedata
from dataclasses import dataclass

from pyro_mcp.network.rules import Rule, split

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
)
"""Addresses at which clouds offer credentials to their machines. One of them (168.63.129.16) is public by form."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_TRANSLATED = (
    ipaddress.ip_network("::ffff:0:0/96"),  # mapped (RFC 4291)
    ipaddress.ip_network("::ffff:0:0:0/96"),  # translated (RFC 2765)
    ipaddress.ip_network("::/96"),  # compatible (deprecated)
)
_GLOBAL = {4: ipaddress.ip_network("0.0.0.0/0"), 6: ipaddress.ip_network("2000::/3")}
"""What has been given out as global unicast at all (IANA, "IPv6 Address Space"): nothing else of IPv6 is reached, now
or when it gets a meaning."""
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # carrier-grade NAT (RFC 6598)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments (RFC 6890)
        "192.88.99.0/24",  # 6to4 relays (deprecated, RFC 7526)
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks inside networks (RFC 2544)
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments: Teredo, benchmarks, AMT, ORCHID, drones (RFC 2928)
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 (deprecated): leads to whatever relay is near
        "3fff::/20",  # documentation (RFC 9637)
    )
)
"""What is not globally reachable within that (IANA's special-purpose registries). The documentation ranges of IPv4
(RFC 5737) are left out on purpose: they are nobody's network, and networks with a transparent proxy answer with them
for public names."""


STAND_INS = ipaddress.ip_network("127.64.0.0/15")
"""Addresses that stand for names inside a machine (`agent/resolver.go`): they lead out."""
NOTHING = "none"
"""In a list of domains: no public host."""


class Refused(Exception):
    """A connection that the policy does not allow; the text says which rule.

    `rule` is `private` (no user can allow it), `not_allowed` (the user may), `ask` (the user is asked), `host_port`
    (the user may, for a port of this computer), `off` (the user may open the network), or `no_host` (nothing that has
    a host).
    """

    def __init__(self, text: str, rule: str = "private") -> None:
        super().__init__(text)
        self.rule = rule


@dataclass(frozen=True)
class EgressPolicy:
    """What a workspace may reach: public hosts, all of them or those on a list.

    `allow_domains` holds exact names and `*.suffix` patterns; a pattern does not include the suffix itself. After a
    colon may stand what may be asked of it (`network.rules`). `NOTHING` alone on it means no public host at all.
    """

    allow_domains: tuple[str, ...] = ()
    off: bool = False
    """Not even these."""
    ask: bool = False
    """The user is asked about others."""
    never: tuple[str, ...] = ()
    """Names about which the user does not want to be asked again."""

    def check_host(self, host: str) -> str:
        """The host's name in one spelling.

        Raises:
            Refused: a name of this computer, or not on the list.
        """
        name = normalised(host)
        if name == "localhost" or name.endswith((".localhost", ".local", ".internal", ".home.arpa")):
            raise Refused(f"{name} is a name of the local network")
        if self.off:
            raise Refused("the network of this workspace is off", "off")
        if not self.allow_domains and not self.ask:
            return name
        if self._matching(name):
            return name
        if self.ask:
            if any(_stands_for(pattern.lower().rstrip("."), name) for pattern in self.never):
                raise Refused(f"the user said that {name} must never be reached", "not_allowed")
            raise Refused(f"the user has not allowed {name}", "ask")
        raise Refused(f"{name} is not one of the allowed domains", "not_allowed")

    def rules(self, host: str) -> list[Rule] | None:
        """What may be asked of an allowed host; None for everything.

        Raises:
            Refused: not a host name.
        """
        found = [rule for _, rule in self._matching(normalised(host))]
        return [Rule.parse(rule) for rule in found] if found and all(found) else None

    def _matching(self, name: str) -> list[tuple[str, str]]:
        matching = []
        for pattern in self.allow_domains:
            host, rule = split(pattern)
            wanted = host.lower().rstrip(".")
            if _stands_for(wanted, name):
                matching.append((wanted, rule))
        return matching


def _stands_for(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def normalised(host: str) -> str:
    """One spelling for all: lower case, no trailing dot, IDNA, numbers as the resolver reads them.

    Raises:
        Refused: not a host name.
    """
    try:
        # Before anything is looked at: IDNA makes full-width digits, dots and colons into what they look like.
        plain = host if host.isascii() else unicodedata.normalize("NFKC", host).encode("idna").decode()
    except UnicodeError:
        raise Refused(f"{host!r} is not a host name", "no_host") from None
    name = plain.strip().strip("[]").rstrip(".").lower()
    if not name or len(name) > 253 or any(c.isspace() or c in "/\\@%?#[]" or not c.isprintable() for c in name):
        raise Refused(f"{host!r} is not a host name", "no_host")
    if ":" in name:
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            raise Refused(f"{host!r} is not a host name", "no_host") from None
    try:
        # inet_aton takes what C resolvers take: 127.1, 0x7f.1, 2130706433, 0177.0.0.1.
        return str(ipaddress.IPv4Address(socket.inet_aton(name)))
    except OSError:
        return name


def guests_own(name: str) -> str | None:
    """The address of a loopback, for a `normalised` name that cannot mean another machine; None for all others."""
    if name == "localhost" or name.endswith(".localhost"):
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address) if address.is_loopback and address not in STAND_INS else None


def check_address(address: IPAddress, own: frozenset[IPAddress] = frozenset()) -> None:
    """Refuse every address that is not plainly a host of the public internet.

    Raises:
        Refused: it is not globally reachable, a cloud's metadata, this computer's own, or embeds one that is.
    """
    inner = _embedded(address)
    for each in inner:
        check_address(each, own)
    if address in METADATA:
        raise Refused(f"{address} is a cloud's metadata address")
    if address in own:
        raise Refused(f"{address} is an address of this computer")
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise Refused(f"{address} names an interface of this computer")
    if inner and (address in _NAT64 or address in _TRANSLATED[0]):
        return  # another way to write an address that was judged above
    if address not in _GLOBAL[address.version] or any(
        address.version == network.version and address in network for network in _SPECIAL
    ):
        raise Refused(f"{address} is an address of a private or local network")


def _embedded(address: IPAddress) -> list[IPAddress]:
    """IPv4 addresses that an IPv6 address stands for: mapped, translated, compatible, 6to4, Teredo, NAT64, ISATAP."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    found: list[IPAddress] = []
    if address in _NAT64 or any(address in network for network in _TRANSLATED):
        found.append(last)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if (int(address) >> 32) & 0xFCFFFFFF == 0x5EFE:  # ISATAP, in any prefix (RFC 5214)
        found.append(last)
    return found
