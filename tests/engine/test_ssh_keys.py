"""git over ssh logs in from inside with the user's key, which never is inside, and at the named server only."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.errors import InvalidInput
from pyro_mcp.sdk import Pyro
from tests.servers import sshd
from tests.support import Installation

HOST = "host.pyro.internal"
SSH = "ssh -o BatchMode=yes -o StrictHostKeyChecking={check} -o ConnectTimeout=20 -p {port} {user}@{host}"


def keygen(path: Path, *words: str) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, *words], check=True)
    return path.with_suffix(".pub").read_text()


@pytest.mark.skipif(not shutil.which("sshd", path="/usr/sbin"), reason="this computer has no sshd (openssh-server)")
def test_git_pushes_over_ssh_with_a_key_that_the_machine_does_not_have(
    monkeypatch: pytest.MonkeyPatch, fresh: Installation, tmp_path: Path
) -> None:
    user = getpass.getuser()
    authorized = tmp_path / "authorized"
    authorized.write_text(keygen(tmp_path / "key"))
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", tmp_path / "app.git"], check=True)
    options = (f"AuthorizedKeysFile={authorized}",)
    other = tmp_path / "other"
    other.mkdir()
    with sshd(tmp_path, *options) as port, sshd(other, *options) as another:
        known = tmp_path / "known_hosts"
        known.write_text(f"[{HOST}]:{port} {(tmp_path / 'host_key.pub').read_text()}")
        configuration = tmp_path / "config"
        configuration.write_text(
            f"IdentityFile {tmp_path / 'key'}\nIdentityAgent none\n"
            f"UserKnownHostsFile {known}\nGlobalKnownHostsFile none\n"
        )
        monkeypatch.setenv("PYRO_SSH_CONFIG", str(configuration))
        with Pyro() as pyro:
            ports = [str(port), str(another)]
            with pytest.raises(InvalidInput, match="known_hosts"):
                pyro.create_workspace(network_policy="egress", ssh_hosts=[f"{HOST}:{another}"])
            for bad in ("-oProxyCommand=x", "a b", "host:0", "x@y@z", "10..1", ""):
                with pytest.raises(InvalidInput, match="no ssh server"):
                    pyro.create_workspace(network_policy="egress", ssh_hosts=[bad])
            with pytest.raises(InvalidInput, match="network is off"):
                pyro.create_workspace(ssh_hosts=[f"{HOST}:{port}"])
            ws = pyro.create_workspace(network_policy="egress", allow_host_ports=ports).id
            install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends openssh-client"
            done = pyro.exec_workspace(ws, install, timeout_seconds=300, wait_seconds=50)
            while done.status == "running":
                logs = pyro.logs_workspace(ws, handle=done.handle, wait_seconds=50)
                done = done.model_copy(update={"status": logs.status, "exit_code": logs.exit_code})
            assert done.exit_code == 0, done
            login = SSH.format(check="yes", port=port, user=user, host=HOST)
            before = pyro.exec_workspace(ws, f"{login} true", timeout_seconds=60)
            assert before.exit_code == 255, before
            opened = pyro.update_workspace(ws, ssh_hosts=[f"{user}@{HOST}:{port}"])
            assert opened.ssh_hosts == [f"{user}@{HOST}:{port}"]
            url = f"ssh://{user}@{HOST}:{port}{tmp_path}/app.git"
            push = (
                f"git clone -q {url} app && cd app && git config user.name t && git config user.email t@example.com && "
                "head -c 300000 /dev/urandom > big && git add big && git commit -qm one && git push -q origin HEAD:main"
            )
            pushed = pyro.exec_workspace(ws, push, timeout_seconds=120)
            assert pushed.exit_code == 0, pushed
            size = ["git", "-C", str(tmp_path / "app.git"), "cat-file", "-s", "main:big"]
            assert subprocess.run(size, capture_output=True, text=True).stdout == "300000\n"
            for way in ("env -i", "su nobody -s /bin/sh -c"):
                text = f"{login} echo in"
                run = f'{way} "{text}"' if way.startswith("su") else f"{way} {text}"
                assert pyro.exec_workspace(ws, run, timeout_seconds=60).stdout == "in\n"
            told = [e.summary for e in pyro.history_workspace(ws).events if e.operation == "egress"]
            assert any(f"signed for '{user}' at {HOST}:{port}: SHA256:" in text for text in told), told
            # Nothing else is signed: another server's login, a text, a login through a forwarded agent.
            shut = (
                SSH.format(check="no", port=another, user=user, host=HOST) + " true; "
                "ssh-add -L > k.pub; echo x > t; ssh-keygen -q -Y sign -f k.pub -n file t; ls t.sig; "
                + login.replace("ssh ", "ssh -A ", 1)
                + f" 'ssh-add -L; {SSH.format(check='no', port=port, user=user, host='127.0.0.1')} echo further'"
            )  # fmt: skip
            refused = pyro.exec_workspace(ws, shut, timeout_seconds=120)
            assert "further" not in refused.stdout and "t.sig" not in refused.stdout, refused
            told = [e.summary for e in pyro.history_workspace(ws, limit=1000).events if "refused it" in e.summary]
            for why in ("is none of", "not a login", "forwarded"):
                assert any(why in text for text in told), (why, told, refused)
            private = (tmp_path / "key").read_text().splitlines()[2]
            searched = f"grep -rlF '{private}' /etc /root /run /tmp /workspace /proc/*/environ 2>/dev/null"
            assert pyro.exec_workspace(ws, searched).stdout == ""
            fork = pyro.fork_workspace(ws).workspaces[0].id
            for each in (fork, ws):
                assert pyro.exec_workspace(each, f"{login} echo in", timeout_seconds=60).stdout == "in\n"
            pyro.update_workspace(ws, network_policy="off")
            pyro.update_workspace(ws, network_policy="egress", allow_host_ports=ports)
            assert pyro.exec_workspace(ws, f"{login} echo in; ls /run/pyro-ssh-agent").stdout == ""
