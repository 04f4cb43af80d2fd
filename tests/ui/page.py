"""The page as a person gets it: `pyro ui` as a process, and its link."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit


class Served:
    """A `pyro ui` that runs."""

    def __init__(self, link: str) -> None:
        self.link = link
        parts = urlsplit(link)
        self.port = int(parts.port or 0)
        self.origin = f"http://{parts.netloc}"
        self.entry = f"{parts.path}?{parts.query}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """One request; `_` in a header's name stands for `-`, and a header of None is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            given: dict[str, Any] = {"host": f"127.0.0.1:{self.port}"} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@contextlib.contextmanager
def served(*options: str) -> Iterator[Served]:
    """`pyro ui`, ended by SIGTERM afterwards."""
    command = [sys.executable, "-m", "pyro_mcp", "ui", *options]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, **pipes)
    try:
        assert process.stdout is not None and process.stderr is not None
        link = process.stdout.readline().strip()
        assert link.startswith("http://127.0.0.1:"), process.stderr.read()
        yield Served(link)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
