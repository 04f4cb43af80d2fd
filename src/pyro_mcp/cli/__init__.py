"""The command line. `main` is the entry point `pyro`."""

from __future__ import annotations

import gc
import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # `signal` makes enumerations of these names, which takes a while


def main(argv: list[str] | None = None) -> int:
    """Run one command and give the exit status: 0, 1 for failure, 2 for bad usage, or the command's own."""
    try:
        if argv is None:
            _prepare_streams()
            if sys.argv[1:] == ["--version"]:
                from pyro_mcp.version import VERSION

                try:
                    os.write(1, f"pyro {VERSION}\n".encode())
                except OSError:
                    return 1
                return 0
        return _main(argv)
    except KeyboardInterrupt:
        return 130  # in the first moment, while things load
    finally:
        if argv is None:
            # Nothing is left to do but to go; Ctrl-C in the interpreter's last moment needs no traceback.
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _prepare_streams() -> None:
    """Standard streams that can be written to, whatever the caller made of them."""
    _open_closed_streams()
    # A locale without our characters: they become question marks. Errors of standard error are escaped already.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _open_closed_streams() -> None:
    """A standard stream that is closed (`>&-`) leads to nothing: else a socket would get its number, and our output."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            # The lowest free number: the stream's own, since those below it are open.
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115


def _main(argv: list[str] | None) -> int:
    gc.disable()  # a tenth of the start-up; what lives longer than a moment enables it again
    from pyro_mcp.cli.app import run

    return run(argv)


__all__ = ["main"]
