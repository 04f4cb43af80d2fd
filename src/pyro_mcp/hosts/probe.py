"""Asks a host what it gives its model, by being the model: an endpoint on loopback that reads one request.

No answer is given that a host could act on, nothing leaves this computer, and no credential is used. The request says
what the configuration really amounts to: the host's own tools that are left, and whether pyro's have arrived.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyro_mcp.hosts.base import Host, Seen

KEY = "none"
"""What stands where a host insists on a credential."""
MAX_BODY = 32 * 1024 * 1024
_SAID = b'{"error": {"type": "invalid_request_error", "message": "pyro only looks"}}'


def names(tool: Any, before: str = "") -> list[str]:
    """The names in one tool of a model request: Messages, Responses (with name spaces) or chat completions."""
    if not isinstance(tool, dict):
        return []
    inner = tool.get("function")
    name = str(tool.get("name") or (inner.get("name") if isinstance(inner, dict) else "") or tool.get("type", ""))
    if isinstance(tool.get("tools"), list):
        return [found for each in tool["tools"] for found in names(each, f"{before}{name}__")]
    return [before + name]


def look(host: Host, project: Path, *, timeout_seconds: float = 45.0) -> tuple[Seen | None, str]:
    """Start the host in a project until it has shown what it gives its model; else the reason in words."""
    seen: list[Seen] = []
    done = threading.Event()

    def notice(found: Seen | None) -> None:
        if found is not None and not seen:
            seen.append(found)
            done.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MAX_BODY))
            try:
                request = json.loads(body)
            except ValueError:
                request = None
            if isinstance(request, dict):
                notice(host.seen(request))
            self._answer(400)

        def do_GET(self) -> None:
            self._answer(404)

        do_HEAD = do_GET

        def _answer(self, status: int) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(_SAID)))
                self.end_headers()
                self.wfile.write(_SAID)
            except OSError:
                pass  # the host was ended meanwhile

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        tempfile.TemporaryFile() as errors,
        tempfile.TemporaryDirectory(prefix="pyro-probe-", ignore_cleanup_errors=True) as scratch,
    ):
        threading.Thread(target=server.serve_forever, name="probe", daemon=True).start()
        launch = host.launch(f"http://127.0.0.1:{server.server_port}", Path(scratch))
        process = subprocess.Popen(
            launch.argv,
            cwd=project,
            env={**os.environ, **launch.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )

        def read_lines() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                notice(host.seen_line(line))
            done.set()

        reader = threading.Thread(target=read_lines, name="lines", daemon=True)
        reader.start()
        try:
            done.wait(timeout_seconds)
        finally:
            _end(process)
            reader.join(5)
            server.shutdown()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()[-800:]
    return (seen[0], "") if seen else (None, said or f"it did not call a model within {timeout_seconds:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its whole group: a host starts its servers in there."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        try:
            process.wait(5)
            return
        except subprocess.TimeoutExpired:
            continue
