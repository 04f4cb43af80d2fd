"""The stages of a set-up as one script for a POSIX shell: it ends with the first failure, and says which that was."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from pyro_mcp.devcontainers.read import Stage, Step, shortened

SHOWN = 200
"""Characters of a command in its heading."""


PREPARED = "== The set-up so far is kept for the next workspaces of this project."
"""What a script says before it waits for a line of input, while that is done."""


def script(stages: Iterable[Stage], shell: str, wait_after: frozenset[str] = frozenset()) -> str:
    """A script that runs the stages in their order, the steps of each side by side.

    With `wait_after`, it says `PREPARED` after the last of these stages, and waits for a line of input.
    """
    todo = list(stages)
    last = max((number for number, stage in enumerate(todo) if stage.name in wait_after), default=None)
    lines: list[str] = []
    for place, stage in enumerate(todo):
        if last is not None and place == last + 1:
            lines += _wait()
        if len(stage.steps) == 1:
            step = stage.steps[0]
            lines.append(_say(f"== {stage.name}{_label(step)}: {_shown(step)}"))
            lines.append(f"( exec {_words(step, shell)} ) </dev/null || {{ c=$?; {_failed(stage, step)}; exit $c; }}")
            continue
        for number, step in enumerate(stage.steps):
            lines.append(_say(f"== {stage.name}{_label(step)}: {_shown(step)}"))
            lines.append(f"( exec {_words(step, shell)} ) </dev/null & p{number}=$!")
        lines.append("s=0")
        for number, step in enumerate(stage.steps):
            lines.append(f"wait $p{number} || {{ c=$?; s=$c; {_failed(stage, step)}; }}")
        lines.append('[ "$s" -eq 0 ] || exit "$s"')
    if last == len(todo) - 1:
        lines += _wait()
    return "\n".join(lines) + "\n"


def _wait() -> list[str]:
    return [_say(PREPARED), "read -r line || :"]


def _words(step: Step, shell: str) -> str:
    words = (shell, "-c", step.command) if isinstance(step.command, str) else step.command
    return " ".join(map(shlex.quote, words))


def _label(step: Step) -> str:
    return f" ({step.label})" if step.label else ""


def _shown(step: Step) -> str:
    text = step.command if isinstance(step.command, str) else shlex.join(step.command)
    return shortened(" ".join(text.split()), SHOWN)


def _failed(stage: Stage, step: Step) -> str:
    said = shlex.quote(f"== {stage.name}{_label(step)} failed: exit status ")
    return f"printf '%s%s\\n' {said} \"$c\" >&2"


def _say(text: str) -> str:
    return f"printf '%s\\n' {shlex.quote(text)}"
