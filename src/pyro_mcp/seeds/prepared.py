"""What a workspace is told of the seed that it is filled with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyro_mcp import models


@dataclass(frozen=True)
class PreparedSeed:
    """A seed in the store: read-only, shared by all workspaces that were filled from it."""

    digest: str
    tree: Path
    info: models.SeedInfo
