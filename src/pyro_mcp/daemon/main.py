"""The daemon's entry: `run` for `pyro daemon run`; see `lifecycle` for what it does."""

from __future__ import annotations

from pyro_mcp.daemon.lifecycle import run

__all__ = ["run"]
