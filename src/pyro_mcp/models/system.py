"""What this installation is made of: engines, components, environments."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pyro_mcp.models.base import Moment, Record


class HostCheck(Record):
    """One thing that was looked at on this computer."""

    name: str
    ok: bool
    required: bool = True
    detail: str
    remedy: str = ""


class Component(Record):
    """A program that pyro uses but does not carry."""

    name: str
    ok: bool
    path: str | None = None
    version: str | None = None
    source: str = "missing"
    """Where it was found: an environment variable, PATH, or `fetched` by pyro."""
    sha256: str | None = None
    remedy: str = ""


class EngineStatus(Record):
    """Whether an engine works on this computer, found out by booting a machine."""

    name: str
    ok: bool
    detail: str
    boot_seconds: float | None = None
    isolation: str = ""
    limits: str = ""
    """How CPU and memory limits are held: cgroup v2, cgroup v1, or the stated fallback."""


class Environment(Record):
    """A root file system by name."""

    name: str
    description: str
    installed: bool
    size_bytes: int | None = None
    digest: str | None = None
    created_at: Moment | None = None
    default: bool = False
    packages: list[str] = Field(default_factory=list)
    """The packages asked for; `inspect` lists all that are in it, with versions, in `contents`."""
    contents: dict[str, str] | None = None
    source: str = ""
    notes: list[str] = Field(default_factory=list)
    """Of an image: what it lacks, and what of it has no meaning here."""
    env: dict[str, str] | None = None
    """Variables that it gives every command; `inspect` says them."""
    user: str = ""
    """Who the image says its program is; commands run as root unless told otherwise."""
    workdir: str = ""
    """Where the image says its program runs; commands run in /workspace unless told otherwise."""


class PreparedSetup(Record):
    """What a project's set-up made, kept for the project's next workspaces."""

    name: str
    project: str
    """The folder."""
    size_bytes: int
    """On disk, beyond the environment that it began on."""
    created_at: Moment
    last_used_at: Moment
    in_use: bool = False
    """A workspace stands on it."""


class EnvironmentList(Record):
    environments: list[Environment]
    prepared: list[PreparedSetup] = Field(default_factory=list)


class SuggestedEnvironment(Record):
    """A devcontainer.json that a project could have."""

    path: str
    content: str
    """JSON with comments."""
    found: list[str] = Field(default_factory=list)
    """The manifests that it was made from; the image is by the first."""


class EnvironmentExported(Record):
    """An environment as an image on this computer."""

    environment: str
    output: str
    """The OCI layout's directory."""
    image: str
    """The reference under which other tools find it."""
    bytes: int


class Doctor(Record):
    """What `doctor` found. `ok` is true when workspaces can be created."""

    ok: bool
    default_engine: str | None
    engines: list[EngineStatus]
    components: list[Component]
    checks: list[HostCheck]
    environments: list[Environment]
    daemon: dict[str, Any]
    fixed: list[str] = Field(default_factory=list)


class Pruned(Record):
    """What a prune removed."""

    removed: list[str]
    freed_bytes: int
