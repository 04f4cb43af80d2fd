"""Servers of a test's own that speak TLS by a name, and an authority that vouches for them."""

from __future__ import annotations

import base64
import contextlib
import http.server
import os
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from pyro_mcp.network.authority import Authority


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler], authority: Authority | None, name: str) -> Iterator[int]:
    """A server on this computer's loopback that proves to be `name`; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        if authority is not None:
            context = authority.server_context(name)
            running.socket = context.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
        with served(running):
            yield running.server_address[1]


@contextlib.contextmanager
def served(server: socketserver.BaseServer) -> Iterator[None]:
    """A server that answers meanwhile."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def git_server(root: Path, token: str, seen: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    """git-http-backend(1) for the repositories below `root`, for whoever has the token; `seen` gets each request."""
    basic = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            given = self.headers.get("Authorization", "")
            seen.append(f"{self.command} {self.path} {given}")
            body = self._body()
            if given not in (basic, f"Bearer {token}"):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": "someone",
            }
            done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = [line.partition(": ")[::2] for line in head.decode().splitlines()]
            status = next((int(value.split()[0]) for key, value in fields if key == "Status"), 200)
            self.send_response(status)
            for key, value in fields:
                if key != "Status":
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
