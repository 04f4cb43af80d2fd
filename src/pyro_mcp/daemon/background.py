"""What processes that a client starts in the background have in common: the daemon, and the relay to another one."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import logging.handlers
import os
from collections.abc import Callable
from pathlib import Path

from pyro_mcp.errors import InternalError

LOG_BYTES = 2 * 1024 * 1024
Run = Callable[[argparse.Namespace], int]
"""Is given the options, `ready_fd` and `launch_fd` among them: see `client.launch`."""


def begun(what: str, run: Run, *options: str) -> int:
    """Be the process that the command line describes, by `run`; `options` are its own, all needed. Gives the status."""
    parser = argparse.ArgumentParser(prog=f"pyro-{what}")
    for option in options:
        parser.add_argument(option, required=True)
    parser.add_argument("--ready-fd", type=int, default=None)
    parser.add_argument("--launch-fd", type=int, default=None)
    found = parser.parse_args()
    for descriptor in (found.ready_fd, found.launch_fd):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    try:
        return run(found)
    except Exception as error:
        # Whoever waits for it is told at once; the log has the whole story.
        failure = InternalError(f"The {what} could not start: {type(error).__name__}: {error}.", code=f"{what}_failed")
        tell(found.ready_fd, json.dumps(failure.to_record()))
        raise


def tell(ready_fd: int | None, line: str) -> None:
    """Say one line to whoever waits for the start."""
    if ready_fd is not None:
        with contextlib.suppress(OSError):
            os.write(ready_fd, line.encode() + b"\n")
            os.close(ready_fd)


def log_to(file: Path) -> None:
    """Keep a log of bounded size there."""
    handler = logging.handlers.RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=1)
    logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(asctime)s %(levelname)s %(name)s %(message)s")
