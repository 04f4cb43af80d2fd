"""What a chat host is to pyro: where its configuration stands, what pyro's entry looks like, how it is asked.

The three hosts differ in files, formats and names only; all that is done with them (`connect`, `guard`, `doctor`) is
done once, through this class.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pyro_mcp.errors import ComponentMissing, InvalidInput
from pyro_mcp.hosts import files
from pyro_mcp.hosts.documents import MISSING, Document

Scope = Literal["local", "user", "project"]
SERVER = "pyro"
"""The server's name in every host: tools are called `mcp__pyro__…`, `pyro_…`."""
CALL_SECONDS = 90
"""No call of pyro lasts longer than 50 s; the rest is for a machine under load."""
START_SECONDS = 30
"""`tools/list` is answered within half a second on an idle core."""
PASSED_ON = (
    *("PYRO_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
"""Variables without which the server would look for another daemon than the command line does, or have no way out."""


@dataclass(frozen=True)
class Entry:
    """A server in a host's configuration, and where it stands."""

    scope: Scope
    path: Path
    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The entry as it is written."""
    enabled: bool = True

    @property
    def ours(self) -> bool:
        """It starts `pyro mcp serve`, wherever that is installed."""
        return any(self.arguments[n : n + 2] == ("mcp", "serve") for n in range(len(self.arguments)))

    @property
    def line(self) -> str:
        return " ".join((self.command, *self.arguments))


@dataclass(frozen=True)
class Rule:
    """One setting of a guard: a value at a place, or an item in a list there."""

    path: tuple[str, ...]
    value: Any
    in_list: bool = False
    says: str = ""
    """What it does, for people."""


@dataclass(frozen=True)
class Seen:
    """What a host gives its model."""

    tools: tuple[str, ...]
    """Names as the model sees them."""
    offers_pyro: bool
    ways_round: tuple[str, ...]
    """The host's own tools that run commands or change files on the user's computer, unasked as far as can be told."""


@dataclass(frozen=True)
class Launch:
    """How a host is started to be looked at."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]


class Host(ABC):
    """One chat host."""

    name: ClassVar[str]
    title: ClassVar[str]
    program: ClassVar[str]
    package: ClassVar[str]
    scopes: ClassVar[tuple[Scope, ...]]
    own_command: ClassVar[bool] = False
    """It has a command of its own which writes all that is wanted."""

    # -- the program

    def executable(self) -> str | None:
        """The host's program."""
        return shutil.which(self.program)

    def version(self) -> str:
        """What it says of itself; empty when it says nothing."""
        program = self.executable()
        return self.run([program, "--version"]).strip().split("\n")[0] if program else ""

    def run(self, argv: Sequence[str], *, directory: Path | None = None, timeout_seconds: float = 30.0) -> str:
        """Run a command of the host's and give its output.

        Raises:
            ComponentMissing: it failed; what it said is in the message.
        """
        try:
            done = subprocess.run(
                argv,
                cwd=directory,
                env={**os.environ, **self.quiet},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ComponentMissing(f"{argv[0]} could not be run: {error}.", code="host_failed") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-500:]
            raise ComponentMissing(
                f"`{' '.join(argv[:3])} …` failed with status {done.returncode}: {said}", code="host_failed"
            )
        return done.stdout

    quiet: ClassVar[Mapping[str, str]] = {}
    """Environment in which the host neither updates itself nor reports to anybody."""

    # -- its configuration

    @abstractmethod
    def file(self, scope: Scope, project: Path) -> Path:
        """The file that holds servers of this scope."""

    @abstractmethod
    def document(self, path: Path, text: str) -> Document: ...

    @abstractmethod
    def place(self, scope: Scope, project: Path) -> tuple[str, ...]:
        """Where in the file pyro's entry stands."""

    @abstractmethod
    def entry(self, argv: Sequence[str]) -> dict[str, Any]:
        """What to write there: the keys that pyro sets; others stay."""

    @abstractmethod
    def read_entry(self, scope: Scope, path: Path, value: Any) -> Entry: ...

    def load(self, path: Path) -> tuple[str | None, Document]:
        """A configuration file, empty when there is none."""
        text = files.read(path)
        return text, self.document(path, text or "")

    def found(self, scope: Scope, project: Path) -> Entry | None:
        """Pyro's entry in one scope."""
        path = self.file(scope, project)
        _, document = self.load(path)
        value = document.get(self.place(scope, project))
        return None if value is MISSING or not isinstance(value, dict) else self.read_entry(scope, path, value)

    def effective(self, project: Path) -> Entry | None:
        """The entry that the host goes by in a project: `scopes` begins with the strongest."""
        return next((entry for scope in self.scopes if (entry := self.found(scope, project)) is not None), None)

    def plan(self, argv: Sequence[str], scope: Scope, project: Path) -> files.Edit:
        """The file with pyro's entry as it should be; the same when it is already."""
        path = self.file(scope, project)
        text, document = self.load(path)
        document.merge(self.place(scope, project), self.entry(argv))
        return files.Edit(path, text, document.text)

    def apply(self, edit: files.Edit, argv: Sequence[str], scope: Scope, project: Path) -> Path | None:
        """Carry out the plan. Gives the backup's path."""
        return edit.apply()

    def remove(self, scope: Scope, project: Path) -> Path | None:
        """Take pyro's entry out, and leave all else. Gives the backup's path.

        Raises:
            Conflict: that cannot be done without touching anything else.
        """
        path = self.file(scope, project)
        text, document = self.load(path)
        document.remove(self.place(scope, project))
        return files.Edit(path, text, document.text).apply()

    def server_environment(self, entry: Entry) -> dict[str, str]:
        """The environment in which the host starts the server."""
        return {**os.environ, **entry.environment}

    @abstractmethod
    def lacks(self, entry: Entry) -> list[str]:
        """Settings of an entry that should be otherwise, in words."""

    def snippet(self, argv: Sequence[str], scope: Scope, project: Path) -> str:
        """The configuration to paste into an empty file."""
        document = self.document(self.file(scope, project), "")
        document.put(self.place(scope, project), self.entry(argv))
        return document.text

    # -- its permissions

    @abstractmethod
    def guard_file(self, scope: Scope, project: Path) -> Path: ...

    @abstractmethod
    def guard_rules(self) -> list[Rule]:
        """What closes the ways round the sandbox, and lets pyro through."""

    # -- what it does

    @abstractmethod
    def launch(self, url: str, scratch: Path) -> Launch:
        """How to start it once, with the model endpoint at `url` and the user's configuration for all else.

        What it keeps of its sessions goes nowhere, or to `scratch`.
        """

    @abstractmethod
    def seen(self, request: Mapping[str, Any]) -> Seen | None:
        """What a model request says; None when it is not the one that matters."""

    def seen_line(self, line: bytes) -> Seen | None:
        """The same from a line of its output."""
        return None


def pyro_command() -> list[str]:
    """How a host starts this very pyro, whatever its PATH is.

    A link such as ~/.local/bin/pyro is kept as it is: it outlives the version it leads to.
    """
    program = sys.argv[0]
    if os.path.basename(program) == "pyro":
        found = program if os.sep in program else shutil.which(program)
        if found and os.access(found, os.X_OK):
            return [os.path.abspath(found)]
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.executable)), "pyro")
    if os.access(beside, os.X_OK):
        return [beside]
    return [os.path.abspath(sys.executable), "-m", "pyro_mcp"]


def server_argv(*, profile: str | None, network: str | None, allow_paths: Sequence[str]) -> list[str]:
    """The server's whole command line; what is not given is left to the server's defaults.

    Raises:
        InvalidInput: a directory that there is not.
    """
    argv = [*pyro_command(), "mcp", "serve"]
    if profile:
        argv += ["--profile", profile]
    if network:
        argv += ["--network", network]
    for path in allow_paths:
        full = os.path.abspath(os.path.expanduser(path))
        if not os.path.exists(full):
            raise InvalidInput(f"--allow-path {path}: no such file or directory.", code="bad_usage")
        argv += ["--allow-path", full]
    return argv


def git_root(folder: Path) -> Path | None:
    """The git work tree around a folder."""
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
