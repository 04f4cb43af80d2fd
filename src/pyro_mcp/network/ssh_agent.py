"""An ssh agent for a machine: it signs logins at the servers that the user named, and nothing else.

A client first binds its session: the server's own signature shows with whom it is. Only what logs in within such a
session, at a server whose key the user's `known_hosts` has for a named host, is signed. So a machine that talks to
another server, forwards the agent, or has any other text signed gets nothing. No private key is in here: `Keyring`
finds them on this side.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pyro_mcp.network.ssh_wire import (
    EXTENSION,
    FAILURE,
    IDENTITIES_ANSWER,
    REQUEST_IDENTITIES,
    SESSION_BIND,
    SIGN_REQUEST,
    SIGN_RESPONSE,
    SUCCESS,
    Bind,
    Fields,
    Login,
    Malformed,
    fingerprint,
    kind_of,
    proves,
    string,
)

MAX_MESSAGE = 64 * 1024
MAX_SESSIONS = 8
IDLE_SECONDS = 900.0
"""Between two messages."""
MESSAGE_SECONDS = 60.0
"""For the rest of a message that has begun, and for the machine to take an answer."""
MAX_REFUSED = 32
"""Messages of one connection; then it ends. `ssh` asks for a signature once for each key that the server takes."""
_NAMED = re.compile(r"(?:([A-Za-z_][A-Za-z0-9_.-]{0,31})@)?([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class SshHost:
    """A server at which machines may log in with the user's keys."""

    host: str
    port: int = 22
    user: str = ""
    """The only user; empty: any."""

    def __str__(self) -> str:
        return (f"{self.user}@" if self.user else "") + self.host + (f":{self.port}" if self.port != 22 else "")

    @property
    def known_as(self) -> str:
        """How known_hosts(5) writes it."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    @classmethod
    def parse(cls, text: str) -> SshHost:
        """From `HOST`, `USER@HOST` or either with `:PORT`.

        Raises:
            ValueError: it is none of these.
        """
        user, at, rest = text.strip().rpartition("@")
        match = _NAMED.fullmatch(user + at + rest.lower())
        if match is None or ".." in match[2] or not 0 < int(match[3] or 22) < 65536:
            raise ValueError(f"{text!r} names no ssh server")
        return cls(match[2], int(match[3] or 22), match[1] or "")


class Keyring(Protocol):
    """The user's keys, and what the user knows of servers."""

    async def host_keys(self, host: SshHost) -> frozenset[bytes]:
        """The keys by which the user knows a server."""

    async def identities(self, hosts: tuple[SshHost, ...]) -> Mapping[bytes, str]:
        """The user's public keys, with what they are called."""

    async def sign(self, key: bytes, data: bytes, flags: int, bind: bytes) -> bytes:
        """A signature. `bind` is what bound the session, for an agent that wants it.

        Raises:
            Malformed: it is not made.
        """


class SshAgent:
    """Serves one connection of a machine's; `tell` hears of each signature, and of what was refused."""

    def __init__(
        self,
        hosts: tuple[SshHost, ...],
        keyring: Keyring,
        tell: Callable[[bool, str], None],
        *,
        message_seconds: float = MESSAGE_SECONDS,
    ) -> None:
        self._hosts = hosts
        self._keyring = keyring
        self._tell = tell
        self._message_seconds = message_seconds
        self._refused = 0
        self._known: dict[SshHost, frozenset[bytes]] = {}
        self._sessions: dict[bytes, tuple[bytes, tuple[SshHost, ...], bytes]] = {}
        """By session: the server's key, whom it stands for, and the message that bound it."""
        self._misused = False
        """It was forwarded, or is used with another server: nothing that comes on this connection is answered."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes = b"") -> None:
        """Answer requests until the machine ends the connection, or too many were refused.

        Raises:
            TimeoutError: the machine was silent for 900 s, or took 60 s over a message or an answer.
        """
        held = early
        while self._refused < MAX_REFUSED:
            if not held:
                async with asyncio.timeout(IDLE_SECONDS):
                    held = await reader.read(MAX_MESSAGE)
                if not held:
                    return
            async with asyncio.timeout(self._message_seconds):
                while len(held) < 4 or len(held) < (end := 4 + int.from_bytes(held[:4], "big")):
                    if len(held) >= 4 and end > 4 + MAX_MESSAGE:
                        return
                    data = await reader.read(MAX_MESSAGE)
                    if not data:
                        return
                    held += data
            message, held = held[4:end], held[end:]
            writer.write(string(await self.answer(message)))
            async with asyncio.timeout(self._message_seconds):
                await writer.drain()

    async def answer(self, message: bytes) -> bytes:
        """The answer to one message."""
        try:
            if self._misused:
                raise Malformed("the connection is not one to a server that the user named")
            fields = Fields(message)
            kind = fields.byte()
            if kind == REQUEST_IDENTITIES:
                found = await self._keyring.identities(self._hosts)
                listed = b"".join(string(key) + string(name.encode()) for key, name in found.items())
                return bytes([IDENTITIES_ANSWER]) + len(found).to_bytes(4, "big") + listed
            if kind == EXTENSION and fields.string() == SESSION_BIND:
                self._misused = True
                await self._bind(Bind.parse(fields), message)
                self._misused = False
                return bytes([SUCCESS])
            if kind == SIGN_REQUEST:
                key, data, flags = fields.string(), fields.string(), fields.number()
                fields.end()
                return bytes([SIGN_RESPONSE]) + string(await self._signed(key, data, flags))
        except Malformed as problem:
            self._refused += 1
            self._tell(False, f"the ssh agent refused it: {problem}")
        return bytes([FAILURE])

    async def _bind(self, bind: Bind, message: bytes) -> None:
        if bind.forwarded:
            raise Malformed("it was forwarded to another machine")
        if not bind.session or not proves(bind.host_key, bind.session, bind.signature):
            raise Malformed("the server does not prove that it has its key")
        if len(self._sessions) >= MAX_SESSIONS or bind.session in self._sessions:
            raise Malformed("a session is bound once")
        hosts = []
        for host in self._hosts:
            if host not in self._known:
                self._known[host] = await self._keyring.host_keys(host)
            if bind.host_key in self._known[host]:
                hosts.append(host)
        if not hosts:
            shown = f"{kind_of(bind.host_key)} {fingerprint(bind.host_key)}"
            raise Malformed(f"the server's key ({shown}) is none of {', '.join(h.host for h in self._hosts)}")
        self._sessions[bind.session] = (bind.host_key, tuple(hosts), message)

    async def _signed(self, key: bytes, data: bytes, flags: int) -> bytes:
        login = Login.parse(data)
        bound = self._sessions.get(login.session)
        if bound is None:
            raise Malformed("the login is at no server that the user named")
        host_key, hosts, message = bound
        if login.key != key or login.host_key not in (None, host_key):
            raise Malformed("the login names another key")
        host = next((host for host in hosts if host.user in ("", login.user)), None)
        if host is None:
            raise Malformed(f"{login.user!r:.80} is not the user that may log in at {hosts[0].host}")
        signature = await self._keyring.sign(key, data, flags, message)
        self._tell(True, f"a key signed for {login.user!r:.80} at {host.host}:{host.port}: {fingerprint(key)}")
        return signature
