"""Attempts through the egress proxy, which is the only way out of a machine: no spelling of an inside address gets in."""

from __future__ import annotations

import json

from tests.isolation.attempts import ATTEMPTS, Arena, Attempt

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
