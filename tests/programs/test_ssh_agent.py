"""The ssh agent for machines: what it signs, and that nothing else makes it sign or break."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.network.ssh_agent import MAX_REFUSED, SshAgent, SshHost
from pyro_mcp.network.ssh_keys import UserKeys
from pyro_mcp.network.ssh_wire import (
    EXTENSION,
    FAILURE,
    HOST_BOUND,
    IDENTITIES_ANSWER,
    REQUEST_IDENTITIES,
    RSA_SHA2_256,
    RSA_SHA2_512,
    SESSION_BIND,
    SIGN_REQUEST,
    SIGN_RESPONSE,
    SUCCESS,
    Fields,
    Malformed,
    proves,
    public_of,
    sign,
    string,
)
from pyro_mcp.workspaces.egress import AGAIN_SECONDS, MAX_REFUSALS, Refusals

pytestmark = pytest.mark.skipif(not shutil.which("ssh-agent"), reason="this computer has no ssh (openssh-client)")
HERE = SshHost("git.example", 22, "git")


class Ring:
    def __init__(self, key: object, known: bytes) -> None:
        self.key, self.public, self.known = key, public_of(key), known

    async def host_keys(self, host: SshHost) -> frozenset[bytes]:
        return frozenset({self.known})

    async def identities(self, hosts: tuple[SshHost, ...]) -> Mapping[bytes, str]:
        return {self.public: "key"}

    async def sign(self, key: bytes, data: bytes, flags: int, bind: bytes) -> bytes:
        assert key == self.public
        return sign(self.key, data, flags)


def made(at: Path, kind: str, bits: str = "") -> object:
    words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(at), *(["-b", bits] if bits else [])]
    subprocess.run(words, check=True)
    return load_ssh_private_key(at.read_bytes(), None)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    at = tmp_path_factory.mktemp("keys")
    kinds = {"ed25519": "", "rsa": "2048", "ecdsa": "256"}
    return {kind: made(at / kind, kind, bits) for kind, bits in kinds.items()} | {
        "p521": made(at / "p521", "ecdsa", "521"),
        "server": made(at / "server", "ed25519"),
        "stranger": made(at / "stranger", "ed25519"),
    }


def bind(server: object, session: bytes, *, forwarded: bool = False, signed: bytes | None = None) -> bytes:
    signature = sign(server, session if signed is None else signed, RSA_SHA2_256)
    body = string(SESSION_BIND) + string(public_of(server)) + string(session) + string(signature)
    return bytes([EXTENSION]) + body + bytes([forwarded])


def login(session: bytes, key: bytes, user: str = "git", *, host_key: bytes | None = None, tail: bytes = b"") -> bytes:
    method = b"publickey" if host_key is None else HOST_BOUND
    text = string(session) + b"\x32" + string(user.encode()) + string(b"ssh-connection") + string(method)
    text += b"\x01" + string(b"ssh-ed25519") + string(key) + (string(host_key) if host_key is not None else b"")
    return text + tail


def request(key: bytes, data: bytes, flags: int = 0) -> bytes:
    return bytes([SIGN_REQUEST]) + string(key) + string(data) + flags.to_bytes(4, "big")


def answers(agent: SshAgent, *messages: bytes) -> list[int]:
    async def play() -> list[int]:
        return [(await agent.answer(message))[0] for message in messages]

    return asyncio.run(play())


def test_it_signs_a_login_at_the_named_server_and_nothing_else(keys: dict[str, object]) -> None:
    ring, told = Ring(keys["ed25519"], public_of(keys["server"])), list[tuple[bool, str]]()
    mine, server, stranger = ring.public, keys["server"], keys["stranger"]

    def after(*messages: bytes) -> int:
        return answers(SshAgent((HERE,), ring, lambda well, text: told.append((well, text))), *messages)[-1]

    good = bind(server, b"S")
    assert after(bytes([REQUEST_IDENTITIES])) == IDENTITIES_ANSWER
    assert after(good) == SUCCESS
    assert after(good, request(mine, login(b"S", mine))) == SIGN_RESPONSE
    assert after(good, request(mine, login(b"S", mine, host_key=public_of(server)))) == SIGN_RESPONSE
    assert [well for well, _ in told] == [True, True]
    assert "'git' at git.example:22" in told[0][1]
    for messages in (
        [request(mine, login(b"S", mine))],  # no session
        [good, request(mine, login(b"T", mine))],  # another one
        [good, request(mine, login(b"S", mine, "root"))],
        [good, request(mine, login(b"S", mine, "\n" * 60_000))],
        [good, request(mine, login(b"S", mine, host_key=public_of(stranger)))],
        [good, request(mine, login(b"S", mine, tail=b"x"))],
        [good, request(mine, b"SSHSIG" + string(b"git"))],
        [good, request(mine, login(b"S", public_of(stranger)))],
        [good, request(mine, b"")],
        [bind(stranger, b"S"), request(mine, login(b"S", mine))],
        [bind(server, b"S", signed=b"T"), request(mine, login(b"S", mine))],
        [bind(server, b"S", forwarded=True), request(mine, login(b"S", mine))],
        [bind(server, b"F", forwarded=True), good, request(mine, login(b"S", mine))],
        [bind(stranger, b"F"), bytes([REQUEST_IDENTITIES])],
        [bind(server, b""), request(mine, login(b"", mine))],
        [good, good],
        [bytes([17]) + mine],  # add a key
        [b""],
    ):
        assert after(*messages) == FAILURE, messages
    assert max(len(text) for _, text in told) < 300  # it is kept in the history


def test_the_signatures_of_each_kind_of_key_prove_and_no_other_does(keys: dict[str, object]) -> None:
    for kind, flags in (("ed25519", 0), ("rsa", RSA_SHA2_256), ("rsa", RSA_SHA2_512), ("ecdsa", 0), ("p521", 0)):
        signature = sign(keys[kind], b"text", flags)
        assert proves(public_of(keys[kind]), b"text", signature)
        assert not proves(public_of(keys[kind]), b"Text", signature)
        assert not proves(public_of(keys["stranger"]), b"text", signature)
        assert not proves(public_of(keys[kind]), b"text", signature[:-1])
    with pytest.raises(Malformed):
        sign(keys["rsa"], b"text", 0)  # with SHA-1


@given(st.binary(max_size=300), st.sampled_from([SIGN_REQUEST, EXTENSION, REQUEST_IDENTITIES, 0, 255]))
def test_no_bytes_break_it(keys: dict[str, object], data: bytes, kind: int) -> None:
    agent = SshAgent((HERE,), Ring(keys["ed25519"], public_of(keys["server"])), lambda *_: None)
    for message in (data, bytes([kind]) + data, bytes([kind]) + string(SESSION_BIND) + data):
        if message[:1] != bytes([REQUEST_IDENTITIES]):
            assert answers(agent, message) == [FAILURE]


async def served(agent: SshAgent, sent: bytes, *, take: bool) -> int:
    """Bytes that come back until the agent ends the connection; with `take` only when it has."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reader, writer = await asyncio.open_connection(sock=theirs)
    mine, out = await asyncio.open_connection(sock=ours, limit=4096)
    serving = asyncio.create_task(agent.serve(reader, writer))
    out.write(sent)
    taken = 0
    try:
        while take and (data := await mine.read(4096)):
            taken += len(data)
            if taken >= 5 * MAX_REFUSED:
                break
        await serving
    finally:
        writer.close()
        out.close()
    return taken


def test_a_connection_ends_after_many_refusals(keys: dict[str, object]) -> None:
    told = list[str]()
    agent = SshAgent((HERE,), Ring(keys["ed25519"], b""), lambda _, text: told.append(text))
    junk = string(request(b"key", b"data")) * (2 * MAX_REFUSED)
    assert asyncio.run(served(agent, junk, take=True)) == len(string(b"x")) * MAX_REFUSED
    assert len(told) == MAX_REFUSED


@pytest.mark.parametrize("sent", [b"\0", string(b"x" * 100)[:50], string(bytes([REQUEST_IDENTITIES])) * 200])
def test_who_neither_ends_a_message_nor_takes_an_answer_is_waited_for_a_while(
    keys: dict[str, object], sent: bytes
) -> None:
    ring = Ring(keys["ed25519"], b"")
    ring.public = b"k" * 65536  # long answers
    agent = SshAgent((HERE,), ring, lambda *_: None, message_seconds=0.05)
    with pytest.raises(TimeoutError):
        asyncio.run(served(agent, sent, take=False))


def test_the_history_tells_of_few_refusals_and_counts_the_others() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    told = [refusals.told(f"no {number}") for number in range(1000)]
    assert told == [f"no {number}" for number in range(MAX_REFUSALS)] + [None] * (1000 - MAX_REFUSALS)
    now = AGAIN_SECONDS
    assert refusals.told("no") == f"no ({1000 - MAX_REFUSALS} more were refused before it)"
    assert refusals.told("no") == "no"


def test_the_users_own_agent_and_known_hosts_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, object]
) -> None:
    server, revoked = public_of(keys["server"]), public_of(keys["stranger"])
    listed = (("", server), ("", revoked), ("@revoked ", revoked), ("@cert-authority ", public_of(keys["ed25519"])))
    lines = [f"{mark}git.example ssh-ed25519 {base64.b64encode(key).decode()}" for mark, key in listed]
    (tmp_path / "known").write_text("\n".join(lines) + "\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", tmp_path / "known"], check=True, capture_output=True)
    listening = tmp_path / "agent"
    (tmp_path / "config").write_text(
        f"UserKnownHostsFile {tmp_path / 'known'}\nGlobalKnownHostsFile none\nIdentityAgent {listening}\n"
        f"IdentityFile {tmp_path / 'locked'}\nIdentityFile {tmp_path / 'gone'}\n"
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "word", "-f", tmp_path / "locked"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "held"], check=True)
    monkeypatch.setenv("PYRO_SSH_CONFIG", str(tmp_path / "config"))
    with subprocess.Popen(["ssh-agent", "-D", "-a", listening], stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            running.stdout.readline()  # it listens
            add = ["ssh-add", "-q", str(tmp_path / "held")]
            subprocess.run(add, check=True, env={"SSH_AUTH_SOCK": str(listening), "PATH": "/usr/bin"})

            async def play() -> None:
                mine = UserKeys()
                assert await mine.host_keys(HERE) == {server}
                assert not await mine.host_keys(SshHost("other.example"))
                [key] = await mine.identities((HERE,))
                signature = await mine.sign(key, b"text", 0, bind(keys["server"], b"S"))
                assert proves(key, b"text", signature)
                with pytest.raises(Malformed, match="not a key of the user's"):
                    await mine.sign(server, b"text", 0, b"")

            asyncio.run(play())
        finally:
            running.terminate()


@pytest.mark.parametrize("text", ["git.example", "git@git.example", "git@git.example:2222", "h:1"])
def test_a_server_is_written_as_it_was_read(text: str) -> None:
    assert str(SshHost.parse(text)) == text
    assert Fields(string(b"x")).string() == b"x"
