"""What was sent to another computer from here: only into these folders a landing goes without a repository named.

A workspace over there may come from a folder of that computer, or of a third one; and that computer may lie.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from pyro_mcp import wholeness

KEPT_SECONDS = 14 * 24 * 3600
"""How long the copy of a source is kept here, so that the next one of it is made of that."""
MOST = 10_000
"""Sources that are remembered, the last ones sent."""


class Sent:
    """One of these for a computer that is reached over ssh. `file` is where it is remembered."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, tuple[str, str, float]] = {}
        with contextlib.suppress(OSError, ValueError, TypeError):
            for source, (digest, prefix, at) in wholeness.read_record(file).items():
                self._known[source] = (str(digest), str(prefix), float(at))

    def note(self, source: str, digest: str, prefix: str) -> None:
        """It is about to be sent: the copy of a folder that is `prefix` in its repository. Raises OSError."""
        self._known.pop(source, None)
        self._known[source] = (digest, prefix, time.time())
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        wholeness.write_new(self._file, json.dumps(self._known).encode())

    def prefix(self, source: str) -> str | None:
        """Where a folder stands in its repository; None for one that was not sent from here."""
        found = self._known.get(source)
        return None if found is None else found[1]

    def copies(self) -> set[str]:
        """The digests of copies that are still of use."""
        oldest = time.time() - KEPT_SECONDS
        return {digest for digest, _, at in self._known.values() if at > oldest}
