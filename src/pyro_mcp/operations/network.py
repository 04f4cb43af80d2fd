"""Operations on what workspaces with the network policy `ask` ask the user. The user answers; no tool does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.vocabulary import AskedAnswer

if TYPE_CHECKING:
    from pyro_mcp.models import CacheInfo, CacheList, DecisionList, Pruned, QuestionAnswered, QuestionList


class NetworkOperations(Operations):
    @operation(cli="questions", read_only=True, idempotent=True)
    def list_questions(
        self,
        *,
        wait_seconds: Annotated[
            float, Field(description="Seconds to wait for a new question, 0 to 300.", ge=0, le=300)
        ] = 0,
        known: Annotated[
            list[str] | None, Field(description="Ids of questions you already know.", max_length=256)
        ] = None,
    ) -> QuestionList:
        """List the hosts that workspaces are asking to reach, oldest first.

        With network policy `ask`, a workspace reaches a host only after the user has allowed it. A connection waits
        60 s for the answer; the question stays open for 15 minutes.
        """

    @operation(cli="allow", positional=("asked",), raises={"NotFound": "No workspace is asking for that."})
    def answer_question(
        self,
        asked: Annotated[str, Field(description="A host, or a question's id.", min_length=1, max_length=253)],
        *,
        answer: Annotated[
            AskedAnswer,
            Field(
                description="once: for a minute; workspace: until it is deleted; project: always for this project, "
                "saved in "
                "a file; no: not now; never: not for this project."
            ),
        ] = "workspace",
    ) -> QuestionAnswered:
        """Allow or refuse a host that workspaces are asking for. Waiting connections continue at once.

        For example: `pyro allow pypi.org --answer project`. A host answers every question about it; an id answers
        only that question.
        """

    @operation(cli="decisions", read_only=True, idempotent=True)
    def list_decisions(self) -> DecisionList:
        """List which hosts you allowed or refused for whole projects."""

    @operation(cli="decide", idempotent=True, positional=("host",), raises={"NotFound": "It was not decided."})
    def change_decision(
        self,
        host: Annotated[str, Field(description="An exact name, or *.suffix.", min_length=1, max_length=253)],
        *,
        project: Annotated[str, Field(description="The project's directory.", max_length=4096)],
        answer: Annotated[
            Literal["allow", "never", "forget"], Field(description="forget: ask again when it is wanted.")
        ],
    ) -> DecisionList:
        """Decide about a host for a whole project, or take it back. It holds for connections from now on."""

    @operation(cli="cache info", read_only=True, idempotent=True)
    def inspect_cache(self) -> CacheInfo:
        """Show what is kept of package registries' answers: where, how much, for which hosts, and whether it is on."""

    @operation(cli="cache list", read_only=True, idempotent=True)
    def list_cache(
        self,
        *,
        limit: Annotated[int, Field(description="At most so many answers, 1 to 10000.", ge=1, le=10_000)] = 100,
    ) -> CacheList:
        """List the answers of package registries that are kept, those used last first."""

    @operation(cli="cache prune", destructive=True, idempotent=True)
    def prune_cache(
        self,
        *,
        keep_gib: Annotated[
            float,
            Field(description="GiB, 0 to 65536, of what was used last to keep; 0 removes everything.", ge=0, le=65536),
        ] = 0,
    ) -> Pruned:
        """Remove kept answers of package registries, those used longest ago first. Workspaces fetch them again."""

    @operation(cli="cache set", idempotent=True, raises={"HostError": "It could not be saved on this computer."})
    def configure_cache(
        self,
        *,
        enabled: Annotated[bool | None, Field(description="Whether registries are cached at all.")] = None,
        max_gib: Annotated[
            float | None,
            Field(
                description="GiB that the cache may take, 0.1 to 65536; 0: a tenth of the disk, at most 10.",
                ge=0,
                le=65536,
            ),
        ] = None,
    ) -> CacheInfo:
        """Turn the cache of package registries on or off, or change how large it may grow. It holds for all workspaces.

        Workspaces that were created while it was off use it only after their network policy was changed.
        """
