"""The program `pyro` begins here: before anything is loaded, Ctrl-C is made to end it without a word.

Python's own handler would print a traceback of whatever is being imported. `signal` itself takes a while to import, for
it makes enumerations of the names in `_signal`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def main() -> int:
    """Run one command; see `pyro_mcp.cli.main`."""
    from pyro_mcp.cli import main as run

    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    return run()
