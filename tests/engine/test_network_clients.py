"""Real clients reach a TLS server by its name, whoever runs them, without variables: the table of docs/network.md."""

from __future__ import annotations

import http.server
from pathlib import Path

from pyro_mcp.network.authority import Authority
from pyro_mcp.sdk import Pyro
from tests.clients import python_script, tried
from tests.engine.test_network_policy import index_host
from tests.support import Installation
from tests.tls import serving

HOST = "host.pyro.internal"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "network.md"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PYTHON = {
    "python http.client": "import http.client,ssl;c=http.client.HTTPSConnection('{h}',{p},timeout=20);"
    "c.request('GET','/');print(c.getresponse().read().decode())",
    "python urllib.request": "import urllib.request as u;print(u.urlopen('https://{h}:{p}/',timeout=20).read().decode())",
    "python socket and ssl": "import socket,ssl;s=ssl.create_default_context().wrap_socket(socket.create_connection("
    "('{h}',{p}),20),server_hostname='{h}');s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n');\n"
    "d=b''\nwhile b:=s.recv(999): d+=b\nprint(d.decode())",
    "python asyncio": "import asyncio\nasync def f():\n r,w=await asyncio.open_connection('{h}',{p},ssl=True)\n"
    " w.write(b'GET / HTTP/1.0\\r\\n\\r\\n'); print((await r.read()).decode())\nasyncio.run(f())",
    "urllib3": "import urllib3;print(urllib3.PoolManager(ca_certs='{b}').request('GET','https://{h}:{p}/').data.decode())",
    "requests": "import requests;print(requests.get('https://{h}:{p}/',verify='{b}',timeout=20).text)",
    "httpx": "import httpx,ssl;print(httpx.get('https://{h}:{p}/',verify=ssl.create_default_context()).text)",
    "aiohttp": "import asyncio,aiohttp\nasync def f():\n async with aiohttp.ClientSession() as s:\n"
    "  async with s.get('https://{h}:{p}/') as r: print(await r.text())\nasyncio.run(f())",
}
PROGRAMS = {
    "curl": "curl -sS -m 20 https://{h}:{p}/",
    "wget": "wget -q -T 20 -O - https://{h}:{p}/",
    "openssl s_client": "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error "
    "-CAfile {b} -servername {h} -connect {h}:{p} 2>/dev/null",
    "perl IO::Socket": 'perl -MIO::Socket::INET -e \'$s=IO::Socket::INET->new(PeerAddr=>"{h}:{q}") or die $!;'
    'print $s "GET / HTTP/1.0\\r\\n\\r\\n"; print <$s>\'',
    "nc": "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 10 {h} {q}",
    "bash /dev/tcp": "exec 3<>/dev/tcp/{h}/{q}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3",
    "git https": "git ls-remote https://{h}:{p}/x.git",
}
WAYS = {
    "as it is": "bash {f}",
    "env -i": "env -i PYTHONPATH=/tmp/p bash {f}",
    "another user": "su nobody -s /bin/bash -c 'PYTHONPATH=/tmp/p bash {f}'",
    "sudo": "sudo -u nobody env PYTHONPATH=/tmp/p bash {f}",
}


def test_clients_find_their_way(authority: Authority, fresh: Installation) -> None:
    index = index_host()
    said = b"this computer answers"

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = said
            if "git-upload-pack" in self.path:
                body = b"001e# service=git-upload-pack\n00000041" + b"1" * 40 + b" refs/heads/answers\0\n0000"
            self.send_response(200)
            if "git-upload-pack" in self.path:
                self.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Server, authority, HOST) as tls, serving(Server, None, HOST) as plain, Pyro() as pyro:
        ws = pyro.create_workspace(network_policy="egress", allow_host_ports=[str(tls), str(plain)]).id
        install = (
            "PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) python3 -m pip install -q --target /tmp/p "
            f"urllib3 httpx aiohttp requests >/tmp/log 2>&1; tail -3 /tmp/log; curl -sS -o /dev/null https://{index}/"
        )
        installed = pyro.exec_workspace(ws, install, timeout_seconds=300, wait_seconds=50)
        if installed.status == "running":
            installed = pyro.exec_workspace(ws, "ls /tmp/p; cat /tmp/log")
        facts = {"h": HOST, "p": str(tls), "q": str(plain), "b": BUNDLE}
        clients = PROGRAMS | {name: python_script(text) for name, text in PYTHON.items()}
        done = tried(pyro, ws, clients, WAYS, facts)
        lines = done.stdout.splitlines()
        assert not [line for line in lines if line.startswith("NO")], (lines, installed)
        assert len([line for line in lines if line.startswith("ok")]) == len(clients) * len(WAYS), done
        assert not done.refused
        pyro.delete_workspace(ws)
    table = DOCS.read_text()
    assert all(f"| {name} |" in table for name in clients), "docs/network.md has the table"
