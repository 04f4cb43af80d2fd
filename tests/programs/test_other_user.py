"""A socket in /tmp that another user of this computer made before us is not spoken to."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.client.sync import Transport
from pyro_mcp.errors import NotPermitted
from pyro_mcp.locations import Locations

LISTEN = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
print("ready", flush=True)
heard, _ = listener.accept()
print(heard.recv(9999), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("asynchronous", [False, True])
def test_nothing_is_sent_to_another_users_daemon(asynchronous: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o777)
        locations = Locations(place, place, place)
        other = subprocess.Popen(
            [sys.executable, "-c", LISTEN, str(Path(place, "daemon.sock"))], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout is not None and other.stdout.readline() == "ready\n"

        async def asked() -> None:
            async for _ in AsyncTransport(locations, start=None).request("GET", "/v1/health"):
                pass

        with pytest.raises(NotPermitted, match=r"another user \(uid 65534\)"):
            if asynchronous:
                asyncio.run(asked())
            else:
                list(Transport(locations, start=None).request("GET", "/v1/health"))
        assert other.stdout.readline() == "b''\n"
        assert other.wait(20) == 0
        other.stdout.close()
