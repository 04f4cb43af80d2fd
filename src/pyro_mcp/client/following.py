"""Following a command for as long as it takes, by calls that each last less than a minute.

The first call starts it and waits a while; `logs_workspace` then goes on from the last byte that came, so
nothing is lost or repeated. What the bytes are is for the caller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from pyro_mcp.client.answers import Event, Output, Result, Started
from pyro_mcp.client.excerpts import HeadTail, Watched, shares
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.fields import RESULT_TEXT_DEFAULT

Events = Callable[[Operation, dict[str, Any]], Iterator[Event | Result]]
Call = Callable[[Operation, dict[str, Any]], dict[str, Any]]
WAIT_SECONDS = 45.0
"""Of one call; below the bound of 50 s that all calls have."""


def follow(events: Events, call: Call, operation: Operation, arguments: dict[str, Any]) -> Iterator[Event | Result]:
    """Start a command by `exec_workspace` or `run_in_vm` and give its events until it has ended, then its `Result`."""
    bound = int(arguments.get("max_output_bytes") or RESULT_TEXT_DEFAULT)
    raw = bool(arguments.get("raw"))
    streams: dict[str, HeadTail] = {name: HeadTail(bound) if raw else Watched() for name in ("stdout", "stderr")}
    seen = 0
    begun = time.monotonic()
    record: dict[str, Any] = {}

    def pass_on(said: Iterator[Event | Result]) -> Iterator[Event]:
        nonlocal seen, record
        for item in said:
            if isinstance(item, Result):
                record = item.record
                return
            if isinstance(item, Output):
                seen += len(item.data)
                streams[item.stream].feed(item.data)
            yield item

    yield from pass_on(events(operation, {**arguments, "wait_seconds": WAIT_SECONDS}))
    if record["status"] != "running":
        yield Result(record)
        return

    first, handle = record, record["handle"]
    yield Started(handle, first["workspace"])
    logs = REGISTRY["logs_workspace"]
    while record["status"] == "running":
        place = {"workspace": first["workspace"], "handle": handle, "offset": seen}
        yield from pass_on(events(logs, {**place, "wait_seconds": WAIT_SECONDS, "max_output_bytes": 200}))

    if operation.name == "run_in_vm":
        # The result is taken with its handle, which also lets the machine go.
        yield Result(call(operation, {"handle": handle, "wait_seconds": WAIT_SECONDS, "max_output_bytes": bound}))
        return
    yield Result(ended_record(first, record, streams, bound, _duration(call, first, begun)))


def _duration(call: Call, first: dict[str, Any], begun: float) -> float:
    listed = call(REGISTRY["logs_workspace"], {"workspace": first["workspace"], "limit": 1000})
    return duration_of(first, listed, begun)


def duration_of(first: dict[str, Any], listed: dict[str, Any], begun: float) -> float:
    """How long the command ran, as the daemon says; else as long as we waited."""
    for command in listed["commands"]:
        if command["handle"] == first["handle"] and command["duration_seconds"] is not None:
            return float(command["duration_seconds"])
    return round(time.monotonic() - begun, 3)


def ended_record(
    first: dict[str, Any], logs: dict[str, Any], streams: dict[str, HeadTail], bound: int, duration_seconds: float
) -> dict[str, Any]:
    """The result of the command, as `exec_workspace` would have given it had it waited."""
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
