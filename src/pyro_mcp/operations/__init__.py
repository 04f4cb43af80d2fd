"""Every operation of pyro, defined once. See `_base` for how; the area classes for what."""

from __future__ import annotations

from pyro_mcp.operations._base import REGISTRY, Operation, Operations, Profile
from pyro_mcp.operations.activity import ActivityOperations
from pyro_mcp.operations.commands import CommandOperations
from pyro_mcp.operations.files import FileOperations
from pyro_mcp.operations.machines import MachineOperations
from pyro_mcp.operations.network import NetworkOperations
from pyro_mcp.operations.services import ServiceOperations
from pyro_mcp.operations.shells import ShellOperations
from pyro_mcp.operations.system import SystemOperations
from pyro_mcp.operations.workspaces import WorkspaceOperations


class AllOperations(
    SystemOperations,
    WorkspaceOperations,
    CommandOperations,
    FileOperations,
    MachineOperations,
    ShellOperations,
    ServiceOperations,
    NetworkOperations,
    ActivityOperations,
):
    """The areas put together. `Pyro` is this with a connection to the daemon."""


__all__ = ["REGISTRY", "AllOperations", "Operation", "Operations", "Profile"]
