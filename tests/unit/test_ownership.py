"""Who owns a state, as far as one process can tell: the engine's tests start daemons for it (`test_starting`)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyro_mcp import ownership
from pyro_mcp.errors import Conflict


def test_a_daemon_that_does_not_listen_yet_names_no_socket_for_whose_absence_it_could_be_ended(tmp_path: Path) -> None:
    file = tmp_path / "daemon.lock"
    file.write_text("1\n/run/user/1/of/an/earlier/one")
    lock = ownership.own(file, 0)
    try:
        assert ownership.owner(file) is None
        with pytest.raises(Conflict, match=r"already owns these workspaces\.$"):
            ownership.own(file, 0)
        ownership.say(lock, "/run/x/daemon.sock")
        assert ownership.owner(file) == (os.getpid(), "/run/x/daemon.sock")
    finally:
        os.close(lock)
    assert ownership.owner(file) is None
