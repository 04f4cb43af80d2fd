"""What `pyro up` and `pyro down` share: the project that is meant, what is remembered of it, and how steps are told."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyro_mcp import ownership
from pyro_mcp.cli import meant
from pyro_mcp.cli.options import usage_error
from pyro_mcp.client import place
from pyro_mcp.errors import Conflict, PyroError
from pyro_mcp.locations import Locations
from pyro_mcp.visible import visible, visible_lines
from pyro_mcp.wholeness import write_new

OTHERS_SECONDS = 600.0
"""How long one `up` or `down` waits for another of the same project, which may be fetching or asking."""


def project_of(word: str | None) -> Path:
    """The project's directory: the one that is named, else the top of the git work tree, else the present directory.

    Raises:
        InvalidInput: it is no directory, or one that is nobody's project.
    """
    if word is not None and not os.path.isdir(os.path.expanduser(word)):
        raise usage_error(f"{word}: no such directory.", hint="Give the project's directory, or change to it.")
    found = os.path.realpath(os.path.expanduser(word) if word is not None else meant.top() or os.getcwd())
    if found in ("/", os.path.realpath(os.path.expanduser("~"))):
        raise usage_error(
            f"{found} is not a project: the workspace would begin with a copy of all that is in it.",
            hint="Change to a project's directory, or name one: pyro up DIR",
        )
    return Path(found)


class Remembered:
    """What `up` wrote down of one project. One `up` or `down` at a time has it."""

    def __init__(self, project: Path) -> None:
        self.folder = Locations.of_this_user().state / "up"
        """Of this computer, whose chat hosts are connected; the facts are of the one that the workspaces are on."""
        self._path = place.locations().state / "up" / f"{hashlib.sha256(os.fsencode(project)).hexdigest()[:32]}.json"
        self._project = project
        self.facts: dict[str, Any] = {}

    @contextlib.contextmanager
    def held(self) -> Iterator[Remembered]:
        """Wait until no other process is at it, and read what there is.

        Raises:
            Conflict: another one still was after `OTHERS_SECONDS`.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self._path.with_suffix(".lock"), "a") as lock:
            if not ownership.taken(lock.fileno(), 0):
                shown = visible(str(self._project))
                print(f"Another pyro up or down is at work in {shown}; waiting for it.", file=sys.stderr)
                if not ownership.taken(lock.fileno(), OTHERS_SECONDS):
                    raise Conflict(
                        f"Another pyro up or down is still at work in {shown}; nothing was done.",
                        hint="It may be asking a question in another terminal.",
                        code="busy",
                    )
            with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
                self.facts = dict(json.loads(self._path.read_text()))
            yield self

    def write(self, **facts: Any) -> None:
        """Write facts down, before what they tell of is done."""
        self.facts = {"project": str(self._project), **self.facts, **facts}
        write_new(self._path, json.dumps(self.facts).encode())

    def forget(self) -> None:
        self.facts = {}
        self._path.unlink(missing_ok=True)


class Steps:
    """Says what each step came to: as lines for people while it goes, or all together as JSON."""

    def __init__(self, project: Path, as_json: bool) -> None:
        self._as_json = as_json
        self.facts: dict[str, Any] = {"project": str(project), "steps": [], "next": ""}

    def say(self, outcome: str, step: str, text: str, *more: str) -> None:
        """`outcome` is done, already, kept, skipped, open or failed; `more` stands below the line."""
        self.facts["steps"].append({"step": step, "outcome": outcome, "said": text, "more": list(more)})
        if self._as_json:
            return
        print(f"{outcome:8} {step:10} {visible(text)}", flush=True)
        for each in more:
            print("\n".join(f"         {line}" for line in visible_lines(each).rstrip("\n").split("\n")), flush=True)

    def refused(self, step: str, error: PyroError, of: str = "") -> None:
        """A step failed; `of` is what it was about, where the step's name does not say it."""
        self.say(
            "failed", step, f"{of}: {error.message}" if of else error.message, *([error.hint] if error.hint else [])
        )

    @property
    def failed(self) -> bool:
        return any(step["outcome"] == "failed" for step in self.facts["steps"])

    def end(self, following: str) -> int:
        """Say the one thing to type next; gives the exit status."""
        self.facts["next"] = following
        if self._as_json:
            print(json.dumps(self.facts))
        elif following:
            print(f"\nNext: {visible(following)}")
        return 1 if self.failed else 0


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return bool(sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty())


def agreed(question: str, *, otherwise: bool) -> bool:
    """Ask a person; `otherwise` is what Enter alone means. An end of the input is no."""
    print(f"{question} [{'Y/n' if otherwise else 'y/N'}] ", end="", file=sys.stderr, flush=True)
    said = sys.stdin.readline()
    if not said:
        print(file=sys.stderr)
        return False
    return said.strip().lower() in ("y", "yes") if said.strip() else otherwise


def name_of(workspace: dict[str, Any]) -> str:
    return str(workspace["name"] or workspace["id"])
