"""`pyro workspace ssh-config`: an editor, scp, rsync and git reach a workspace over ssh, and no port is opened.

The block that it prints has ssh start this program as its ProxyCommand, which runs sshd in the workspace for that one
connection, its input and output passed on by the daemon. Keys are made for it: the client's never leaves this computer;
the host's is the workspace's own name to ssh and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

from pyro_mcp.cli.execute import write_out
from pyro_mcp.cli.feeding import Feeder
from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.client.answers import Output, Result, Started
from pyro_mcp.client.connection import Connection
from pyro_mcp.client.following import follow
from pyro_mcp.client.place import locations
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import NotFound, PyroError
from pyro_mcp.locations import ON, Locations
from pyro_mcp.operations.fields import MAX_TIMEOUT_SECONDS

PROXY = "__ssh"
NO_SSHD = 69
"""EX_UNAVAILABLE of sysexits(3)."""
_SERVE = f"""
sshd=$(PATH=$PATH:/usr/sbin:/sbin command -v sshd) || exit {NO_SSHD}
umask 077
mkdir -p /run/sshd
chmod 755 /run/sshd
here=$(mktemp -d /run/pyro-ssh.XXXXXX)
trap 'rm -rf "$here"' EXIT
printf '%s\\n' "$PYRO_SSH_HOST_KEY" > "$here/host"
printf '%s\\n' "$PYRO_SSH_CLIENT" > "$here/clients"
unset PYRO_SSH_HOST_KEY PYRO_SSH_CLIENT
"$sshd" -i -e -f /dev/null -o HostKey="$here/host" -o AuthorizedKeysFile="$here/clients" -o PidFile=none \\
  -o UsePAM=no -o StrictModes=no -o PermitRootLogin=prohibit-password -o PasswordAuthentication=no \\
  -o KbdInteractiveAuthentication=no -o LogLevel=ERROR -o PrintMotd=no -o PrintLastLog=no \\
  -o AllowAgentForwarding=no -o X11Forwarding=no -o "AcceptEnv=LANG LC_*" -o "Subsystem=sftp internal-sftp"
"""
"""Run by the workspace's sh. Each connection has a directory of its own, which goes with it."""


def print_config(prog: str, words: list[str], after: list[str] | None) -> int:
    """`pyro workspace ssh-config WORKSPACE`."""
    parser = Parser(
        prog=prog,
        usage=f"{prog} WORKSPACE",
        description="Print a block for ~/.ssh/config with which ssh reaches a workspace. No port is opened.\n\n"
        f"  {prog} WS >> ~/.ssh/config\n  ssh pyro-WS, scp pyro-WS:/workspace/F ., git clone pyro-WS:/workspace\n\n"
        "Editors list the same name among their ssh hosts.",
    )
    _, rest = parser.taken(words, after)
    if len(rest) != 1:
        raise usage_error("Name one workspace.", hint=f"For example: {prog} WORKSPACE")
    with Connection(face="cli", client="ssh-config") as pyro:
        record = pyro.call(KNOWN["status_workspace"], {"workspace": rest[0]})
        known = {each["id"] for each in pyro.call(KNOWN["list_workspaces"], {})["workspaces"]}
    place = Keys(Locations.of_this_user(), record["id"])
    place.prune(known)
    place.make()
    print(block(record["id"], record.get("name") or record["id"], place), end="")
    return 0


def block(workspace: str, name: str, keys: Keys) -> str:
    """What stands in ssh's configuration (ssh_config(5)) for one workspace."""
    home = os.environ.get("PYRO_HOME")
    command = [sys.executable, "-m", "pyro_mcp", PROXY, workspace]
    on = locations().on
    variables = [f"PYRO_HOME={os.path.abspath(home)}"] if home else []
    variables += [f"{ON}={on}"] if on else []
    if variables:
        command = ["env", *variables, *command]
    said = shlex.join(command).replace("%", "%%")
    return (
        f"Host pyro-{name}\n"
        f"  ProxyCommand {said}\n"
        "  User root\n"
        f"  HostKeyAlias {workspace}\n"
        f"  IdentityFile {_quoted(keys.client)}\n"
        "  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {_quoted(keys.known_hosts)}\n"
        "  StrictHostKeyChecking yes\n"
        "  ForwardAgent no\n"
        "  ForwardX11 no\n"
    )


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("%", "%%") + '"'


class Keys:
    """The keys of one workspace's ssh, in the state directory."""

    def __init__(self, locations: Locations, workspace: str) -> None:
        self._all = locations.state / "ssh"
        self._directory = self._all / workspace
        self._workspace = workspace
        self.client = self._directory / "client"
        self.host = self._directory / "host"
        self.known_hosts = self._directory / "known_hosts"

    def make(self) -> None:
        """Make what is missing. A host's key that was made once stays: ssh knows it by that."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for private in (self.client, self.host):
            if not private.exists():
                _make(private)
        known = f"{self._workspace} {public(self.host)}\n"
        if not self.known_hosts.exists() or self.known_hosts.read_text() != known:
            _partial(self.known_hosts, known.encode()).replace(self.known_hosts)

    def prune(self, known: set[str]) -> None:
        """Remove the keys of workspaces that are gone."""
        if self._all.is_dir():
            for each in self._all.iterdir():
                if each.name not in known:
                    shutil.rmtree(each, ignore_errors=True)


def public(private: Path) -> str:
    """The public half of a key, as authorized_keys and known_hosts have it."""
    from cryptography.hazmat.primitives import serialization as form

    key = form.load_ssh_private_key(private.read_bytes(), None)
    return key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH).decode()


def _make(private: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = Ed25519PrivateKey.generate().private_bytes(
        form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()
    )
    partial = _partial(private, text)
    with contextlib.suppress(FileExistsError):  # somebody else was first, and may have said his key already
        os.link(partial, private)
    partial.unlink()


def _partial(file: Path, text: bytes) -> Path:
    """The contents beside a file that is to have them, for this user alone."""
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    partial.touch(0o600)
    partial.write_bytes(text)
    return partial


def proxy(prog: str, words: list[str], after: list[str] | None) -> int:
    """ssh's ProxyCommand: one connection to one workspace, on standard input and output."""
    rest = [*words, *(after or [])]
    if len(rest) != 1:
        raise usage_error("Only ssh runs this command.", hint="Set it up with `pyro workspace ssh-config WS`.")
    keys = Keys(Locations.of_this_user(), rest[0])
    if not keys.host.exists():
        raise NotFound(
            f"Workspace {rest[0]} has no ssh keys.",
            hint=f"`pyro workspace ssh-config {rest[0]}` creates them, if the workspace still exists.",
            code="no_ssh_keys",
        )
    arguments = {
        "workspace": rest[0],
        "command": ["/bin/sh", "-c", _SERVE, "pyro-ssh"],
        "env": {"PYRO_SSH_HOST_KEY": keys.host.read_text(), "PYRO_SSH_CLIENT": public(keys.client)},
        "user": "root",
        "stdin_open": True,
        "timeout_seconds": MAX_TIMEOUT_SECONDS,
        "raw": True,
    }
    record: dict[str, object] = {}
    handle = ""
    # ssh sends it as it leaves; the end of standard input says the same and lets sshd end by itself.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with Connection(face="cli", client="ssh") as pyro:
        try:
            for said in follow(pyro.events, pyro.call, KNOWN["exec_workspace"], arguments):
                match said:
                    case Started() if not handle:
                        handle = said.handle
                        Feeder(pyro, rest[0], handle).start()
                    case Output():
                        write_out(sys.stdout if said.stream == "stdout" else sys.stderr, said.data)
                    case Result():
                        record = said.record
        finally:
            if handle and not record:
                with contextlib.suppress(PyroError):
                    pyro.call(KNOWN["cancel_workspace_exec"], {"workspace": rest[0], "handle": handle})
    if record.get("exit_code") == NO_SSHD:
        print(
            "This workspace's environment has no sshd. `apt-get install openssh-server` in it, or use debian:12.",
            file=sys.stderr,
        )
    code = record.get("exit_code")
    return code if isinstance(code, int) else 1
