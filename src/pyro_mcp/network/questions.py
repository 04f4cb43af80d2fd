"""Questions to the user about hosts that a workspace wants to reach, and the connections that wait for the answers.

One question stands for all connections to its host. Who waits gives up after a while; the question stays, so that an
answer that comes late holds for the next try. What a guest can make of that is bounded: questions in all, and how
long it can wait with them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pyro_mcp.network.policy import Refused
from pyro_mcp.vocabulary import AskedAnswer

ASK_SECONDS = 60.0
"""How long a connection waits for the user. Programs that give up sooner find the question when they try again."""
STAYS_SECONDS = 900.0
"""How long a question can be answered; asked anew, it waits again."""
ONCE_SECONDS = 60.0
"""An installer opens many connections to one host: what is allowed once is allowed for so long."""
MAX_OPEN = 16
"""Questions of one workspace: a guest must not bury the user in them."""


@dataclass
class Question:
    """May this workspace reach this host?"""

    id: str
    workspace: str
    host: str
    port: int
    command: str
    """What ran when it was asked."""
    asker: object
    """Who asks: where a workspace's network changes, its next one does, and may before this one has ended."""
    asked_at: float
    """By `time.time`."""
    begun: float = field(default_factory=time.monotonic)
    answer: AskedAnswer | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Questions:
    """All that are open. Not thread-safe; of one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, ask_seconds: float = ASK_SECONDS) -> None:
        self._clock = clock
        self._ask_seconds = ask_seconds
        self._open: dict[tuple[str, str], Question] = {}
        self._once: dict[tuple[str, str], tuple[float, object]] = {}
        self._count = 0
        self._changed = asyncio.Event()
        self.heard: Callable[[], None] = lambda: None
        """Called when a question is asked or closed."""

    async def ask(
        self,
        workspace: str,
        host: str,
        port: int,
        command: str,
        on_new: Callable[[Question], None],
        asker: object = None,
    ) -> None:
        """Wait for the user's answer about a host; `on_new` hears of a question that nobody asked before.

        `asker` is who can `forget` it.

        Raises:
            Refused: the answer is no, or there is none in time.
        """
        key = (workspace, host)
        until, allowed_to = self._once.get(key, (0.0, None))
        if until > self._clock() and allowed_to is asker:
            return
        self._drop_old()
        question = self._open.get(key)
        if question is None:
            if sum(1 for asked, _ in self._open if asked == workspace) >= MAX_OPEN:
                raise Refused(f"{MAX_OPEN} questions to the user are already open, and {host} is not allowed", "ask")
            self._count += 1
            question = Question(f"q{self._count}", workspace, host, port, command, asker, time.time(), self._clock())
            self._open[key] = question
            on_new(question)
            self._tell()
        question.asker = asker  # the last who asks waits longest
        left = question.begun + self._ask_seconds - self._clock()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await question.answered.wait()
        except TimeoutError:
            raise Refused(f"the user was asked about {host} and has not answered", "ask") from None
        if question.answer is None:
            raise Refused(f"the question about {host} is no longer open", "ask")
        if question.answer in ("no", "never"):
            raise Refused(f"the user was asked about {host}, and said {question.answer}", "not_allowed")

    def open(self) -> list[Question]:
        """Those that can be answered, oldest first."""
        self._drop_old()
        return list(self._open.values())

    def answer(self, question: Question, answer: AskedAnswer) -> None:
        """Let those who wait go on. What the answer means for later is the caller's affair, but for `once`."""
        key = (question.workspace, question.host)
        if answer == "once":
            self._once[key] = self._clock() + ONCE_SECONDS, question.asker
        question.answer = answer
        self._close(key)

    def forget(self, workspace: str, asker: object = None) -> None:
        """Who asked in a workspace's name does so no more: its questions are closed, and what was allowed once ends."""
        for key, question in [each for each in self._open.items() if each[0][0] == workspace]:
            if question.asker is asker:
                self._close(key)
        for key, (_, allowed_to) in [each for each in self._once.items() if each[0][0] == workspace]:
            if allowed_to is asker:
                del self._once[key]

    async def changed(self, seconds: float) -> None:
        """Wait until a question is asked or closed, or the time is over."""
        event = self._changed
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass

    def _close(self, key: tuple[str, str]) -> None:
        question = self._open.pop(key, None)
        if question is not None:
            question.answered.set()
            self._tell()

    def _drop_old(self) -> None:
        now = self._clock()
        for key in [key for key, question in self._open.items() if question.begun + STAYS_SECONDS < now]:
            self._close(key)
        for key in [key for key, (until, _) in self._once.items() if until < now]:
            del self._once[key]

    def _tell(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()
        self.heard()
