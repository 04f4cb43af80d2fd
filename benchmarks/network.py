"""What the way out costs: one program inside and on this computer, to one server on this computer's loopback."""

from __future__ import annotations

import contextlib
import socketserver
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator

from benchmarks.measure import Row, Table
from pyro_mcp.sdk import Pyro

SIZE = 64 << 20
CLIENT = f"""
import socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
def one(word, size):
    with socket.create_connection((host, port), 30) as s:
        s.sendall(word)
        while size > 0: size -= len(s.recv(1 << 20))
one(b"c", 1)
begun = time.perf_counter()
for _ in range(50): one(b"c", 1)
print((time.perf_counter() - begun) * 20)
begun = time.perf_counter()
one(b"d", {SIZE})
print({SIZE >> 20} / (time.perf_counter() - begun))
"""
"""Prints milliseconds for each connection with its first byte back, and MiB a second of a download."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"x" if self.request.recv(1) == b"c" else bytes(SIZE))


@contextlib.contextmanager
def _serving() -> Iterator[int]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def network_rows(table: Table, pyro: Pyro) -> None:
    """A connection's set-up, and throughput; inside and directly by turns."""
    print("  connections out …", file=sys.stderr, flush=True)
    with _serving() as port:
        ws = pyro.create_workspace(network_policy="egress", allow_domains=["none"], allow_host_ports=[str(port)]).id
        inside: list[list[float]] = []
        direct: list[list[float]] = []
        for _ in range(max(3, table.runs // 2)):
            said = pyro.exec_workspace(ws, ["python3", "-c", CLIENT, "host.pyro.internal", str(port)]).stdout
            inside.append([float(word) for word in said.split()])
            words = [sys.executable, "-c", CLIENT, "127.0.0.1", str(port)]
            here = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            direct.append([float(word) for word in here.split()])
        pyro.delete_workspace(ws)

    def median(rows: list[list[float]], column: int) -> float:
        return statistics.median(row[column] for row in rows)

    added = median(inside, 0) - median(direct, 0)
    name = "loopback of this computer"
    out = Row("connection out, first byte back", median(inside, 0), None, name, median(direct, 0), "≤ 2 ms added")
    out.samples, out.baseline_samples = [row[0] for row in inside], [row[0] for row in direct]
    table.add(out)
    table.add(Row("of which added by the way out", added))
    table.add(Row("download", median(inside, 1), None, name, median(direct, 1), "≥ 0.5", unit="MiB/s"))
