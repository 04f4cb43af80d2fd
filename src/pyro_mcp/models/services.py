"""Long-lived processes with names."""

from __future__ import annotations

from pydantic import Field

from pyro_mcp.models.base import Moment, Record
from pyro_mcp.models.workspaces import PublishedPort
from pyro_mcp.vocabulary import ServiceState


class Service(Record):
    """A long-lived process with a name."""

    workspace: str
    name: str
    state: ServiceState
    """`running` means ready, where a readiness was asked for."""
    exit_code: int | None = None
    handle: str
    command: list[str]
    ready: str = ""
    """How readiness is seen."""
    started_at: Moment
    ready_seconds: float | None = None
    """From its start until it was ready."""
    published_ports: list[PublishedPort] = Field(default_factory=list)
    failure: str = ""
    log_tail: str = ""
    """The last lines, of one that failed or ended."""
    hint: str = ""


class ServiceList(Record):
    workspace: str
    services: list[Service]


class ServiceLogs(Record):
    workspace: str
    name: str
    state: ServiceState
    exit_code: int | None = None
    output: str
    next_offset: int
    total_bytes: int
    matches: int | None = None
    hint: str = ""
