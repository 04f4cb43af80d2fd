"""No work is lost: the files after each command and edit are kept, and come back byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp import NotFound, Pyro
from tests.support import Installation

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
        back = pyro.rewind_workspace(ws, number)
        assert back.rewound_to == number and not back.left_files
        assert look() == moments[number]
    # A reset is a moment like others, and so is the rewind before it; the daemon's death loses none.
    pyro.reset_workspace(ws)
    assert look() == moments[0]
    installation.kill_daemon()
    pyro.rewind_workspace(ws, 5)
    assert look() == moments[5]
    with pytest.raises(NotFound, match="no checkpoint 99"):
        pyro.rewind_workspace(ws, 99)


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
