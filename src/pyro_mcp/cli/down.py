"""`pyro down`: undoes what `pyro up` did for a project, and says what stays."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_mcp import hosts
from pyro_mcp.cli.figures import plural, size
from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.cli.steps import Remembered, Steps, agreed, at_terminal, name_of, project_of
from pyro_mcp.client.connection import Connection
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.environments.catalog import DEFAULT
from pyro_mcp.errors import Conflict, NotFound, PyroError
from pyro_mcp.git import SAFE, environment
from pyro_mcp.hosts.ours import Ours
from pyro_mcp.locations import Locations
from pyro_mcp.visible import visible_lines

BRANCHES = 50
"""The newest, in which a workspace's changes are looked for."""
GIT_SECONDS = 60
SHOWN_FILES = 8
_ANOTHER_MODE = b" has type "
"""What git apply says of a file whose mode is not the one that the patch tells of."""


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Delete the project's workspaces and the connections that `up` made."""
    parser = Parser(
        prog=prog,
        add_help=False,
        usage=f"{prog} [DIR] [--all] [--force]",
        description="Undo `pyro up`: delete the project's workspaces, and take away the connections to chat hosts\n"
        "that `up` made and no other project uses. Work that is in no branch of the repository is named, and nothing\n"
        "is deleted until you agree, or say --force. Environments stay for the next time.",
    )
    parser.add_argument("--force", "-f", action="store_true", help="Delete work that was not landed, too.")
    parser.add_argument(
        "--all", action="store_true", help="Also remove what was fetched and prepared, where nothing else uses it."
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object, and ask nothing.")
    found, rest = parser.taken(words, after)
    if len(rest) > 1:
        raise usage_error("Give one project directory, or none for this one.", hint=f"See `{prog} --help`.")
    project = project_of(rest[0] if rest else None)
    steps = Steps(project, found.json)
    with Remembered(project).held() as remembered, Connection(face="cli", client="down", project=str(project)) as pyro:
        there = pyro.call(KNOWN["list_workspaces"], {})["workspaces"]
        before = remembered.facts.get("environments_before")
        if before is not None:
            used = {DEFAULT, *(each["environment"] for each in there)} - set(before)
            remembered.write(fetched=sorted({*remembered.facts.get("fetched", []), *used}))
        if not found.force:
            _refuse_to_lose(pyro, there, may_ask=not found.json)
        _delete(pyro, there, steps)
        _disconnect(project, remembered, steps)
        fetched = [*remembered.facts.get("fetched", []), *_prepared(pyro, project)]
        _fetched(fetched, steps, remove=found.all)
        if not steps.failed:
            remembered.forget()
    return steps.end("")


# -- what would be lost


def _refuse_to_lose(pyro: Connection, there: list[dict[str, Any]], *, may_ask: bool) -> None:
    """Name the work that is nowhere else, and ask.

    Raises:
        Conflict: nobody can be asked, or the person does not agree; nothing was deleted.
    """
    held = [(each, why) for each in there if (why := _holds(pyro, each))]
    if not held:
        return
    lines = [f"{name_of(each)}: {why}" for each, why in held]
    if may_ask and at_terminal():
        print(visible_lines("Not landed, as far as pyro can tell:\n  " + "\n  ".join(lines)))
        print("(A branch that has it with other line ends, or changed since, is not recognized.)")
        if agreed("Delete this work for good?", otherwise=False):
            return
        raise Conflict("Nothing was deleted.", code="not_landed")
    first = name_of(held[0][0])
    raise Conflict(
        f"There is work that no branch is known to have; nothing was deleted. {'; '.join(lines)}.",
        hint=f"Keep it with `pyro land {first} --branch NAME`, or look at it with `pyro diff {first}`. "
        "`pyro down --force` deletes it. A branch that has it with other line ends, or changed since, is not "
        "recognized: if you landed it, use --force.",
        code="not_landed",
        details={"workspaces": [each["id"] for each, _ in held]},
    )


def _holds(pyro: Connection, workspace: dict[str, Any]) -> str:
    """What of a workspace would be lost with it; empty where nothing would."""
    named = {"workspace": workspace["id"]}
    started = workspace["state"] == "stopped"
    try:
        if started:
            pyro.call(KNOWN["start_workspace"], named)
        try:
            diff = pyro.call(KNOWN["diff_workspace"], {**named, "summary": True})
            running = workspace["running_commands"]
            if running and not started:
                return f"{plural(len(running), 'command')} still running"
            # What git ignores counts as made; a repository of its own does not, and no branch can have it.
            own = [each["path"] for each in diff["left_out"] if each["why"] == "repository"]
            if not own and (not diff["files"] or _landed(pyro, workspace)):
                return ""
        finally:
            if started:
                pyro.call(KNOWN["stop_workspace"], named)
    except NotFound:
        return ""  # deleted in the meantime
    except PyroError as error:
        return f"its changes cannot be read ({error.message.rstrip('.')})"
    paths = [each["path"] for each in diff["files"]]
    told = [f"{plural(len(paths), 'changed file')} ({_shown(paths)})"] if paths else []
    told += [f"repositories of their own ({_shown(own)})"] if own else []
    return ", ".join(told)


def _shown(paths: list[str]) -> str:
    return ", ".join(paths[:SHOWN_FILES]) + (", …" if paths[SHOWN_FILES:] else "")


def _landed(pyro: Connection, workspace: dict[str, Any]) -> bool:
    """Whether some branch of the project's repository has all that was changed: the patch can be taken back there."""
    seed = workspace["seed"] or {}
    if seed.get("kind") != "git":
        return False
    with tempfile.TemporaryDirectory(prefix="pyro-down-") as folder:
        patch = os.path.join(folder, "changes.patch")
        told = pyro.call(KNOWN["export_workspace"], {"workspace": workspace["id"], "patch": True, "output": patch})
        if told["left_out_files"] and not told["files"]:
            return False
        return is_landed(seed["source"], seed["prefix"], patch, os.path.join(folder, "index"))


def is_landed(place: str, prefix: str, patch: str, index: str) -> bool:
    """Whether some branch of the repository at `place` has all of a patch, whose paths are below `prefix`.

    `index` is a path for a file of this function's own.
    """
    git = _Git(place, index)
    below = [f"--directory={prefix.rstrip('/')}"] if prefix else []
    return any(git.holds(tree, *below, patch) for tree in git.branches())


class _Git:
    """The user's repository, looked at with an index of our own."""

    def __init__(self, place: str, index: str) -> None:
        self._place = place
        self._environment = environment({"GIT_INDEX_FILE": index})

    def branches(self) -> list[str]:
        newest = ("for-each-ref", "--sort=-committerdate", f"--count={BRANCHES}", "--format=%(objectname)")
        return ["HEAD", *dict.fromkeys(self._run(*newest, "refs/heads").stdout.decode().split())]

    def holds(self, tree: str, *patch: str) -> bool:
        """Whether a tree has every change of a patch: each can be taken back there, and none be made once more.

        Taking back alone proves little: of lines that repeat git finds others, and another mode is a warning to it.
        """
        if self._run("read-tree", tree).returncode:
            return False
        back = self._applied("--reverse", *patch)
        if back.returncode or _ANOTHER_MODE in back.stderr:
            return False
        again = self._applied("--verbose", *patch).stderr.split(b"Checking patch ")[1:]
        return bool(again) and all(b"\nerror: " in said or _ANOTHER_MODE in said for said in again)

    def _applied(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        exact = ("-c", "apply.ignoreWhitespace=no", "-c", "apply.whitespace=nowarn")
        return self._run(*exact, "apply", "--cached", "--check", *words)

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = ["git", *SAFE, *words]
        try:
            return subprocess.run(
                command, cwd=self._place, env=self._environment, capture_output=True, timeout=GIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return subprocess.CompletedProcess(command, 1, b"", b"")


# -- what is undone


def _delete(pyro: Connection, there: list[dict[str, Any]], steps: Steps) -> None:
    for each in there:
        try:
            pyro.call(KNOWN["delete_workspace"], {"workspace": each["id"]})
            steps.say("done", "workspace", f"{name_of(each)} is deleted")
        except NotFound:
            steps.say("already", "workspace", f"{name_of(each)} is deleted")
        except PyroError as error:
            steps.refused("workspace", error, name_of(each))
    if not there:
        steps.say("already", "workspace", "this project has none")


def _disconnect(project: Path, remembered: Remembered, steps: Steps) -> None:
    ours = Ours(remembered.folder)
    used = ours.used_by(project)
    for name in hosts.NAMES:
        host = hosts.host(name)
        try:
            if name not in used:
                entry = host.found("user", project)
                if entry is not None and entry.ours:
                    steps.say("kept", name, f"stays connected in {entry.path}: `pyro up` did not connect it here")
                continue
            became, others = ours.leave(name, project)
        except PyroError as error:
            steps.refused(name, error)
            continue
        match became:
            case "removed":
                steps.say("done", name, f"pyro is taken out of {host.file('user', project)}")
            case "gone":
                steps.say("already", name, "was not connected any more")
            case "changed":
                steps.say("kept", name, f"stays connected: its entry in {host.file('user', project)} was changed since")
            case "needed":
                steps.say("kept", name, f"stays connected for {', '.join(others)}")


def _prepared(pyro: Connection, project: Path) -> list[str]:
    every = pyro.call(KNOWN["list_environments"], {})["prepared"]
    # Where the project is a part of a work tree, the rest of its name says which.
    return [each["name"] for each in every if os.path.realpath(each["project"].partition("//")[0]) == str(project)]


def _fetched(names: list[str], steps: Steps, *, remove: bool) -> None:
    """Environments; those that other workspaces stand on stay in any case."""
    cache = Locations.of_this_user().cache
    with Connection(face="cli", client="down") as pyro:
        listed = pyro.call(KNOWN["list_environments"], {})
        sizes = {each["name"]: each["size_bytes"] for each in listed["prepared"]}
        sizes |= {each["name"]: each["size_bytes"] for each in listed["environments"] if each["installed"]}
        every = pyro.call(KNOWN["list_workspaces"], {})["workspaces"]
        for name in dict.fromkeys(name for name in names if name in sizes):
            users = [name_of(each) for each in every if each["environment"] == name]
            if not remove or users:
                why = f"in use by {', '.join(users)}" if users else "`pyro down --all` removes it"
                steps.say("kept", "fetched", f"{name}, {size(sizes[name])}: {why}")
                continue
            try:
                pyro.call(KNOWN["remove_environment"], {"environment": name})
                steps.say("done", "fetched", f"{name} is removed")
            except PyroError as error:
                steps.refused("fetched", error, name)
    steps.say("kept", "fetched", f"the engine's programs, in {cache}: they serve all projects")
