"""Who may come in to the page: what a browser sends for a page of ours, and everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyro_mcp.operations import REGISTRY
from pyro_mcp.ui.allowed import ALLOWED
from pyro_mcp.ui.app import files
from pyro_mcp.ui.door import MAX_LINKS, MAX_SESSIONS, TOKEN_SECONDS, Door, Entry

HOST = (b"host", b"127.0.0.1:4000")


def _entered(door: Door) -> Entry:
    entry = door.enter(door.new_token())
    assert entry is not None
    return entry


def _headers(door: Door, entry: Entry, key: str | None = None) -> list[tuple[bytes, bytes]]:
    cookie = f"other=1; {door.cookie_name}={entry.cookie}"
    return [HOST, (b"cookie", cookie.encode()), (b"pyro-key", (key or entry.key).encode())]


def test_a_token_opens_once_and_not_for_ever() -> None:
    now = [0.0]
    door = Door(4000, clock=lambda: now[0])
    token = door.new_token()
    assert door.enter(token) is not None and door.enter(token) is None
    late = door.new_token()
    now[0] += TOKEN_SECONDS + 1
    assert door.enter(late) is None
    assert door.enter("") is None and door.enter("\udc80") is None


def test_cookie_and_key_open_together_only() -> None:
    door = Door(4000)
    one, two = _entered(door), _entered(door)
    assert door.opens(_headers(door, one)) and door.knows(_headers(door, two))
    assert not door.opens(_headers(door, one, two.key))  # of another browser
    assert not door.opens([HOST, (b"pyro-key", one.key.encode())])
    # What a guest's published service is sent, on another port of the same host, and what it may set there.
    assert not door.opens([HOST, (b"cookie", f"{door.cookie_name}={one.cookie}".encode())])
    tossed = f"{door.cookie_name}=of-a-guest; {door.cookie_name}={one.cookie}".encode()
    assert door.opens([HOST, (b"cookie", tossed), (b"pyro-key", one.key.encode())])
    assert not door.opens([*_headers(door, one), (b"pyro-key", b"x")])
    assert Door(4001).cookie_name != door.cookie_name


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([HOST], None),
        ([(b"host", b"localhost:4000")], None),
        ([(b"host", b"[::1]:4000")], None),
        ([(b"host", b"127.0.0.1")], None),
        ([], 421),
        ([HOST, HOST], 421),
        ([(b"host", b"evil.example:4000")], 421),
        ([(b"host", b"127.0.0.1.evil.example:4000")], 421),
        ([(b"host", b"127.0.0.1:4000@evil.example")], 421),
        ([(b"host", b"localhost.:4000")], 421),
        ([(b"host", b"")], 421),
        ([HOST, (b"origin", b"http://127.0.0.1:4000")], None),
        ([HOST, (b"origin", b"http://127.0.0.1:8080")], 403),  # a guest's published service
        ([HOST, (b"origin", b"http://localhost:4000")], 403),
        ([HOST, (b"origin", b"https://127.0.0.1:4000")], 403),
        ([HOST, (b"origin", b"null")], 403),
        ([HOST, (b"origin", b"http://127.0.0.1:4000"), (b"origin", b"null")], 403),
        ([HOST, (b"sec-fetch-site", b"none")], None),
        ([HOST, (b"sec-fetch-site", b"same-site")], 403),
        ([HOST, (b"sec-fetch-site", b"cross-site")], 403),
    ],
)
def test_host_origin_and_site(headers: list[tuple[bytes, bytes]], status: int | None) -> None:
    refusal = Door(4000).stranger(headers)
    assert (refusal.status if refusal else None) == status


def test_a_link_may_be_followed_from_anywhere() -> None:
    assert Door(4000).stranger([HOST, (b"sec-fetch-site", b"cross-site")], entering=True) is None
    assert Door(4000).stranger([(b"host", b"evil.example")], entering=True) is not None


def test_links_and_sessions_are_bounded() -> None:
    door = Door(4000)
    first = door.new_token()
    for _ in range(MAX_LINKS):
        door.new_token()
    assert door.enter(first) is None
    old = _entered(door)
    for _ in range(MAX_SESSIONS):
        _entered(door)
    assert not door.knows(_headers(door, old))


@given(st.lists(st.tuples(st.sampled_from([b"host", b"origin", b"cookie", b"pyro-key"]), st.binary(max_size=60))))
def test_whatever_is_sent_nobody_comes_in_by_chance(headers: list[tuple[bytes, bytes]]) -> None:
    door = Door(4000)
    _entered(door)
    door.stranger(headers)
    assert not door.knows(headers) and not door.opens(headers)


def test_the_page_reaches_nothing_outside_and_makes_no_markup_of_text() -> None:
    found = files()
    assert {"index.html", "enter.html", "app.js", "style.css"} <= found.keys()
    for name, body in found.items():
        text = body.decode()
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
        ):
            assert word not in text, name
        outside = [part for part in text.split("http")[1:] if part.startswith(("://", "s://"))]
        assert all(part.startswith(("://www.w3.org/2000/svg", "://localhost:${")) for part in outside), name
        if name.endswith(".html"):
            assert " style=" not in text and "onclick" not in text and "<style" not in text
            assert text.count("<script") == text.count('<script type="module" src="/static/')


@pytest.mark.parametrize("name", ALLOWED)
def test_what_the_page_may_ask_for_is_there_and_what_changes_anything_is_used(name: str) -> None:
    assert ALLOWED[name] <= set(REGISTRY[name].takes)
    scripts = b"".join(content for file, content in files().items() if file.endswith(".js"))
    used = any(f'{calls}("{name}"'.encode() in scripts for calls in ("call", "carried"))
    assert used or REGISTRY[name].read_only
