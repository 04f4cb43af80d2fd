"""Words that people type already, on real machines: with the workspace unsaid, cp, top, stats, port, sh, run -it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from pyro_mcp.sdk import Pyro
from tests.faces.test_attach import at_terminal
from tests.faces.test_cli import pyro_command


def ok(*words: str, cwd: Path, stdin: str | None = None) -> str:
    done = pyro_command(*words, cwd=cwd, stdin=stdin)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def refused(*words: str, cwd: Path) -> str:
    done = pyro_command(*words, cwd=cwd)
    assert done.returncode in (1, 2) and not done.stdout, words
    return done.stderr


def test_the_workspace_may_be_left_unsaid_where_one_is_meant(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    mine = pyro.create_workspace(seed_path=str(project), name="mine").id
    below = project / "src"
    # A command, its options, and words that could be a workspace and a command.
    for words, out in (
        (("exec", "cat", "run.sh"), "#!/bin/sh\necho ran\n"),
        (("exec", "./run.sh"), "ran\n"),
        (("exec", "bash", "-c", "echo $0 $1", "a", "-l"), "a -l\n"),
        (("exec", "--cwd", "/workspace/src", "ls"), "calc.py\n"),
        (("exec", "-w", "/tmp", "--", "pwd"), "/tmp\n"),
        (("exec", "mine", "echo", "x"), "x\n"),
        (("cat", "run.sh"), "#!/bin/sh\necho ran\n"),
    ):
        for folder in (project, below):
            assert ok(*words, cwd=folder) == out, words
    assert ok("exec", "cat", cwd=project, stdin="piped\n") == "piped\n"
    assert pyro_command("exec", "sh", "-c", "exit 7", cwd=project).returncode == 7
    ok("exec", "echo new > src/made", cwd=below)
    assert "+new" in ok("diff", cwd=project)
    assert "src/made" in ok("file", "ls", "src", cwd=project)
    assert "made" in ok("search", "^new$", cwd=project)
    text = ok("workspace", "file", "write", "typed", "--text-file", "-", cwd=project, stdin="from here\n")
    assert "typed" in text and ok("cat", "typed", cwd=project) == "from here\n"
    ok("snapshot", "create", "kept", cwd=project)
    assert "kept" in ok("snapshot", "ls", cwd=project)
    # What is not plain is not guessed.
    assert "no workspace 'mime'" in refused("exec", "mime", "ls", cwd=project)
    assert "The command to run is missing" in refused("exec", "mine", cwd=project)
    assert "WORKSPACE is missing" in refused("rm", cwd=project)
    assert "None belongs to this directory" in refused("diff", cwd=tmp_path)
    other = pyro.create_workspace(seed_path=str(project), name="other").id
    assert "This directory has 2: " in refused("exec", "ls", cwd=project)
    pyro.delete_workspace(other)
    assert json.loads(ok("inspect", "--json", cwd=project))["id"] == mine
    ok("reset", cwd=project)
    assert "made" not in ok("diff", cwd=project)


def test_cp_top_stats_and_port(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    w = pyro.create_workspace(seed_path=str(project), name="mine")
    (tmp_path / "f.txt").write_text("1\n")
    (tmp_path / "f.txt").chmod(0o755)

    def inside(path: str) -> str:
        return pyro.read_workspace_file(w.id, path).content

    # In: into a directory, by another name, into one that is not there, and the unsaid workspace.
    ok("cp", "f.txt", "mine:src", cwd=tmp_path)
    ok("cp", str(tmp_path / "f.txt"), ":other name", cwd=project)
    ok("cp", "f.txt", "mine:new/deep/", cwd=tmp_path)
    ok("cp", "-r", "src", "mine:copied", cwd=project)
    ok("cp", "src", "mine:copied", cwd=project)
    ok("cp", "src/.", "mine:copied", cwd=project)
    for path in ("src/f.txt", "other name", "new/deep/f.txt"):
        assert inside(path) == "1\n"
    listed = {e.path: e for e in pyro.list_workspace_files(w.id, ".", recursive=True).entries}
    assert listed["other name"].mode == "0755"
    assert {"copied/calc.py", "copied/src/calc.py"} <= listed.keys()
    # What is copied in belongs to the project: no repository of its own keeps it out of a diff.
    assert not [path for path in listed if path.startswith("copied/.git")]
    assert "copied/src/calc.py" in pyro.diff_workspace(w.id, summary=True).model_dump_json()
    # Out.
    ok("cp", "mine:src", "out", cwd=tmp_path)
    ok("cp", "mine:other name", "renamed", cwd=tmp_path)
    ok("cp", ":run.sh", str(tmp_path / "out"), cwd=project)
    assert (tmp_path / "out" / "calc.py").exists() and (tmp_path / "renamed").read_text() == "1\n"
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o111
    (tmp_path / "renamed").write_text("mine\n")
    assert "exist" in refused("cp", "mine:other name", "renamed", cwd=tmp_path)
    ok("cp", "-f", "mine:other name", "renamed", cwd=tmp_path)
    assert (tmp_path / "renamed").read_text() == "1\n"
    for words, says in (
        (("a", "b"), "WS:PATH"),
        (("mine:a", "mine:b"), "copy to this computer first"),
        (("nothing-here", "mine:"), "'nothing-here' does not exist here"),
        (("mine:nothing", "."), "nothing"),
        (("f.txt", "nobody:x"), "nobody"),
        (("f.txt", "mine:../../etc/x"), "workspace"),
        (("f.txt",), "a source and a destination"),
    ):
        assert says in refused("cp", *words, cwd=tmp_path)
    running = pyro.exec_workspace(w.id, "exec -a marked sleep 300", background=True)
    assert "marked" in ok("top", "mine", cwd=tmp_path) and "marked" in ok("top", cwd=project)
    figures = json.loads(ok("stats", "mine", "--json", cwd=tmp_path))
    assert figures["disk_limit_bytes"] == 20 << 30 and figures["memory_limit_bytes"] <= 1 << 30
    assert 0 < figures["memory_bytes"] < figures["memory_limit_bytes"] and figures["processes"] >= 1
    assert "memory" in ok("stats", cwd=project)
    assert json.loads(ok("port", "mine", "--json", cwd=tmp_path))["published_ports"] == []
    pyro.cancel_workspace_exec(w.id, running.handle)


def test_a_terminal_where_there_is_no_workspace_yet(pyro: Pyro, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "fresh")], check=True)
    (tmp_path / "fresh" / "hello").write_text("hello\n")
    with at_terminal("sh", cwd=tmp_path / "fresh") as someone:
        someone.sees(b"Created workspace ", 90)
        someone.type(b"cat hello; stty size; exit 3\r")
        someone.sees(b"hello\r\n30 100", 60)
        assert someone.leaves() == 3
    (made,) = [w for w in pyro.list_workspaces().workspaces if w.seed and w.seed.source.endswith("/fresh")]
    with at_terminal("exec", "-it", "bash", cwd=tmp_path / "fresh") as someone:
        # It speaks as the foreground job that the key will interrupt, not before.
        someone.type(b"(echo $((40+2)); exec sleep 300)\r")
        someone.sees(b"42\r\n", 60)
        someone.type(b"\x03")
        someone.type(b"echo st=$?.\r")
        someone.sees(b"st=130.\r\n", 60)
        someone.type(b"exit\r")
        someone.leaves()
    before = {w.id for w in pyro.list_workspaces().workspaces}
    assert made.id in before
    with at_terminal("run", "--rm", "-it", "debian:12", "bash", cwd=tmp_path) as someone:
        someone.type(b"tty; hostname; exit 4\r")
        someone.sees(b"/dev/pts/", 90)
        assert someone.leaves() == 4
    assert {w.id for w in pyro.list_workspaces().workspaces} == before
