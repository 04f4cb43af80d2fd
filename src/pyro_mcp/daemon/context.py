"""What the handlers share: the pieces that the daemon is put together from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mcp.daemon.engine_service import EngineService
    from pyro_mcp.daemon.environment_service import EnvironmentService
    from pyro_mcp.daemon.lifecycle import DaemonInfo
    from pyro_mcp.locations import Locations
    from pyro_mcp.store import Store
    from pyro_mcp.workspaces.manager import WorkspaceManager
    from pyro_mcp.workspaces.seed_store import SeedStore
    from pyro_mcp.workspaces.services import Services
    from pyro_mcp.workspaces.whole_machine import WholeMachine


@dataclass(frozen=True)
class Context:
    locations: Locations
    store: Store
    manager: WorkspaceManager
    environments: EnvironmentService
    seeds: SeedStore
    info: DaemonInfo
    machines: WholeMachine
    services: Services
    engines: EngineService
