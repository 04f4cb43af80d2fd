"""What workspaces ask the user, and the answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Literal

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.errors import HostError, InvalidInput, NotFound
from pyro_mcp.network.cache.registries import REGISTRIES
from pyro_mcp.network.cache.store import Settings
from pyro_mcp.network.policy import Refused, normalised
from pyro_mcp.network.questions import Question
from pyro_mcp.paths import show
from pyro_mcp.vocabulary import AskedAnswer
from pyro_mcp.workspaces.registry import Registry

GIB = 1 << 30
SMALLEST_GIB = 0.1


class NetworkHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def list_questions(self, call: Call, *, wait_seconds: float, known: list[str] | None) -> models.QuestionList:
        end = time.monotonic() + wait_seconds
        while True:
            found = open_questions(self._context, call)
            left = end - time.monotonic()
            if left <= 0 or any(question.id not in (known or ()) for question in found):
                return models.QuestionList(questions=[self._shown(question) for question in found])
            await self._context.questions.changed(left)

    async def answer_question(self, call: Call, *, asked: str, answer: AskedAnswer) -> models.QuestionAnswered:
        questions = self._meant(call, asked)
        shown = [self._shown(question) for question in questions]
        decisions = self._context.decisions
        if answer in ("project", "never"):
            for project, host in {(question.project, question.host) for question in shown}:
                await asyncio.to_thread(decisions.add, project, host, allow=answer == "project")
        for question in questions:
            with contextlib.suppress(NotFound):  # deleted meanwhile, and its question with it
                await self._answer(call, question, answer)
        kept = str(decisions.path) if answer in ("project", "never") else ""
        return models.QuestionAnswered(answered=shown, answer=answer, kept_in=kept)

    async def list_decisions(self, call: Call) -> models.DecisionList:
        decisions = self._context.decisions
        return models.DecisionList(
            decisions=[
                models.Decision(project=project, host=host, answer="allow" if host in decided.allow else "never")
                for project, decided in sorted((await asyncio.to_thread(decisions.all)).items())
                for host in (*decided.allow, *decided.never)
            ],
            kept_in=str(decisions.path),
        )

    async def change_decision(
        self, call: Call, *, host: str, project: str, answer: Literal["allow", "never", "forget"]
    ) -> models.DecisionList:
        decisions = self._context.decisions
        if answer != "forget":
            try:
                normalised(host.removeprefix("*."))
            except Refused as error:
                raise InvalidInput(f"{show(host)} is not a host: {error}.", code="bad_host") from None
            await asyncio.to_thread(decisions.add, project, host.lower(), allow=answer == "allow")
        elif not await asyncio.to_thread(decisions.forget, project, host):
            raise NotFound(
                f"Nothing was decided about {show(host)} for {show(project) or 'no project'}.",
                hint="`pyro decisions` lists what was.",
                code="no_decision",
            )
        return await self.list_decisions(call)

    async def inspect_cache(self, call: Call) -> models.CacheInfo:
        cache = self._context.cache
        found, size = await asyncio.to_thread(lambda: (len(cache.store.all()), cache.store.size()))
        return models.CacheInfo(
            enabled=cache.enabled,
            directory=str(cache.store.root),
            answers=found,
            size_bytes=size,
            max_bytes=await asyncio.to_thread(cache.store.limit),
            hosts=sorted(REGISTRIES),
            connections=cache.connections.opened,
        )

    async def list_cache(self, call: Call, *, limit: int) -> models.CacheList:
        found = await asyncio.to_thread(self._context.cache.store.all)
        answers = [
            models.CachedAnswer(
                host=each.answer.host,
                path=each.answer.path,
                size_bytes=each.answer.size,
                lasting=each.answer.lasting,
                fetched_at=datetime.fromtimestamp(each.answer.fetched_at, UTC),
                used_at=datetime.fromtimestamp(each.used_at, UTC),
            )
            for each in found[:limit]
        ]
        return models.CacheList(answers=answers, more=max(len(found) - limit, 0))

    async def prune_cache(self, call: Call, *, keep_gib: float) -> models.Pruned:
        store = self._context.cache.store
        gone, freed = await asyncio.to_thread(store.shrink, int(keep_gib * GIB))
        return models.Pruned(removed=[f"{gone} answers of package registries"] if gone else [], freed_bytes=freed)

    async def configure_cache(self, call: Call, *, enabled: bool | None, max_gib: float | None) -> models.CacheInfo:
        store = self._context.cache.store
        if max_gib is not None and 0 < max_gib < SMALLEST_GIB:
            raise InvalidInput(
                f"A cache of {max_gib} GiB would hold next to nothing.",
                hint=f"Use {SMALLEST_GIB} or more, or turn it off with `pyro cache set --no-enabled`.",
                code="cache_size",
            )
        now = store.settings()
        limit = now.limit_bytes if max_gib is None else (int(max_gib * GIB) or None)
        try:
            await asyncio.to_thread(store.set, Settings(now.enabled if enabled is None else enabled, limit))
        except OSError as error:
            raise HostError(f"This cannot be saved: {error.strerror}.", code="cache_unwritable") from None
        await asyncio.to_thread(store.shrink, await asyncio.to_thread(store.limit))
        return await self.inspect_cache(call)

    async def _answer(self, call: Call, question: Question, answer: AskedAnswer) -> None:
        registry, host = self._context.registry, question.host
        workspace = registry.get(question.workspace)
        if answer == "workspace":
            await registry.revise(
                workspace, lambda row: {"allow_domains": list(dict.fromkeys([*row.allow_domains, host]))}
            )
        registry.note(workspace, call.client, "network", "ok", f"the user answered {answer}: {host}")
        self._context.questions.answer(question, answer)

    def _meant(self, call: Call, asked: str) -> list[Question]:
        found = open_questions(self._context, call)
        try:
            host = normalised(asked)
        except Refused:
            host = ""
        meant = [question for question in found if asked == question.id or question.host == host]
        if not meant:
            listed = ", ".join(sorted({question.host for question in found}))
            raise NotFound(
                f"No workspace is asking about {show(asked)}."
                + (f" They are asking about: {listed}." if listed else ""),
                hint="`pyro questions` lists open questions; `pyro workspace update WS --allow-domain HOST` allows a "
                "host in advance.",
                code="no_question",
            )
        return meant

    def _shown(self, question: Question) -> models.Question:
        return shown_question(self._context.registry, question)


def open_questions(context: Context, call: Call) -> list[Question]:
    """Those that a caller may know of."""
    seen = {workspace.id for workspace in context.registry.all(call.scope)}
    return [question for question in context.questions.open() if question.workspace in seen]


def shown_question(registry: Registry, question: Question) -> models.Question:
    row = registry.get(question.workspace).row
    return models.Question(
        id=question.id,
        workspace=question.workspace,
        workspace_name=row.name,
        project=row.project or "",
        host=question.host,
        port=question.port,
        command=question.command,
        asked_at=datetime.fromtimestamp(question.asked_at, UTC),
    )
