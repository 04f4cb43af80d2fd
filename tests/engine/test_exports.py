"""What an export does to this computer, from a real workspace with a hostile guest in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict, InvalidInput, PyroError
from pyro_mcp.sdk import Pyro
from tests.programs.test_exports import snapshot


def test_an_existing_folder_is_kept_and_filled(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    pyro.write_workspace_file(workspace, "stats.py", "new\n")
    dang = tmp_path / "dang"
    dang.mkdir()
    (dang / "precious").write_text("mine\n")
    done = pyro.export_workspace(workspace, "stats.py", output=str(dang), overwrite=True)
    assert done.output == str(dang / "stats.py") and done.backup is None
    (dang / "stats.py").write_text("mine\n")
    with pytest.raises(Conflict, match="already exists"):
        pyro.export_workspace(workspace, "stats.py", output=str(dang))
    again = pyro.export_workspace(workspace, "stats.py", output=str(dang), overwrite=True)
    assert again.backup is not None and (Path(again.backup) / "stats.py").read_text() == "mine\n"
    patch = pyro.export_workspace(workspace, output=str(dang), patch=True, overwrite=True)
    assert patch.output == str(dang / f"{workspace}.patch")
    whole = pyro.export_workspace(workspace, "/workspace", output=str(dang), overwrite=True)
    assert whole.output == str(dang / "workspace") and (dang / "precious").read_text() == "mine\n"


def test_the_holes_of_a_file_cost_neither_time_nor_disk(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    """It used to come as all its zeros, into this computer's disk twice."""
    script = "mkdir d && cd d && truncate -s 5G s && printf end >> s"
    script += " && printf middle | dd of=s bs=1 seek=3000000001 conv=notrunc"
    assert pyro.exec_workspace(workspace, script + "; truncate -s 20M hole; echo small > small").exit_code == 0
    done = pyro.export_workspace(workspace, "/workspace/d", output=str(tmp_path))
    made = tmp_path / "d" / "s"
    assert made.stat().st_size == (5 << 30) + 3 and made.stat().st_blocks * 512 < 4 << 20
    assert done.bytes == (20 << 20) + (5 << 30) + 3 + 6
    with made.open("rb") as opened:
        opened.seek(3_000_000_000)
        assert opened.read(8) == b"\0middle\0"
        opened.seek(-4, os.SEEK_END)
        assert opened.read() == b"\0end"
    assert (tmp_path / "d" / "hole").read_bytes() == bytes(20 << 20)
    assert (tmp_path / "d" / "small").read_text() == "small\n"


def test_a_project_is_never_exported_over(pyro: Pyro, project: Path) -> None:
    ws = pyro.create_workspace("debian:12", seed_path=str(project)).id
    pyro.write_workspace_file(ws, "src/calc.py", "changed\n")
    pyro.write_workspace_file(ws, "report.md", "# Report\n")
    before = snapshot(project)
    for path, output in (
        ("/workspace", project),
        ("src/calc.py", project / "src" / "calc.py"),
        ("src/calc.py", project / "src"),
        ("src", project),
        ("src/calc.py", project / ".git" / "config"),
        ("src/calc.py", project / "link"),
    ):
        with pytest.raises(PyroError):
            pyro.export_workspace(ws, path, output=str(output), overwrite=True)
    assert snapshot(project) == before
    assert pyro.export_workspace(ws, "report.md", output=str(project)).output == str(project / "report.md")


def test_a_guest_s_repository_runs_nothing_here(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    pyro.exec_workspace(
        workspace,
        "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one && "
        f"git config core.fsmonitor 'touch {ran}; false' && "
        f"cd .git/hooks && printf '#!/bin/sh\\ntouch {ran}\\n' > post-index-change && chmod +x post-index-change && "
        "cd ../.. && "
        "mkdir sub && cp -a .git sub/.git && cp -a .git bare.git && echo x > f",
    )
    done = pyro.export_workspace(workspace, "/workspace", output=str(tmp_path / "out"))
    assert done.left_out == [".git", "bare.git", "sub/.git"] and "include_git" in done.hint
    subprocess.run(["git", "init", "-q"], cwd=tmp_path / "out", check=True)
    for place in (tmp_path / "out", tmp_path / "out" / "sub"):
        subprocess.run(["git", "status"], cwd=place, check=False, capture_output=True)
    assert not ran.exists()
    for path, name, git in (("/workspace", "with", True), (".git", "inner", False), ("bare.git", "bare", False)):
        pyro.export_workspace(workspace, path, output=str(tmp_path / name), include_git=git)
        log = ["git", "log", "--format=%s"]
        environment = {**os.environ, "GIT_DIR": str(tmp_path / name)} if name != "with" else None
        found = subprocess.run(log, cwd=tmp_path / name, env=environment, check=True, capture_output=True, text=True)
        assert found.stdout == "one\n"
        subprocess.run(["git", "status"], cwd=tmp_path / name, env=environment, check=False, capture_output=True)
    assert not ran.exists()


def test_a_guest_that_swaps_folders_and_links_writes_nowhere_else(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    swapping = pyro.exec_workspace(
        workspace,
        "mkdir -p d/x; echo 1 > d/x/f; "
        f"for i in $(seq 400); do mv d/x d/y; ln -s {victim} d/x; rm d/x; mv d/y d/x; done",
        wait_seconds=0,
    )
    for number in range(6):
        try:
            pyro.export_workspace(workspace, "d", output=str(tmp_path / f"out{number}"))
        except PyroError:
            continue
    pyro.logs_workspace(workspace, handle=swapping.handle, wait_seconds=40)
    assert not list(victim.iterdir())


def test_secrets_in_names_are_refused(pyro: Pyro, tmp_path: Path) -> None:
    ws = pyro.create_workspace("debian:12", secrets={"KEY": "hunter22secret"}).id
    pyro.exec_workspace(ws, "mkdir -p t/a-hunter22secret-b l && ln -s /x/hunter22secret l/link")
    for path in ("t", "l"):
        with pytest.raises(InvalidInput) as caught:
            pyro.export_workspace(ws, path, output=str(tmp_path / path))
        assert caught.value.code == "secret_in_name" and "hunter22secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_names_in_any_bytes_and_modes_come_out_as_they_are(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    script = (
        "import os\nos.makedirs(b't/caf\\xe9/empty'); os.chdir('t')\n"
        "for n in (b'a\\nb', b'-rf', b' lead', b'tail ', b'q\"uote', b'caf\\xe9/\\xff\\xfe', 'snow\\u2603'.encode()):\n"
        "    open(n, 'wb').write(n)\nos.chmod(b'-rf', 0o751)\nos.symlink(b'caf\\xe9/\\xff\\xfe', b'l\\xe9')\n"
    )
    pyro.write_workspace_file(workspace, "make.py", script)
    assert pyro.exec_workspace(workspace, "python3 make.py").exit_code == 0
    pyro.export_workspace(workspace, "t", output=str(tmp_path / "t"))
    out = os.fsencode(tmp_path / "t")
    for name in (b"a\nb", b"-rf", b" lead", b"tail ", b'q"uote', b"caf\xe9/\xff\xfe", "snow\u2603".encode()):
        assert Path(os.fsdecode(out + b"/" + name)).read_bytes() == name
    assert os.stat(out + b"/-rf").st_mode & 0o777 == 0o751
    assert os.readlink(out + b"/l\xe9") == b"caf\xe9/\xff\xfe" and os.path.isdir(out + b"/caf\xe9/empty")


def test_a_tree_that_is_written_meanwhile_comes_whole_or_is_refused_by_name(
    pyro: Pyro, workspace: str, tmp_path: Path
) -> None:
    loop = """
import os
os.mkdir("/workspace/tree")
letters = b"ab"
while True:
    for letter in letters:
        for name, size in ((b"small", 300000), (b"large", 9 << 20)):
            with open(b"/workspace/tree/" + name, "wb") as f: f.write(bytes([letter]) * size)
        with open("/workspace/tree/log", "ab") as f: f.write(b"line\\n" * 1000)
        open("/workspace/ready", "w").close()
"""
    pyro.start_service(workspace, "writer", ["python3", "-c", loop], ready_file="/workspace/ready")
    for number in range(4):
        output = tmp_path / f"out{number}"
        try:
            pyro.export_workspace(workspace, "/workspace/tree", output=str(output))
        except Conflict as refused:
            assert refused.code == "file_changing"
            assert any(name in str(refused) for name in ("small", "large"))
            assert not output.exists()
            continue
        for name, size in (("small", 300000), ("large", 9 << 20)):
            content = (output / name).read_bytes()
            # Opening for writing empties it: a prefix stood there at some moment.
            assert content in (b"a" * len(content), b"b" * len(content)) and len(content) <= size
        assert set((output / "log").read_bytes().split(b"\n")) == {b"line", b""}


def test_what_git_ignores_and_tools_made_stays_out_unless_it_was_meant(pyro: Pyro, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=seed, check=True)
    (seed / ".gitignore").write_text("dist/\n*.log\n!keep.log\n")
    (seed / "tracked.py").write_text("1\n")
    subprocess.run(["git", "add", "-A"], cwd=seed, check=True)
    for number, path in enumerate((str(seed), None)):
        ws = pyro.create_workspace("debian:12", seed_path=path).id
        pyro.exec_workspace(
            ws,
            "mkdir -p sub dist/inner node_modules/m; echo 1 > dist/inner/a; echo 1 > node_modules/m/i.js; "
            "ln -s /etc sub/x.log; echo 1 > sub/x.log2; echo 1 > keep.log; mkdir empty; mkfifo sub/f.log",
        )
        out = tmp_path / f"out{number}"
        done = pyro.export_workspace(ws, "/workspace", output=str(out))
        found = {str(p.relative_to(out)) for p in out.rglob("*") if ".git" not in p.parts}
        if path:
            taken = "tracked.py sub sub/x.log2 keep.log empty node_modules node_modules/m node_modules/m/i.js"
            assert found == {".gitignore", *taken.split()}
            assert done.left_out_files == 3 and "dist/inner/a" in done.left_out
        else:
            assert "node_modules" not in found and {"dist/inner/a", "sub/x.log", "sub/x.log2"} <= found
            assert done.left_out == ["node_modules/m/i.js", "sub/f.log (FIFO)"]
        assert "include_ignored" in done.hint
        for name in ("dist", "node_modules", "dist/inner"):
            meant = pyro.export_workspace(ws, name, output=str(tmp_path / f"{name.replace('/', '-')}{number}"))
            assert meant.files == 1 and not meant.left_out
        everything = pyro.export_workspace(
            ws, "/workspace", output=str(tmp_path / f"all{number}"), include_ignored=True
        )
        assert everything.files + everything.left_out_files == done.files + done.left_out_files and os.path.isdir(
            tmp_path / f"all{number}/dist"
        )


def test_what_cannot_come_as_it_is_is_named(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    make = """
import os, socket
os.makedirs(b"d/shut/in\\xe9"); os.chdir("d")
os.mkfifo(b"pipe\\xe9"); socket.socket(socket.AF_UNIX).bind("sock")
open("shut/secret", "w").close(); os.chmod("shut/secret", 0); os.chmod("shut/in\\udce9", 0o555); os.chmod("shut", 0o111)
os.symlink("x" * 4000, "long"); os.symlink("loop", "loop"); os.mkdir(b"r\\xe9"); os.system("git init -q r?")
"""
    pyro.write_workspace_file(workspace, "make.py", make.replace("\\\\", "\\"))
    assert pyro.exec_workspace(workspace, "python3 make.py").exit_code == 0
    done = pyro.export_workspace(workspace, "d", output=str(tmp_path / "d"))
    assert done.left_out == ["r\\xe9/.git", "pipe\\xe9 (FIFO)", "sock (socket)"] and "sock" in done.hint
    assert "`shut`" in done.hint and (tmp_path / "d/shut/secret").stat().st_mode & 0o777 == 0
    assert os.readlink(tmp_path / "d/long") == "x" * 4000 and os.readlink(tmp_path / "d/loop") == "loop"
    shown = pyro.diff_workspace(workspace, summary=True)
    assert {(g.path, g.why) for g in shown.left_out if g.why == "special"} == {
        ("d/pipe\\xe9", "special"),
        ("d/sock", "special"),
    }
    link = pyro.export_workspace(workspace, "d/loop", output=str(tmp_path / "link"))
    assert "symbolic link" in link.hint
    with pytest.raises(InvalidInput, match="does not exist"):
        pyro.export_workspace(workspace, "make.py", output=f"{tmp_path}/missing/")
    deep = "/".join(["d" * 200] * 20)
    pyro.exec_workspace(
        workspace, f"mkdir -p deep/{deep} && cd deep/{deep} && mkdir -p {'e' * 200} && echo x > {'e' * 200}/f"
    )
    with pytest.raises(InvalidInput, match="too long"):
        pyro.export_workspace(workspace, "deep", output=str(tmp_path / "deep"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "link"]


def test_a_folder_of_git_s_own_is_no_place_for_an_export(pyro: Pyro, workspace: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", "bare"], cwd=tmp_path, check=True)
    project = tmp_path / "workspace"
    (project / "lib").mkdir(parents=True)
    (project / "mine").write_text("mine\n")
    for place in (project, project / "lib"):
        subprocess.run(["git", "init", "-q"], cwd=place, check=True)
    (project / "lib" / "tracked").write_text("mine\n")
    subprocess.run(["git", "add", "tracked"], cwd=project / "lib", check=True)
    pyro.exec_workspace(workspace, "mkdir lib; echo guest | tee lib/tracked mine hook; chmod 755 hook")
    before = snapshot(tmp_path)
    for path, output in (
        ("hook", "bare/hooks/post-receive"),
        ("hook", "bare/hooks"),
        ("lib", "bare"),
        ("hook", "git~1"),
        ("lib", "workspace"),
        ("/workspace", "."),
    ):
        with pytest.raises(PyroError) as caught:
            pyro.export_workspace(workspace, path, output=f"{tmp_path}/{output}", overwrite=True)
        assert caught.value.code in ("bad_output", "output_in_project"), caught.value
    assert snapshot(tmp_path) == before
