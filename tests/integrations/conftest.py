"""Integrations are tested with the real packages, from PyPI: `make test-integrations` installs and runs them.

Where a package is not installed, its tests are skipped, as in `make test`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyro_mcp.sdk import Pyro
from tests.support import Installation


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def place(session_installation: Installation) -> Iterator[Installation]:
    """The session's installation, which the whole module's programs find by their environment."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in session_installation.environment.items():
            patch.setenv(key, value)
        yield session_installation


@pytest.fixture
def nothing_left(place: Installation) -> Iterator[None]:
    """After the test there are the workspaces that there were before, and no other."""
    with Pyro() as pyro:
        before = {workspace.id for workspace in pyro.list_workspaces()}
        yield
        assert [workspace.labels for workspace in pyro.list_workspaces() if workspace.id not in before] == []
