"""PYRO_TRACE=1: one line on standard error for each operation, with where its time went."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyro_mcp.client.wire import Record

HEADER = "Pyro-Trace"


class Trace:
    """One call, from the moment that it is made ready. What a stream's reader does meanwhile counts as the way."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._begun = time.perf_counter()
        self._cpu = time.process_time()

    def ended(self, line: Record) -> None:
        """Say it, from the last line of an answer; every other line is passed over."""
        if "result" not in line and "error" not in line:
            return
        whole = (time.perf_counter() - self._begun) * 1000
        own = (time.process_time() - self._cpu) * 1000
        found = line.get("trace")
        there = found if isinstance(found, dict) else {}
        spent = {name: float(ms) for name, ms in there.items() if isinstance(ms, int | float)}
        inside = spent.pop("whole", 0.0)
        rest = max(0.0, inside - sum(spent.values()))
        parts = [("client and way", max(0.0, whole - inside)), *([("daemon", rest)] if there else []), *spent.items()]
        said = ", ".join(f"{name} {ms:.1f}" for name, ms in parts)
        if sys.stderr is not None:
            text = f"pyro trace: {self._operation} {whole:.1f} ms: {said}; this process's CPU {own:.1f} ms"
            sys.stderr.write(text + "\n")


def begun(operation: str, fields: dict[str, str]) -> Trace | None:
    """The trace of a call, of which the header fields tell the daemon; None where nobody asked for one."""
    if os.environ.get("PYRO_TRACE", "0") in ("", "0"):
        return None
    fields[HEADER] = "1"
    return Trace(operation)
