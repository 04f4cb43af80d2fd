"""`python -m evals --url URL --model NAME [--api openai|anthropic] [--task NAME]…`; the key is in EVALS_KEY.

Without --url, a scripted model plays that errs as models do, and then solves the task: it proves the harness.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from dataclasses import asdict

from evals.models import Anthropic, Erring, Model, OpenAI
from evals.play import Outcome, play
from evals.tasks import KINDS, tasks


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m evals", description=__doc__)
    parser.add_argument("--url", help="Base URL with its version, such as http://127.0.0.1:11434/v1.")
    parser.add_argument("--model", default="", help="The model's name.")
    parser.add_argument("--api", choices=("openai", "anthropic"), default="openai")
    parser.add_argument("--task", action="append", help="Only this one. Repeatable.")
    parser.add_argument("--kind", action="append", choices=KINDS, help="Only tasks of this kind. Repeatable.")
    parser.add_argument("--profile", default="workspace-core")
    parser.add_argument("--json", action="store_true", help="One JSON object a line.")
    asked = parser.parse_args()
    chosen = [
        task
        for task in tasks()
        if (not asked.task or task.name in asked.task) and (not asked.kind or task.kind in asked.kind)
    ]
    if not chosen:
        parser.error("there is no such task")
    outcomes: list[Outcome] = []
    for task in chosen:
        outcome = asyncio.run(play(task, _model(asked), profile=asked.profile))
        outcomes.append(outcome)
        _say(json.dumps(asdict(outcome)) if asked.json else _line(outcome))
    solved = sum(outcome.solved for outcome in outcomes)
    if not asked.json:
        _say(f"\n{solved} of {len(outcomes)} solved; {_sum(outcomes)}")
    return 0 if solved == len(outcomes) else 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _model(asked: argparse.Namespace) -> Model:
    if not asked.url:
        return Erring()
    make = Anthropic if asked.api == "anthropic" else OpenAI
    return make(asked.url, asked.model, os.environ.get("EVALS_KEY", "none"))


def _line(o: Outcome) -> str:
    return f"{'solved' if o.solved else 'FAILED':7} {o.task:26} {_sum([o])}, {o.seconds} s {o.why}".rstrip()


def _sum(outcomes: list[Outcome]) -> str:
    def total(name: str) -> int:
        return sum(getattr(outcome, name) for outcome in outcomes)

    words = f"{total('calls')} calls, {total('errors')} errors, {total('repeats')} repeats"
    return f"{words}, {total('tokens_in')} tokens in, {total('tokens_out')} out"


if __name__ == "__main__":
    raise SystemExit(main())
