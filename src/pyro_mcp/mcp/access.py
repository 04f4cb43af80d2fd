"""What the tools may reach on the user's machine: decided by the user at `pyro mcp serve`, never by the agent.

Paths are resolved, symbolic links and all, before they are compared, and travel on resolved.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mcp.errors import NotPermitted
from pyro_mcp.models import NetworkPolicy
from pyro_mcp.operations import Operation


@dataclass(frozen=True)
class Access:
    """What the user allowed."""

    project: Path | None
    """The project folder, resolved; None when the server was not started in one."""
    allowed: tuple[Path, ...] = ()
    """Further folders, resolved."""
    network: NetworkPolicy = "egress"
    """The most that a workspace may ask for."""

    @classmethod
    def chosen(cls, allow_paths: list[str], network: NetworkPolicy) -> Access:
        """From the command line, CLAUDE_PROJECT_DIR and the working directory.

        The home directory and `/` are no project folders: too much of the user's would be in reach.
        """
        folder = os.environ.get("CLAUDE_PROJECT_DIR") or os.getcwd()
        project: Path | None = Path(os.path.realpath(folder))
        home = Path(os.path.realpath(os.path.expanduser("~")))
        if project == home or project == Path("/") or not Path(folder).is_dir():
            project = None
        return cls(project, tuple(Path(os.path.realpath(os.path.expanduser(p))) for p in allow_paths), network)

    def granted(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments, host paths resolved and within what is allowed.

        Raises:
            NotPermitted: they reach further; the hint says how the user may allow it.
        """
        granted = dict(arguments)
        if granted.get("network_policy", "off") != "off" and self.network == "off":
            raise NotPermitted(
                "The user does not allow workspaces any network here; network_policy can only be off.",
                hint="The user may allow it by starting the server with `pyro mcp serve --network egress`.",
                code="network_not_allowed",
            )
        for name in operation.host_paths:
            if isinstance(granted.get(name), str) and granted[name]:
                granted[name] = str(self.resolved(granted[name]))
        return granted

    def resolved(self, path: str) -> Path:
        """Where `path` leads; relative ones begin at the project folder."""
        start = self.project or Path(os.getcwd())
        found = Path(os.path.realpath(start / os.path.expanduser(path)))
        roots = [root for root in (self.project, *self.allowed) if root is not None]
        if not any(found == root or root in found.parents for root in roots):
            shown = ", ".join(str(root) for root in roots) or "nothing: the server was not started in a project folder"
            raise NotPermitted(
                f"{path} is outside of what the tools may reach on the user's machine: {shown}.",
                hint=f"The user may allow it by starting the server with `pyro mcp serve --allow-path {found.parent}`.",
                code="path_not_allowed",
            )
        return found
