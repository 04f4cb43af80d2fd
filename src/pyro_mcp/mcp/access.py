"""What the tools may reach on the user's computer: decided by the user at `pyro mcp serve`, never by the agent.

Paths are resolved, symbolic links and all, before they are compared, and travel on resolved.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyro_mcp.errors import NotPermitted
from pyro_mcp.models import NetworkPolicy
from pyro_mcp.operations import Operation
from pyro_mcp.seeds import repository
from pyro_mcp.vocabulary import asks, exceeds, online


@dataclass(frozen=True)
class Access:
    """What the user allowed."""

    project: Path | None
    """The project directory, resolved; None when the server was not started in one."""
    allowed: tuple[Path, ...] = ()
    """Further directories, resolved."""
    network: NetworkPolicy = "egress"
    """The most that a workspace may ask for."""
    allow_domains: tuple[str, ...] = ()
    """The only hosts that workspaces may reach; empty: all public ones."""
    allow_host_ports: tuple[str, ...] = ()
    allow_addresses: tuple[str, ...] = ()
    ssh_hosts: tuple[str, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Name to value: the user's, for every workspace; the model sees names only."""
    secret_files: Mapping[str, str] = field(default_factory=dict)
    secret_hosts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def chosen(
        cls,
        allow_paths: list[str],
        network: NetworkPolicy,
        *,
        allow_domains: Sequence[str] = (),
        allow_host_ports: Sequence[str] = (),
        allow_addresses: Sequence[str] = (),
        ssh_hosts: Sequence[str] = (),
        secrets: Mapping[str, str] | None = None,
        secret_files: Mapping[str, str] | None = None,
        secret_hosts: Mapping[str, str] | None = None,
    ) -> Access:
        """From the command line, CLAUDE_PROJECT_DIR and the working directory.

        The home directory and `/` are no project directories: too much of the user's would be in reach.
        """
        return cls(
            _project(os.environ.get("CLAUDE_PROJECT_DIR") or os.getcwd()),
            tuple(Path(os.path.realpath(os.path.expanduser(p))) for p in allow_paths),
            network,
            tuple(allow_domains),
            tuple(allow_host_ports),
            tuple(allow_addresses),
            tuple(ssh_hosts),
            dict(secrets or {}),
            dict(secret_files or {}),
            dict(secret_hosts or {}),
        )

    @property
    def scope(self) -> str:
        """The project whose workspaces this server sees: the directory it was started in, whatever roots a host names
        later. Servers without one see each other's."""
        return str(self.project or "")

    def with_roots(self, folders: Sequence[Path]) -> Access:
        """The first directory that can be a project is the project; the one that was stays in reach."""
        for folder in folders:
            project = _project(str(folder))
            if project is not None and project != self.project:
                before = () if self.project is None else (self.project,)
                return replace(self, project=project, allowed=(*self.allowed, *before))
            if project is not None:
                break
        return self

    def granted(self, operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments, host paths resolved and within what is allowed.

        Raises:
            NotPermitted: they reach further; the hint says how the user may allow it.
        """
        granted = dict(arguments)
        asked = granted.get("network_policy", "off")
        if exceeds(asked, self.network):
            none = not online(self.network) or (asks(self.network) and operation.name == "run_in_vm")
            most = "only be off" if none else f"be {self.network} at most"
            raise NotPermitted(
                f"The user does not allow that here; network_policy may {most}.",
                hint=f"The user can allow it by starting the server with `pyro mcp serve --network {asked}`.",
                code="network_not_allowed",
            )
        if online(asked) and self.allow_domains and operation.name == "run_in_vm":
            raise NotPermitted(
                "The user allows only certain hosts, and a one-command machine cannot be limited to them.",
                hint="Use network_policy off, or a workspace: workspace_create applies the list.",
                code="network_not_allowed",
            )
        for text in granted.get("publish") or ():
            if text.count(":") > 1:
                raise NotPermitted(
                    f"{text} names an address, but the tools publish ports only on 127.0.0.1.",
                    hint="Give GUEST or HOST:GUEST. The user can publish elsewhere with `pyro workspace service "
                    "start`.",
                    code="address_not_allowed",
                )
        for name in operation.host_paths:
            if isinstance(granted.get(name), str) and granted[name]:
                text = granted[name]
                granted[name] = self._written(text) if name == "output" else str(self.resolved(text))
                if name in ("seed_path", "path"):
                    self._refuse_foreign_repository(Path(granted[name]))
        return granted

    def _refuse_foreign_repository(self, seed: Path) -> None:
        """A `.git` file in the project may lead anywhere; the history of another repository is not the project's."""
        if not repository.within(seed, [root for root in (self.project, *self.allowed) if root is not None]):
            raise NotPermitted(
                f"The .git of {seed} points to a repository that is out of reach and does not list this work tree.",
                hint="Seed from a directory without that .git, or ask the user to run `pyro workspace create`.",
                code="path_not_allowed",
            )

    def imposed(self, network_policy: NetworkPolicy) -> dict[str, Any]:
        """What every workspace with this policy is created with: the user's secrets and list of hosts."""
        connected = online(network_policy)
        # Without a network a secret that only its host may get has no use, and must not get in by its value.
        names = {name for name in (*self.secrets, *self.secret_files) if connected or name not in self.secret_hosts}
        given: dict[str, Any] = {
            "secrets": {name: value for name, value in self.secrets.items() if name in names},
            "secret_files": {name: path for name, path in self.secret_files.items() if name in names},
            "secret_hosts": {name: host for name, host in self.secret_hosts.items() if name in names},
            "allow_domains": list(self.allow_domains) if connected else [],
            "allow_host_ports": list(self.allow_host_ports) if connected else [],
            "allow_addresses": list(self.allow_addresses) if connected else [],
            "ssh_hosts": list(self.ssh_hosts) if connected else [],
        }
        return {name: value for name, value in given.items() if value}

    def _refuse_links(self, path: str) -> None:
        """Nothing is written through a symbolic link below a directory that the user allowed."""
        start = self.project or Path(os.getcwd())
        asked = Path(os.path.normpath(start / os.path.expanduser(path)))
        for root in (self.project, *self.allowed):
            if root is None or root not in asked.parents:
                continue
            for place in (asked, *asked.parents):
                if place == root:
                    break
                if os.path.islink(place) and (place != asked or os.path.isdir(place)):
                    raise NotPermitted(
                        f"{place} is a symbolic link, and the tools never write through one.",
                        hint="Name the real directory.",
                        code="output_through_link",
                    )

    def _written(self, path: str) -> str:
        """Where an output goes: a link that stands there is what is meant, not what it leads to."""
        self._refuse_links(path)
        asked = Path(os.path.normpath((self.project or Path(os.getcwd())) / os.path.expanduser(path)))
        if os.path.islink(asked) and not os.path.isdir(asked):
            return str(self.resolved(str(asked.parent)) / asked.name)
        return str(self.resolved(path)) + "/" * path.endswith("/")

    def resolved(self, path: str) -> Path:
        """Where `path` leads; relative ones begin at the project folder."""
        start = self.project or Path(os.getcwd())
        found = Path(os.path.realpath(start / os.path.expanduser(path)))
        roots = [root for root in (self.project, *self.allowed) if root is not None]
        if not any(found == root or root in found.parents for root in roots):
            shown = (
                ", ".join(str(root) for root in roots) or "nothing: the server was not started in a project directory"
            )
            leads = "" if str(found) == path or ".." in path else f" (it is {found})" if os.path.isabs(path) else ""
            raise NotPermitted(
                f"{path}{leads} is outside what the tools may reach on the user's computer: {shown}.",
                hint=_advice(found),
                code="path_not_allowed",
            )
        return found


SYSTEM = (
    *map(Path, ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/nix", "/opt", "/proc", "/root")),
    *map(Path, ("/run", "/sbin", "/snap", "/sys", "/usr", "/var")),
)
"""Folders of the system: no answer to a model may lead to their being opened."""
SCRATCH = Path("/var/tmp")
"""Everybody's own files that outlive a restart: no part of the system, though it lies within one."""


def _advice(place: Path) -> str:
    """What the user may do about a place out of reach. It never opens more than was asked, nor what nobody should."""
    if not may_be_advised(place):
        return "Give a path inside it."
    return (
        "The user can allow exactly that by starting the server with "
        f"`pyro mcp serve --allow-path {shlex.quote(str(place))}`."
    )


def may_be_advised(place: Path) -> bool:
    """Whether a place, resolved, may be named as one to be opened: it is there, and neither the system's nor a home,
    nor one of its hidden directories, where keys and settings are."""
    home = Path(os.path.realpath(os.path.expanduser("~")))
    if not (os.path.isdir(place) or os.path.isfile(place)) or not str(place).isprintable():
        return False
    if place == home or place in home.parents or len(place.parts) < 3:
        return False  # a home, what holds it, and all that stands at the top
    if home in place.parents:
        return not place.relative_to(home).parts[0].startswith(".")
    if place.parts[1] == "home" and (len(place.parts) < 4 or place.parts[3].startswith(".")):
        return False  # somebody else's home
    return SCRATCH in place.parents or not any(place == top or top in place.parents for top in SYSTEM)


def _project(folder: str) -> Path | None:
    """The directory, resolved; None where it is none, or holds too much of the user's."""
    project, home = Path(os.path.realpath(folder)), Path(os.path.realpath(os.path.expanduser("~")))
    return None if project in (home, Path("/")) or not os.path.isdir(project) else project
