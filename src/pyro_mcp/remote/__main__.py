"""`python -m pyro_mcp.remote`: how a client starts the relay to another computer."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys

from pyro_mcp.client import place
from pyro_mcp.errors import InternalError
from pyro_mcp.remote.relay import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="pyro-relay")
    parser.add_argument("--on", required=True)
    parser.add_argument("--ready-fd", type=int, default=None)
    parser.add_argument("--launch-fd", type=int, default=None)
    options = parser.parse_args()
    for descriptor in (options.ready_fd, options.launch_fd):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    try:
        return run(place.locations(options.on), options.ready_fd, options.launch_fd)
    except Exception as error:
        if options.ready_fd is not None:
            failure = InternalError(f"The relay could not start: {type(error).__name__}: {error}.", code="relay_failed")
            with contextlib.suppress(OSError):
                os.write(options.ready_fd, json.dumps(failure.to_record()).encode() + b"\n")
        raise


if __name__ == "__main__":
    sys.exit(main())
