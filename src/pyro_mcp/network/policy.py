"""Where a workspace may connect to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EgressPolicy:
    allow_domains: tuple[str, ...] = ()
