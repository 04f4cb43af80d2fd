"""`pyro watch [WS]`: what goes on, as lines: in a terminal, over ssh, in a pipe."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Sequence
from typing import Any

from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.cli.render import event_line
from pyro_mcp.client import place
from pyro_mcp.client.connection import Connection
from pyro_mcp.client.sync import Transport
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import DaemonUnavailable
from pyro_mcp.visible import as_typed, shortened, visible

WAIT_SECONDS = 45
AGAIN_SECONDS = 1.0
"""Until a daemon that does not run is looked for again."""
GATHER_SECONDS = 0.05
"""What happens within so short a time is asked for at once."""
EVENTS = 1000
INTERRUPTED = 130


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Print what is done in all workspaces or in one, and what is asked, until Ctrl-C."""
    parser = Parser(
        prog=prog,
        add_help=False,
        usage=f"{prog} [WORKSPACE] [--tui]",
        description="Print what is done in all workspaces, or in one, as it happens: a line for each operation that\n"
        "begins or ends, for the last line that a command printed, and for what a workspace asks, with the command\n"
        "that answers. Ctrl-C ends it; workspaces are not touched. With --tui, on a terminal, the same as a screen.",
    )
    parser.add_argument("--past", type=int, default=10, metavar="N", help="Begin with the last N events (default: 10).")
    parser.add_argument(
        "--tui", action="store_true", help="Show a small screen instead: workspaces, live output, questions by one key."
    )
    found, rest = parser.taken(words, after)
    if len(rest) > 1:
        raise usage_error("Give one workspace, or none for all.", hint=f"See `{prog} --help`.")
    if not 0 <= found.past <= EVENTS:
        raise usage_error(f"--past: 0 to {EVENTS}.")
    only = None
    with Connection(face="cli", client="watch") as pyro:
        if rest:
            only = pyro.call(KNOWN["status_workspace"], {"workspace": rest[0]})["id"]
        else:
            pyro.call(KNOWN["list_questions"], {})  # starts the daemon, or says why there is none
    if found.tui:
        from pyro_mcp.cli import watch_screen

        return watch_screen.run(only)
    watching = Watching(only)
    try:
        _follow(watching, found.past)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _follow(watching: Watching, past: int) -> None:
    """One that does not run is waited for, and not started: only what a person does starts it."""
    cursor, quiet = None, False
    with Connection(face="cli", client="watch", transport=Transport(place.locations(), start=None)) as pyro:
        while not watching.over:
            arguments = {"after": cursor, "wait_seconds": WAIT_SECONDS, "limit": EVENTS} if cursor else {"limit": past}
            try:
                said = pyro.call(KNOWN["follow_activity"], arguments)
            except DaemonUnavailable:
                if not quiet:
                    print("The daemon does not run; waiting for it.", file=sys.stderr, flush=True)
                quiet = True
                time.sleep(AGAIN_SECONDS)
                continue
            quiet, cursor = False, said["cursor"]
            for line in watching.lines(said):
                print(line, flush=True)
            time.sleep(GATHER_SECONDS)  # a command that prints without end is not asked after without end


class Watching:
    """What was told already, of all workspaces or of one; gives the lines for what is new. Pure."""

    def __init__(self, only: str | None) -> None:
        self._only = only
        self._asked: set[str] = set()
        self._last: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self.over = False
        """The one workspace is gone."""

    def lines(self, said: dict[str, Any]) -> list[str]:
        """The lines for an answer of `follow_activity`."""
        out = []
        for each in said["workspaces"]:
            workspace = each["workspace"]
            self._names[workspace["id"]] = visible(workspace["name"] or workspace["id"])
        for event in said["events"]:
            if self._means(event["workspace"]):
                here = {**event, "at": _clock(event["at"]), "operation": event["operation"].replace("_workspace", "")}
                out.append(self._line(event["workspace"], event_line(here)))
        for each in said["workspaces"]:
            if self._means(each["workspace"]["id"]):
                out += self._printed(each)
        for question in said["questions"]:
            if self._means(question["workspace"]) and question["id"] not in self._asked:
                self._asked.add(question["id"])
                host = f"{visible(question['host'])}:{question['port']}"
                how = f"pyro allow {question['id']}, or with --answer once, project, no, never"
                out.append(self._line(question["workspace"], f"asks for {host}; answer: {how}"))
        self._asked &= {question["id"] for question in said["questions"]}
        gone = list(said["gone"])
        if self._only and said["whole"] and self._only not in {each["workspace"]["id"] for each in said["workspaces"]}:
            gone.append(self._only)  # while nobody looked: before the daemon began, or too long ago
        for each in gone:
            if self._means(each):
                out.append(self._line(each, "is deleted"))
                self.over = self._only is not None
        return out

    def _printed(self, each: dict[str, Any]) -> list[str]:
        out = []
        for command in each["running"]:
            last = visible(command["last_line"])
            if last and self._last.get(command["handle"]) != last:
                self._last[command["handle"]] = last
                typed = visible(shortened(" ".join(as_typed(command["command"]).split()), 40))
                out.append(self._line(each["workspace"]["id"], f"{typed} | {last}"))
        return out

    def _means(self, workspace: str) -> bool:
        return self._only in (None, workspace)

    def _line(self, workspace: str, text: str) -> str:
        return f"{self._names.get(workspace, workspace):16}  {text}"


def _clock(moment: str) -> str:
    return datetime.datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")
