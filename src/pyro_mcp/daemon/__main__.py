"""`python -m pyro_mcp.daemon`: how a client starts the daemon."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys

from pyro_mcp.errors import InternalError
from pyro_mcp.locations import Locations


def main() -> int:
    parser = argparse.ArgumentParser(prog="pyro-daemon")
    parser.add_argument("--ready-fd", type=int, default=None)
    parser.add_argument("--launch-fd", type=int, default=None)
    options = parser.parse_args()
    ready_fd, launch_fd = options.ready_fd, options.launch_fd
    for descriptor in (ready_fd, launch_fd):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    try:
        from pyro_mcp.daemon.lifecycle import run

        return run(Locations.of_this_user(), ready_fd, launch_fd)
    except Exception as error:
        if ready_fd is not None:
            # Whoever waits for the daemon is told at once; the log has the whole story.
            failure = InternalError(
                f"The daemon could not start: {type(error).__name__}: {error}.", code="daemon_failed"
            )
            with contextlib.suppress(OSError):
                os.write(ready_fd, json.dumps(failure.to_record()).encode() + b"\n")
        raise


if __name__ == "__main__":
    sys.exit(main())
