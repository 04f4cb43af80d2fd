"""No work is lost: the files after each command and edit are kept, and come back byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_mcp import InvalidInput, MachineLost, NotFound, Pyro, PyroError
from pyro_mcp.machines.processes import kill, with_word_in_command_line
from tests.engine.test_snapshots import machine_of
from tests.support import Installation, wait_until

LOOK = r"""
find . -mindepth 1 ! -path './.git*' | LC_ALL=C sort | while IFS= read -r f; do
    stat -c '%N %f' "$f"
    if [ -f "$f" ] && [ ! -h "$f" ]; then cksum < "$f"; fi
done
"""
"""Names, kinds, modes, targets and contents of all there is, empty directories too."""
EVENTS = (
    "echo two >> src/calc.py; chmod 600 run.sh",
    "rm -rf src link; mkdir -p 'new dir/deep'; echo x > 'new dir/deep/f'; mkdir empty",
    'mv "new dir" old; ln -s old link; printf "\\351\\0\\r\\n" > "$(printf "n\\351")"; rmdir empty',
    "rm run.sh; mkdir run.sh; echo in > run.sh/inside; rm -r old; echo now a file > old",
)


def test_each_moment_comes_back(pyro: Pyro, installation: Installation, project: Path) -> None:
    ws = pyro.create_workspace("debian:12", seed_path=str(project)).id

    def look() -> str:
        return pyro.exec_workspace(ws, LOOK).stdout

    moments = [look()]
    for event in EVENTS:
        assert pyro.exec_workspace(ws, event).exit_code == 0
        moments.append(look())
    pyro.edit_workspace_file(ws, "test_calc.py", "passed", "failed")
    moments.append(look())
    listed = pyro.rewind_workspace(ws).checkpoints
    assert [one.number for one in listed] == [5, 4, 3, 2, 1, 0]
    assert [one.after for one in listed] == ["edit test_calc.py", *(e[:100] for e in reversed(EVENTS)), "as it began"]
    assert len(set(moments)) == 6
    for number in (2, 0, 4, 1, 5, 3):
        rewound = pyro.rewind_workspace(ws, number)
        assert rewound.rewound_to == number and not rewound.left_files
        assert look() == moments[number]
    # A reset is a moment like others, and so is the rewind before it; the daemon's death loses none.
    pyro.reset_workspace(ws)
    assert look() == moments[0]
    installation.kill_daemon()
    pyro.rewind_workspace(ws, 5)
    assert look() == moments[5]
    with pytest.raises(NotFound, match="no checkpoint 99"):
        pyro.rewind_workspace(ws, 99)

    # The history shows them as lines among the operations, each with the way back.
    shown = subprocess.run(
        [sys.executable, "-m", "pyro_mcp", "workspace", "history", ws], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    line = next(n for n, text in enumerate(shown) if "checkpoint 1 " in text)
    assert "exec_workspace" in shown[line - 1] and f"rewind {ws} 1" in shown[line] and "src/calc.py" in shown[line]

    # A machine that is lost comes back with the files of the last checkpoint, and says what is missing.
    pyro.create_snapshot(ws, "before")
    pyro.exec_workspace(ws, "echo last > last; ln -s last to; head -c 9000000 /dev/zero > large; touch /root/outside")
    mine = look()
    assert pyro.rewind_workspace(ws).checkpoints[0].paths == ["large", "last", "to"]
    for process in with_word_in_command_line(os.fsencode(f"{machine_of(installation, ws)}/")):
        kill(process)
    wait_until(lambda: pyro.status_workspace(ws).state == "lost")
    with pytest.raises(MachineLost, match="snapshot `last`"):
        pyro.exec_workspace(ws, "true")
    back = pyro.reset_workspace(ws, snapshot="last")
    assert back.state == "running" and "checkpoint" in back.notes[0] and "large" in back.notes[1]
    assert look() == "\n".join(text for text in without(mine, "large")) + "\n"
    assert pyro.exec_workspace(ws, "test -e /root/outside").exit_code == 1
    numbers = [one.number for one in pyro.rewind_workspace(ws).checkpoints]
    again = pyro.reset_workspace(ws, snapshot="last")
    assert [one.number for one in pyro.rewind_workspace(ws).checkpoints][-1] == numbers[-1] and again.notes
    with pytest.raises(InvalidInput, match="last checkpoint"):
        pyro.create_snapshot(ws, "last")
    assert "Files alone" in pyro.rewind_workspace(ws, 5).hint


def without(looked: str, name: str) -> list[str]:
    """What `LOOK` printed, without the two lines of a file."""
    lines = looked.splitlines()
    at = next(n for n, text in enumerate(lines) if f"./{name}'" in text)
    return lines[:at] + lines[at + 2 :]


def test_a_rewind_of_any_size_is_whole_or_not_at_all(pyro: Pyro, workspace: str) -> None:
    make = "mkdir d; for i in $(seq 12); do head -c 3000000 /dev/urandom > d/$i; done; "
    make += "seq 300 | sed 's|^|d/s|' | xargs touch"
    assert pyro.exec_workspace(workspace, make, wait_seconds=50).exit_code == 0
    before = pyro.exec_workspace(workspace, "cat d/* | cksum; ls d | wc -l").stdout
    assert pyro.exec_workspace(workspace, "rm -r d; echo > d").exit_code == 0
    # It cannot be done: a mount is in the way of one of the last names. Nothing is changed, and no stage is left.
    pyro.exec_workspace(workspace, "rm d; mkdir -p d/s290; mount -t tmpfs none d/s290", wait_seconds=20)
    with pytest.raises(PyroError):
        pyro.rewind_workspace(workspace, 1)
    assert pyro.exec_workspace(workspace, "ls -A . d").stdout.split() == [".:", "d", "d:", "s290"]
    pyro.exec_workspace(workspace, "umount d/s290; rmdir d/s290 d")
    back = pyro.rewind_workspace(workspace, 1)
    assert (back.changed_files, back.left) == (312, [])
    assert pyro.exec_workspace(workspace, "cat d/* | cksum; ls d | wc -l").stdout == before


def test_what_is_too_large_is_left_alone_and_named(pyro: Pyro, workspace: str) -> None:
    def run(command: str) -> str:
        done = pyro.exec_workspace(workspace, command, wait_seconds=50)
        assert done.exit_code == 0, done
        return done.stdout

    run("mkdir many; for i in $(seq 400); do echo $i > many/$i; done; mkfifo pipe")
    run("truncate -s 5G sparse; rm -r many; mkdir node_modules; echo x > node_modules/x")
    back = pyro.rewind_workspace(workspace, 1)
    assert (back.left, back.changed_files) == (["sparse"], 400) and "8 MiB" in back.hint
    assert run("cat many/* | wc -l; stat -c %s sparse; cat node_modules/x; test -p pipe && echo pipe") == (
        "400\n5368709120\nx\npipe\n"
    )
    # A fork has a beginning of its own, and files kept nowhere are not taken away there either.
    (fork,) = pyro.fork_workspace(workspace).workspaces
    pyro.exec_workspace(fork.id, "rm -r many")
    listed = pyro.rewind_workspace(fork.id).checkpoints
    assert listed[0].files == 400 and listed[1].after.startswith("fork of")
    assert pyro.rewind_workspace(fork.id, listed[1].number).changed_files == 400
    pyro.delete_workspace(fork.id)
