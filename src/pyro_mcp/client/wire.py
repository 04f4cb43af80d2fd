"""HTTP/1.1 to the daemon as a pure state machine: bytes in, records out, no sockets (h11 does the parsing).

One `Wire` belongs to one connection and carries one exchange at a time. An answer is a stream of JSON
objects, one a line. What ends before its end is `DaemonUnavailable`: the caller cannot know whether the
operation was carried out, so nothing here ever repeats a request.
"""

from __future__ import annotations

import json
import re
from typing import Any

import h11

from pyro_mcp.errors import DaemonUnavailable
from pyro_mcp.version import PROTOCOL, VERSION

Record = dict[str, Any]


def went_away() -> DaemonUnavailable:
    """The daemon closed the connection in the middle of a call."""
    return DaemonUnavailable(
        "The daemon went away during the call; whether it was carried out is shown by `pyro workspace history`.",
        hint="Look there, then call again if need be; the daemon starts by itself.",
        code="daemon_went_away",
    )


class Wire:
    """The client's side of one connection."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._body = bytearray()
        self._done = True

    @property
    def done(self) -> bool:
        """The answer to the last request is complete."""
        return self._done

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
        """The bytes of a request; call only when `done`."""
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        fields = [("host", "pyro"), ("content-length", str(len(content)))]
        if body is not None:
            fields.append(("content-type", "application/json"))
        fields.extend((name, _field_value(value)) for name, value in (headers or {}).items())
        self._done = False
        self._body.clear()
        parts = [
            self._http.send(h11.Request(method=method, target=path, headers=fields)),
            self._http.send(h11.Data(data=content)) if content else b"",
            self._http.send(h11.EndOfMessage()),
        ]
        return b"".join(part for part in parts if part)

    def receive(self, data: bytes) -> list[Record]:
        """The records that `data` completes; empty `data` says that the daemon closed the connection.

        Raises:
            DaemonUnavailable: the stream broke off, or what came is no answer of the daemon.
        """
        records: list[Record] = []
        try:
            self._http.receive_data(data)
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    break
                if isinstance(event, h11.Data):
                    self._body += event.data
                    self._take_lines(records)
                elif isinstance(event, h11.EndOfMessage):
                    if self._body.strip():
                        self._body += b"\n"
                        self._take_lines(records)
                    self._done = True
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    raise went_away()
        except (h11.RemoteProtocolError, ValueError) as error:
            if not data:
                raise went_away() from None
            raise DaemonUnavailable(
                f"What answers on the daemon's socket does not speak its protocol: {error}.",
                hint="`pyro daemon status` says what runs; `pyro daemon stop` ends it, machines live on.",
                code="daemon_protocol",
            ) from None
        return records

    @property
    def reusable(self) -> bool:
        """The connection can carry another request."""
        return self._done and self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _take_lines(self, records: list[Record]) -> None:
        *lines, rest = self._body.split(b"\n")
        for line in lines:
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError("a line is not an object")
                records.append(record)
        self._body[:] = rest


def _field_value(text: str) -> str:
    """Text that may stand in a header: printable ASCII, at most 16,384 characters: a path in percent-encoding."""
    return "".join(c if " " <= c <= "~" else "?" for c in text).strip()[:16384]


def operation_path(name: str) -> str:
    return f"/v1/operations/{name}"


class Outdated(Exception):
    """The daemon that runs is older than this client; a new one can take its machines over."""

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found


def check_health(record: Record) -> None:
    """See that the daemon is one to talk to: of our version, or a newer one that still serves us.

    Raises:
        Outdated: it is an older one.
        DaemonUnavailable: it is a newer one and serves clients of our version no more.
    """
    found, protocol = str(record.get("version") or "of an unknown version"), _number(record.get("protocol"))
    if (protocol, _release(found)) < (PROTOCOL, _release(VERSION)):
        raise Outdated(found)
    if _number(record.get("serves")) > PROTOCOL:
        raise DaemonUnavailable(
            f"The daemon that runs is pyro {found}; this is pyro {VERSION}, which it serves no more.",
            hint="Restart what uses the older pyro, such as a chat host's MCP server, or bring it up to date.",
            code="daemon_version",
            details={"daemon": found, "client": VERSION},
        )


def cannot_replace(found: str) -> DaemonUnavailable:
    return DaemonUnavailable(
        f"The daemon that runs is pyro {found}; this is pyro {VERSION}.",
        hint="`pyro daemon stop` ends it (machines live on); the next call starts the right one.",
        code="daemon_version",
        details={"daemon": found, "client": VERSION},
    )


def silent(seconds: float) -> DaemonUnavailable:
    """A daemon at work says so every few seconds, however long it takes; one that does not is stopped or stuck."""
    return DaemonUnavailable(
        f"The daemon said nothing for {seconds:.0f} s, not even that it is at work; whether the call was carried out "
        "is shown by `pyro workspace history`.",
        hint="`pyro daemon status` names its process and its log; `pyro daemon stop` ends it, machines live on.",
        code="daemon_silent",
    )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall("[0-9]+", version)[:3])


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
