"""Firecracker's API on its unix socket: HTTP/1.1, one short connection per request."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h11

from pyro_mcp.errors import EngineError
from pyro_mcp.guest.duplex import Streams
from pyro_mcp.http1 import READ_SIZE, next_event
from pyro_mcp.machines.arrival import Arrival

API_SECONDS = 10.0
_LARGEST_ANSWER = 1024 * 1024


async def open_socket(path: Path) -> Streams:
    """Connect to a unix socket, and to no other that a link at its place leads to.

    Through a descriptor, so its path may be longer than the 108 bytes of sun_path (unix(7)).
    """
    socket = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{socket}")
    finally:
        os.close(socket)


async def wait_for_socket(path: Path, alive: Callable[[], bool], seconds: float = API_SECONDS) -> None:
    """Wait until something listens at `path`.

    Raises:
        EngineError: it did not, or `alive` says that nothing ever will.
    """
    arrival = Arrival(path.parent)
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    _, writer = await open_socket(path)
                except (FileNotFoundError, ConnectionRefusedError):
                    pass
                else:
                    writer.close()
                    return
                if not alive():
                    raise EngineError("Firecracker exited as soon as it started.", code="firecracker_ended")
                try:
                    async with asyncio.timeout(0.005 if path.exists() else 0.25):
                        await arrival.something()
                except TimeoutError:
                    continue
    except TimeoutError:
        raise EngineError(f"Firecracker did not answer within {seconds:.0f} s.", code="firecracker_timeout") from None
    finally:
        arrival.close()


class Vmm:
    """One Firecracker process, as its API shows it."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def put(self, path: str, body: dict[str, Any], seconds: float = API_SECONDS) -> None:
        await self._request("PUT", path, body, seconds)

    async def patch(self, path: str, body: dict[str, Any], seconds: float = API_SECONDS) -> None:
        await self._request("PATCH", path, body, seconds)

    async def state(self, seconds: float = API_SECONDS) -> str:
        """Not started, Running or Paused."""
        return str((await self._request("GET", "/", None, seconds)).get("state", ""))

    async def pause(self) -> None:
        await self.patch("/vm", {"state": "Paused"})

    async def resume(self) -> None:
        await self.patch("/vm", {"state": "Resumed"})

    async def _request(self, method: str, path: str, body: Any, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(seconds):
                status, answer = await self._exchange(method, path, body)
        except TimeoutError:
            raise EngineError(
                f"Firecracker did not carry out {method} {path} within {seconds:.0f} s.",
                hint="This computer may be short of memory or CPU. Try again.",
                code="firecracker_timeout",
            ) from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise EngineError(f"Firecracker's connection broke at {method} {path}: {error}.") from error
        try:
            record = json.loads(answer) if answer else {}
        except ValueError:
            record = {}
        if status >= 300:
            raise EngineError(
                f"Firecracker refused {method} {path}: {record.get('fault_message', status)}",
                hint="`pyro doctor` boots a machine and shows what this computer lacks.",
                code="firecracker_refused",
            )
        return record if isinstance(record, dict) else {}

    async def _exchange(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        reader, writer = await open_socket(self._socket)
        try:
            http = h11.Connection(h11.CLIENT)
            content = json.dumps(body).encode() if body is not None else b""
            headers = [("Host", "firecracker"), ("Accept", "application/json")]
            if content:
                headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
            data = http.send(h11.Request(method=method, target=path, headers=headers)) or b""
            data += (http.send(h11.Data(data=content)) or b"") if content else b""
            data += http.send(h11.EndOfMessage()) or b""
            writer.write(data)
            await writer.drain()
            status, parts, size = 0, [], 0
            while True:
                event = await next_event(http, lambda: reader.read(READ_SIZE))
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    parts.append(bytes(event.data))
                    size += len(parts[-1])
                    if size > _LARGEST_ANSWER:
                        raise OSError("its answer is too long")
                elif isinstance(event, h11.EndOfMessage):
                    return status, b"".join(parts)
                elif isinstance(event, h11.ConnectionClosed):
                    raise OSError("it closed the connection")
        finally:
            writer.close()
