"""What the handlers share: the pieces that the daemon is put together from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_mcp.environments.prepared import TREE
from pyro_mcp.files.made import NOTHING, Made
from pyro_mcp.version import VERSION
from pyro_mcp.workspaces.exporting import Destination

if TYPE_CHECKING:
    from pyro_mcp.daemon.engine_service import EngineService
    from pyro_mcp.daemon.environment_service import EnvironmentService
    from pyro_mcp.daemon.preparing import Preparing
    from pyro_mcp.exports.backups import Backups
    from pyro_mcp.locations import Locations
    from pyro_mcp.network.cache.registry_cache import RegistryCache
    from pyro_mcp.network.decisions import Decisions
    from pyro_mcp.network.questions import Questions
    from pyro_mcp.seeds.store import SeedStore
    from pyro_mcp.store import Store
    from pyro_mcp.workspaces.manager import WorkspaceManager
    from pyro_mcp.workspaces.occupancy import Occupancy
    from pyro_mcp.workspaces.registry import Registry
    from pyro_mcp.workspaces.services import Services
    from pyro_mcp.workspaces.trying import Trying
    from pyro_mcp.workspaces.whole_machine import WholeMachine
    from pyro_mcp.workspaces.workspace import Workspace


@dataclass(frozen=True)
class DaemonInfo:
    """What a handler may say of the daemon itself."""

    pid: int
    log: Path
    socket: Path
    version: str = VERSION


@dataclass(frozen=True)
class Context:
    locations: Locations
    store: Store
    registry: Registry
    occupancy: Occupancy
    manager: WorkspaceManager
    environments: EnvironmentService
    preparing: Preparing
    seeds: SeedStore
    backups: Backups
    info: DaemonInfo
    machines: WholeMachine
    trying: Trying
    services: Services
    engines: EngineService
    questions: Questions
    decisions: Decisions
    cache: RegistryCache

    async def made(self, workspace: Workspace) -> Made:
        """What the workspace began with that its project's set-up had made."""
        prepared = (workspace.row.devcontainer or {}).get("prepared")
        if not prepared:
            return NOTHING
        tree = self.environments.cache.tree(workspace.row.environment_digest) / TREE
        tops = [(str(path), int(files)) for path, files in prepared["made"]]
        return Made(tops, tree, await self.occupancy.seed_of(workspace.row))

    def destination(self, workspace: Workspace, output: str, overwrite: bool) -> Destination:
        """Where an export goes on this computer."""
        source = str((workspace.row.seed or {}).get("source", ""))
        return Destination(Path(output), overwrite, self.backups, source, folder=output.endswith("/"))
