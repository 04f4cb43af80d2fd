"""Where the time of one call went, inside the daemon: collected only for callers that ask (PYRO_TRACE).

A span counts where no other is open around it; what goes on at the same time counts in each.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Iterator

Spans = dict[str, float]
"""Seconds, by what the time went to."""
_spans: contextvars.ContextVar[Spans | None] = contextvars.ContextVar("spans", default=None)
_inside: contextvars.ContextVar[bool] = contextvars.ContextVar("inside", default=False)


def collect() -> Spans:
    """Begin to collect, for this task and those that it starts."""
    spans: Spans = {}
    _spans.set(spans)
    return spans


@contextlib.contextmanager
def span(name: str) -> Iterator[None]:
    """Count this time under a name, where somebody collects."""
    spans = _spans.get()
    if spans is None or _inside.get():
        yield
        return
    token = _inside.set(True)
    begun = time.perf_counter()
    try:
        yield
    finally:
        _inside.reset(token)
        spans[name] = spans.get(name, 0.0) + time.perf_counter() - begun
