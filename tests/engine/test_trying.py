"""Several ways at once: each in a fork of this moment, one check for all, and one of them kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp import Conflict, InvalidInput, NotFound, Pyro
from pyro_mcp.models import Tried
from tests.engine.test_snapshots import count_inside, images, start_counter
from tests.engine.test_whole_machine_crash import assert_tidy, killed_during
from tests.support import Installation, wait_until

PATCH = "--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-value = 1\n+value = {}\n"
CHECK = "python3 -B -c 'import calc; assert calc.value == 3, calc.value'"
MISFIT = "--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-value = 99\n+value = 3\n"


def begin(pyro: Pyro, **options: object) -> str:
    ws = pyro.create_workspace(**options).id  # type: ignore[arg-type]
    pyro.write_workspace_file(ws, "calc.py", "value = 1\n")
    return ws


def statuses(tried: Tried) -> list[str]:
    return [one.status for one in tried.alternatives]


def test_three_candidate_fixes_one_passes_and_is_kept(pyro: Pyro, installation: Installation) -> None:
    ws = begin(pyro, secrets={"KEY": "value-to-hide"})
    start_counter(pyro, ws)
    token, number = count_inside(pyro, ws)
    tried = pyro.try_workspace(
        ws,
        [
            {"patch": PATCH.format(2), "name": "two"},
            {"patch": PATCH.format(3)},
            {"commands": ["echo value = 4 > calc.py", "printf 'a\\nb\\n' > new"]},
            {"patch": MISFIT},
            {"patch": "no patch at all"},
            {"commands": ["true", "echo value-to-hide; exit 7"]},
        ],
        check=CHECK,
    )
    one, two, three, misfit, none, broken = tried.alternatives
    assert statuses(tried) == ["failed", "passed", "failed", "refused", "refused", "refused"]
    assert (one.name, one.exit_code, one.failing[-1]) == ("two", 1, "AssertionError: 2")
    assert (two.exit_code, two.files, two.insertions, two.deletions, two.failing) == (0, 1, 1, 1, [])
    assert (three.files, three.insertions, three.deletions) == (2, 3, 1)
    assert "calc.py" in misfit.error and misfit.exit_code is None and none.error
    assert "command 2 ended with exit status 7" in broken.error and "value-to-hide" not in tried.model_dump_json()
    assert all(each.seconds for each in tried.alternatives)
    assert (tried.status, tried.kept) == ("done", None) and "keep=2" in tried.hint
    # The workspace is as it was, and of the forks there is nothing but what can be kept.
    assert pyro.read_workspace_file(ws, "calc.py").content == "value = 1\n"
    assert [w.id for w in pyro.list_workspaces().workspaces if w.forked_from == ws] == []
    assert {path for path in images(installation) if path.startswith(ws)} != set()
    for number_kept in (1, 4, 8):
        with pytest.raises(NotFound, match="those that passed: 2"):
            pyro.try_workspace(ws, keep=number_kept)
    kept = pyro.try_workspace(ws, keep=2)
    assert kept.kept == 2
    assert pyro.read_workspace_file(ws, "calc.py").content == "value = 3\n"
    # Files, memory and processes: the counter goes on from the moment of the fork, under its own handle.
    assert count_inside(pyro, ws) == (token, number + 1)
    assert len(pyro.status_workspace(ws).running_commands) == 1
    assert not {path for path in images(installation) if path.startswith(ws)}
    last = pyro.history_workspace(ws).events
    assert any(event.operation == "try_workspace" and CHECK[:20] in event.summary for event in last)
    # What was given up comes back, as after any reset.
    before = next(c for c in pyro.rewind_workspace(ws).checkpoints if c.after == "write calc.py")
    pyro.rewind_workspace(ws, before.number)
    assert pyro.read_workspace_file(ws, "calc.py").content == "value = 1\n"

    at_once = pyro.try_workspace(ws, [{"patch": PATCH.format(n)} for n in (2, 3, 4)], check=CHECK, keep=0)
    assert (at_once.kept, statuses(at_once)) == (2, ["failed", "passed", "failed"])
    assert pyro.read_workspace_file(ws, "calc.py").content == "value = 3\n"
    ways = [{"commands": ["echo value = 5 > calc.py"]}, {"commands": ["true"]}]
    again = pyro.try_workspace(ws, ways, check=CHECK, keep=1)
    assert again.kept is None and "did not pass" in again.hint
    assert pyro.read_workspace_file(ws, "calc.py").content == "value = 3\n"
    pyro.delete_workspace(ws)


def test_what_is_no_alternative_changes_nothing(pyro: Pyro, workspace: str) -> None:
    wrong: tuple[tuple[list[dict[str, Any]], str], ...] = (
        ([], "0 alternatives"),
        ([{"commands": ["true"]}] * 9, "9 alternatives"),
        ([{"commands": ["true"]}, {"name": "x"}], "Alternative 2 has neither"),
        ([{"script": "x"}], "script"),
        ([{"commands": [" "]}], "commands"),
        ([{"patch": 1}], "not text"),
    )
    for alternatives, said in wrong:
        with pytest.raises(InvalidInput, match=said):
            pyro.try_workspace(workspace, alternatives, check="true")
    with pytest.raises(InvalidInput, match="check"):
        pyro.try_workspace(workspace, [{"commands": ["true"]}])
    with pytest.raises(InvalidInput, match="keep is 3"):
        pyro.try_workspace(workspace, [{"commands": ["true"]}], check="true", keep=3)
    with pytest.raises(NotFound, match="Nothing was tried"):
        pyro.try_workspace(workspace)


def test_a_try_has_a_time_limit_goes_on_by_itself_and_ends_with_its_caller(pyro: Pyro, workspace: str) -> None:
    ways: list[dict[str, Any]] = [
        {"commands": ["true"]},
        {"commands": ["sleep 1000"]},
        {"commands": ["echo x > x"]},
        {"commands": ["sleep 99"]},
    ]
    begun = pyro.try_workspace(workspace, ways, check="test -e x", timeout_seconds=4, wait_seconds=0)
    assert begun.status == "running" and "wait_seconds=45" in begun.hint
    with pytest.raises(Conflict):
        pyro.try_workspace(workspace, ways, check="true")
    with pytest.raises(Conflict):
        pyro.try_workspace(workspace, keep=1)
    done = pyro.try_workspace(workspace)
    assert done.status == "done" and statuses(done)[1] == statuses(done)[3] == "timed_out"
    assert "4 s" in done.alternatives[1].error
    # Who leaves ends it: here Ctrl-C.
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pyro_mcp",
            "workspace",
            "try",
            workspace,
            "--alternative",
            "touch in; sleep 1000",
            "--check",
            "true",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: pyro.try_workspace(workspace, wait_seconds=0).alternatives[0].status == "running")
    worker.send_signal(2)
    worker.communicate(timeout=30)
    wait_until(lambda: pyro.try_workspace(workspace, wait_seconds=0).status == "done")
    # And a workspace that is deleted meanwhile takes them along.
    pyro.try_workspace(workspace, ways, check="true", wait_seconds=0)
    pyro.delete_workspace(workspace)


@pytest.mark.parametrize("delay", [0.05, 0.3, 0.8, 1.5])
def test_a_daemon_killed_in_the_middle_leaves_the_workspace_or_the_chosen_one(
    fresh: Installation, delay: float
) -> None:
    with Pyro() as pyro:
        ws = begin(pyro)
        killed_during(fresh, "try_workspace", delay, ws, [{"patch": PATCH.format(3)}], check=CHECK, keep=1)
        content = pyro.read_workspace_file(ws, "calc.py").content
        assert content in ("value = 1\n", "value = 3\n")
        assert [w.id for w in pyro.list_workspaces().workspaces] == [ws]
        assert_tidy(fresh, pyro)
        if content == "value = 1\n" and ".try-1" in {s.name for s in pyro.list_snapshots(ws).snapshots}:
            assert pyro.try_workspace(ws, keep=1).kept == 1  # the next daemon can keep it still
            assert pyro.read_workspace_file(ws, "calc.py").content == "value = 3\n"


def test_the_command_line_tries_commands_and_patches(pyro: Pyro, tmp_path: Path) -> None:
    ws = begin(pyro)
    (tmp_path / "fix.patch").write_text(PATCH.format(3))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pyro_mcp", "workspace", "try", ws, *words], capture_output=True, text=True
        )

    ways = ("--alternative", "echo value = 7 > calc.py", "--alternative", f"@{tmp_path}/fix.patch")
    tried = run(*ways, "--check", CHECK, "--keep", "2")
    assert tried.returncode == 0, tried.stderr
    assert "The workspace is alternative 2 now." in tried.stdout and "1: AssertionError: 7" in tried.stdout
    failed = run("--alternative", "true", "--check", "false", "--json")
    assert failed.returncode == 1 and json.loads(failed.stdout)["alternatives"][0]["status"] == "failed"
    pyro.delete_workspace(ws)
