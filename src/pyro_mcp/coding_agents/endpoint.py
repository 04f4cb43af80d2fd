"""Where the program's model answers: what the machine may reach for it, and which host gets the key. Pure."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pyro_mcp.coding_agents.programs import NO_KEY, Key, Program
from pyro_mcp.errors import InvalidInput
from pyro_mcp.network.grants import HOST
from pyro_mcp.plain import Plain


class Endpoint(Plain):
    """The arguments of `create_workspace` and of the command that follow from it."""

    url: str | None
    """As the machine reaches it; None is the maker's own."""
    variable: str
    domains: tuple[str, ...] = ()
    host_ports: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    secret: str | None = None
    """The key itself; None where the program gets a word that is none."""
    secret_host: str = ""

    @property
    def machine(self) -> dict[str, object]:
        """What the workspace is made with."""
        made: dict[str, object] = {"allow_domains": list(self.domains)}
        if self.host_ports:
            made["allow_host_ports"] = list(self.host_ports)
        if self.addresses:
            made["allow_addresses"] = list(self.addresses)
        if self.secret is not None:
            made |= {"secrets": {self.variable: self.secret}, "secret_hosts": {self.variable: self.secret_host}}
        return made

    @property
    def command(self) -> dict[str, dict[str, str]]:
        """What the command is given."""
        if self.secret is None:
            return {"env": {self.variable: NO_KEY}, "secret_env": {}}
        return {"env": {}, "secret_env": {self.variable: self.variable}}


def find(
    program: Program,
    *,
    url: str | None,
    variable: str | None,
    domains: Sequence[str],
    environment: Mapping[str, str] = os.environ,
) -> Endpoint:
    """The endpoint that the user means.

    Args:
        url: one of their own; by default the maker's.
        variable: holds the key here; by default the first of the program's own that is set.
        domains: hosts that the machine may reach besides.
    Raises:
        InvalidInput: no key, or an address that no machine could reach.
    """
    key = _key(program, variable, environment, optional=url is not None)
    name = key.variable if key else program.keys[0].variable
    value = environment[key.variable] if key else None
    if url is None:
        assert key is not None
        return Endpoint(None, name, (key.host, *domains), secret=value, secret_host=key.host)
    parts, port = _taken_apart(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        value = None  # a key goes out over TLS only
    inner = HOST if _is_here(host) else host
    netloc = f"[{inner}]" if ":" in inner else inner
    host_ports = (str(port),) if inner == HOST else ()
    addresses = (f"{netloc}:{port}",) if _is_near(inner) else ()
    reached = urlunsplit((parts.scheme, netloc + (f":{parts.port}" if parts.port else ""), parts.path, parts.query, ""))
    return Endpoint(
        reached.rstrip("/"), name, (inner, *domains), host_ports, addresses, value, inner if value is not None else ""
    )


def _taken_apart(url: str) -> tuple[SplitResult, int]:
    """An endpoint's address and its port.

    Raises:
        InvalidInput: it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        if parts.scheme in ("http", "https") and parts.hostname and port != 0 and parts.username is None:
            return parts, port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        pass  # such as a port over 65535
    raise InvalidInput(
        f"{url!r} is not the address of an endpoint.",
        hint="Such as https://models.example.com/v1 or http://127.0.0.1:11434/v1; a key goes into a variable.",
        code="bad_usage",
    )


def _key(program: Program, variable: str | None, environment: Mapping[str, str], *, optional: bool) -> Key | None:
    if variable is not None:
        known = next((key for key in program.keys if key.variable == variable), None)
        if known is None:
            raise InvalidInput(
                f"{program.title} reads no key from {variable}.",
                hint=f"It reads {', '.join(key.variable for key in program.keys)}.",
                code="bad_usage",
            )
        if not environment.get(variable):
            raise InvalidInput(f"The variable {variable} is not set.", code="no_key")
        return known
    found = next((key for key in program.keys if environment.get(key.variable)), None)
    if found is None and not optional:
        raise InvalidInput(
            f"{program.title} needs a key: none of {', '.join(key.variable for key in program.keys)} is set.",
            hint="Set one; only its host gets the value, the machine holds a placeholder. Or give --api-url.",
            code="no_key",
        )
    return found


def _is_here(host: str) -> bool:
    if host in ("localhost", HOST) or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_near(host: str) -> bool:
    address = _address(host)
    return address is not None and not address.is_global


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
