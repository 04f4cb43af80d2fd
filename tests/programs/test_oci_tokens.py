"""Registries that give bearer tokens: Debian's docker-registry, and a token server of this test's own."""

from __future__ import annotations

import base64
import datetime
import http.server
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pyro_mcp.environments.cache import EnvironmentCache
from pyro_mcp.environments.oci import credentials
from pyro_mcp.environments.oci.pull import pull
from pyro_mcp.environments.oci.reference import parse
from pyro_mcp.environments.oci.registry import Registry, _challenges
from pyro_mcp.errors import NotPermitted
from tests.images import layer, layout, member, needs, push, registry


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def basic(user: str, secret: str) -> str:
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


@dataclass
class Tokens:
    """The token server: anybody may pull below `open/`, `me` below `team/` as well; who pushes must be `me`."""

    address: str = ""
    certificate: bytes = b""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    """Method, what was asked for, and the login."""
    answer: bytes | None = None
    """Instead of a token."""

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(serialization.Encoding.PEM)
        self.der = made.public_bytes(serialization.Encoding.DER)

    def token(self, scope: str, who: str) -> str:
        access = []
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and (who == "me" or name.startswith("open/")):
            allowed = actions.split(",") if who == "me" else ["pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self.der).decode()]}
        body = {"iss": "tests", "sub": who, "aud": "test", "exp": now + 600, "nbf": now - 60, "iat": now, "jti": "1"}
        signed = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body | {'access': access}).encode())}"
        return f"{signed}.{b64(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def serve(self, method: str, query: dict[str, str], login: str) -> tuple[int, bytes]:
        self.asked.append((method, query, login))
        if self.answer is not None:
            return 200, self.answer
        who = "me" if login == f"Basic {basic('me', 'secret')}" or query.get("refresh_token") == "identity" else ""
        if login and not who:
            return 401, b""
        name = "access_token" if method == "POST" else "token"
        return 200, json.dumps({name: self.token(query.get("scope", ""), who)}).encode()


@pytest.fixture(scope="module")
def tokens() -> Iterator[Tokens]:
    found = Tokens()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            self.answer(urllib.parse.urlsplit(self.path).query)

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def answer(self, text: str) -> None:
            query = dict(urllib.parse.parse_qsl(text))
            code, body = found.serve(self.command, query, self.headers.get("Authorization", ""))
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.address = f"http://127.0.0.1:{server.server_port}/token?account=kept"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def served(tokens: Tokens, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs("skopeo", "docker-registry")
    place = tmp_path_factory.mktemp("tokens")
    (place / "tokens.pem").write_bytes(tokens.certificate)
    layout(place / "app", [layer(member("f", b"one"))])
    with registry(place, tokens=tokens.address) as host:
        for name in ("open/app:1", "team/app:1"):
            push(f"oci:{place}/app:latest", f"{host}/{name}", "--dest-creds=me:secret")
        yield host


@pytest.fixture
def logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes what `docker login` would."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    (tmp_path / "docker").mkdir()

    def write(**auths: dict[str, str]) -> None:
        (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": auths}))

    yield write


def got(cache: EnvironmentCache, name: str) -> str:
    found = pull(parse(name), cache, "", lambda text, fraction: None)
    return (cache.tree(found.digest) / "f").read_text()


def test_tokens_for_anybody_for_who_is_logged_in_and_for_nobody_else(
    tokens: Tokens, served: str, tmp_path: Path, logins: Any
) -> None:
    cache = EnvironmentCache(tmp_path / "cache")
    tokens.asked.clear()
    assert got(cache, f"{served}/open/app:1") == "one"
    assert len(tokens.asked) == 1, "one token does for manifest, configuration and layers"
    method, query, login = tokens.asked[0]
    assert (method, login, query["scope"], query["account"]) == ("GET", "", "repository:open/app:pull", "kept")
    with pytest.raises(NotPermitted, match="log in"):
        got(cache, f"{served}/team/app:1")
    logins(**{served: {"auth": basic("me", "wrong")}})
    with pytest.raises(NotPermitted) as refused:
        got(cache, f"{served}/team/app:1")
    assert "wrong" not in str(refused.value)
    logins(**{served: {"auth": basic("me", "secret")}})
    assert got(cache, f"{served}/team/app:1") == "one"
    # An identity token, as `docker login` keeps one of a cloud; and a login for a part of the registry, as Podman's.
    logins(**{served: {"identitytoken": "identity"}})
    assert got(EnvironmentCache(tmp_path / "2"), f"{served}/team/app:1") == "one"
    assert tokens.asked[-1][0] == "POST" and tokens.asked[-1][1]["grant_type"] == "refresh_token"
    logins(**{served: {"auth": basic("a", "b")}, f"{served}/team": {"auth": basic("me", "secret")}})
    assert got(EnvironmentCache(tmp_path / "3"), f"{served}/team/app:1") == "one"
    assert credentials.find(served, "teams/app") == credentials.Login("a", "b")


ODD = (
    b"",
    b"[]",
    b"null",
    b"{",
    b'{"token": 1}',
    b'{"token": "a\\nb"}',
    b'{"token": "\\u00e9"}',
    b'"' + b"x" * 300_000,
)


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_token_is_a_refusal_in_words(tokens: Tokens, served: str, tmp_path: Path, answer: bytes) -> None:
    tokens.answer = answer
    try:
        with pytest.raises(NotPermitted, match="log in"):
            got(EnvironmentCache(tmp_path / "cache"), f"{served}/open/app:1")
    finally:
        tokens.answer = None


def test_a_registry_may_offer_two_ways_and_the_token_is_taken() -> None:
    bearer = {"realm": "https://a.b/t", "service": "s, x"}
    for text in (
        'Bearer realm="https://a.b/t",service="s, x", Basic realm="Registry Realm"',
        'Basic realm="Registry Realm", Bearer realm="https://a.b/t", service="s, x"',
        'basic realm=plain , bearer realm = "https://a.b/t" , service="s, x"',
    ):
        assert _challenges(text)["bearer"] == bearer and "basic" in _challenges(text)
    assert _challenges("") == {} and _challenges('Negotiate realm="x"') == {} and _challenges("Basic") == {"basic": {}}


@pytest.mark.parametrize(
    "realm", ["http://127.0.0.1:1/t", "http://[::1", "file:///etc/passwd", "", "https://[x", "//a/b"]
)
def test_no_login_goes_where_it_should_not(realm: str) -> None:
    far = Registry(parse("registry.example.com/a:1"))
    with pytest.raises(NotPermitted):
        far._log_in(f'Bearer realm="{realm}",service="s"')
