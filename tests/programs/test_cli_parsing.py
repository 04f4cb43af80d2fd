"""What the command line loads, seen in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = ["mcp", "mcp_types", "starlette", "rich", "asyncio", "http.client", "pydantic", "h11", "dataclasses"]
    heavy += ["inspect", "pathlib", "urllib.parse", "subprocess", "shutil", "datetime", "difflib", "textwrap"]
    code = (
        "import sys; before = set(sys.modules); import pyro_mcp.cli.app, pyro_mcp.cli.execute, pyro_mcp.cli.render; "
        f"print([m for m in {heavy} if m in sys.modules and m not in before])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "[]"
