"""What an ssh agent is asked, and what signatures are made of. Pure: bytes in, records out.

Of RFC 4251 to 4253, draft-miller-ssh-agent, and OpenSSH's PROTOCOL and PROTOCOL.agent (`session-bind@openssh.com`,
`publickey-hostbound-v00@openssh.com`).
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes

FAILURE, SUCCESS = 5, 6
REQUEST_IDENTITIES, IDENTITIES_ANSWER, SIGN_REQUEST, SIGN_RESPONSE, EXTENSION = 11, 12, 13, 14, 27
SESSION_BIND = b"session-bind@openssh.com"
USERAUTH_REQUEST = 50
HOST_BOUND = b"publickey-hostbound-v00@openssh.com"
RSA_SHA2_256, RSA_SHA2_512 = 2, 4
"""Flags of a request to sign."""


class Malformed(Exception):
    """Not what the protocol says."""


class Fields:
    """Fields of a message, read one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise Malformed("it ends too soon")
        self._at += size
        return piece

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.number())

    def end(self) -> None:
        if self._at != len(self._data):
            raise Malformed("it goes on after its end")


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@dataclass(frozen=True)
class Bind:
    """A server has proved, with its key, that a session is with it."""

    host_key: bytes
    session: bytes
    signature: bytes
    forwarded: bool

    @classmethod
    def parse(cls, fields: Fields) -> Bind:
        found = cls(fields.string(), fields.string(), fields.string(), fields.byte() != 0)
        fields.end()
        return found


@dataclass(frozen=True)
class Login:
    """What is signed in order to log in."""

    session: bytes
    user: str
    key: bytes
    host_key: bytes | None
    """Of the newer form, which names the server within what is signed."""

    @classmethod
    def parse(cls, data: bytes) -> Login:
        """From the text to sign.

        Raises:
            Malformed: it is anything else than a login by a public key.
        """
        try:
            fields = Fields(data)
            session, kind, user = fields.string(), fields.byte(), fields.string().decode()
            service, method, signed = fields.string(), fields.string(), fields.byte()
            fields.string()
            key = fields.string()
            host_key = fields.string() if method == HOST_BOUND else None
            fields.end()
        except (Malformed, UnicodeDecodeError):
            raise Malformed("it is not a login by a key") from None
        known = method in (b"publickey", HOST_BOUND) and service == b"ssh-connection"
        if kind != USERAUTH_REQUEST or not known or signed != 1:
            raise Malformed("it is not a login by a key")
        return cls(session, user, key, host_key)


def fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` shows a key."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def kind_of(key: bytes) -> str:
    """What a public key calls itself."""
    try:
        return Fields(key).string().decode("ascii")
    except (Malformed, UnicodeDecodeError):
        return "?"


def _curve_hash(bits: int) -> hashes.HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256() if bits <= 256 else hashes.SHA384() if bits <= 384 else hashes.SHA512()


def proves(key: bytes, data: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's, of the data; keys of a kind that is not known prove nothing."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    try:
        fields = Fields(signature)
        kind, blob = fields.string(), fields.string()
        fields.end()
        public = load_ssh_public_key(kind_of(key).encode() + b" " + base64.b64encode(key))
        if isinstance(public, ed25519.Ed25519PublicKey) and kind == b"ssh-ed25519":
            public.verify(blob, data)
        elif isinstance(public, rsa.RSAPublicKey) and kind in (b"rsa-sha2-256", b"rsa-sha2-512"):
            digest = hashes.SHA512() if kind == b"rsa-sha2-512" else hashes.SHA256()
            public.verify(blob, data, padding.PKCS1v15(), digest)
        elif isinstance(public, ec.EllipticCurvePublicKey) and kind == kind_of(key).encode():
            pair = Fields(blob)
            r, s = (int.from_bytes(pair.string(), "big") for _ in range(2))
            pair.end()
            public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(_curve_hash(public.key_size)))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, Malformed, ValueError):
        return False
    return True


def public_of(private: object) -> bytes:
    """A private key's public one, as the protocol writes it.

    Raises:
        Malformed: no kind that signs here.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if not isinstance(private, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise Malformed("a kind of key that does not sign here")
    text = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(text.split()[1])


def sign(private: object, data: bytes, flags: int) -> bytes:
    """A signature, as the protocol writes it.

    Raises:
        Malformed: this key does not sign in that way.
    """
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

    if isinstance(private, ed25519.Ed25519PrivateKey):
        return string(b"ssh-ed25519") + string(private.sign(data))
    if isinstance(private, rsa.RSAPrivateKey) and flags & (RSA_SHA2_256 | RSA_SHA2_512):
        long = bool(flags & RSA_SHA2_512)
        digest: hashes.HashAlgorithm = hashes.SHA512() if long else hashes.SHA256()
        signature = private.sign(data, padding.PKCS1v15(), digest)
        return string(b"rsa-sha2-512" if long else b"rsa-sha2-256") + string(signature)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        pair = utils.decode_dss_signature(private.sign(data, ec.ECDSA(_curve_hash(private.key_size))))
        blob = b"".join(string(n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in pair)
        return string(kind_of(public_of(private)).encode()) + string(blob)
    raise Malformed("a signature that is not made any more")
