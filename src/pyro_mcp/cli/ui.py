"""`pyro ui`: the page in the browser."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyro_mcp.cli.options import Parser, usage_error


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C, and print a link that opens it once."""
    parser = Parser(
        prog=prog,
        add_help=False,
        description="Show all workspaces on a page in the browser: what they do, what changed, what they ask.\n\n"
        "The page is served on this computer's loopback for as long as the command runs. The link that it prints "
        "opens\n"
        "once, in one browser; Enter prints another. From another machine: ssh -L PORT:127.0.0.1:PORT HOST.",
    )
    parser.add_argument("--port", type=int, default=0, metavar="PORT", help="Serve on this port (default: a free one).")
    found, rest = parser.taken(words, after)
    if rest:
        raise usage_error(f"`{prog}` takes options only.", hint=f"See `{prog} --help`.")
    if not 0 <= found.port <= 65535:
        raise usage_error("--port: a port is 0 to 65535; 0 takes a free one.")
    from pyro_mcp.ui.serve import serve

    opened = False

    def announce(link: str) -> None:
        nonlocal opened
        print(link, flush=True)
        if not opened:
            opened = True
            print("The link opens once. Enter gives another; Ctrl-C ends the page.", file=sys.stderr, flush=True)

    return serve(found.port, announce)
