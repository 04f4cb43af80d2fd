"""Operations on what workspaces with the network policy `ask` ask the user. The user answers; no tool does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pyro_mcp.definitions.field import Field
from pyro_mcp.operations._base import Operations, operation
from pyro_mcp.vocabulary import AskedAnswer

if TYPE_CHECKING:
    from pyro_mcp.models import DecisionList, QuestionAnswered, QuestionList


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
