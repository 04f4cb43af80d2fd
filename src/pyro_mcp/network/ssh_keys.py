"""The user's side of ssh: their agent, key files and known hosts, as their own ssh configuration says."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from pathlib import Path

from pyro_mcp.network.ssh_agent import MAX_MESSAGE, SshHost
from pyro_mcp.network.ssh_wire import (
    IDENTITIES_ANSWER,
    REQUEST_IDENTITIES,
    SIGN_REQUEST,
    SIGN_RESPONSE,
    Fields,
    Malformed,
    public_of,
    sign,
    string,
)

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 10.0
SIGN_SECONDS = 60.0
"""An agent may ask its user first, or wait for a token to be touched."""
MAX_KEY_FILE = 64 * 1024


class UserKeys:
    """Finds anew for each connection: what the user changes holds at once. Serves one connection."""

    def __init__(self) -> None:
        self._settings: dict[SshHost, dict[str, list[str]]] = {}
        self._private: dict[bytes, object] = {}
        self._agents: dict[bytes, str] = {}

    async def host_keys(self, host: SshHost) -> frozenset[bytes]:
        """From the files of known hosts; certificates of authorities and revoked keys count for nothing."""
        found, revoked = set[bytes](), set[bytes]()
        settings = await self._of(host)
        names = " ".join(settings.get("userknownhostsfile", []) + settings.get("globalknownhostsfile", [])).split()
        for name in names:
            path = os.path.expanduser(name)
            if not os.path.isfile(path):
                continue
            for line in (await _output("ssh-keygen", "-F", host.known_as, "-f", path)).splitlines():
                words = line.split()
                if not words or line.startswith("#"):
                    continue
                marked = words[0] if words[0].startswith("@") else ""
                words = words[1:] if marked else words
                try:
                    key = base64.b64decode(words[2], validate=True)
                except (IndexError, ValueError):
                    continue
                if marked != "@cert-authority":
                    (revoked if marked else found).add(key)
        return frozenset(found - revoked)

    async def identities(self, hosts: tuple[SshHost, ...]) -> Mapping[bytes, str]:
        found: dict[bytes, str] = {}
        for host in hosts:
            settings = await self._of(host)
            socket = (settings.get("identityagent") or ["SSH_AUTH_SOCK"])[0]
            socket = os.environ.get("SSH_AUTH_SOCK", "") if socket == "SSH_AUTH_SOCK" else os.path.expanduser(socket)
            if socket and socket != "none":
                for key, name in (await _listed(socket)).items():
                    self._agents.setdefault(key, socket)
                    found.setdefault(key, name)
            for path in settings.get("identityfile", []):
                private = await asyncio.to_thread(_read, Path(os.path.expanduser(path)))
                if private is not None:
                    key = public_of(private)
                    self._private.setdefault(key, private)
                    found.setdefault(key, Path(path).name)
        return found

    async def sign(self, key: bytes, data: bytes, flags: int, bind: bytes) -> bytes:
        if key in self._agents:
            request = bytes([SIGN_REQUEST]) + string(key) + string(data) + flags.to_bytes(4, "big")
            answers = await _asked(self._agents[key], [bind, request], SIGN_SECONDS)
            fields = Fields(answers[-1])
            if fields.byte() != SIGN_RESPONSE:
                raise Malformed("the user's own agent refused it")
            return fields.string()
        if key in self._private:
            return await asyncio.to_thread(sign, self._private[key], data, flags)
        raise Malformed("it is not a key of the user's")

    async def _of(self, host: SshHost) -> dict[str, list[str]]:
        """What ssh_config(5) says about a host."""
        if host not in self._settings:
            found: dict[str, list[str]] = {}
            for line in (
                await _output("ssh", *_own_configuration(), "-G", "-p", str(host.port), "--", host.host)
            ).splitlines():
                name, _, value = line.partition(" ")
                found.setdefault(name, []).append(value)
            self._settings[host] = found
        return self._settings[host]


def _own_configuration() -> list[str]:
    """An ssh_config(5) in place of the user's, by PYRO_SSH_CONFIG."""
    path = os.environ.get("PYRO_SSH_CONFIG")
    return ["-F", path] if path else []


async def _output(*words: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
    except OSError as error:
        log.info("%s: %s", words[0], error)
        return ""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode("utf-8", "replace")


async def _asked(socket: str, messages: list[bytes], seconds: float) -> list[bytes]:
    """What an agent answers to each message, on one connection.

    Raises:
        Malformed: it does not answer.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                answers = []
                for message in messages:
                    writer.write(string(message))
                    size = int.from_bytes(await reader.readexactly(4), "big")
                    if size > 4 * MAX_MESSAGE:
                        raise Malformed("the user's own agent answers too much")
                    answers.append(await reader.readexactly(size))
                return answers
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError) as error:
        raise Malformed("the user's own agent does not answer") from error


async def _listed(socket: str) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    try:
        fields = Fields((await _asked(socket, [bytes([REQUEST_IDENTITIES])], PATIENCE_SECONDS))[0])
        if fields.byte() == IDENTITIES_ANSWER:
            for _ in range(min(fields.number(), 256)):
                key = fields.string()
                found[key] = fields.string().decode("utf-8", "replace")
    except Malformed as problem:
        log.info("%s: %s", socket, problem)
    return found


def _read(path: Path) -> object | None:
    """A private key without a passphrase; None for all else: the user's agent is for those."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE)
        load = load_ssh_private_key if b"OPENSSH PRIVATE KEY" in data else load_pem_private_key
        private = load(data, None)
        public_of(private)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, Malformed):
        return None
    return private
