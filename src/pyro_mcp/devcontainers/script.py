"""The stages of a set-up as one script for a POSIX shell: it ends with the first failure, and says which that was."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from pyro_mcp.devcontainers.read import Stage, Step, shortened

SHOWN = 200
"""Characters of a command in its heading."""


def script(stages: Iterable[Stage], shell: str) -> str:
    """A script that runs the stages in their order, the steps of each side by side."""
    lines: list[str] = []
    for stage in stages:
        if len(stage.steps) == 1:
            step = stage.steps[0]
            lines.append(_say(f"== {stage.name}{_label(step)}: {_shown(step)}"))
            lines.append(f"( exec {_words(step, shell)} ) || {{ c=$?; {_failed(stage, step)}; exit $c; }}")
            continue
        for number, step in enumerate(stage.steps):
            lines.append(_say(f"== {stage.name}{_label(step)}: {_shown(step)}"))
            lines.append(f"( exec {_words(step, shell)} ) & p{number}=$!")
        lines.append("s=0")
        for number, step in enumerate(stage.steps):
            lines.append(f"wait $p{number} || {{ c=$?; s=$c; {_failed(stage, step)}; }}")
        lines.append('[ "$s" -eq 0 ] || exit "$s"')
    return "\n".join(lines) + "\n"


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
