"""Who commands run as: root, unless the call, the project's file or the image says otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyro_mcp.errors import InvalidInput, PyroError
from pyro_mcp.sdk import Pyro
from tests.images import busybox_layer, layer, layout, member, needs

ME = "id -u; id -g; id -G; echo $HOME $USER $LOGNAME"
NODE = "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n"


@pytest.fixture
def seed(tmp_path: Path) -> str:
    (tmp_path / "seed" / "sub").mkdir(parents=True)
    (tmp_path / "seed" / "sub" / "f.txt").write_text("one\n")
    (tmp_path / "seed" / "run.sh").write_text("#!/bin/sh\nid -u\n")
    (tmp_path / "seed" / "run.sh").chmod(0o755)
    return str(tmp_path / "seed")


def test_a_command_a_shell_a_service_and_a_session_as_somebody_else(pyro: Pyro, seed: str) -> None:
    ws = pyro.create_workspace(seed_path=seed, network_policy="egress")
    assert ws.user == "root"

    def out(command: str, user: str | None = None, **more: object) -> str:
        done = pyro.exec_workspace(ws.id, command, user=user, **more)  # type: ignore[arg-type]
        assert done.exit_code == 0, done
        return done.stdout

    out("useradd -m -u 1000 -G www-data dev && printf secret > /root/s && printf '#!/bin/sh\\n' > /usr/local/bin/only")
    out("chmod 700 /usr/local/bin/only; install -d -o dev -m 700 /workspace/theirs")
    assert out(ME) == "0\n0\n0\n/root root root\n"
    assert out(ME, "dev") == "1000\n1000\n1000 33\n/home/dev dev dev\n"
    assert out(ME, "1000") == out(ME, "dev")
    assert out(ME, "dev:users") == "1000\n100\n100\n/home/dev dev dev\n"
    assert out(ME, "4242:77") == "4242\n77\n77\n/ 4242 4242\n"
    assert out(ME, "dev", env={"HOME": "/tmp"}).endswith("/tmp dev dev\n")
    # No more rights than that user has; and as much as one can have.
    assert "0000000000000000" in out("grep CapEff /proc/self/status", "dev")
    assert pyro.exec_workspace(ws.id, "cat /root/s; only; echo x >> sub/f.txt", user="dev").exit_code != 0
    assert out("echo a > /dev/stdout; echo b > /dev/stderr; ulimit -u > /dev/null; pwd", "dev") == "a\n/workspace\n"
    assert out(f"x='{'x' * 200_000}'; echo ${{#x}}", "dev") == "200000\n"
    assert out("touch mine; mkdir d; stat -c %U mine d /workspace", "dev") == "dev\ndev\nroot\n"
    # The tools keep whose a file is, and give a new one to whom its directory belongs.
    out("touch theirs/old; chmod 640 theirs/old", "dev")
    pyro.write_workspace_file(ws.id, "theirs/old", text="x\n")
    pyro.edit_workspace_file(ws.id, "theirs/old", old_string="x", new_string="y")
    pyro.write_workspace_file(ws.id, "theirs/new/er", text="x\n")
    pyro.apply_workspace_patch(ws.id, patch="--- /dev/null\n+++ b/theirs/p\n@@ -0,0 +1 @@\n+x\n")
    assert out("stat -c '%U %a' theirs/old theirs/new theirs/new/er theirs/p sub/f.txt run.sh") == (
        "dev 640\ndev 755\ndev 644\ndev 644\nroot 644\nroot 755\n"
    )
    # Sessions are each user's own.
    out("X=mine; cd /tmp", "dev", session="s")
    assert out("echo $X $PWD", "dev", session="s") == "mine /tmp\n"
    assert out("echo [$X] $PWD", session="s") == "[] /workspace\n"
    assert out("ls -A /run/pyro-sessions; stat -c %U:%a /run/pyro-sessions/@1000") == "@0\n@1000\ndev:700\n"
    # What the network needs is there for everybody.
    assert "BEGIN CERTIFICATE" in out(
        "head -c 2000 $SSL_CERT_FILE; git init -q; git config --get user.name; git status -s >/dev/null", "dev"
    )
    # Unknown, refused before anything runs; a directory that is closed is said to be.
    before = len(pyro.logs_workspace(ws.id, limit=100).commands)
    with pytest.raises(InvalidInput, match=r"no user \"nobodee\".*root, dev") as refused:
        pyro.exec_workspace(ws.id, "touch ran", user="nobodee")
    assert refused.value.code == "no_such_user"
    with pytest.raises(InvalidInput, match="no group"):
        pyro.exec_workspace(ws.id, "touch ran", user="dev:nogroupp")
    with pytest.raises(PyroError, match="cannot be entered by the user dev"):
        pyro.exec_workspace(ws.id, "true", user="dev", cwd="/root")
    with pytest.raises(PyroError, match="by the user dev"):
        pyro.exec_workspace(ws.id, ["/usr/local/bin/only"], user="dev")
    assert (
        out("ls ran 2>&1 || :").startswith("ls: ") and len(pyro.logs_workspace(ws.id, limit=100).commands) == before + 1
    )
    for who in ("dev", None):
        with pytest.raises(InvalidInput, match="is not there"):
            pyro.open_shell(ws.id, user=who, cwd="/no/such")
    shell = pyro.open_shell(ws.id, user="dev")
    pyro.write_shell(ws.id, shell.shell, "id -un; tty; stat -c %U $(tty); sleep 100\n")
    seen = pyro.read_shell(ws.id, shell.shell, wait_for=r"/dev/pts/\d+\s+dev", wait_seconds=20, plain=True).output
    assert "dev" in seen, seen
    pyro.signal_shell(ws.id, shell.shell, "INT")
    pyro.write_shell(ws.id, shell.shell, "echo $((6*7))\n")
    assert "42" in pyro.read_shell(ws.id, shell.shell, wait_for="42", wait_seconds=20).output
    pyro.close_shell(ws.id, shell.shell)
    service = pyro.start_service(ws.id, "s", "touch ~/up; sleep 100", user="dev", ready_command="test -O ~/up")
    assert service.state == "running", service
    # In the place of the accounts something that would never be read to its end.
    out("mv /etc/passwd /etc/kept; mkfifo /etc/passwd")
    with pytest.raises(PyroError, match="/etc/passwd is not a file"):
        pyro.exec_workspace(ws.id, "true", user="dev")
    out("rm /etc/passwd; mv /etc/kept /etc/passwd")


def test_an_images_user_is_who_commands_run_as_and_whose_the_project_is(pyro: Pyro, seed: str, tmp_path: Path) -> None:
    needs("busybox")
    home = member("home/node", type=b"5", mode=0o755, uid=1000, gid=1000)
    with_user = layer(member("etc/passwd", NODE.encode()), member("etc/group", b"root:x:0:\nnode:x:1000:\n"), home)
    layout(tmp_path / "a", [busybox_layer(), with_user], User="node")
    layout(tmp_path / "b", [busybox_layer(), layer(member("bin/.wh.vi", b""))], User="1001:7")
    image = f"oci:{tmp_path}/a"
    pulled = pyro.pull_environment(image)
    try:
        assert pulled.user == "node" and any("as the user node" in note for note in pulled.notes)
        ran = pyro.run_in_vm(image, ME)
        assert ran.stdout == "1000\n1000\n1000\n/home/node node node\n", ran
        assert pyro.run_in_vm(image, "id -u", user="root").stdout == "0\n"
        ws = pyro.create_workspace(image, seed_path=seed)
        assert ws.user == "node"
        done = pyro.exec_workspace(ws.id, "echo two >> sub/f.txt; ./run.sh; stat -c %u . sub run.sh; touch sub/new")
        assert (done.exit_code, done.stdout) == (0, "1000\n1000\n1000\n1000\n"), done
        pyro.write_workspace_file(ws.id, "sub/made", text="x")
        assert pyro.exec_workspace(ws.id, "stat -c %u sub/made sub/f.txt").stdout == "1000\n1000\n"
        assert sorted(c.path for c in pyro.diff_workspace(ws.id).files) == ["sub/f.txt", "sub/made", "sub/new"]
        assert pyro.exec_workspace(ws.id, "id -u", user="root").stdout == "0\n"
        (fork,) = pyro.fork_workspace(ws.id).workspaces
        assert pyro.exec_workspace(fork.id, "id -u; cat sub/f.txt").stdout == "1000\none\ntwo\n" and fork.user == "node"
        assert pyro.reset_workspace(ws.id).user == "node"
        assert pyro.exec_workspace(ws.id, "id -u; stat -c %u sub/f.txt").stdout == "1000\n1000\n"
        pyro.save_environment(ws.id, "users-kit", overwrite=True)
        assert pyro.run_in_vm("users-kit", "id -u").stdout == "1000\n"
        pyro.export_environment("users-kit", output=str(tmp_path / "out"))
        assert '"User": "node"' in "".join(
            p.read_text("latin-1") for p in (tmp_path / "out" / "blobs" / "sha256").iterdir()
        )
        # Without a list of accounts only numbers mean somebody.
        plain = pyro.create_workspace(f"oci:{tmp_path}/b", seed_path=seed)
        assert plain.user == "1001:7"
        assert pyro.exec_workspace(plain.id, ME + "; stat -c %u:%g sub").stdout == "1001\n7\n7\n/ 1001 1001\n1001:7\n"
        with pytest.raises(InvalidInput, match="no user"):
            pyro.exec_workspace(plain.id, "true", user="node")
        named = len(pyro.list_workspaces().workspaces)
        with pytest.raises(InvalidInput, match="no user 'node'"):
            pyro.create_workspace(f"oci:{tmp_path}/b", seed_path=seed, user="node")
        assert len(pyro.list_workspaces().workspaces) == named
    finally:
        for each in pyro.list_workspaces().workspaces:
            pyro.delete_workspace(each.id)
        there = [each.name for each in pyro.list_environments().environments if each.installed]
        for name in (image, f"oci:{tmp_path}/b", "users-kit"):
            if name in there:
                pyro.remove_environment(name)


def test_a_projects_remote_user_does_its_set_up_and_owns_it(pyro: Pyro, seed: str) -> None:
    said = {
        "remoteUser": "www-data",
        "onCreateCommand": "id -un > who; mkdir -p .venv; echo x > .venv/x; echo 2 >> sub/f.txt",
    }
    (Path(seed) / ".devcontainer.json").write_text(json.dumps(said))
    ws = pyro.create_workspace(seed_path=seed)
    assert ws.user == "www-data" and ws.devcontainer is not None
    assert ws.devcontainer.setup_status == "done" and ws.devcontainer.passed_over == []
    look = "cat who; stat -c %U .venv/x sub/f.txt; id -un"
    assert pyro.exec_workspace(ws.id, look).stdout == "www-data\n" * 4
    again = pyro.create_workspace(seed_path=seed)
    assert again.devcontainer is not None and again.user == "www-data"
    if again.engine == "gvisor":
        assert again.devcontainer.restored
    assert pyro.exec_workspace(again.id, look + "; rm -r .venv").stdout == "www-data\n" * 4
    as_root = pyro.create_workspace(seed_path=seed, user="root")
    assert as_root.user == "root" and as_root.devcontainer is not None and not as_root.devcontainer.restored
    (Path(seed) / ".devcontainer.json").write_text(json.dumps(said | {"remoteUser": "vscode"}))
    unknown = pyro.create_workspace(seed_path=seed)
    assert unknown.user == "root" and unknown.devcontainer is not None
    assert any("remoteUser" in each and "vscode" in each for each in unknown.devcontainer.passed_over)
