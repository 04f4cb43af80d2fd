"""Any tree, any edit: what is landed is the very tree that `git add -A` and `git commit` would have made."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pyro_mcp.errors import InvalidInput
from pyro_mcp.landing.land import land
from pyro_mcp.patches.diff import DiffEntry, FileVersion

Edit = tuple[str, bytes, bytes]
NAMES = [b"a", b"b", b"d/x", b"d/e/y", b"caf\xe9", b"n\nl", b"x.log", b"d/x.log", b"run.bat", b"d/run.bat", b"-f", b"d"]
RULES = {
    b".gitignore": [b"*.log\n", b"/d/\n", b"!x.log\n/a\n", b"caf\xe9\n"],
    b"d/.gitignore": [b"!*.log\n", b"x\n", b"*\n"],
    b".gitattributes": [b"*.bat text eol=crlf\n", b"* text=auto\n", b"* -text\n", b"a text\n"],
}
CONTENTS = [b"", b"one\ntwo\n", b"one\r\ntwo\r\n", b"no end", b"mixed\r\nends\n", b"\0\xff\r\n\n", b"one\ntwo\nthree\n"]
edits = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "program"]), st.sampled_from(NAMES), st.sampled_from(CONTENTS)),
        st.sampled_from([("write", name, text) for name, texts in RULES.items() for text in texts]),
        st.tuples(st.just("link"), st.sampled_from(NAMES), st.sampled_from([b"a", b"../b", b"/no\xff"])),
        st.tuples(st.just("remove"), st.sampled_from([*NAMES, *RULES]), st.just(b"")),
        st.tuples(st.just("mkdir"), st.sampled_from([*NAMES, b"empty/deep"]), st.just(b"")),
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    ),
    max_size=10,
)

PERFORM = r"""
import os, shutil, sys
os.chdir(sys.argv[1]); os.umask(0o022)
for op, name, more in eval(sys.argv[2]):
    try:
        if op != "remove" and b"/" in name:
            os.makedirs(os.path.dirname(name), exist_ok=True)
        if op in ("write", "program"):
            if os.path.lexists(name): os.unlink(name)
            with open(name, "xb") as file: file.write(more)
            os.chmod(name, 0o755 if op == "program" else 0o644)
        elif op == "link": os.symlink(more, name)
        elif op == "mkdir": os.makedirs(name)
        elif op == "rename": os.rename(name, more)
        elif os.path.isdir(name) and not os.path.islink(name): shutil.rmtree(name)
        else: os.unlink(name)
    except OSError:
        pass
"""
"""Carries out edits below a directory; what cannot be is left. Runs here and in a workspace alike."""


def perform(root: Path, todo: list[Edit]) -> None:
    subprocess.run([sys.executable, "-c", PERFORM, str(root), repr(todo)], check=True)


def git(repo: Path, *arguments: str) -> bytes:
    env = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=repo, capture_output=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def committed(repo: Path, todo: list[Edit]) -> None:
    """A repository with a clean work tree, whose files are older than its index."""
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    # Only what was written since is looked at again, also in a copy.
    for setting in ("user.name Ann", "user.email a@b", "core.trustctime false", "core.checkStat minimal"):
        git(repo, "config", *setting.split(" ", 1))
    perform(repo, todo)
    for path in repo.rglob("*"):
        if ".git" not in path.parts:
            os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    git(repo, "add", "-A", "-f")
    git(repo, "commit", "-q", "--allow-empty", "-m", "seed")


def versions(root: Path) -> dict[str, FileVersion]:
    found: dict[str, FileVersion] = {}
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        if relative.parts[0] == ".git":
            continue
        info = path.lstat()
        if stat.S_ISLNK(info.st_mode):
            found[str(relative)] = FileVersion("symlink", os.fsencode(os.readlink(path)), 0o777)
        elif stat.S_ISREG(info.st_mode):
            found[str(relative)] = FileVersion("file", path.read_bytes(), stat.S_IMODE(info.st_mode))
    return found


@settings(max_examples=10, deadline=None)
@given(edits, edits)
def test_what_is_landed_is_what_git_would_have_committed(seed: list[Edit], later: list[Edit]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        repo = Path(scratch) / "repo"
        committed(repo, seed)
        old = versions(repo)
        perform(repo, later)
        new = versions(repo)
        changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
        git(repo, "add", "-A", "-f")
        expected = git(repo, "write-tree")
        entries = [DiffEntry(path, old.get(path), new.get(path)) for path in changed]
        try:
            land(repo, "", entries, base_commit=None, branch="work", message="m")
        except InvalidInput as refused:
            assert refused.code in ("nothing_to_land", "already_landed")
            assert expected == git(repo, "rev-parse", "main^{tree}")
            return
        assert git(repo, "rev-parse", "work^{tree}") == expected
