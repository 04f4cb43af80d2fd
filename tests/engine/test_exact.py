"""Names and contents come back byte for byte by `export --patch` and `land`, or are refused by name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from pyro_mcp import Conflict, Pyro, PyroError
from tests.programs.test_landing_property import PERFORM, Edit, committed, edits, perform

MAKE = r"""
import os
os.chdir(b"/workspace")
def put(name, data, mode=0o644):
    os.makedirs(os.path.dirname(name) or b".", exist_ok=True)
    with open(name, "wb") as f: f.write(data)
    os.chmod(name, mode)
put(b"caf\351.txt", b"latin \351\n")
put(b"old\351.txt", b"was changed\n")
put(b"new\nline", b"1\n2\n3\n4\n")
put(b'quo"te\\s', b"no end")
put(b"tab\there ", b"\r\ncrlf\r\n")
put(b"-rf", b"dash\n", 0o755)
put(b":(top)x", b"magic\n")
put(b"\377\376/deep\001", bytes(range(256)))
os.symlink(b"caf\351.txt", b"link\351")
os.symlink(b"/nowhere\377", b"away")
os.rename(b"gone\351", b"went\351")
"""


def git(repo: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=repo, check=True, capture_output=True).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    git(repo, "config", "user.email", "ann@example.org")
    git(repo, "config", "user.name", "Ann")
    raw = os.fsencode(repo)
    Path(os.fsdecode(raw + b"/old\xe9.txt")).write_bytes(b"was\n")
    Path(os.fsdecode(raw + b"/gone\xe9")).write_bytes(b"one\ntwo\nthree\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "first")
    return repo


def tree(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Name to kind and bytes, of all files and links but git's own."""
    found: dict[bytes, tuple[str, bytes]] = {}
    for directory, directories, files in os.walk(os.fsencode(root)):
        directories[:] = [name for name in directories if name != b".git"]
        for name in set(files) - {b".git"}:
            path = os.path.join(directory, name)
            key = os.path.relpath(path, os.fsencode(root))
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
            else:
                kind = "x" if os.stat(path).st_mode & 0o100 else "-"
                found[key] = (kind, Path(os.fsdecode(path)).read_bytes())
    return found


def test_any_name_and_content_comes_back_by_patch_and_by_branch(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    assert pyro.exec_workspace(ws, ["python3", "-c", MAKE]).exit_code == 0
    pyro.export_workspace(ws, output=str(tmp_path / "p"), patch=True)
    pyro.land_workspace(ws, branch="work")
    git(project, "worktree", "add", "-q", str(tmp_path / "landed"), "work")
    git(project, "worktree", "add", "-q", "--detach", str(tmp_path / "patched"))
    git(tmp_path / "patched", "apply", str(tmp_path / "p"))
    expected = {
        b"caf\xe9.txt": ("-", b"latin \xe9\n"),
        b"old\xe9.txt": ("-", b"was changed\n"),
        b"new\nline": ("-", b"1\n2\n3\n4\n"),
        b'quo"te\\s': ("-", b"no end"),
        b"tab\there ": ("-", b"\r\ncrlf\r\n"),
        b"-rf": ("x", b"dash\n"),
        b":(top)x": ("-", b"magic\n"),
        b"\xff\xfe/deep\x01": ("-", bytes(range(256))),
        b"link\xe9": ("link", b"caf\xe9.txt"),
        b"away": ("link", b"/nowhere\xff"),
        b"went\xe9": ("-", b"one\ntwo\nthree\n"),
    }
    assert tree(tmp_path / "landed") == expected
    assert tree(tmp_path / "patched") == expected


def test_a_file_written_all_the_time_is_whole_or_refused_by_name(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    ws = pyro.create_workspace(seed_path=str(project)).id
    loop = """
import os, time
while True:
    for letter in b"ab":
        with open("/workspace/busy", "wb") as f: f.write(bytes([letter]) * 300000)
        with open("/workspace/swap", "wb") as f: f.write(bytes([letter]) * 1000)
        os.rename("/workspace/swap", "/workspace/swapped")
"""
    pyro.start_service(ws, "writer", ["python3", "-c", loop], ready_file="/workspace/swapped")
    whole = {b"a" * 300000, b"b" * 300000}
    outcomes = set()
    for number in range(6):
        output = tmp_path / f"p{number}"
        try:
            pyro.export_workspace(ws, output=str(output), patch=True)
            pyro.land_workspace(ws, branch=f"b{number}")
        except Conflict as refused:
            assert refused.code == "file_changing"
            assert any(name in str(refused) for name in ("busy", "swap", "swapped"))
            outcomes.add("refused")
            continue
        outcomes.add("whole")
        content = git(project, "show", f"b{number}:busy")
        # Opening for writing empties it: a prefix stood there at some moment.
        assert any(full.startswith(content) for full in whole)
        assert set(git(project, "show", f"b{number}:swapped")) in ({97}, {98})
    assert outcomes


@pytest.mark.parametrize("how", ["attributes", "autocrlf"])
def test_line_ends_that_git_converts_come_back_as_they_stood(
    pyro: Pyro, project: Path, tmp_path: Path, how: str
) -> None:
    if how == "attributes":
        (project / ".gitattributes").write_bytes(b"*.bat text eol=crlf\n*.sh text eol=lf\n*.bin -text\n")
    else:
        git(project, "config", "core.autocrlf", "true")
    for name, data in (("run.bat", b"one\r\ntwo\r\n"), ("raw.bin", b"a\r\n\0b\n"), ("sub/old.bat", b"x\r\n")):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_bytes(data)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "line ends")
    assert git(project, "status", "--porcelain") == b""
    ws = pyro.create_workspace(seed_path=str(project)).id
    change = r"printf 'three\r\n' >> run.bat; printf 'n\r\n' > new.bat; rm sub/old.bat; printf 'c\r\n' >> raw.bin"
    assert pyro.exec_workspace(ws, change).exit_code == 0
    pyro.export_workspace(ws, output=str(tmp_path / "p"), patch=True)
    assert pyro.land_workspace(ws, branch="work").files == 4
    assert git(project, "show", "work:run.bat") == b"one\ntwo\nthree\n"  # as git would have committed it
    git(project, "worktree", "add", "-q", str(tmp_path / "landed"), "work")
    git(project, "apply", str(tmp_path / "p"))  # into the very tree that was the seed
    expected = {
        **tree(project),
        b"run.bat": ("-", b"one\r\ntwo\r\nthree\r\n"),
        b"new.bat": ("-", b"n\r\n"),
        b"raw.bin": ("-", b"a\r\n\0b\nc\r\n"),
    }
    assert b"sub/old.bat" not in expected
    assert tree(project) == expected
    landed = tree(tmp_path / "landed")
    for path in (b"run.bat", b"new.bat", b"raw.bin"):
        assert landed[path] == expected[path], path
    assert landed.keys() == expected.keys()


CONVERTED = {
    "run.bat": (b"one\r\n", b"one\r\ntwo\r\n"),
    "wide": ("one\r\n".encode("utf-16"), "one\r\ntwo\r\n".encode("utf-16")),
    "mark": (b"$Id: x $\n", b"$Id: x $\nmore\n"),
    "kept": (b"\r\n", b"\r\nraw\r\n"),
    "auto": (b"a\n", b"a\nb\n"),
}


def test_a_patch_is_the_one_that_git_would_have_made(pyro: Pyro, project: Path, tmp_path: Path) -> None:
    rules = (
        "*.bat text eol=crlf\nwide text working-tree-encoding=UTF-16 eol=crlf\nmark ident\nkept -text\nauto text=auto\n"
    )
    (project / ".gitattributes").write_text(rules)
    for name, (before, _) in CONVERTED.items():
        (project / name).write_bytes(before)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "converted")
    objects = set((project / ".git" / "objects").rglob("*"))
    ws = pyro.create_workspace(seed_path=str(project)).id
    after = {name: new for name, (_, new) in CONVERTED.items()} | {"new.bat": b"n\r\n"}
    put = "import sys\nfor name, data in eval(sys.argv[1]).items(): open(name, 'wb').write(data)"
    assert pyro.exec_workspace(ws, ["python3", "-c", put, repr(after)]).exit_code == 0
    pyro.export_workspace(ws, output=str(tmp_path / "p"), patch=True)
    assert set((project / ".git" / "objects").rglob("*")) == objects
    inside = pyro.exec_workspace(ws, "git add -A && git write-tree").stdout.strip().encode()
    for how in (["apply"], ["apply", "--index"], ["apply", "--3way"]):
        copy = tmp_path / how[-1].strip("-")
        git(tmp_path, "clone", "-q", str(project), str(copy))
        git(copy, *how, str(tmp_path / "p"))
        git(copy, "add", "-A")
        assert git(copy, "write-tree").strip() == inside, how
        assert (copy / "new.bat").read_bytes() == b"n\r\n" and (copy / "kept").read_bytes() == b"\r\nraw\r\n"


SEEDED: list[Edit] = [
    ("write", b".gitignore", b"*.log\n"),
    ("write", b".gitattributes", b"*.bat text eol=crlf\n"),
    ("write", b"run.bat", b"one\r\ntwo\r\n"),
    ("write", b"d/x", b"one\ntwo\n"),
    ("program", b"caf\xe9", b"no end"),
    ("write", b"d/x.log", b"tracked\n"),
    ("link", b"b", b"d/x"),
]
EXAMPLES = int(os.environ.get("PYRO_TEST_EXAMPLES") or 4)
"""More of them: PYRO_TEST_EXAMPLES=200 HYPOTHESIS_PROFILE=explore."""


def test_any_edit_comes_back_as_git_would_have_it(pyro: Pyro, tmp_path: Path) -> None:
    """One seed, any edit of it: exported, patched and landed, the same tree comes back, or a named refusal."""
    seed = tmp_path / "seed"
    committed(seed, SEEDED)
    ws = pyro.create_workspace(seed_path=str(seed)).id
    outcomes: list[str] = []

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(edits)
    def any_edit(later: list[Edit]) -> None:
        place = tmp_path / f"e{len(outcomes)}"
        expected, out, patched = place / "expected", place / "out", place / "patched"
        place.mkdir()
        shutil.copytree(seed, expected, symlinks=True)
        perform(expected, later)
        branch = f"b{len(outcomes)}"
        outcomes.append("?")
        pyro.reset_workspace(ws)
        assert pyro.exec_workspace(ws, ["python3", "-c", PERFORM, "/workspace", repr(later)]).exit_code == 0
        pyro.export_workspace(ws, "/workspace", output=str(out), include_ignored=True)
        assert tree(out) == tree(expected)
        git(expected, "add", "-A")
        stored = git(expected, "write-tree")
        try:
            pyro.land_workspace(ws, branch=branch)
        except PyroError as refused:
            assert refused.code in ("nothing_to_land", "already_landed"), refused
            assert stored == git(seed, "rev-parse", "main^{tree}")
            outcomes[-1] = "nothing"
            return
        assert git(seed, "rev-parse", f"{branch}^{{tree}}") == stored
        pyro.export_workspace(ws, output=str(place / "p"), patch=True)
        git(seed, "worktree", "add", "-q", "--detach", str(patched), "main")
        git(patched, "apply", "--index", str(place / "p"))
        assert git(patched, "write-tree") == stored
        outcomes[-1] = "landed"

    any_edit()
    assert "landed" in outcomes
