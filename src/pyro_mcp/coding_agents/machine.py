"""The program's machine: an environment that has it, made once, and a workspace of the project's."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from pyro_mcp.client.answers import Event
from pyro_mcp.client.connection import Connection
from pyro_mcp.coding_agents.programs import FOLDER, REGISTRY_HOST, Package, Program
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import Conflict, NotFound, PyroError

LABEL = "coding-agent"
"""Marks a workspace in which a program runs; its value is the program's name."""
LAND_LABEL = "coding-agent-land"
"""The branch on which its work is to be landed when it ends."""
INSTALL_SECONDS = 900
_TTL_SECONDS = 1200
"""Of the machine in which a program is installed, if whoever made it is killed."""
_INSTALL = """
set -eu
cd /opt
if command -v curl >/dev/null; then curl -fsSL --retry 2 -o /tmp/package.tgz "$1"
elif command -v wget >/dev/null; then wget -q -O /tmp/package.tgz "$1"
else echo "there is neither curl nor wget" >&2; exit 1; fi
echo "$2  /tmp/package.tgz" | sha512sum -c - >/dev/null || { echo "it is not the archive that was pinned" >&2; exit 1; }
mkdir -p "$3"
tar -xzf /tmp/package.tgz -C "$3" --strip-components=1 --no-same-owner
rm /tmp/package.tgz
"$3/$4" --version
"""
_UNPACK = 'mkdir -p "$HOME" && base64 -d | tar -xz --no-same-owner -C "$HOME"'
Show = Callable[[Event], None]


def environment_name(program: Program, base: str) -> str:
    """Of the environment that has the program: another version, or another base, is another environment."""
    mark = hashlib.sha256(f"{base}\0{program.package.sha512}".encode()).hexdigest()[:8]
    return f"{program.name}-{program.package.version}-{mark}"


def prepared(pyro: Connection, program: Program, base: str, show: Show) -> str:
    """The environment's name; it is made first where there is none.

    Raises:
        PyroError: the package could not be had, or is not the one that is pinned.
    """
    name = environment_name(program, base)
    listed = pyro.call(KNOWN["list_environments"], {})["environments"]
    if any(each["name"] == name and each["installed"] for each in listed):
        return name
    made = pyro.call(
        KNOWN["create_workspace"],
        {
            "environment": base,
            "user": "root",
            "network_policy": "egress",
            "allow_domains": [REGISTRY_HOST],
            "ttl_seconds": _TTL_SECONDS,
            "labels": {LABEL: f"{program.name}: being installed"},
        },
        on_event=show,
    )
    try:
        _install(pyro, made["id"], program.package)
        try:
            pyro.call(KNOWN["save_environment"], {"workspace": made["id"], "name": name})
        except Conflict as error:
            if error.code != "environment_exists":
                raise  # else another had made the same one meanwhile
    finally:
        gone(pyro, made["id"])
    return name


def _install(pyro: Connection, workspace: str, package: Package) -> None:
    url = f"https://{REGISTRY_HOST}/{package.path}"
    command = ["sh", "-c", _INSTALL, "sh", url, package.sha512, FOLDER, package.program]
    done = finished(pyro, {"workspace": workspace, "command": command, "timeout_seconds": INSTALL_SECONDS})
    if done["exit_code"] != 0:
        said = done["stderr"].strip() or done.get("cause") or done["status"]
        refused = "".join(f" {each['host']}: {each['why']}." for each in done.get("refused") or ())
        raise PyroError(
            f"{package.path} could not be installed: {said[-500:]}.{refused}",
            hint="Nothing was kept. It comes from npm's registry; see that this computer reaches it.",
            code="not_installed",
        )


def finished(pyro: Connection, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run a command until it ends, and give its result."""
    from pyro_mcp.client.answers import Result
    from pyro_mcp.client.following import follow

    record: dict[str, Any] = {}
    for said in follow(pyro.events, pyro.call, KNOWN["exec_workspace"], arguments):
        if isinstance(said, Result):
            record = said.record
    return record


def tell(pyro: Connection, workspace: str, archive: bytes) -> None:
    """Unpack the user's instructions in the home inside."""
    if not archive:
        return
    command = {"command": ["sh", "-c", _UNPACK], "env": {"HOME": "/root"}, "stdin": base64.b64encode(archive).decode()}
    done = finished(pyro, {"workspace": workspace, **command, "timeout_seconds": 60})
    if done["exit_code"] != 0:
        raise PyroError(
            f"Your instructions could not be copied in: {done['stderr'].strip()[-300:]}",
            hint="Leave them here with --no-instructions.",
            code="not_copied",
        )


def gone(pyro: Connection, workspace: str) -> None:
    """Delete a workspace; it may be gone already."""
    try:
        pyro.call(KNOWN["delete_workspace"], {"workspace": workspace})
    except NotFound:
        pass
