"""What stands in a stranger's tree is opened in one way, which neither follows, hangs nor leaves a descriptor."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import pytest

from pyro_mcp import trees
from pyro_mcp.devcontainers.find import find
from pyro_mcp.wholeness import content_hash, read_text


@pytest.fixture
def strange(tmp_path: Path) -> list[Path]:
    """Whatever is not a regular file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "nowhere").symlink_to("not-there")
    (tmp_path / "file").write_text("content")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    return [tmp_path / name for name in ("folder", "pipe", "link", "nowhere", "socket", "absent")]


def test_only_a_regular_file_is_opened_and_no_descriptor_is_left(strange: list[Path]) -> None:
    before = os.listdir("/proc/self/fd")
    for place in strange:
        for look in (trees.opened, read_text, content_hash):
            with pytest.raises(OSError):
                look(place)
    assert os.listdir("/proc/self/fd") == before
    assert read_text(strange[0].parent / "file") == "content"


def test_a_folder_in_the_place_of_a_projects_file_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / ".devcontainer" / "devcontainer.json").mkdir(parents=True)
    before = os.listdir("/proc/self/fd")
    assert find(tmp_path) is None
    assert os.listdir("/proc/self/fd") == before


def test_a_directory_is_listed_by_pattern_or_it_is_said_that_it_cannot_be(tmp_path: Path) -> None:
    for name in ("a.json", ".b.json", "c.lock", "[d].json"):
        (tmp_path / name).touch()
    assert [path.name for path in trees.matching(tmp_path, "*.json")] == [".b.json", "[d].json", "a.json"]
    assert len(trees.matching(tmp_path, "*")) == 4
    assert trees.matching(tmp_path / "absent", "*") == trees.matching(tmp_path / "a.json", "*") == []
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError):
            trees.matching(tmp_path, "*")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
