"""`python -m pyro_mcp.daemon`: how a client starts the daemon."""

from __future__ import annotations

import argparse
import os
import sys

from pyro_mcp.locations import Locations


def main() -> int:
    parser = argparse.ArgumentParser(prog="pyro-daemon")
    parser.add_argument("--ready-fd", type=int, default=None)
    ready_fd = parser.parse_args().ready_fd
    if ready_fd is not None:
        os.set_inheritable(ready_fd, False)
    from pyro_mcp.daemon.main import run

    return run(Locations.of_this_user(), ready_fd)


if __name__ == "__main__":
    sys.exit(main())
