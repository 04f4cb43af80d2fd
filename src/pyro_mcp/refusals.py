"""What is told of connections that a command could not make. Pure; the command line loads it, so models it does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.models import RefusedConnection

SAID_REFUSED = 3
"""How many stand in words; all are in the record."""
_NO_ROUTE = re.compile(
    r"No route to host|network is unreachable|E(HOST|NET)UNREACH|failed to connect to (?!127\.|0\.0\.)[\d.]+ port", re.I
)
"""As strerror(3), Node and curl say it."""


def said(refused: Sequence[RefusedConnection]) -> str:
    """What was refused, in words, and what the user may do."""
    off = [each for each in refused if each.why == "off"]
    others = [each for each in refused if each.why != "off"]
    words = [_while_off(off)] if off else []
    for each in others[:SAID_REFUSED]:
        where = f"[{each.host}]" if ":" in each.host else each.host
        where += f":{each.port}" if each.port else ""
        if each.why == "not_allowed":
            how = "is not allowed here" + (f"; the user can allow it: {each.allow_with}" if each.allow_with else "")
        elif each.why == "private":
            how = "is not a public host; a workspace cannot reach it"
        else:
            how = "could not be reached"
        words.append(f"{where} {how}.")
    more = len(others) - SAID_REFUSED
    return " ".join(words) + (f" {more} more in `refused`." if more > 0 else "")


def no_route(texts: Iterable[str]) -> str:
    """What to do about a literal address: the kernel refuses it, and nothing else sees that.

    The program chose the words that this matches, so the answer only explains, and offers no way to open anything.
    """
    if not any(map(_NO_ROUTE.search, texts)):
        return ""
    return (
        "A literal address has no route in a workspace. Connect by host name, which the network policy covers; "
        "public addresses are reachable only through the proxy variables, with the network on."
    )


def _while_off(refused: Sequence[RefusedConnection]) -> str:
    hosts = [each.host for each in refused]
    named = ", ".join(hosts[:SAID_REFUSED]) + (f" and {len(hosts) - SAID_REFUSED} more" * (len(hosts) > SAID_REFUSED))
    allow = next((f"; the user can open it: {each.allow_with}" for each in refused if each.allow_with), "")
    return f"The network of this workspace is off: {named} could not be reached{allow}."
