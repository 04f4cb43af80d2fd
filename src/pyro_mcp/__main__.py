"""`python -m pyro_mcp` is `pyro`."""

from __future__ import annotations

import sys

from pyro_mcp.entry import main

if __name__ == "__main__":
    sys.exit(main())
