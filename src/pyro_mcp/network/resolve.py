"""From a host's name to a connection, through the policy: resolved once, and only what was checked is connected to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from pyro_mcp.guest.duplex import Streams
from pyro_mcp.network.policy import IPAddress, Refused, check_address

CONNECT_SECONDS = 10.0
READ_AHEAD = 256 * 1024
"""Bytes of a host that wait for a slow guest before it is read no further; twice as many at most."""
Resolver = Callable[[str, int], Awaitable[list[IPAddress]]]
AddressCheck = Callable[[IPAddress], None]


class Unreachable(Exception):
    """The host could not be resolved or connected to."""


async def system_resolver(host: str, port: int) -> list[IPAddress]:
    """Addresses of a host, by this computer's resolver.

    Raises:
        Unreachable: there is no such host.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unreachable(f"{host} could not be resolved: {error.strerror or error}") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    return list(dict.fromkeys(addresses))


def own_addresses() -> frozenset[IPAddress]:
    """The addresses of this computer's interfaces, public ones included (proc(5))."""
    own: set[IPAddress] = set()
    previous = ""
    for line in _lines("/proc/net/fib_trie"):
        if "/32 host LOCAL" in line:
            own.add(ipaddress.ip_address(previous.split()[-1]))
        previous = line
    own.update(ipaddress.IPv6Address(int(line.split()[0], 16)) for line in _lines("/proc/net/if_inet6"))
    return frozenset(own)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []  # a kernel without this family: the forms of the addresses still are checked


def strict_check(address: IPAddress) -> None:
    """The check that holds for every workspace."""
    check_address(address, own_addresses())


async def checked_addresses(host: str, port: int, resolver: Resolver, check: AddressCheck) -> list[IPAddress]:
    """The addresses of a host, all of which must be allowed.

    Raises:
        Refused: one of them is not; a name that answers both ways is playing tricks.
        Unreachable: there is no such host.
    """
    addresses = await resolver(host, port)
    for address in addresses:
        check(address)
    return addresses


async def connect(host: str, port: int, addresses: list[IPAddress]) -> Streams:
    """Connect to the first of a host's addresses that answers.

    Raises:
        Unreachable: none of them answers within 10 s.
    """
    problem = f"{host} has no address"
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_connection(str(address), port, limit=READ_AHEAD)
        except TimeoutError:
            problem = f"{host} ({address}) did not answer within {CONNECT_SECONDS:.0f} s"
        except OSError as error:
            problem = f"{host} ({address}): {error.strerror or error}"
    raise Unreachable(problem)


async def proved(streams: Streams, host: str, make_context: Callable[[], ssl.SSLContext]) -> Streams:
    """Begin TLS on a connection to a host, which proves by it who it is.

    Raises:
        OSError: it does not (ssl.SSLError is one); the connection is closed.
    """
    try:
        context = await asyncio.to_thread(make_context)  # it reads all authorities: some 50 ms
        await streams[1].start_tls(context, server_hostname=host)
    except BaseException:
        streams[1].close()
        raise
    return streams


__all__ = [
    "CONNECT_SECONDS",
    "AddressCheck",
    "Refused",
    "Resolver",
    "Unreachable",
    "checked_addresses",
    "connect",
    "own_addresses",
    "proved",
    "strict_check",
]
