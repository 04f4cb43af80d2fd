"""Following a command for as long as it takes, by calls that each last less than a minute.

The first call starts it and waits a while; `logs_workspace` then goes on from the last byte that came, so
nothing is lost or repeated. `Following` decides which call is next and what comes out of it, without any I/O;
`follow` is the blocking loop around it, `aio.AsyncExecStream` the async one.
"""

from __future__ import annotations

import time

from pyro_mcp.client.answers import Output, Result, Started
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.plain import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from pyro_mcp.client.answers import Event
    from pyro_mcp.client.excerpts import HeadTail
    from pyro_mcp.definitions.operation import Operation

    Events = Callable[[Operation, dict[str, Any]], Iterator[Event | Result]]
    Call = Callable[[Operation, dict[str, Any]], dict[str, Any]]

WAIT_SECONDS = 45.0
"""Of one call; below the bound of 50 s that all calls have."""
EARLY_BYTES = 64 * 1024
"""Output kept as it came before it is excerpted."""


class Step(Plain):
    """A call to make; its record goes to `Following.took`."""

    operation: Operation
    arguments: dict[str, Any]
    streams: bool = True
    """Whether its events are the command's, and go to `Following.saw`."""


class Following:
    """One command, started by `exec_workspace` or `run_in_vm`, until it has ended."""

    def __init__(self, operation: Operation, arguments: dict[str, Any]) -> None:
        self._operation = operation
        self._bound = int(arguments.get("max_output_bytes") or 0)
        self._raw = bool(arguments.get("raw"))
        self._early: list[Output] | None = []
        """The first output as it came: most commands end soon, and need no excerpt made here."""
        self._streams: dict[str, HeadTail] = {}
        self._begun = time.monotonic()
        self._seen = 0
        self._first: dict[str, Any] | None = None
        self._ended: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None
        """The command's record, once there is nothing left to call."""
        self.next: Step | None = Step(operation, {**arguments, "wait_seconds": WAIT_SECONDS})

    def saw(self, event: Event) -> None:
        """Count what the command said."""
        if isinstance(event, Output):
            self._seen += len(event.data)
            if self._early is None:
                self._streams[event.stream].feed(event.data)
                return
            self._early.append(event)
            if self._seen > EARLY_BYTES:
                self._excerpt()

    def _excerpt(self) -> None:
        """From now on head and tail alone are kept; what excerpts are made with is loaded only here."""
        from pyro_mcp.client.excerpts import HeadTail, Watched
        from pyro_mcp.operations.fields import RESULT_TEXT_DEFAULT

        early, self._early = self._early or [], None
        self._bound = self._bound or RESULT_TEXT_DEFAULT
        for name in ("stdout", "stderr"):
            self._streams[name] = HeadTail(self._bound) if self._raw else Watched()
        for output in early:
            self._streams[output.stream].feed(output.data)

    def took(self, record: dict[str, Any]) -> Started | None:
        """Take the answer to the call that was next; gives the command's handle when it outlives the first."""
        if self._first is None:
            self._first = record
            if record["status"] != "running":
                self._finish(record)
                return None
            if self._early is not None:
                self._excerpt()
            self._go_on(self._first)
            return Started(record["handle"], record["workspace"])
        if self._ended is not None:
            self._finish(self._whole(self._first, self._ended, record))
        elif record["status"] == "running":
            self._go_on(self._first)
        else:
            self._ended = record
            self.next = self._last(self._first)
        return None

    def _go_on(self, first: dict[str, Any]) -> None:
        place = {"workspace": first["workspace"], "handle": first["handle"], "offset": self._seen}
        arguments = {**place, "wait_seconds": WAIT_SECONDS, "max_output_bytes": 200}
        self.next = Step(KNOWN["logs_workspace"], arguments)

    def _last(self, first: dict[str, Any]) -> Step:
        if self._operation.name == "run_in_vm":
            # The result is taken with its handle, which also lets the machine go.
            taken = {"handle": first["handle"], "wait_seconds": WAIT_SECONDS, "max_output_bytes": self._bound}
            return Step(self._operation, taken, streams=False)
        return Step(KNOWN["logs_workspace"], {"workspace": first["workspace"], "limit": 1000}, streams=False)

    def _whole(self, first: dict[str, Any], ended: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
        if self._operation.name == "run_in_vm":
            return last
        return ended_record(first, ended, self._streams, self._bound, self._duration(first, last))

    def _finish(self, record: dict[str, Any]) -> None:
        self.result, self.next = record, None

    def _duration(self, first: dict[str, Any], listed: dict[str, Any]) -> float:
        """How long the command ran, as the daemon says; else as long as we waited."""
        for command in listed["commands"]:
            if command["handle"] == first["handle"] and command["duration_seconds"] is not None:
                return float(command["duration_seconds"])
        return round(time.monotonic() - self._begun, 3)


def follow(events: Events, call: Call, operation: Operation, arguments: dict[str, Any]) -> Iterator[Event | Result]:
    """Start a command and give its events until it has ended, then its `Result`."""
    following = Following(operation, arguments)
    while (step := following.next) is not None:
        record: dict[str, Any] = {}
        if step.streams:
            for item in events(step.operation, step.arguments):
                if isinstance(item, Result):
                    record = item.record
                    break
                following.saw(item)
                yield item
        else:
            record = call(step.operation, step.arguments)
        if (started := following.took(record)) is not None:
            yield started
    assert following.result is not None
    yield Result(following.result)


def ended_record(
    first: dict[str, Any], logs: dict[str, Any], streams: dict[str, HeadTail], bound: int, duration_seconds: float
) -> dict[str, Any]:
    """The result of the command, as `exec_workspace` would have given it had it waited."""
    from pyro_mcp.client.excerpts import shares

    out, err = streams["stdout"], streams["stderr"]
    out_share, err_share = shares(out.total_bytes, err.total_bytes, bound)
    stdout, stderr = out.excerpt(out_share), err.excerpt(err_share)
    omitted = stdout.omitted_bytes + stderr.omitted_bytes
    return {
        **first,
        "status": logs["status"],
        "exit_code": logs["exit_code"],
        "stdout": stdout.text,
        "stderr": stderr.text,
        "stdout_bytes": out.total_bytes,
        "stderr_bytes": err.total_bytes,
        "omitted_bytes": omitted,
        "duration_seconds": duration_seconds,
        "hint": f"The whole output: workspace_logs(handle={first['handle']!r}, offset=0)." if omitted else "",
    }
