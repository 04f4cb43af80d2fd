"""The command line. `main` is the entry point `pyro`."""

from __future__ import annotations

import gc


def main(argv: list[str] | None = None) -> int:
    """Run one command and give the exit status: 0, 1 for failure, 2 for bad usage, or the command's own."""
    gc.disable()  # a tenth of the start-up; what lives longer than a moment enables it again
    from pyro_mcp.cli.app import run

    return run(argv)


__all__ = ["main"]
