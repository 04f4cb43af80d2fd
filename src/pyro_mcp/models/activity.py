"""What goes on in all workspaces, for those who look on."""

from __future__ import annotations

from pydantic import Field

from pyro_mcp.models.base import Moment, Record
from pyro_mcp.models.network import Question
from pyro_mcp.models.workspaces import HistoryEvent, PublishedPort, Workspace
from pyro_mcp.vocabulary import ServiceState


class RunningCommand(Record):
    """A command, shell or service process that runs at this moment."""

    handle: str
    kind: str
    """exec, shell or service."""
    command: list[str]
    started_at: Moment
    output_bytes: int = 0
    last_line: str = ""
    """The last line that it printed, as a person would have seen it, at most 160 characters."""


class ServiceGlance(Record):
    """A service in brief."""

    name: str
    state: ServiceState
    handle: str
    published_ports: list[PublishedPort] = Field(default_factory=list)


class BusyWorkspace(Record):
    """A workspace, and what it does now. Looking costs its machine nothing."""

    workspace: Workspace
    project: str = ""
    """The directory that it belongs to."""
    trial: bool = False
    """A fork in which `workspace try` tries an alternative; it goes by itself."""
    running: list[RunningCommand] = Field(default_factory=list)
    services: list[ServiceGlance] = Field(default_factory=list)
    changed_files: int | None = None
    """Files that differ from the baseline, as last seen; None where nobody has looked since the daemon began."""
    memory_bytes: int | None = None
    """What its machine uses at this moment; None where it does not run."""
    cpu_seconds: float | None = None
    """Processor time that the machine's main process has used since it began."""


class ActivityEvent(HistoryEvent):
    """An operation on some workspace."""

    workspace: str
    workspace_name: str | None = None


class Noted(Record):
    """A note that waits for the agent."""

    workspace: str
    note: str
    """As the agent will read it."""
    waiting: int
    """Notes that wait, this one among them."""


class Activity(Record):
    """What changed since a moment, over all workspaces."""

    cursor: str
    """For `after`: what changes from here on."""
    whole: bool
    """`workspaces` are all that there are; otherwise those that are new or changed."""
    workspaces: list[BusyWorkspace] = Field(default_factory=list)
    gone: list[str] = Field(default_factory=list)
    """Ids of workspaces that were deleted."""
    events: list[ActivityEvent] = Field(default_factory=list)
    """What began or ended, oldest first."""
    questions: list[Question] = Field(default_factory=list)
    """All that are open."""
