"""Landing stores what git would store: line ends and `$Id$` by attributes; no filter ever runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pyro_mcp.errors import Conflict
from pyro_mcp.landing.land import land
from pyro_mcp.patches.diff import DiffEntry, FileVersion


def git(repo: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=repo, check=True, capture_output=True).stdout


def text(content: bytes) -> FileVersion:
    return FileVersion("file", content, 0o644)


def made(tmp_path: Path, attributes: str, content: bytes, *settings: str) -> Path:
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    for setting in ("user.name=Ann", "user.email=a@example.org", *settings):
        git(repo, "config", *setting.split("=", 1))
    if attributes:
        (repo / ".gitattributes").write_text(attributes)
    (repo / "x.bat").write_bytes(content)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "first")
    (repo / "x.bat").unlink()
    git(repo, "checkout", "--", "x.bat")
    return repo


@pytest.mark.parametrize(
    ("attributes", "content", "settings"),
    [
        ("*.bat text eol=crlf\n", b"one\r\ntwo\r\n", ()),
        ("* text=auto\n", b"one\r\ntwo\r\n", ()),
        ("* text=auto eol=crlf\n", b"one\ntwo\n", ()),
        ("*.bat ident\n", b"$Id$\ntwo\n", ()),
        ("*.bat text working-tree-encoding=UTF-16LE\n", "öne\ntwo\n".encode("utf-16-le"), ()),
        ("*.bat -text\n", b"one\r\ntwo\r\n", ("core.autocrlf=true",)),
        ("", b"one\r\ntwo\r\n", ("core.autocrlf=true",)),
        ("", b"one\ntwo\n", ("core.autocrlf=input",)),
        ("*.bat filter=nowhere\n", b"one\r\n", ()),
    ],
)
def test_a_line_added_lands_as_git_would_commit_it(
    tmp_path: Path, attributes: str, content: bytes, settings: tuple[str, ...]
) -> None:
    repo = made(tmp_path, attributes, content, *settings)
    old = (repo / "x.bat").read_bytes()
    end = "three\n".encode("utf-16-le") if "UTF-16" in attributes else b"three\r\n" if b"\r" in old else b"three\n"
    land(repo, "", [DiffEntry("x.bat", text(old), text(old + end))], base_commit=None, branch="work", message="m")
    (repo / "x.bat").write_bytes(old + end)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "by git")
    assert git(repo, "rev-parse", "work^{tree}") == git(repo, "rev-parse", "main^{tree}")


def test_attributes_that_the_workspace_wrote_hold_for_what_it_wrote(tmp_path: Path) -> None:
    repo = made(tmp_path, "", b"one\n")
    entries = [
        DiffEntry(".gitattributes", None, text(b"*.txt text\n")),
        DiffEntry("new.txt", None, text(b"a\r\nb\r\n")),
        DiffEntry("new.dat", None, text(b"a\r\nb\r\n")),
    ]
    land(repo, "", entries, base_commit=None, branch="work", message="m")
    assert git(repo, "show", "work:new.txt") == b"a\nb\n"
    assert git(repo, "show", "work:new.dat") == b"a\r\nb\r\n"


def test_a_filter_is_never_run_and_refused_by_name(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    repo = made(tmp_path, "", b"one\n", f"filter.evil.clean=touch {ran}; cat", f"filter.evil.smudge=touch {ran}; cat")
    before = git(repo, "for-each-ref")
    entries = [
        DiffEntry(".gitattributes", None, text(b"* filter=evil\n")),
        DiffEntry("x.bat", text(b"one\n"), text(b"two\n")),
    ]
    with pytest.raises(Conflict, match="evil") as refused:
        land(repo, "", entries, base_commit=None, branch="work", message="m")
    assert refused.value.code == "filtered_path"
    assert not ran.exists()
    assert git(repo, "for-each-ref") == before
