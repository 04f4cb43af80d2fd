"""What a project's set-up made is there in its next workspaces, whole, and in nobody else's."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyro_mcp.models import Devcontainer, Workspace
from pyro_mcp.sdk import Pyro
from tests.support import Installation

ONCE = r"""
echo on >> /opt/on; rm /etc/issue; mkdir -p node_modules/a venv; echo x > node_modules/a/f
ln node_modules/a/f node_modules/a/twin; ln -s f node_modules/a/link; ln -s /etc/hostname venv/out
chown 1000:1001 node_modules/a/f; chmod 4751 node_modules/a/f; mkdir -m 2775 'venv/o d'
truncate -s 64M venv/sparse; printf end >> venv/sparse; printf '\377' > "$(printf 'venv/caf\351')"
python3 -c 'import os; os.setxattr("venv/sparse", "user.kept", b"a\0b")' || true
echo gen > src/gen.py; rm -r old; rm gone.txt; echo more >> README; touch .git/hooks/planted; mkfifo venv/pipe
(setsid sh -c 'while :; do date >> /opt/alive; sleep 0.1; done' >/dev/null 2>&1 &)
""".replace("\n", "; ").strip("; ")
UPDATE = "cat package-lock.json >> node_modules/lock"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, words: str) -> None:
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=Ann", "-c", "user.email=ann@example.org", "commit", "-qm", words)


def project(folder: Path, **said: Any) -> Path:
    (folder / "src").mkdir(parents=True)
    (folder / "old").mkdir()
    for name, text in {
        ".gitignore": "node_modules/\nvenv/\n",
        "README": "read\n",
        "gone.txt": "gone\n",
        "old/one": "1\n",
        "package-lock.json": "{}\n",
        "src/a.py": "a\n",
        ".devcontainer.json": json.dumps({"onCreateCommand": ONCE, "updateContentCommand": UPDATE, **said}),
    }.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "first")
    return folder


def said(workspace: Workspace) -> Devcontainer:
    assert workspace.devcontainer is not None
    return workspace.devcontainer


def out(pyro: Pyro, workspace: Workspace, command: str) -> str:
    done = pyro.exec_workspace(workspace.id, command)
    assert done.exit_code == 0, done
    return done.stdout


LOOK = r"""
cat /opt/on node_modules/lock; ls /etc/issue old gone.txt 2>/dev/null; cat README
stat -c '%n %a %u %g %h' node_modules/a/f node_modules/a/twin 'venv/o d'
readlink node_modules/a/link venv/out; stat -c '%s' venv/sparse; tail -c 3 venv/sparse; echo
ls -b venv | grep caf
"""


@pytest.fixture(autouse=True)
def on_gvisor(engine: str) -> None:
    if engine != "gvisor":
        pytest.skip("set-ups are kept on gVisor only (docs/environments.md)")


def test_the_next_workspaces_of_a_project_begin_with_what_its_set_up_made(fresh: Installation, tmp_path: Path) -> None:
    app = project(tmp_path / "app")
    with fresh.active():
        pyro = Pyro()
        first = pyro.create_workspace(seed_path=str(app))
        found = said(first)
        assert found.setup_status == "done" and found.prepared.startswith("prepared:") and not found.restored, found
        looked = out(pyro, first, LOOK)
        assert "1000 1001 2\n" in looked and "4751" in looked and "caf\\351" in looked and "67108867\n" in looked
        environments = fresh.locations.cache / "environments"
        digest = json.loads((environments / "names" / f"{found.prepared}.json").read_text())["digest"]
        # Looked at here: gVisor 20240729 shows a guest the attributes of such a file with NULs behind them.
        sparse = environments / digest / "root" / "pyro" / "prepared" / "tree" / "venv" / "sparse"
        assert os.getxattr(sparse, "user.kept") == b"a\0b" and sparse.stat().st_blocks < 2048
        pyro.delete_workspace(first.id)
        fresh.stop_daemon()

        second = pyro.create_workspace(seed_path=str(app), name="second")
        found = said(second)
        assert found.restored and found.setup is None and found.setup_status == "done", found
        assert any("`README`" in note for note in found.notes) and pyro.logs_workspace(second.id).commands == []
        assert out(pyro, second, LOOK) == looked.replace("read\nmore\n", "read\n")
        assert out(pyro, second, "ls .git/hooks/planted venv/pipe 2>/dev/null || true") == ""
        # What was left running is not there, and what it wrote is as it was at one moment.
        assert out(pyro, second, "pgrep -c sleep || true").strip() == "0"

        # It is part of no diff; changed since, it counts as new to the project, or is ignored as before.
        diff = pyro.diff_workspace(second.id)
        assert diff.files == [] and [(one.path, one.why) for one in diff.left_out] == [("src/gen.py", "prepared")]
        image = pyro.create_snapshot(second.id, "s")
        out(
            pyro,
            second,
            "rm node_modules/a/twin; rm -r venv; echo y > node_modules/new; echo z >> src/a.py; touch src/gen.py",
        )
        assert [file.path for file in pyro.diff_workspace(second.id).files] == ["src/a.py"]
        out(pyro, second, "echo w >> src/gen.py; mkdir old; echo 2 > old/one")
        assert {file.path: file.status for file in pyro.diff_workspace(second.id).files} == {
            "src/a.py": "modified",
            "src/gen.py": "added",
            "old/one": "modified",
        }
        exported = pyro.export_workspace(second.id, "/workspace", output=str(tmp_path / "out"))
        there = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
        assert there == {
            *(".gitignore", "README", "package-lock.json", "src/a.py", "src/gen.py", "old/one", ".devcontainer.json")
        }, exported
        whole = pyro.export_workspace(second.id, "/workspace/node_modules", output=str(tmp_path / "nm"))
        assert whole.files >= 2 and (tmp_path / "nm" / "a" / "f").exists()
        pyro.export_workspace(second.id, output=str(tmp_path / "patch"), patch=True)
        git(app, "apply", "--check", str(tmp_path / "patch"))
        pyro.land_workspace(second.id, branch="work")
        assert git(app, "diff", "--name-status", "main", "work").split() == [
            "M",
            "old/one",
            "M",
            "src/a.py",
            "A",
            "src/gen.py",
        ]

        # All ways back lead to it.
        (fork,) = pyro.fork_workspace(second.id).workspaces
        assert out(pyro, fork, "cat src/gen.py node_modules/lock") == "gen\nw\n{}\n"
        pyro.reset_workspace(second.id, snapshot=image.name)
        assert out(pyro, second, LOOK) == looked.replace("read\nmore\n", "read\n")
        out(pyro, second, "echo v > src/gen.py; rm node_modules/a/f")
        assert said(pyro.reset_workspace(second.id)).restored
        assert out(pyro, second, LOOK) == looked.replace("read\nmore\n", "read\n")

        # The new seed's own file counts, also where the set-up deleted the old one, or made one of that name.
        (app / "gone.txt").write_text("changed\n")
        (app / "src" / "gen.py").write_text("by hand\n")
        (app / "old" / "two").write_text("2\n")
        commit(app, "second")
        third = pyro.create_workspace(seed_path=str(app))
        assert said(third).restored
        assert (
            out(pyro, third, "cat gone.txt src/gen.py old/one old/two; git status --short")
            == "changed\nby hand\n1\n2\n"
        )

        # Another lock file: from the nearest, and only what brings it up to date.
        (app / "package-lock.json").write_text('{"more": 1}\n')
        fourth = pyro.create_workspace(seed_path=str(app))
        found = said(fourth)
        assert found.restored and found.setup_status == "done" and found.prepared != said(second).prepared, found
        log = pyro.logs_workspace(fourth.id, handle=found.setup).output
        assert "updateContentCommand" in log and "onCreateCommand" not in log
        assert out(pyro, fourth, "cat node_modules/lock /opt/on") == '{}\n{"more": 1}\non\n'
        fifth = pyro.create_workspace(seed_path=str(app))
        assert (
            said(fifth).setup is None
            and out(pyro, fifth, "cat node_modules/lock; wc -l < /opt/on") == '{}\n{"more": 1}\n1\n'
        )

        # A branch that does not hold what it was made of gets nothing of it; nor does a copy, or a project like it.
        (app / "node_modules").mkdir()
        git(app, "checkout", "-q", "--orphan", "stranger")
        commit(app, "another history")
        copy = tmp_path / "copy"
        shutil.copytree(app, copy)
        for folder in (app, copy):
            (folder / ".devcontainer.json").write_text((app / ".devcontainer.json").read_text())
            other = pyro.create_workspace(seed_path=str(folder), setup_wait_seconds=0)
            assert not said(other).restored and said(other).prepared == "", folder
            pyro.delete_workspace(other.id)


SMALL = {"onCreateCommand": "echo on >> /opt/on; date +%N > made"}


def test_a_set_up_that_failed_held_a_secret_or_was_disturbed_keeps_nothing(pyro: Pyro, tmp_path: Path) -> None:
    failing = project(tmp_path / "failing", onCreateCommand="echo half > half; false", updateContentCommand="true")
    for _ in range(2):
        ws = pyro.create_workspace(seed_path=str(failing))
        assert said(ws).setup_status == "failed" and not said(ws).prepared and str(said(ws).setup) in said(ws).hint
        pyro.delete_workspace(ws.id)
    leaking = project(
        tmp_path / "leaking", onCreateCommand=r"printf 'c2VjcmV0LXZhbHVlLTk=' > made", updateContentCommand=""
    )
    ws = pyro.create_workspace(seed_path=str(leaking), secrets={"TOKEN": "secret-value-9"})
    assert said(ws).setup_status == "done" and said(ws).prepared == ""
    assert any("secret" in note and "/workspace/made" in note for note in said(ws).notes), said(ws).notes
    pyro.delete_workspace(ws.id)
    waiting = project(
        tmp_path / "waiting", onCreateCommand="while [ ! -e go ]; do sleep 0.05; done", updateContentCommand=""
    )
    ws = pyro.create_workspace(seed_path=str(waiting), setup_wait_seconds=0)
    pyro.write_workspace_file(ws.id, "go", "")
    pyro.logs_workspace(ws.id, handle=said(ws).setup, wait_seconds=40)
    ended = said(pyro.status_workspace(ws.id))
    assert (
        ended.setup_status == "done" and ended.prepared == "" and any("something else" in note for note in ended.notes)
    )


def test_two_creates_at_once_and_a_daemon_killed_in_the_middle_leave_nothing_half_done(
    fresh: Installation, tmp_path: Path
) -> None:
    app = project(tmp_path / "app", **SMALL, updateContentCommand="", postCreateCommand="echo post >> post")
    with fresh.active():
        pyro = Pyro()
        # Killed while it waits to be kept: the next daemon lets it go on, and keeps nothing of it.
        begun = pyro.create_workspace(seed_path=str(app), setup_wait_seconds=0)
        fresh.kill_daemon()
        pyro.logs_workspace(begun.id, handle=said(begun).setup, wait_seconds=45)
        assert out(pyro, begun, "cat /opt/on post") == "on\npost\n"
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = list(pool.map(lambda _: pyro.create_workspace(seed_path=str(app)), range(2)))
        assert len({said(ws).prepared for ws in both}) == 1
        for ws in both:
            assert out(pyro, ws, "cat /opt/on post") == "on\npost\n"
        restored = pyro.create_workspace(seed_path=str(app))
        made = out(pyro, restored, "cat made")
        assert said(restored).restored and made in [out(pyro, ws, "cat made") for ws in both]
        # The first ones begin with it, too, once they are reset.
        assert (
            said(pyro.reset_workspace(both[0].id)).restored and out(pyro, both[0], "cat made post") == f"{made}post\n"
        )
        # Damaged on this disk: it is made anew, never served.
        environments = fresh.locations.cache / "environments"
        pointer = environments / "names" / f"{said(restored).prepared}.json"
        digest = json.loads(pointer.read_text())["digest"]
        place = environments / digest / "root" / "pyro" / "prepared" / "tree" / "made"
        place.unlink()
        place.write_text("forged\n")
        fresh.stop_daemon()
        again = pyro.create_workspace(seed_path=str(app))
        assert not said(again).restored and out(pyro, again, "cat made") not in ("forged\n", made)
        rebuilt = pyro.create_workspace(seed_path=str(app), rebuild=True)
        assert not said(rebuilt).restored and said(rebuilt).prepared == said(again).prepared
        last = pyro.create_workspace(seed_path=str(app))
        assert out(pyro, last, "cat made") == out(pyro, rebuilt, "cat made")
