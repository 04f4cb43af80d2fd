"""Another computer of the user's, as ssh sees it: a real sshd on loopback, with a home of pyro's of its own."""

from __future__ import annotations

import contextlib
import getpass
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyro_mcp.client import place
from pyro_mcp.client.sync import Transport
from pyro_mcp.errors import PyroError
from tests.servers import sshd
from tests.support import Installation


@dataclass(frozen=True)
class Box:
    """What `sshd` lets in, and where."""

    address: str
    home: Path
    """PYRO_HOME over there."""


@contextlib.contextmanager
def box(root: Path, there: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    """A computer whose pyro is `there`. Afterwards no relay and no connection is left."""
    if not all(map(shutil.which, ("ssh", "ssh-keygen", "/usr/sbin/sshd"))):
        pytest.skip("ssh, ssh-keygen or sshd is not on this computer")
    root.mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / "id"], check=True)
    shutil.copy(root / "id.pub", root / "authorized")
    program = root / "pyro"
    lines = [f"export {name}={shlex.quote(value)}" for name, value in there.environment.items()]
    program.write_text("\n".join(["#!/bin/sh", *lines, f'exec {shlex.quote(sys.executable)} -m pyro_mcp "$@"', ""]))
    program.chmod(0o755)
    with sshd(root, f"AuthorizedKeysFile={root}/authorized", "PermitRootLogin=yes") as port:
        key = (root / "host_key.pub").read_text().split()
        (root / "known").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
        config = root / "config"
        config.write_text(
            f"Host 127.0.0.1\n  IdentityFile {root}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile {root}/known\n"
            "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
        )
        monkeypatch.setenv("PYRO_SSH_CONFIG", str(config))
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{program}"
        try:
            yield Box(address, there.root)
        finally:
            stop(address)


def stop(address: str) -> None:
    """Have the relay to an address leave."""
    transport = Transport(place.locations(address), start=None, any_version=True)
    with contextlib.suppress(PyroError):
        list(transport.request("POST", "/v1/stop", {}))
    transport.close()
