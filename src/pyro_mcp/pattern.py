"""Regular expressions that a model or a person gave, searched within a bound of time.

A pattern such as `(a|aa)+$` can take for ever on a line that a guest prints. The library `regex` understands what `re`
does, gives up after a time, and lets other threads run meanwhile.
"""

from __future__ import annotations

import time

import regex

from pyro_mcp.errors import InvalidInput
from pyro_mcp.paths import show

SEARCH_SECONDS = 10.0
"""For all that one call searches: half a million lines take a second with an ordinary pattern."""


class Pattern:
    """A pattern with its budget of time. Searching blocks; call it from a worker thread.

    Raises:
        InvalidInput: it is no regular expression.
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

    def found_in(self, text: str) -> bool:
        """Whether it matches somewhere.

        Raises:
            InvalidInput: all searches together took too long.
        """
        begun = time.monotonic()
        try:
            # A timeout of zero or less would mean none.
            return self._compiled.search(text, timeout=max(self._left, 0.001)) is not None
        except TimeoutError:
            raise InvalidInput(
                f"{show(self._text)} takes too long to search for.",
                hint="Avoid repetitions within repetitions, such as (a|aa)+; search for plain text.",
                code="regex_too_slow",
            ) from None
        finally:
            self._left -= time.monotonic() - begun
