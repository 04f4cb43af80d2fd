"""Workspaces on container images, from a real registry on loopback: what works in one that has little."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, NotFound, PyroError, Unsupported
from pyro_mcp.sdk import Progress, Pyro
from tests.images import busybox_layer, layer, layout, member, needs, push, registry
from tests.support import Installation

pytestmark = pytest.mark.as_root


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with `alpine-like:1` (busybox), `tool:1` on top of it, and `static:1`, a program and nothing else."""
    needs("skopeo", "docker-registry", "busybox")
    place = tmp_path_factory.mktemp("images")
    stamp = layer(member("stamp", os.urandom(16).hex().encode()))  # so that no earlier run has it
    base = busybox_layer()
    program = Path("/bin/busybox").read_bytes()
    tool = layer(member("usr/local/bin/tool", b"#!/bin/sh\necho tool $TOOL\n", mode=0o755), member("bin/.wh.vi", b""))
    variables = ["PATH=/usr/local/bin:/bin", "TOOL=hammer", "ODD=a=b c"]
    layout(place / "a", [base, stamp])
    layout(place / "t", [base, stamp, tool], Env=variables, User="nobody", WorkingDir="/srv", Entrypoint=["/bin/false"])
    layout(place / "s", [layer(member("app/busybox", program, mode=0o755)), stamp])
    with registry(place / "registry") as host:
        for name, directory in (("alpine-like", "a"), ("tool", "t"), ("static", "s")):
            push(f"oci:{place}/{directory}:latest", f"{host}/{name}:1")
        yield host
        with Installation() as installation, installation.active(), Pyro() as pyro:
            for name in [e.name for e in pyro.list_environments().environments if e.name.startswith(host)]:
                removed = pyro.remove_environment(name)
                assert removed.freed_bytes > 0


def test_an_image_without_bash_is_a_workspace_like_any_other(pyro: Pyro, served: str, tmp_path: Path) -> None:
    texts: list[str] = []
    with Pyro(on_event=lambda event: texts.append(event.text) if isinstance(event, Progress) else None) as watching:
        pulled = watching.pull_environment(f"{served}/alpine-like:1")
    assert pulled.installed and pulled.description == "Handmade 1"
    assert any("of 2 layers" in text for text in texts), texts
    assert any("no bash" in note for note in pulled.notes) and any("no git" in note for note in pulled.notes)
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "f.txt").write_text("one\n")
    ws = pyro.create_workspace(f"{served}/alpine-like:1", seed_path=str(tmp_path / "seed"))
    assert ws.environment == f"{served}/alpine-like:1"
    done = pyro.exec_workspace(ws.id, "id -u; pwd; echo $0 $SHELL; cat f.txt; echo two >> f.txt")
    assert (done.exit_code, done.stdout) == (0, "0\n/workspace\n/bin/sh /bin/sh\none\n")
    assert "+two" in (pyro.diff_workspace(ws.id).patch or "")
    # Longer than one argument can be: through sh as through bash.
    assert pyro.exec_workspace(ws.id, f"x='{'x' * 200_000}'; echo ${{#x}}").stdout == "200000\n"
    shell = pyro.open_shell(ws.id)
    pyro.write_shell(ws.id, shell.shell, "echo $((6*7))\n")
    seen = pyro.read_shell(ws.id, shell.shell, wait_for="42", wait_seconds=20)
    assert "42" in seen.output
    service = pyro.start_service(ws.id, "web", "httpd -f -p 8000", ready_command="test -e f.txt")
    assert service.state == "running", service
    pyro.create_snapshot(ws.id, "before")
    pyro.exec_workspace(ws.id, "rm f.txt")
    pyro.reset_workspace(ws.id, snapshot="before")
    assert pyro.read_workspace_file(ws.id, "f.txt").content == "one\ntwo\n"


def test_what_an_image_says_of_its_program(pyro: Pyro, served: str) -> None:
    ran = pyro.run_in_vm(f"{served}/tool:1", "tool; echo $ODD; id -u; pwd; ls /bin/vi")
    assert ran.stdout == "tool hammer\na=b c\n65534\n/workspace\n"
    assert ran.exit_code != 0, "the upper layer took vi away"
    assert pyro.run_in_vm(f"{served}/tool:1", "tool", env={"TOOL": "saw"}).stdout == "tool saw\n"
    said = pyro.inspect_environment(f"{served}/tool:1")
    assert (said.user, said.workdir) == ("nobody", "/srv")
    assert said.env is not None and said.env["TOOL"] == "hammer"


def test_an_image_with_nothing_but_a_program(pyro: Pyro, served: str) -> None:
    reference = f"{served}/static:1"
    assert pyro.run_in_vm(reference, ["/app/busybox", "echo", "hello"]).stdout == "hello\n"
    with pytest.raises(Unsupported, match="no shell") as refused:
        pyro.run_in_vm(reference, "echo hello")
    assert "list" in refused.value.hint
    ws = pyro.create_workspace(reference)
    pyro.write_workspace_file(ws.id, "a/b.txt", "text\n")
    assert pyro.exec_workspace(ws.id, ["/app/busybox", "cat", "a/b.txt"]).stdout == "text\n"
    with pytest.raises(Unsupported, match="no shell"):
        pyro.open_shell(ws.id)


def test_what_is_not_there_is_said_and_leaves_nothing(pyro: Pyro, served: str, installation: Installation) -> None:
    before = {w.id for w in pyro.list_workspaces().workspaces}
    with pytest.raises(NotFound, match="no such image"):
        pyro.create_workspace(f"{served}/nothing:1")
    with pytest.raises(PyroError, match="no environment") as refused:
        pyro.create_workspace("debain")
    assert refused.value.code == "unknown_environment"
    assert {w.id for w in pyro.list_workspaces().workspaces} == before


def test_a_pull_lives_through_a_killed_daemon_and_a_removed_image_is_gone(fresh: Installation, served: str) -> None:
    with Pyro() as pyro:
        first = pyro.pull_environment(f"{served}/tool:1")
        ws = pyro.create_workspace(f"{served}/tool:1", user="root").id
    fresh.kill_daemon()
    with Pyro() as pyro:
        assert pyro.exec_workspace(ws, "tool").stdout == "tool hammer\n"
        pyro.reset_workspace(ws)
        assert pyro.exec_workspace(ws, "tool").stdout == "tool hammer\n", "the image's variables went with the reset"
        assert pyro.pull_environment(f"{served}/tool:1").digest == first.digest


def test_a_workspace_is_saved_as_an_environment_without_what_is_its_own(pyro: Pyro, served: str) -> None:
    ws = pyro.create_workspace(
        f"{served}/tool:1", user="root", network_policy="egress", secrets={"KEY": "a-secret-value-1234"}
    ).id
    did = pyro.exec_workspace(
        ws,
        "mkdir -p /opt/kit/empty && echo made > /opt/kit/made && ln -s made /opt/kit/link"
        " && ln /opt/kit/made /opt/kit/hard"
        " && echo changed >> /etc/passwd && rm /bin/ls && rm -r /usr/local/bin && mkdir /usr/local/bin"
        " && printf '#!/bin/sh\necho new' > /usr/local/bin/fresh && chmod 4755 /usr/local/bin/fresh"
        " && chown 1000:1001 /opt/kit/made && mv /bin/cal /bin/calendar && echo mine > /workspace/mine",
    )
    assert did.exit_code == 0, did
    pyro.exec_workspace(ws, 'echo "$KEY" > /root/.history', secret_env={"KEY": "KEY"})
    with pytest.raises(Conflict, match=r"/root/\.history") as refused:
        pyro.save_environment(ws, "kit")
    assert "a-secret" not in str(refused.value)
    pyro.exec_workspace(ws, "rm /root/.history")
    try:
        saved = pyro.save_environment(ws, "kit")
        assert saved.installed and saved.name == "kit"
        with pytest.raises(Conflict, match="already"):
            pyro.save_environment(ws, "kit")
        pyro.delete_workspace(ws)
        pyro.remove_environment(f"{served}/tool:1")  # what it stands on is its own
        seen = pyro.run_in_vm(
            "kit",
            "cat /opt/kit/link; tail -1 /etc/passwd; fresh; stat -c '%u %g %a %h' /opt/kit/made /usr/local/bin/fresh;"
            " echo $TOOL; /bin/busybox ls -A /workspace /tmp; hostname; test -L /bin/cal || readlink /bin/calendar;"
            " /bin/busybox ls /etc/ssl/pyro-workspace.crt /etc/apt/apt.conf.d/80pyro-proxy; which tool ls",
        )
        out = seen.stdout.splitlines()
        assert out[:6] == ["made", "changed", "new", "1000 1001 644 2", "0 0 4755 1", "hammer"], seen
        assert "mine" not in out and "busybox" in out
        assert seen.stderr.count("No such file") == 2, "what belongs to the machine was saved"
        assert "/tool" not in seen.stdout and "/bin/ls" not in seen.stdout
        assert any(e.name == "kit" for e in pyro.list_environments().environments)
    finally:
        pyro.remove_environment("kit")
        pyro.pull_environment(f"{served}/tool:1")


def test_an_environment_is_exported_as_an_image_that_other_tools_load(pyro: Pyro, served: str, tmp_path: Path) -> None:
    name = f"{served}/tool:1"
    out = pyro.export_environment(name, output=str(tmp_path / "out"))
    assert out.image == f"oci:{tmp_path}/out:latest"
    policy = ["skopeo", "--insecure-policy"]
    said = json.loads(subprocess.run([*policy, "inspect", out.image], capture_output=True, check=True).stdout)
    assert "TOOL=hammer" in said["Env"] and len(said["Layers"]) == 1
    subprocess.run([*policy, "copy", "-q", out.image, f"docker-archive:{tmp_path}/out.tar:kit:1"], check=True)
    ran = pyro.run_in_vm(f"docker-archive:{tmp_path}/out.tar", "tool; ls -ld /tmp; readlink /bin/cat; id -u")
    pyro.remove_environment(f"docker-archive:{tmp_path}/out.tar")
    lines = ran.stdout.splitlines()
    assert (lines[0], lines[1].split()[0], lines[2:]) == ("tool hammer", "drwxrwxrwt", ["busybox", "65534"])
    with pytest.raises(Conflict, match="already exists"):
        pyro.export_environment(name, output=str(tmp_path / "out"))
    with pytest.raises(PyroError, match="no directory"):
        pyro.export_environment(name, output=str(tmp_path / "no" / "out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.tar"]
