"""The page's door as it is served: token, cookie, key, Host, Origin, methods, paths; and that it shows no more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.sdk import Pyro
from tests.support import Installation
from tests.ui.page import Served, served


class _Browser:
    """What a browser would keep of the entry."""

    def __init__(self, page: Served) -> None:
        status, headers, body = page.ask(page.entry)
        assert status == 200
        self.set_cookie = headers["set-cookie"]
        found = re.search(rb'name="pyro-key" content="([A-Za-z0-9_-]+)"', body)
        assert found
        self.cookie, self.key = self.set_cookie.split(";")[0], found[1].decode()
        self.both: dict[str, Any] = {"cookie": self.cookie, "pyro_key": self.key}


def _call(page: Served, browser: _Browser, name: str, arguments: object, **more: Any) -> tuple[int, dict[str, object]]:
    headers: dict[str, Any] = {**browser.both, "content_type": "application/json", **more}
    status, _, body = page.ask(f"/api/do/{name}", "POST", json.dumps(arguments).encode(), **headers)
    return status, json.loads(body) if body.startswith(b"{") else {}


def test_only_a_browser_that_followed_the_link_comes_in(installation: Installation) -> None:
    with served() as page:
        # Nothing without the link, whatever is asked; nothing is told either.
        for path in ("/", "/w/x", "/static/app.js", "/api/feed", "/api/do/list_workspaces", "/enter.html", "/?token=x"):
            status, headers, body = page.ask(path)
            assert status in (401, 403) and b"pyro-key" not in body
            assert "set-cookie" not in headers
        assert page.ask(page.entry, "HEAD")[0] == 405 and page.ask(page.entry, sec_purpose="prefetch")[0] == 503
        browser = _Browser(page)
        assert "HttpOnly" in browser.set_cookie and "SameSite=Strict" in browser.set_cookie
        again = page.ask(page.entry)
        assert again[0] == 403 and b"once" in again[2] and "set-cookie" not in again[1]

        status, headers, body = page.ask("/", cookie=browser.cookie)
        assert status == 200 and b'src="/static/app.js"' in body
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"

        names: list[dict[str, Any]] = [{"host": "evil.example"}, {"host": f"pyro.evil.example:{page.port}"}]
        for strange in names:
            assert page.ask("/", cookie=browser.cookie, **strange)[0] == 421
        pages: list[dict[str, Any]] = [
            {"origin": "http://127.0.0.1:1"},
            {"origin": "null"},
            {"sec_fetch_site": "same-site"},
        ]
        for strange in pages:
            assert page.ask("/", cookie=browser.cookie, **strange)[0] == 403
            assert _call(page, browser, "list_questions", {}, **strange)[0] == 403
        # The cookie alone is what a guest's published service may be sent: it tells and does nothing.
        assert page.ask("/api/feed", cookie=browser.cookie)[0] == 401
        assert page.ask("/api/feed", cookie=browser.cookie, pyro_key="x" * 43)[0] == 401
        assert page.ask("/api/feed", pyro_key=browser.key)[0] == 401


def _raw(page: Served, browser: _Browser, path: str, method: str = "GET") -> int:
    return page.ask(path, method, **browser.both)[0]


def test_paths_methods_and_bodies(installation: Installation) -> None:
    with served("--port", "0") as page:
        browser = _Browser(page)
        for path in (
            *("/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/"),
            *("/static/enter.html", "/etc/passwd", "/..", "//", "/static/app.js%00", "/api/do/", "/api/"),
        ):
            status, _, body = page.ask(path, **browser.both)
            assert status == 404 or (status == 200 and b"/static/app.js" in body), path
            assert b"import" not in body and b"root:" not in body
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert _raw(page, browser, "/", method) == 405
        assert _raw(page, browser, "/", "POST") == 405
        assert _raw(page, browser, "/api/do/list_questions") == 404

        assert _call(page, browser, "list_questions", {}) == (200, {"result": {"questions": []}})
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert _call(page, browser, "list_questions", {}, content_type=kind)[0] == 415
        for name, arguments in (
            ("exec_workspace", {"workspace": "x", "command": ["true"]}),  # no operation of the page
            ("run_in_vm", {}),
            ("__class__", {}),
            ("create_workspace", {"secret_files": {"A": "/etc/shadow"}}),  # nor this parameter
            ("create_workspace", {"allow_host_ports": ["22"]}),
            ("list_questions", []),
            ("list_questions", {"wait_seconds": 300}),
            ("diff_workspace", {"workspace": 5}),
        ):
            status, said = _call(page, browser, name, arguments)
            assert status == 400 and "error" in said, (name, said)
        headers: dict[str, Any] = {**browser.both, "content_type": "application/json"}
        for body in (b"{", b"\xff", b"[" * 100_000, b'{"a":' * 5000):
            assert page.ask("/api/do/list_questions", "POST", body, **headers)[0] == 400
        assert page.ask("/api/do/list_questions", "POST", b" " * (4 << 20) + b"{}", **headers)[0] == 400


def test_it_listens_on_loopback_alone_and_an_odd_port_is_refused(installation: Installation) -> None:
    with served() as page:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        listening = [line.split()[1] for line in lines if line.split()[3] == "0A"]
        mine = [address for address in listening if int(address.split(":")[1], 16) == page.port]
        assert mine == [f"0100007F:{page.port:04X}"]
        with pytest.raises(AssertionError, match="Cannot listen on"), served("--port", str(page.port)):
            pass


def test_looking_leaves_no_trace_and_keeps_nothing_in_use(pyro: Pyro, workspace: str) -> None:
    before = pyro.status_workspace(workspace).last_activity_at
    done = len(pyro.history_workspace(workspace).events)
    with served() as page:
        browser = _Browser(page)
        for name in ("diff_workspace", "list_workspace_files", "history_workspace", "logs_workspace", "list_services"):
            assert _call(page, browser, name, {"workspace": workspace})[0] == 200
    assert len(pyro.history_workspace(workspace).events) == done
    assert pyro.status_workspace(workspace).last_activity_at == before


def test_the_values_of_secrets_are_masked_in_what_it_shows(pyro: Pyro) -> None:
    made = pyro.create_workspace("debian:12", secrets={"TOKEN": "open-sesame-1234"})
    pyro.exec_workspace(made.id, 'echo "$T" > f; echo "$T"', secret_env={"T": "TOKEN"})
    with served() as page:
        browser = _Browser(page)
        for name, more in (("diff_workspace", {}), ("read_workspace_file", {"path": "f"}), ("history_workspace", {})):
            status, said = _call(page, browser, name, {"workspace": made.id, **more})
            assert status == 200 and "open-sesame" not in json.dumps(said)
