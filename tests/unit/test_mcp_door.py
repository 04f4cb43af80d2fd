"""Who comes in over HTTP: tokens, Host, Origin. Everything else is refused before the library sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, NotFound, NotPermitted
from pyro_mcp.mcp.door import TOKEN_VARIABLE, Door, find_token, host_of, new_token

TOKEN = "a-token-of-some-length"
DOOR = Door.with_token(TOKEN, ["Pyro.example."])


def status(*headers: tuple[str, str], address: str | None = "127.0.0.1", token: str | None = TOKEN) -> int | None:
    said = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    if token is not None:
        said.append((b"authorization", f"Bearer {token}".encode()))
    refusal = DOOR.refusal(said, address)
    return None if refusal is None else refusal.status


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost:1", "LOCALHOST", "pyro.example:443"])
def test_its_own_names_are_taken(host: str) -> None:
    assert status(("host", host)) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "10.0.0.1",
        "[::1]",
        "",
        "a b",
        "user@127.0.0.1",
    ],
)
def test_other_hosts_are_not(host: str) -> None:
    assert status(("host", host)) == 421


def test_a_host_is_needed_and_only_one() -> None:
    assert status() == 421
    assert status(("host", "127.0.0.1"), ("host", "evil.example")) == 421


def test_the_address_of_the_connection_counts() -> None:
    assert status(("host", "[::1]:8080"), address="::1") is None
    assert status(("host", "192.0.2.7:8080"), address="192.0.2.7") is None
    assert status(("host", "localhost"), address="192.0.2.7") == 421
    assert status(("host", "127.0.0.1"), address=None) == 421


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        ("http://127.0.0.1:5000", None),
        ("https://localhost", None),
        ("https://pyro.example", None),
        ("http://evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("file://127.0.0.1", 403),
        ("127.0.0.1", 403),
    ],
)
def test_a_page_of_somebody_else_is_refused(origin: str, wanted: int | None) -> None:
    assert status(("host", "127.0.0.1"), ("origin", origin)) == wanted


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper()])
def test_without_the_token_nobody_comes_in(token: str | None) -> None:
    assert status(("host", "127.0.0.1"), token=token) == 401


@pytest.mark.parametrize(
    "authorization", [f"Basic {TOKEN}", TOKEN, f"Bearer{TOKEN}", "Bearer", f"Token {TOKEN}", "Bearer \xff"]
)
def test_only_a_bearer_token_is_one(authorization: str) -> None:
    assert not DOOR.opens(authorization)
    assert DOOR.opens(f"bearer {TOKEN}")


def test_two_tokens_are_none() -> None:
    assert status(("host", "127.0.0.1"), ("authorization", f"Bearer {TOKEN}")) == 401


def test_hosts_are_taken_apart() -> None:
    assert [host_of(text) for text in ("A.b.:1", "[::1]:2", "[::1]", "::1", "a:b", "a/b")] == [
        "a.b",
        "::1",
        "::1",
        None,
        None,
        None,
    ]


# -- where the token comes from


def test_a_new_token_is_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "token"
    before = os.umask(0)
    try:
        token = new_token(str(file))
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 43
    assert find_token({}, str(file)) == token
    with pytest.raises(Conflict):
        new_token(str(file))
    assert find_token({}, str(file)) == token


def test_the_environment_gives_it_once_and_the_daemon_does_not_inherit_it() -> None:
    environment = {TOKEN_VARIABLE: TOKEN, "HOME": "/"}
    assert find_token(environment, None) == TOKEN
    assert environment == {"HOME": "/"}
    with pytest.raises(InvalidInput, match="needs a bearer token") as caught:
        find_token(environment, None)
    assert "--new-token" in caught.value.hint


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o640)
    with pytest.raises(NotPermitted) as caught:
        find_token({}, str(file))
    assert "chmod 600" in caught.value.hint
    with pytest.raises(NotFound):
        find_token({}, str(tmp_path / "none"))


@pytest.mark.parametrize("token", ["short", "with a space in the middle", "ümlaute-in-a-token", "x" * 15])
def test_a_token_that_could_be_guessed_or_cut_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="16 characters"):
        find_token({TOKEN_VARIABLE: token}, None)
