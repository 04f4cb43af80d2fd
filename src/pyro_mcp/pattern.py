"""Regular expressions that a model or a person gave, searched within a bound of time.

A pattern such as `(a|aa)+$` can take for ever on a line that a guest prints. The library `regex` understands what `re`
does, gives up after a time, and lets other threads run meanwhile.
"""

from __future__ import annotations

import re
import time
from typing import Any

import regex

from pyro_mcp.errors import InvalidInput
from pyro_mcp.paths import show

SEARCH_SECONDS = 6.0
"""Of the processor, not of the clock, for all that one call searches."""

MAX_WALL_SECONDS = 35.0
"""Of the clock, in searching, however busy this computer is: a call returns within 50 s."""

BATCH_LINES = 500
_BY_LINE = re.compile(r"(?:[^\\\[\]()?]|\\[wdbt.+*^$()\[\]{}|/\\-]|\[[\w .-]+\]|\((?!\?)|\)|\?)*")
"""Patterns that match in a text of several lines wherever they match in one of its lines: without anything that looks
at the ends of the text or around a place."""


class Pattern:
    """A pattern with its budget of time. Searching blocks; call it from a worker thread.

    Raises:
        InvalidInput: it is not a regular expression.
    """

    def __init__(self, text: str, *, multiline: bool = False, seconds: float = SEARCH_SECONDS) -> None:
        try:
            self._compiled = regex.compile(text, regex.MULTILINE if multiline else 0)
        except regex.error as error:
            raise InvalidInput(
                f"{show(text)} is not a regular expression: {error}.",
                hint="Escape special characters.",
                code="bad_regex",
            ) from None
        self._text = text
        self._left = seconds
        self._wall = MAX_WALL_SECONDS
        self._many = regex.compile(text, regex.MULTILINE) if _BY_LINE.fullmatch(text) else None

    def matches(self, lines: list[str]) -> list[bool]:
        """Which of these lines match: many at once where the pattern allows that, which is far quicker.

        Raises:
            InvalidInput: all searches together took too long.
        """
        found: list[bool] = []
        for start in range(0, len(lines), BATCH_LINES):
            batch = lines[start : start + BATCH_LINES]
            none = self._many is not None and not self._found(self._many, "\n".join(batch))
            found += [False] * len(batch) if none else map(self.found_in, batch)
        return found

    def found_in(self, text: str) -> bool:
        """Whether it matches somewhere.

        Raises:
            InvalidInput: all searches together took too long.
        """
        return self._found(self._compiled, text)

    def _found(self, compiled: Any, text: str) -> bool:
        patience = self._left
        while True:
            patience = min(patience, self._wall)
            begun, clock = time.thread_time(), time.monotonic()
            try:
                # A timeout of zero or less would mean none.
                return compiled.search(text, timeout=max(patience, 0.001)) is not None
            except TimeoutError:
                # The library counts other threads' time, too; what counts is how much of the processor this one had.
                patience *= 2
                spent, passed = time.thread_time() - begun, time.monotonic() - clock
                if self._left - spent <= 0 or self._wall - passed <= 0.01:
                    raise InvalidInput(
                        f"{show(self._text)} takes too long to search for.",
                        hint="Avoid nested repetition such as (a|aa)+, or search for plain text.",
                        code="regex_too_slow",
                    ) from None
            finally:
                self._left -= time.thread_time() - begun
                self._wall -= time.monotonic() - clock
