"""`python -m pyro_mcp.daemon`: how a client starts the daemon."""

from __future__ import annotations

import argparse
import sys

from pyro_mcp.daemon.background import begun
from pyro_mcp.locations import Locations


def _run(options: argparse.Namespace) -> int:
    from pyro_mcp.daemon.lifecycle import run

    return run(Locations.of_this_user(), options.ready_fd, options.launch_fd)


if __name__ == "__main__":
    sys.exit(begun("daemon", _run))
