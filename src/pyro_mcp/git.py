"""How git is run on this computer: over repositories that may be anybody's, so that nothing of theirs runs."""

from __future__ import annotations

import os
from collections.abc import Mapping

SAFE = tuple(
    word
    for setting in ("core.hooksPath=/dev/null", "core.fsmonitor=false", "protocol.allow=never", "gc.auto=0")
    for word in ("-c", setting)
)
"""Arguments before the command: of the repository's own settings none may run a program."""
ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
"""Of the environment: neither the user's settings nor this computer's."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, without what leads git elsewhere: it asks nobody and neither fetches nor locks."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    kept |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1"}
    return {**kept, **(extra or {})}
