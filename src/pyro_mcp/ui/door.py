"""Who may come in to the page. Pure, without sockets.

A link holds a token that opens once. It gives the browser two things: a cookie that no script reads, and a key that
the page keeps in the storage of its own origin. Every request needs the cookie; each that tells or does anything
needs the key, too. Cookies do not know of ports: a service of a workspace that is published on this computer is the
same site, is sent the cookie by the browser, and may set one. It can read no storage of ours, so the cookie alone
opens nothing. Host is checked against DNS rebinding, Origin and Sec-Fetch-Site against pages of others.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
TOKEN_SECONDS = 600.0
"""How long a link opens."""
MAX_SESSIONS = 32
MAX_LINKS = 32
KEY = b"pyro-key"
"""The header with the key."""
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Refusal:
    status: int
    message: str


@dataclass(frozen=True)
class Entry:
    """What a browser gets for a token."""

    cookie: str
    key: str


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Door:
    """Of one server, whose cookie is called by its port: those of two servers on one host would be one."""

    def __init__(self, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.cookie_name = f"pyro-ui-{port}"
        self._clock = clock
        self._links: OrderedDict[bytes, float] = OrderedDict()
        self._sessions: OrderedDict[bytes, bytes] = OrderedDict()

    def new_token(self) -> str:
        """One that opens once, within ten minutes."""
        token = secrets.token_urlsafe(32)
        self._links[_digest(token)] = self._clock() + TOKEN_SECONDS
        while len(self._links) > MAX_LINKS:
            self._links.popitem(last=False)
        return token

    def enter(self, token: str) -> Entry | None:
        """Use a token up; None when it was used, is too old, or never was."""
        until = self._links.pop(_digest(token), None)
        if until is None or until < self._clock():
            return None
        entry = Entry(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        self._sessions[_digest(entry.cookie)] = _digest(entry.key)
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return entry

    def stranger(self, headers: Headers, *, entering: bool = False) -> Refusal | None:
        """Why a request does not come from a page of ours, whoever sends it; None where it may.

        A link with a token may be followed from anywhere (`entering`).
        """
        said = _several(headers, (b"host", b"origin", b"sec-fetch-site"))
        hosts = said[b"host"]
        if len(hosts) != 1 or _name(hosts[0]) not in NAMES:
            return Refusal(421, "This page is called 127.0.0.1 or localhost, and by no other name.")
        if any(origin != f"http://{hosts[0]}" for origin in said[b"origin"]):
            return Refusal(403, "Requests from pages of others are not taken.")
        if not entering and any(site not in ("same-origin", "none") for site in said[b"sec-fetch-site"]):
            return Refusal(403, "Requests from pages of others are not taken.")
        return None

    def knows(self, headers: Headers) -> bool:
        """Whether the cookie is one of ours."""
        return self._key_of(headers) is not None

    def opens(self, headers: Headers) -> bool:
        """Whether cookie and key belong together."""
        headers = list(headers)
        wanted = self._key_of(headers)
        given = _several(headers, (KEY,))[KEY]
        return wanted is not None and len(given) == 1 and hmac.compare_digest(_digest(given[0]), wanted)

    def _key_of(self, headers: Headers) -> bytes | None:
        # A page of the same site may have set more cookies of this name: any that is ours will do.
        for line in _several(headers, (b"cookie",))[b"cookie"]:
            for pair in line.split(";"):
                name, _, value = pair.strip().partition("=")
                found = self._sessions.get(_digest(value)) if name == self.cookie_name else None
                if found is not None:
                    return found
        return None


def _several(headers: Headers, names: tuple[bytes, ...]) -> dict[bytes, list[str]]:
    said: dict[bytes, list[str]] = {name: [] for name in names}
    for name, value in headers:
        if name in said:
            said[name].append(value.decode("latin-1"))
    return said


def _name(authority: str) -> str:
    """The host of HOST[:PORT], as it was said but for case; empty where that is not its form."""
    name, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority.lower()
    return name.lower() if port.isdecimal() and port.isascii() else ""
