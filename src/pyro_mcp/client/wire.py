"""HTTP/1.1 to the daemon as a pure state machine: bytes in, records out, no sockets.

One `Wire` belongs to one connection and carries one exchange at a time. An answer is a stream of JSON
objects, one a line. What ends before its end is `DaemonUnavailable`: the caller cannot know whether the
operation was carried out, so nothing here ever repeats a request.

The peer is this user's own daemon, so this reads what that sends and refuses the rest; h11, which reads a guest's
bytes (`guest.client`), would be a third of what the command line loads at each start.
"""

from __future__ import annotations

import json
import re

from pyro_mcp.errors import DaemonUnavailable, from_record
from pyro_mcp.version import PROTOCOL, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]
else:
    Record = dict


def went_away() -> DaemonUnavailable:
    """The daemon closed the connection in the middle of a call."""
    return DaemonUnavailable(
        "The daemon went away during the call. `pyro workspace history` shows whether the call was carried out.",
        hint="Check there, then try again if needed; the daemon starts by itself.",
        code="daemon_went_away",
    )


MAX_HEAD = 64 * 1024
"""Bytes of an answer's head; the daemon's are a few hundred."""
MAX_LINE = 1 << 30
"""Bytes of one line: the largest holds a file that a landing brings from another computer."""
MAX_SIZE_LINE = 256
"""Bytes of the line before a chunk (RFC 9112, 7.1)."""


class Wire:
    """The client's side of one connection."""

    def __init__(self) -> None:
        self._came = bytearray()
        self._read = self._head
        self._left = 0
        """Bytes that the body, or the chunk at hand, still has."""
        self._chunked = False
        self._text = bytearray()
        self._closes = False
        self._done = True

    @property
    def done(self) -> bool:
        """The answer to the last request is complete."""
        return self._done

    @property
    def reusable(self) -> bool:
        """The connection can carry another request."""
        return self._done and not self._closes and not self._came

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
        """The bytes of a request; call only when `done`."""
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        fields = [("Host", "pyro"), ("Content-Length", str(len(content)))]
        if body is not None:
            fields.append(("Content-Type", "application/json"))
        fields.extend((name, _field_value(value)) for name, value in (headers or {}).items())
        head = "".join([f"{method} {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in fields), "\r\n"])
        self._done = False
        self._text.clear()
        self._read = self._head
        return head.encode("ascii") + content

    def receive(self, data: bytes) -> list[Record]:
        """The records that `data` completes; empty `data` says that the daemon closed the connection.

        Raises:
            DaemonUnavailable: the stream broke off, or what came is not an answer of the daemon.
        """
        if not data:
            raise went_away()
        self._came += data
        records: list[Record] = []
        try:
            while not self._done and self._read(records):
                pass
        except (ValueError, RecursionError) as error:
            raise DaemonUnavailable(
                f"Something on the daemon's socket does not speak its protocol: {error}.",
                hint="See what is running with `pyro daemon status`; stop it with `pyro daemon stop` (machines "
                "keep running).",
                code="daemon_protocol",
            ) from None
        return records

    # -- steps: each takes what it can from `_came`, and says whether the next may go on

    def _head(self, records: list[Record]) -> bool:
        end = self._came.find(b"\r\n\r\n")
        if end < 0:
            if len(self._came) > MAX_HEAD or not self._came.startswith(b"HTTP/1."[: len(self._came)]):
                raise ValueError("it does not begin as an answer")
            return False
        first, *lines = bytes(self._came[:end]).decode("latin-1").split("\r\n")
        del self._came[: end + 4]
        if not re.fullmatch(r"HTTP/1\.[01] [2-5]\d\d( .*)?", first):
            raise ValueError(f"{first[:60]!r} is not a status")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._closes = fields.get("connection", "").lower() == "close" or first.startswith("HTTP/1.0")
        self._chunked = fields.get("transfer-encoding", "").lower() == "chunked"
        if self._chunked:
            self._read = self._size
        elif fields.get("content-length", "").isdecimal():
            self._left = int(fields["content-length"])
            self._read = self._body
        else:
            raise ValueError("it does not say where it ends")
        return True

    def _size(self, records: list[Record]) -> bool:
        end = self._came.find(b"\r\n")
        if end < 0 or end > MAX_SIZE_LINE:
            if len(self._came) > MAX_SIZE_LINE:
                raise ValueError("a chunk has no size")
            return False
        said = bytes(self._came[:end]).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", said):
            raise ValueError(f"{said[:20]!r} is not a chunk size")
        del self._came[: end + 2]
        self._left = int(said, 16)
        self._read = self._body if self._left else self._trailers
        return True

    def _body(self, records: list[Record]) -> bool:
        piece = self._came[: self._left]
        del self._came[: len(piece)]
        self._left -= len(piece)
        self._text += piece
        if b"\n" in piece:
            self._take_lines(records)
        elif len(self._text) > MAX_LINE:
            raise ValueError("a line does not end")
        if self._left:
            return False
        if self._chunked:
            self._read = self._after_chunk
        else:
            self._end(records)
        return True

    def _after_chunk(self, records: list[Record]) -> bool:
        if len(self._came) < 2:
            return False
        if self._came[:2] != b"\r\n":
            raise ValueError("a chunk is longer than it said")
        del self._came[:2]
        self._read = self._size
        return True

    def _trailers(self, records: list[Record]) -> bool:
        end = self._came.find(b"\r\n")
        if end < 0:
            if len(self._came) > MAX_HEAD:
                raise ValueError("its end does not come")
            return False
        del self._came[: end + 2]
        if end == 0:
            self._end(records)
        return True

    def _end(self, records: list[Record]) -> None:
        if self._text.strip():
            self._text += b"\n"
            self._take_lines(records)
        self._done = True

    def _take_lines(self, records: list[Record]) -> None:
        *lines, rest = self._text.split(b"\n")
        for line in lines:
            if line.strip():
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise ValueError("a line is not an object")
                records.append(record)
        self._text[:] = rest


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
        PyroError: it says itself why it is of no use now.
        Outdated: it is an older one.
        DaemonUnavailable: it is a newer one and serves clients of our version no more.
    """
    if isinstance(record.get("error"), dict):
        raise from_record(record["error"])
    found, protocol = str(record.get("version") or "of an unknown version"), _number(record.get("protocol"))
    if (protocol, _release(found)) < (PROTOCOL, _release(VERSION)):
        raise Outdated(found)
    if _number(record.get("serves")) > PROTOCOL:
        raise DaemonUnavailable(
            f"The running daemon is pyro {found}. It no longer serves this older pyro {VERSION}.",
            hint="Restart or upgrade whatever uses the older pyro, such as a chat host's MCP server.",
            code="daemon_version",
            details={"daemon": found, "client": VERSION},
        )


def cannot_replace(found: str) -> DaemonUnavailable:
    return DaemonUnavailable(
        f"The running daemon is pyro {found}, but this is pyro {VERSION}.",
        hint="Stop it with `pyro daemon stop` (machines keep running); the next call starts the right one.",
        code="daemon_version",
        details={"daemon": found, "client": VERSION},
    )


def silent(seconds: float) -> DaemonUnavailable:
    """A daemon at work says so every few seconds, however long it takes; one that does not is stopped or stuck."""
    return DaemonUnavailable(
        f"The daemon sent nothing for {seconds:.0f} s, not even a sign that it is working. "
        "`pyro workspace history` shows whether the call was carried out.",
        hint="`pyro daemon status` shows its process and log; `pyro daemon stop` stops it (machines keep running).",
        code="daemon_silent",
    )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall("[0-9]+", version)[:3])


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
