"""ssh into a workspace, by the programs that people use: OpenSSH's own, and git over it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp.sdk import Pyro
from tests.faces.test_cli import pyro_command
from tests.support import wait_until

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("ssh", "scp", "sftp", "git"))), reason="ssh, scp, sftp or git is not on this computer"
)


def run(*argv: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, input=stdin, capture_output=True, timeout=120, env={**os.environ, **environment})


def test_ssh_scp_sftp_and_git_reach_a_workspace_and_leave_nothing(pyro: Pyro, tmp_path: Path) -> None:
    ws = pyro.create_workspace("debian:12", name="by-ssh").id
    pyro.exec_workspace(ws, "git init -q . && git config receive.denyCurrentBranch ignore && echo 1 > a && git add a")
    made = pyro_command("workspace", "ssh-config", "by-ssh")
    assert made.returncode == 0, made.stderr
    config = tmp_path / "config"
    config.write_text(made.stdout)
    assert pyro_command("ssh-config", ws).stdout == made.stdout  # the keys stay
    private = Path(made.stdout.split("IdentityFile ")[1].split("\n")[0].strip('"'))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600

    ran = run("ssh", "-F", str(config), "pyro-by-ssh", "cat; echo err >&2; exit 7", stdin=b"in\0\xff")
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, b"in\0\xff", b"err\n")
    data = os.urandom(700_000)
    (tmp_path / "big").write_bytes(data)
    for argv, commands in (
        (["scp", "-q", "-F", str(config), str(tmp_path / "big"), "pyro-by-ssh:/workspace/big"], b""),
        (["scp", "-q", "-F", str(config), "pyro-by-ssh:/workspace/big", str(tmp_path / "back")], b""),
        (["sftp", "-q", "-b", "-", "-F", str(config), "pyro-by-ssh"], b"rename /workspace/big /workspace/moved\n"),
    ):
        done = run(*argv, stdin=commands)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "back").read_bytes() == data
    assert pyro.exec_workspace(ws, "wc -c < moved").stdout == "700000\n"
    pyro.exec_workspace(ws, "git commit -qm one")
    over = f"ssh -F {config}"
    clone = run("git", "clone", "-q", "pyro-by-ssh:/workspace", str(tmp_path / "clone"), GIT_SSH_COMMAND=over)
    assert clone.returncode == 0 and (tmp_path / "clone" / "a").read_text() == "1\n", clone.stderr
    push = run("git", "-C", str(tmp_path / "clone"), "push", "-q", "origin", "HEAD:refs/heads/x", GIT_SSH_COMMAND=over)
    assert push.returncode == 0, push.stderr

    # A client that is killed, and one with another key.
    killed = subprocess.Popen(["ssh", "-F", str(config), "pyro-by-ssh", "sleep 999"])
    wait_until(lambda: pyro.exec_workspace(ws, "pgrep -c sleep").stdout != "0\n")
    killed.kill()
    killed.wait()
    wait_until(lambda: pyro.exec_workspace(ws, "pgrep sshd; ls -d /run/pyro-ssh.*").stdout == "")
    private.unlink()
    assert pyro_command("ssh-config", ws).returncode == 0
    (private.parent / "host").unlink()
    assert pyro_command("ssh-config", "by-ssh").returncode == 0
    assert run("ssh", "-F", str(config), "pyro-by-ssh", "true").returncode == 0
    pyro.delete_workspace(ws)
    gone = run("ssh", "-F", str(config), "pyro-by-ssh", "true")
    assert gone.returncode == 255 and b"it was deleted" in gone.stderr
    other = pyro.create_workspace("debian:12-base").id
    config.write_text(pyro_command("ssh-config", other).stdout)
    assert not private.exists()
    without = run("ssh", "-F", str(config), f"pyro-{other}", "true")
    assert without.returncode == 255 and b"no sshd" in without.stderr


def test_the_proxy_alone_says_who_it_is_for() -> None:
    assert pyro_command("__ssh").returncode == 2
    missing = pyro_command("__ssh", "ws-00000000")
    assert missing.returncode == 1 and "ssh-config" in missing.stderr


def test_keys_that_are_made_twice_at_once_are_one_key(tmp_path: Path) -> None:
    """Each process says the key that stays: ssh would refuse a host whose key is another."""
    code = (
        "import sys; from pyro_mcp.cli.ssh import Keys, public; from pyro_mcp.locations import Locations; "
        "keys = Keys(Locations(*sys.argv[1:]), 'ws-0'); keys.make(); print(public(keys.host), public(keys.client))"
    )
    argv = [sys.executable, "-c", code, *(str(tmp_path / name) for name in ("run", "state", "cache"))]
    makers = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = {maker.communicate(timeout=120)[0] for maker in makers}
    assert len(said) == 1 and all(maker.returncode == 0 for maker in makers)
    place = tmp_path / "state" / "ssh" / "ws-0"
    assert sorted(file.name for file in place.iterdir()) == ["client", "host", "known_hosts"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o600}
    assert said.pop().startswith(place.joinpath("known_hosts").read_text().removeprefix("ws-0 ").strip())
