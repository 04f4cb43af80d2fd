"""`python -m pyro_mcp.remote`: how a client starts the relay to another computer."""

from __future__ import annotations

import argparse
import sys

from pyro_mcp.client import place
from pyro_mcp.daemon.background import begun


def _run(options: argparse.Namespace) -> int:
    from pyro_mcp.remote.relay import run

    return run(place.locations(options.on), options.ready_fd, options.launch_fd)


if __name__ == "__main__":
    sys.exit(begun("relay", _run, "--on"))
