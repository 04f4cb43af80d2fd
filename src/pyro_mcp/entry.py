"""The program `pyro` begins here: before anything is loaded, Ctrl-C is made to end it without a word.

Python's own handler would print a traceback of whatever is being imported.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run one command; see `pyro_mcp.cli.main`."""
    from pyro_mcp.cli import main as run

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()
