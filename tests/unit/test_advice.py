"""The advice in an answer never opens more than was asked."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pyro_mcp.errors import NotPermitted
from pyro_mcp.mcp.access import SYSTEM, Access
from pyro_mcp.workspaces.egress import _PUBLIC_NAME


def advice(access: Access, path: str) -> str:
    with pytest.raises(NotPermitted) as refused:
        access.resolved(path)
    assert refused.value.code == "path_not_allowed"
    return refused.value.hint


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "people" / "me"
    for folder in ("project", "other/deep", ".ssh", ".config/x"):
        (place / folder).mkdir(parents=True)
    (place / ".ssh/id").write_text("key")
    (place / "other/data.tar").write_text("")
    monkeypatch.setenv("HOME", str(place))
    return place


def test_exactly_what_was_asked_is_named(home: Path) -> None:
    access = Access(home / "project")
    for asked in ("other", "other/deep", "other/data.tar"):
        hint = advice(access, str(home / asked))
        assert f"--allow-path {home / asked}`" in hint
    assert f"--allow-path {home / 'other'}`" in advice(access, "../other")
    os.symlink(home / "other", home / "project/link")
    assert f"--allow-path {home / 'other'}`" in advice(access, "link")


def test_what_nobody_should_open_is_never_advised(home: Path) -> None:
    access = Access(home / "project")
    os.symlink("/etc", home / "project/link")
    never = [
        "/",
        "/etc",
        "/etc/passwd",
        "/usr/share",
        "/var/lib",
        "/root",
        "/tmp",
        "/var/tmp",
        "/proc/self",
        "/dev/null",
        "~",
        "..",
    ]
    never += ["~/.ssh", "~/.ssh/id", "~/.config/x", "~/..", "link", "link/passwd", "/nowhere", "/home", "/home/other"]
    never += [*(str(place) for place in SYSTEM), str(home / "other/not-there"), "/etc/../etc", "//etc"]
    for asked in never:
        hint = advice(access, asked)
        assert "--allow-path" not in hint and "pyro mcp" not in hint, (asked, hint)


def test_everybodys_own_files_in_var_tmp_are_no_part_of_the_system(home: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        assert f"--allow-path {scratch}`" in advice(Access(home / "project"), scratch)


def test_the_parent_is_never_what_is_opened(home: Path) -> None:
    assert str(home / "other") + "`" not in advice(Access(home / "project"), str(home / "other/deep"))
    assert "--allow-path" not in advice(Access(home / "project"), str(home / "other/new.patch"))


@pytest.mark.parametrize("host", ["pypi.org", "a.b.example.com.", "xn--bcher-kva.example"])
def test_a_public_name_may_be_advised(host: str) -> None:
    assert _PUBLIC_NAME.fullmatch(host.rstrip("."))


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "10.0.0.1",
            "8.8.8.8",
            "::1",
            "[::1]",
            "localhost",
            "router",
            "x.local",
            "a.internal",
            "*",
            "*.com",
        ),
        *("0.0.0.0", "2130706433", "0x7f.1", "", ".", "a b.com", "x\n.com", "printer.lan", "a.localhost"),
    ],
)
def test_what_is_no_public_name_is_never_advised(host: str) -> None:
    assert not _PUBLIC_NAME.fullmatch(host.rstrip("."))
