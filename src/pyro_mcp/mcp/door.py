"""Who may come in over HTTP: the bearer token, and the Host and Origin headers. Pure, without sockets.

The token is what keeps others out. Host and Origin are checked besides, so that a page in the user's browser cannot
reach a server on loopback by a name that it has made to point there (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from pyro_mcp.errors import Conflict, InvalidInput, NotFound, NotPermitted

TOKEN_VARIABLE = "PYRO_MCP_TOKEN"
MIN_TOKEN = 16
"""Characters: below that a token could be guessed over a network."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@?#\s]+)(?::(\d{1,5}))?")
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Refusal:
    status: int
    message: str
    challenge: bool = False
    """Say that a bearer token is wanted."""


def host_of(authority: str) -> str | None:
    """The host of `HOST[:PORT]`, lower case, without brackets and closing dot; None where there is none."""
    found = _AUTHORITY.fullmatch(authority.strip())
    return None if found is None else found[1].strip("[]").rstrip(".").lower() or None


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Door:
    """What a request must carry."""

    digest: bytes
    """Of the token."""
    names: frozenset[str] = frozenset()
    """Hosts by which the server may be called, besides the address that a connection came to."""

    @classmethod
    def with_token(cls, token: str, names: Iterable[str] = ()) -> Door:
        return cls(_digest(token), frozenset(name.rstrip(".").lower() for name in names))

    def refusal(self, headers: Headers, address: str | None) -> Refusal | None:
        """Why a request must not come in; None when it may. `address` is where its connection arrived."""
        said: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"authorization": []}
        for name, value in headers:
            if name in said:
                said[name].append(value.decode("latin-1"))
        if len(said[b"host"]) != 1 or not self.is_ours(said[b"host"][0], address):
            return Refusal(
                421, "This server does not accept that Host header. The user can allow it with --allow-host."
            )
        if not all(self.is_ours_as_origin(origin, address) for origin in said[b"origin"]):
            return Refusal(403, "This server does not accept requests from that Origin.")
        if len(said[b"authorization"]) != 1 or not self.opens(said[b"authorization"][0]):
            return Refusal(401, "A bearer token is required: Authorization: Bearer TOKEN.", challenge=True)
        return None

    def is_ours(self, authority: str, address: str | None) -> bool:
        host = host_of(authority)
        if host is None:
            return False
        if host in self.names:
            return True
        return address is not None and (host == address.lower() or (host == "localhost" and is_loopback(address)))

    def is_ours_as_origin(self, origin: str, address: str | None) -> bool:
        scheme, separator, authority = origin.partition("://")
        return bool(separator) and scheme in ("http", "https") and self.is_ours(authority, address)

    def opens(self, authorization: str) -> bool:
        """Whether it holds the token; takes the same time whatever it holds."""
        scheme, _, token = authorization.strip().partition(" ")
        fits = hmac.compare_digest(_digest(token.strip()), self.digest)
        return scheme.lower() == "bearer" and fits


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


# -- where the token comes from


def find_token(environment: MutableMapping[str, str], file: str | None) -> str:
    """The token of the file, else of the environment, from which it is taken out: the daemon need not inherit it.

    Raises:
        PyroError: there is none, or it is too short, or others can read the file.
    """
    given = environment.pop(TOKEN_VARIABLE, "")
    if file is not None:
        return _checked(_read(Path(file)), file)
    if not given:
        raise InvalidInput(
            "HTTP needs a bearer token, and none is set.",
            hint=f"Set {TOKEN_VARIABLE}, name a file with --token-file FILE, or create one with --new-token FILE.",
            code="token_missing",
        )
    return _checked(given.strip(), TOKEN_VARIABLE)


def new_token(file: str) -> str:
    """Make a token and keep it in a new file that only the user can read."""
    token = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise Conflict(
            f"{file} already exists.", hint="Use it with --token-file, or name another.", code="token_exists"
        ) from None
    except OSError as error:
        raise InvalidInput(f"{file} cannot be written: {error.strerror}.", code="token_file") from None
    with os.fdopen(descriptor, "w") as out:
        os.fchmod(descriptor, 0o600)
        out.write(token + "\n")
    return token


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                raise NotPermitted(
                    f"Other users can read {path}, which contains the token.",
                    hint=f"Make it private: chmod 600 {path}",
                    code="token_open",
                )
            return file.read(4096).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        raise NotFound(
            f"There is no file {path}.",
            hint=f"Create one: pyro mcp serve --http … --new-token {path}",
            code="token_file",
        ) from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.", code="token_file") from None


def _checked(token: str, source: str) -> str:
    if len(token) < MIN_TOKEN or not _TOKEN.fullmatch(token):
        raise InvalidInput(
            f"The token in {source} must have at least {MIN_TOKEN} characters: letters, digits and -._~+/=.",
            hint="--new-token FILE creates a good one.",
            code="token_bad",
        )
    return token
