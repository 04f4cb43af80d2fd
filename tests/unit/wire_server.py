"""A small server that speaks the daemon's wire, for tests of the client alone: each answer is scripted."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h11

from pyro_mcp.version import PROTOCOL, VERSION

CLOSE = object()
"""In a script: close the connection here, in the middle of the answer."""
Script = Callable[[str, dict[str, Any], dict[str, str]], Iterable[Any]]


class WireServer:
    """Answers `POST /v1/operations/NAME` with the lines that `script(name, arguments, headers)` gives."""

    def __init__(self, path: Path, script: Script, version: str = VERSION, protocol: int = PROTOCOL) -> None:
        self._script = script
        self._version = version
        self._protocol = protocol
        self.calls: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Close all connections, as a daemon that leaves does."""
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        http = h11.Connection(h11.SERVER)
        try:
            while self._exchange(connection, http):
                http.start_next_cycle()
        except OSError:
            pass
        connection.close()

    def _exchange(self, connection: socket.socket, http: h11.Connection) -> bool:
        request, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(connection.recv(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert request is not None
        connection.sendall(http.send(h11.Response(status_code=200, headers=[("transfer-encoding", "chunked")])))
        for line in self._lines(request, body):
            if line is CLOSE:
                return False
            raw = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            connection.sendall(http.send(h11.Data(data=raw)))
        connection.sendall(http.send(h11.EndOfMessage()))
        return True

    def _lines(self, request: h11.Request, body: bytes) -> Iterable[Any]:
        target = request.target.decode()
        if target == "/v1/health":
            return [{"pid": 1, "version": self._version, "protocol": self._protocol, "serves": self._protocol}]
        name = target.rpartition("/")[2]
        arguments = json.loads(body or b"{}")
        headers = {key.decode(): value.decode() for key, value in request.headers}
        self.calls.append((name, arguments, headers))
        return self._script(name, arguments, headers)
