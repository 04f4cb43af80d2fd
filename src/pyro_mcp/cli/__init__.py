"""The command line. `main` is the entry point `pyro`."""

from __future__ import annotations

import gc
import signal
import sys


def main(argv: list[str] | None = None) -> int:
    """Run one command and give the exit status: 0, 1 for failure, 2 for bad usage, or the command's own."""
    if (sys.argv[1:] if argv is None else argv) == ["--version"]:
        from pyro_mcp.version import VERSION

        print(f"pyro {VERSION}")
        return 0
    try:
        return _main(argv)
    except KeyboardInterrupt:
        return 130  # in the first moment, while things load
    finally:
        if argv is None:
            # Nothing is left to do but to go; Ctrl-C in the interpreter's last moment needs no traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _main(argv: list[str] | None) -> int:
    gc.disable()  # a tenth of the start-up; what lives longer than a moment enables it again
    from pyro_mcp.cli.app import run

    return run(argv)


__all__ = ["main"]
