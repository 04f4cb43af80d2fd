"""Every symptom of docs/troubleshooting.md is what pyro, or a program inside, says today: each is produced, or the test
that produces it is named."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from pyro_mcp.machines.processes import kill, with_word_in_command_line
from pyro_mcp.sdk import Pyro
from tests.engine.test_snapshots import machine_of
from tests.support import Installation, wait_until

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "newuidmap is not on this computer": "tests/programs/test_host_checks.py",
    "/etc/subuid has no range of": "tests/programs/test_host_checks.py",
    "does not let an unprivileged user create a user namespace": "tests/programs/test_host_checks.py",
    "is used instead, because this computer has no mmdebstrap": "tests/engine/test_without_mmdebstrap.py",
    "mmdebstrap could not build": "tests/programs/test_environment_store.py",
    "is being fetched for the first time": "tests/faces/test_first_call.py",
    "is not one of the allowed domains": "tests/engine/test_network_policy.py",
    "already exists; nothing was changed": "tests/engine/test_exports.py",
    "HTTP status 401, 421 or 403": "tests/programs/test_mcp_http.py",
    "bwrap: loopback": "docs/troubleshooting.md",  # what bubblewrap says: no environment of ours has it
}
"""What needs another computer than this one, or minutes."""


def rows() -> list[str]:
    """The first cells of the table."""
    lines = (ROOT / "docs" / "troubleshooting.md").read_text().splitlines()
    return [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")][1:]


def parts(cell: str) -> list[str]:
    """The texts that a person sees, without what differs each time."""
    quoted = re.findall(r"`([^`]+)`", cell) or re.findall(r"status \d+", cell)
    return [part.strip() for text in quoted for part in text.split("…") if part.strip()]


def test_each_symptom_is_produced(pyro: Pyro, project: Path, installation: Installation, tmp_path: Path) -> None:
    made = pyro.create_workspace("debian:12", seed_path=str(project), name="ill", secrets={"TOKEN": "hunter2-value"}).id
    egress = pyro.create_workspace("debian:12", name="out", network_policy="egress").id
    taken = socket.create_server(("127.0.0.1", 0))
    said: list[str] = []

    def told(*words: str, **more: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pyro_mcp", *words],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **more},
            cwd=tmp_path,
            timeout=120,
        )
        said.append(f"{words}\nstatus {done.returncode}\n{done.stdout}{done.stderr}")

    told("exec", made, "--", "kill -9 $$")
    told("exec", made, "--", "truncate -s 1M i; losetup -f i; mount -o loop i /mnt")
    told("exec", made, "--", "su nobody -s /bin/sh -c 'sudo true'")
    told("exec", made, "--", "curl -sS http://example.com/")
    told("exec", made, "--secret-env", "TOKEN", "--", "echo $TOKEN")
    told("exec", egress, "--", "curl -sS http://10.0.0.1/")
    told("service", "start", egress, "web", "--publish", "80", "--", "sleep 9")
    told("service", "start", made, "never", "--ready-tcp", "1", "--ready-timeout-seconds", "1", "--", "sleep 99")
    told("ls", PYRO_HOME=f"/tmp/{'long' * 30}")
    told("mcp", "serve", "--http", "127.0.0.1:0")
    ports = pyro.create_workspace("debian:12", name="ports", network_policy="egress+published-ports").id
    told("service", "start", ports, "web", "--publish", f"{taken.getsockname()[1]}:80", "--", "sleep 9")
    # The same line here and there.
    pyro.edit_workspace_file(made, "src/calc.py", "a + b", "b + a")
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "checkout", "-q", "-b", "other"], check=True)
    (project / "src" / "calc.py").write_text("def add(a, b):\n    return sum((a, b))\n")
    subprocess.run([*git, "commit", "-qam", "otherwise"], check=True)
    subprocess.run([*git, "checkout", "-q", "main"], check=True)
    told("land", made, "--branch", "other")
    pyro.stop_workspace(egress)
    told("exec", egress, "--", "true")
    pyro.delete_workspace(egress)
    told("exec", egress, "--", "true")
    for process in with_word_in_command_line(os.fsencode(f"{machine_of(installation, made)}/")):
        kill(process)
    wait_until(lambda: pyro.status_workspace(made).state == "lost")
    told("exec", made, "--", "true")
    # A Python that ends as soon as it is to be the daemon.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'pyro_mcp.daemon' in sys.orig_argv:\n    os._exit(3)\n"
    )
    told("ls", PYRO_HOME=str(tmp_path / "home"), PYTHONPATH=str(tmp_path))
    taken.close()

    everything = "\n".join(said)
    missing = [
        part
        for cell in rows()
        for part in parts(cell)
        if not any(known in cell.replace("`", "") for known in ELSEWHERE) and not _found(part, everything)
    ]
    assert not missing, (missing, everything)


def _found(part: str, everything: str) -> bool:
    """A number of the page's example stands for any."""
    return bool(re.search(re.sub(r"\d{3,}", r"\\d+", re.escape(part)), everything, re.IGNORECASE))


def test_what_is_produced_elsewhere_is_known_there() -> None:
    cells = "\n".join(rows()).replace("`", "")
    for symptom, place in ELSEWHERE.items():
        assert symptom in cells, symptom
        assert (ROOT / place).exists(), place
