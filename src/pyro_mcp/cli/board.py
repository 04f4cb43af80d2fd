"""What the small screen of `pyro watch --tui` shows: workspaces left, what the chosen one does right. Pure.

In a narrow terminal the list stands above. Text alone says everything: bold and reversed only help the eye.
"""

from __future__ import annotations

import datetime
import functools
import textwrap
from collections import deque
from dataclasses import dataclass
from typing import Any

from wcwidth import wcwidth

from pyro_mcp.cli.figures import plural, size
from pyro_mcp.cli.render import event_line
from pyro_mcp.processes.seen import seen
from pyro_mcp.visible import as_typed, visible

ANSWERS = {"a": "workspace", "o": "once", "p": "project", "n": "no", "N": "never"}
"""Keys, and what they answer."""
SIDE_BY_SIDE = 70
"""Columns from which the list stands left of the output."""
EVENTS = 200
PLAIN, BOLD, REVERSED = "", "bold", "reversed"


@dataclass(frozen=True)
class Piece:
    """Text at a place of the screen."""

    row: int
    column: int
    text: str
    look: str = PLAIN


class Board:
    """What is known of all workspaces, and which one is looked at."""

    def __init__(self, only: str | None = None) -> None:
        self._only = only
        self._workspaces: dict[str, dict[str, Any]] = {}
        self._events: dict[str, deque[str]] = {}
        self._output: list[str] = []
        self._chosen: str | None = None
        self._question = 0
        self.questions: list[dict[str, Any]] = []
        self.said = ""
        """Of the last thing that a person did, or why nothing is known."""

    # -- what comes in

    def take(self, told: dict[str, Any]) -> None:
        """An answer of `follow_activity`."""
        if told["whole"]:
            self._workspaces.clear()
        for each in told["workspaces"]:
            if not each.get("trial") and self._only in (None, each["workspace"]["id"]):
                self._workspaces[each["workspace"]["id"]] = each
        for gone in told["gone"]:
            self._workspaces.pop(gone, None)
        for event in told["events"]:
            line = event_line(
                {**event, "at": _clock(event["at"]), "operation": event["operation"].removesuffix("_workspace")}
            )
            self._events.setdefault(event["workspace"], deque(maxlen=EVENTS)).append(line)
        self._events = {known: lines for known, lines in self._events.items() if known in self._workspaces}
        asked = self.question
        self.questions = [each for each in told["questions"] if each["workspace"] in self._workspaces]
        # The one that a person reads stays the one that a key answers.
        known = [each["id"] for each in self.questions]
        self._question = known.index(asked["id"]) if asked is not None and asked["id"] in known else 0
        if self._chosen not in self._workspaces:
            self._chosen = next(iter(self._listed()), None)
            self._output = []

    def show_output(self, workspace: str, data: bytes) -> None:
        """The end of what the chosen workspace's command printed."""
        if workspace == self._chosen:
            self._output = [visible(line) for line in seen(data).split("\n")]

    # -- what a person does

    def move(self, by: int) -> None:
        """Look at the workspace so many places further down."""
        listed = self._listed()
        if listed:
            at = listed.index(self._chosen) if self._chosen in listed else 0
            self._chosen = listed[max(0, min(len(listed) - 1, at + by))]
            self._output = []

    def next_question(self) -> None:
        self._question = (self._question + 1) % max(1, len(self.questions))

    @property
    def question(self) -> dict[str, Any] | None:
        """The one that a key answers."""
        return self.questions[self._question] if self._question < len(self.questions) else None

    @property
    def wanted(self) -> tuple[str, str, int] | None:
        """Workspace, handle and size of the output to show."""
        each = self._workspaces.get(self._chosen or "")
        if each is None or not each["running"]:
            return None
        command = each["running"][-1]
        return each["workspace"]["id"], command["handle"], command["output_bytes"]

    # -- what is seen

    def pieces(self, rows: int, columns: int) -> list[Piece]:
        """All that stands on a screen of this size; nothing reaches beyond it."""
        if rows < 3 or columns < 10:
            return [Piece(0, 0, cut("too small", columns))] if rows > 0 and columns > 0 else []
        foot = self._foot(columns)
        if len(foot) > max(1, rows // 2):
            foot = [(cut("a question: make the terminal larger", columns), BOLD)]
        body = rows - 1 - len(foot)
        count = plural(len(self._workspaces), "workspace")
        found = [
            Piece(
                0,
                0,
                padded(f" pyro  {count}, {plural(len(self.questions), 'question')} {visible(self.said)}", columns),
                REVERSED,
            )
        ]
        if columns >= SIDE_BY_SIDE:
            width = max(24, columns // 3)
            found += self._list(1, 0, body, width - 1)
            found += [Piece(1 + n, width - 1, "|") for n in range(body)]
            found += self._detail(1, width + 1, body, columns - width - 1)
        else:
            high = min(max(2, body // 2), 2 + len(self._workspaces))
            found += self._list(1, 0, high, columns)
            found += self._detail(1 + high, 0, body - high, columns)
        found += [Piece(rows - len(foot) + n, 0, text, look) for n, (text, look) in enumerate(foot)]
        return found

    def _listed(self) -> list[str]:
        order = sorted(
            self._workspaces.values(), key=lambda e: (not e["running"], -_moment(e["workspace"]), e["workspace"]["id"])
        )
        return [each["workspace"]["id"] for each in order]

    def _list(self, top: int, left: int, high: int, wide: int) -> list[Piece]:
        listed = self._listed()
        if not listed:
            return [Piece(top, left, cut("no workspaces", wide))] if high > 0 else []
        at = listed.index(self._chosen) if self._chosen in listed else 0
        first = max(0, min(at - high // 2, len(listed) - high))
        found = []
        for n, known in enumerate(listed[first : first + high]):
            each = self._workspaces[known]
            asks = any(q["workspace"] == known for q in self.questions)
            state = "asks" if asks else "busy" if each["running"] else each["workspace"]["state"]
            mark = ">" if known == self._chosen else " "
            name = padded(cut(f"{mark} {_named(each)}", max(4, wide - 8)), max(4, wide - 8))
            look = REVERSED if known == self._chosen else BOLD if asks else PLAIN
            found.append(Piece(top + n, left, padded(f"{name} {state}", wide), look))
        return found

    def _detail(self, top: int, left: int, high: int, wide: int) -> list[Piece]:
        each = self._workspaces.get(self._chosen or "")
        if each is None or high <= 0:
            return []
        workspace = each["workspace"]
        changed = each["changed_files"]
        facts = [workspace["state"], f"net {workspace['network_policy']}"]
        facts += [plural(changed, "changed file")] if changed is not None else []
        facts += [size(each["memory_bytes"])] if each["memory_bytes"] is not None else []
        lines = [(f"{_named(each)}  {', '.join(facts)}", BOLD)]
        if workspace["cause"]:
            lines.append((visible(workspace["cause"]), PLAIN))
        events = list(self._events.get(workspace["id"], ()))
        if each["running"]:
            lines.append((f"$ {visible(as_typed(each['running'][-1]['command']))}", BOLD))
            room = max(1, high - len(lines) - min(3, len(events)))
            lines += [(line, PLAIN) for line in self._output[-room:]]
        room = high - len(lines)
        lines += [(line, PLAIN) for line in events[-room:]] if room > 0 else []
        return [Piece(top + n, left, cut(text, wide), look) for n, (text, look) in enumerate(lines[:high])]

    def answerable(self, rows: int, columns: int) -> bool:
        """Whether a key may answer on a screen of this size: the host that it is about is on it, whole."""
        return self.question is not None and len(self._foot(columns)) <= max(1, rows // 2)

    def _foot(self, columns: int) -> list[tuple[str, str]]:
        asked = self.question
        if asked is None:
            return [(cut("up/down: choose  q: leave", columns), PLAIN)]
        others = f"(1 of {len(self.questions)}, Tab: next) " if len(self.questions) > 1 else ""
        who = visible(asked["workspace_name"] or asked["workspace"])
        lines = [
            *wrapped(f"{visible(asked['host'])}:{asked['port']}", columns),
            cut(f"{others}is asked for by {who}", columns),
            *textwrap.wrap("a: allow  n: not now  o: once  p: project  N: never", columns),
        ]
        return [(line, BOLD) for line in lines]


def wrapped(text: str, columns: int) -> list[str]:
    """All of a text, in lines of so many columns."""
    lines, used = [""], 0
    for char in text:
        width = max(0, wcwidth(char))
        if used + width > columns:
            lines.append("")
            used = 0
        lines[-1] += char
        used += width
    return lines


def cut(text: str, columns: int) -> str:
    """At most so many columns of a terminal."""
    if text.isascii():
        return text if len(text) <= columns else text[: max(0, columns - 1)] + "~"[:columns]
    used = 0
    kept: list[str] = []
    for char in text:
        width = max(0, wcwidth(char))
        if used + width > columns:
            while kept and used + 1 > columns:
                used -= max(0, wcwidth(kept.pop()))
            return "".join(kept) + "~" * (used < columns)
        kept.append(char)
        used += width
    return text


def padded(text: str, columns: int) -> str:
    """Exactly so many columns."""
    text = cut(text, columns)
    return text + " " * (columns - sum(max(0, wcwidth(char)) for char in text))


def _named(each: dict[str, Any]) -> str:
    return visible(each["workspace"]["name"] or each["workspace"]["id"])


@functools.cache
def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment).timestamp()


def _moment(workspace: dict[str, Any]) -> float:
    return _seconds(workspace["created_at"])


def _clock(moment: str) -> str:
    return datetime.datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")
