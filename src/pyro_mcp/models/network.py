"""Records of what workspaces ask the user."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from pyro_mcp.models.base import Record
from pyro_mcp.vocabulary import AskedAnswer


class Question(Record):
    """May this workspace reach this host?"""

    id: str
    workspace: str
    workspace_name: str | None = None
    project: str = ""
    """The directory whose project the workspace belongs to."""
    host: str
    port: int
    command: str = ""
    """What ran when it asked."""
    asked_at: datetime


class QuestionList(Record):
    questions: list[Question] = Field(default_factory=list)


class Decision(Record):
    """What was decided about a host for a whole project."""

    project: str
    host: str
    answer: Literal["allow", "never"]


class DecisionList(Record):
    decisions: list[Decision] = Field(default_factory=list)
    kept_in: str
    """The file, which may be edited."""


class QuestionAnswered(Record):
    answered: list[Question]
    answer: AskedAnswer
    kept_in: str = ""
    """The file that an answer for a project is kept in, which may be edited."""


class CacheInfo(Record):
    """What is kept of package registries' answers."""

    enabled: bool
    directory: str
    answers: int
    size_bytes: int
    max_bytes: int
    hosts: list[str]
    """The registries whose answers are kept."""
    connections: int
    """Connections to them that the daemon opened for the cache since it began."""


class CachedAnswer(Record):
    host: str
    path: str
    size_bytes: int
    lasting: bool
    """Whether it can never change; what can is asked for again after 5 minutes."""
    fetched_at: datetime
    used_at: datetime


class CacheList(Record):
    answers: list[CachedAnswer] = Field(default_factory=list)
    more: int = 0
    """How many more there are."""
