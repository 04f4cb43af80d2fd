"""Fixtures that give real things: a daemon of its own, real workspaces, and a look at what was left behind.

The caches (environments, templates) are the user's own, so that a second run is quick; state and runtime
directories are fresh for every test session or, with `fresh`, for one test.

Each test that has a daemon has the engine as a parameter, which its id shows: `test_x[gvisor]`. What tests/engine and
tests/smokes say is true of every engine, so they run on each; the faces are the same whatever the engine is, so
theirs, which are many and slow, run on one. --engine says which (`tests/engines.py`).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pyro_mcp.network.authority import Authority
from pyro_mcp.network.guest_environment import host_bundle
from pyro_mcp.sdk import Pyro
from tests import engines
from tests.support import Installation, leftovers

ENVIRONMENT = "debian:12"
ON_EVERY_ENGINE = ("engine", "smokes", "isolation")
# The suite is the same every time; HYPOTHESIS_PROFILE=explore looks for new counterexamples. How long an example takes
# says only how busy the computer is. `make check` is content with fewer examples (quick).
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("quick", settings.get_profile("steady"), max_examples=20)
settings.register_profile("explore", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine",
        choices=engines.CHOICES,
        default="here",
        help="what runs the machines: `here` (default) is each engine that boots a guest on this computer",
    )
    parser.addoption(
        "--isolation",
        choices=("short", "whole"),
        default="short",
        help="which of the attempts in tests/isolation are made",
    )
    parser.addoption(
        "--share-of-root",
        action="store_true",
        help="of tests/engine only what may go otherwise as root (marked as_root)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" not in metafunc.fixturenames:
        return
    names = engines.chosen(metafunc.config.getoption("engine"))
    if metafunc.definition.path.parent.name not in ON_EVERY_ENGINE:
        names = names[-1:]
    metafunc.parametrize("engine", names, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.engine)
    if config.getoption("share_of_root"):
        left = [item for item in items if item.path.parent.name == "engine" and not item.get_closest_marker("as_root")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that runs this test's machines."""
    return str(request.param)


@pytest.fixture(scope="session")
def session_installation(engine: str) -> Iterator[Installation]:
    """An engine's daemon for the whole session; at the end nothing of it may be left."""
    with Installation(engine) as installation:
        yield installation
    left = leftovers(installation.root)
    assert not left, f"left behind: {left}"


@pytest.fixture
def installation(session_installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    for key, value in session_installation.environment.items():
        monkeypatch.setenv(key, value)
    return session_installation


@pytest.fixture
def fresh(engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation for one test that kills daemons; afterwards nothing of it may be left."""
    with Installation(engine) as installation:
        for key, value in installation.environment.items():
            monkeypatch.setenv(key, value)
        yield installation
    left = leftovers(installation.root)
    assert not left, f"left behind: {left}"


@pytest.fixture
def pyro(installation: Installation) -> Iterator[Pyro]:
    """A client; workspaces that the test left are deleted afterwards."""
    with Pyro() as client:
        before = {w.id for w in client.list_workspaces().workspaces}
        yield client
        for workspace in client.list_workspaces().workspaces:
            if workspace.id not in before:
                client.delete_workspace(workspace.id)


@pytest.fixture
def workspace(pyro: Pyro) -> str:
    """The id of an empty workspace."""
    return pyro.create_workspace(ENVIRONMENT).id


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Authority:
    """One that this test's daemon trusts, and so its machines do."""
    made = Authority.create("of a test")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text((host_bundle() or "") + made.certificate_pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small git work tree with what usually breaks: x-bits, symlinks, ignored and untracked files."""
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "calc.py").write_text("def add(a, b):\n    return a + b\n")
    (root / "test_calc.py").write_text(
        "import sys\nsys.path.insert(0, 'src')\nfrom calc import add\n\nassert add(2, 3) == 5\nprint('passed')\n"
    )
    (root / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("src/calc.py")
    (root / ".gitignore").write_text("ignored.txt\nbuild/\n")
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    (root / "ignored.txt").write_text("secret\n")
    (root / "untracked.txt").write_text("new\n")
    return root
