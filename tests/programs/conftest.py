from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mcp.environments.cache import EnvironmentCache


@pytest.fixture
def cache(tmp_path: Path) -> EnvironmentCache:
    """An empty cache of environments, of one test's own."""
    found = EnvironmentCache(tmp_path / "cache")
    found.prepare()
    return found
