"""What the lines of an answer mean: events on the way, then exactly one result or error."""

from __future__ import annotations

from binascii import a2b_base64

from pyro_mcp.client.wire import Record, went_away
from pyro_mcp.errors import from_record
from pyro_mcp.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal


class Progress(Plain):
    """How far a long operation has come."""

    text: str
    fraction: float | None = None
    """0 to 1, or None where the end is not known."""


class Output(Plain):
    """Bytes that a command printed, as they came."""

    stream: Literal["stdout", "stderr"]
    data: bytes


class Started(Plain):
    """A command runs; this is its handle."""

    handle: str
    workspace: str | None = None


class Noted(Plain):
    """What the person who looks at the workspace says to whoever works in it."""

    text: str


Event = Progress | Output | Started


class Result(Plain):
    """The last line of an answer that went well."""

    record: dict[str, Any]


def understand(line: Record, *, outputs: bool = True) -> Event | Noted | Result | None:
    """The meaning of one line; None for an event that this version does not know, or for unwanted output.

    Raises:
        PyroError: the line is the error that ends the answer.
    """
    if "result" in line:
        return Result(line["result"])
    if "error" in line:
        raise from_record(line["error"])
    event = line.get("event")
    if not isinstance(event, dict):
        raise went_away()
    match event.get("type"):
        case "progress":
            return Progress(str(event.get("text", "")), event.get("fraction"))
        case "output" if outputs:
            stream: Literal["stdout", "stderr"] = "stderr" if event.get("stream") == "stderr" else "stdout"
            return Output(stream, a2b_base64(event.get("data", "")))
        case "note":
            return Noted(str(event.get("text", "")))
        case "started":
            return Started(str(event["handle"]), event.get("workspace"))
    return None
