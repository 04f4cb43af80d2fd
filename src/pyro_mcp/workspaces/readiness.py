"""When a service is ready: what may be asked for, and one look whether it holds."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass
from typing import Any

import h11

from pyro_mcp.errors import Conflict, InvalidInput, PyroError
from pyro_mcp.guest.client import Guest
from pyro_mcp.http1 import READ_SIZE, next_event
from pyro_mcp.paths import workspace_path
from pyro_mcp.workspaces.launching import argv_of, runs_as
from pyro_mcp.workspaces.workspace import Workspace

PROBE_SECONDS = 5.0
"""The longest that one look may take."""


@dataclass(frozen=True)
class Readiness:
    """How a service's readiness is seen; one of them, or none: then it is ready when it runs."""

    file: str | None = None
    tcp: int | None = None
    http: str | None = None
    command: str | None = None
    user: str | None = None
    """As whom the service and that command run; None is the workspace's user."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> Readiness:
        return cls(**record)

    def record(self) -> dict[str, Any]:
        """For its row; empty where nothing is looked at."""
        looked = any(value is not None for _, value in self._kinds())
        return {kind: value for kind, value in asdict(self).items() if value is not None} if looked else {}

    def __str__(self) -> str:
        return " ".join(f"{kind} {value}" for kind, value in self._kinds() if value is not None)

    def _kinds(self) -> list[tuple[str, Any]]:
        return [each for each in asdict(self).items() if each[0] != "user"]

    def checked(self) -> Readiness:
        """Raises InvalidInput when more than one is asked for, or one cannot be looked at."""
        said = [kind for kind, value in self._kinds() if value is not None]
        if len(said) > 1:
            raise InvalidInput(
                f"A service takes one readiness check, not {' and '.join(said)}.",
                hint="Give one of them.",
                code="bad_ready",
            )
        if self.file is not None and not _outside(self.file):
            workspace_path(self.file)
        if self.http is not None:
            _address(self.http)
        return self


def _address(text: str) -> tuple[int, str]:
    """Port and path of `PORT`, `PORT/path`, `:PORT/path` or `http://127.0.0.1:PORT/path`.

    Raises:
        InvalidInput: it is none of these.
    """
    rest = text
    for prefix in ("http://127.0.0.1", "http://localhost", "http://0.0.0.0"):
        rest = rest.removeprefix(prefix)
    port, slash, path = rest.removeprefix(":").partition("/")
    number = 80 if not port and slash and rest != text else int(port) if re.fullmatch("[0-9]{1,5}", port) else 0
    if not 0 < number < 65536 or any(c <= " " or c > "~" for c in path):
        raise InvalidInput(
            f"{text!r} is not an address inside the workspace.",
            hint="Give PORT/path, such as 8000/health.",
            code="bad_ready",
        )
    return number, "/" + path


async def refuse_taken_port(workspace: Workspace, readiness: Readiness) -> None:
    """A port on which something answers already would make the service ready at once, and fail when it binds.

    Raises:
        Conflict: something listens there.
    """
    port = readiness.tcp if readiness.http is None else _address(readiness.http)[0]
    if port is None:
        return
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await workspace.guest.open_stream("/v1/connect", {"port": port})
    except (PyroError, TimeoutError, OSError, EOFError):
        return
    writer.close()
    raise Conflict(
        f"Port {port} is taken: another process in the workspace is already listening on it, so the service could not.",
        hint=f"End that process (find it with `ss -ltnp` or `fuser {port}/tcp`), or choose another port.",
        code="port_in_use",
    )


async def ready_now(workspace: Workspace, readiness: Readiness) -> bool:
    """One look; anything but a clear yes is a no."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            guest = workspace.guest
            if readiness.file is not None:
                if _outside(readiness.file):
                    return await _succeeds(guest, ["test", "-e", readiness.file])
                await guest.call("GET", "/v1/files/stat", query={"path": str(workspace_path(readiness.file))})
                return True
            if readiness.tcp is not None:
                _, writer = await guest.open_stream("/v1/connect", {"port": readiness.tcp})
                writer.close()
                return True
            if readiness.http is not None:
                return await _http_answers(workspace, *_address(readiness.http))
            if readiness.command is not None:
                who = runs_as(workspace, readiness.user)
                return await _succeeds(guest, argv_of(readiness.command, workspace.row.runtime), who)
    except (PyroError, TimeoutError, OSError, EOFError):
        return False
    return True


def _outside(path: str) -> bool:
    """Whether a readiness file stands elsewhere than below /workspace, as a PID file in /run does."""
    return path.startswith("/") and not f"{path}/".startswith("/workspace/")


async def _succeeds(guest: Guest, argv: list[str], who: dict[str, str] | None = None) -> bool:
    _, ended = await guest.run_process({"argv": argv, "timeout_ms": int(PROBE_SECONDS * 1000), **(who or {})})
    return bool(ended.get("exit_code") == 0)


async def _http_answers(workspace: Workspace, port: int, path: str) -> bool:
    """Whether a GET gives a status below 400."""
    reader, writer = await workspace.guest.open_stream("/v1/connect", {"port": port})
    try:
        http = h11.Connection(h11.CLIENT)
        host = [("Host", f"127.0.0.1:{port}"), ("Connection", "close")]
        writer.write(http.send(h11.Request(method="GET", target=path, headers=host)) or b"")
        writer.write(http.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        while isinstance(event := await next_event(http, lambda: reader.read(READ_SIZE)), h11.InformationalResponse):
            pass
        return isinstance(event, h11.Response) and event.status_code < 400
    except h11.ProtocolError:
        return False
    finally:
        writer.close()
