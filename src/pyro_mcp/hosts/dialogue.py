"""Talks to a server as a host does: starts its command, shakes hands, lists and calls tools. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_mcp.errors import EngineError
from pyro_mcp.version import VERSION

REVISION = "2025-06-18"


def failed(message: str) -> EngineError:
    """The server did not do what a host needs."""
    return EngineError(message, code="server_failed")


class Dialogue:
    """One server process; a context manager. Every wait ends."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], directory: Path, *, timeout_seconds: float = 60.0
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._buffer = b""
        self._next = 0
        try:
            self._process = subprocess.Popen(
                list(argv),
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            self._errors.close()
            raise failed(f"{argv[0]} could not be started: {error.strerror}.") from None

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        assert process.stdin and process.stdout
        with contextlib.suppress(OSError):  # what was not sent has nobody to read it
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._errors.close()

    def initialize(self) -> dict[str, Any]:
        """The handshake; gives what the server says of itself."""
        client = {"name": "pyro-doctor", "version": VERSION}
        answer = self.request(
            "initialize", {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}, timeout_seconds=30.0
        )
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def tools(self) -> list[str]:
        return [str(tool["name"]) for tool in self.request("tools/list", {})["tools"]]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """A tool's structured result.

        Raises:
            EngineError: the tool failed; the message says how.
        """
        result = self.request("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            text = " ".join(str(part.get("text", "")) for part in result.get("content") or ())
            raise failed(f"{tool} failed: {text[:600]}")
        return dict(result.get("structuredContent") or {})

    def request(self, method: str, params: dict[str, Any], *, timeout_seconds: float | None = None) -> dict[str, Any]:
        """One request and its answer; what else the server says meanwhile is passed over."""
        self._next += 1
        self._send({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params})
        deadline = time.monotonic() + (timeout_seconds or self.timeout_seconds)
        while True:
            message = self._receive(method, deadline)
            if message.get("id") == self._next and "method" not in message:
                break
        if "error" in message:
            raise failed(f"{method} was answered with an error: {message['error'].get('message')}")
        return dict(message.get("result") or {})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it has ended; what it wrote until then tells why, and is read next

    def _receive(self, method: str, deadline: float) -> dict[str, Any]:
        assert self._process.stdout
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise failed(f"The server did not answer {method} in time.")
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                raise self._ended()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError:
            raise failed(f"The server wrote something other than messages: {line[:200]!r}") from None
        return message if isinstance(message, dict) else {}

    def _ended(self) -> EngineError:
        try:
            status: int | str = self._process.wait(5)
        except subprocess.TimeoutExpired:
            status = "still running"
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-600:]
        return failed(f"The server exited early (status {status}): {said or 'it printed nothing'}")
