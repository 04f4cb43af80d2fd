"""pyro's side of things on the computer that another one reaches over ssh: `pyro __box VERB`, for the relay alone.

`hello` starts the daemon and says where it is; `take` receives a tree (`seeds.arrivals`); `room` makes a directory for
an export; `give` sends what stands in one, as a tar; `drop` removes it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pyro_mcp.client.connection import Connection
from pyro_mcp.client.sync import Transport
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import InvalidInput, PyroError
from pyro_mcp.locations import Locations
from pyro_mcp.seeds import arrivals
from pyro_mcp.version import PROTOCOL, SERVES, VERSION

_ROOM = re.compile(r"out-[A-Za-z0-9_]{8}\Z")


def main(words: list[str]) -> int:
    """Carry out one verb. Gives the exit status."""
    locations = Locations.of_this_user()
    try:
        match words:
            case ["hello"]:
                _say(_hello(locations))
            case ["doctor"]:
                _say(_doctor())
            case ["take"]:
                locations.prepare()
                arrivals.receive(locations.arrived, sys.stdin.buffer, sys.stdout.buffer)
            case ["room"]:
                locations.prepare()
                locations.arrived.mkdir(mode=0o700, exist_ok=True)
                arrivals.sweep(locations.arrived)
                _say({"path": tempfile.mkdtemp(prefix=arrivals.ROOM, dir=locations.arrived)})
            case ["give", name]:
                from pyro_mcp.workspaces.transfer import tar_command  # with all that speaks to a machine

                return subprocess.run(tar_command(_room(locations, name), ".", "--sparse")).returncode
            case ["drop", name]:
                shutil.rmtree(_room(locations, name), ignore_errors=True)
                _say({"dropped": True})
            case _:
                raise InvalidInput("Only pyro itself runs this command.", code="bad_usage")
    except PyroError as error:
        _say({"error": error.to_record()})
        return error.exit_status
    except (EOFError, BrokenPipeError):
        return 1  # the other side has gone
    except ValueError as error:
        _say({"error": f"What came cannot be taken: {error}."})
        return 1
    return 0


def _hello(locations: Locations) -> dict[str, object]:
    transport = Transport(locations)
    try:
        list(transport.request("GET", "/v1/health"))  # starts it, or replaces one of an older pyro
    finally:
        transport.close()
    versions = {"version": VERSION, "protocol": PROTOCOL, "serves": SERVES}
    return {**versions, "socket": os.fspath(locations.socket)}


def _doctor() -> dict[str, object]:
    """This pyro, and what is wrong on this computer."""
    with Connection(face="cli", client="remote", locations=Locations.of_this_user()) as pyro:
        found = pyro.call(KNOWN["doctor"], {})
    wrong = [f"{check['name']}: {check['detail']}" for check in found["checks"] if check["ok"] is False]
    return {"version": VERSION, "protocol": PROTOCOL, "ok": found["ok"], "problems": wrong}


def _room(locations: Locations, name: str) -> Path:
    if not _ROOM.match(name):
        raise InvalidInput(f"{name!r} is not a room.", code="bad_usage")
    return locations.arrived / name


def _say(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()
