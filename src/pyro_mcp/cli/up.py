"""`pyro up`: in a project's directory, from nothing to a connected host, in one command that may be repeated."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_mcp import hosts
from pyro_mcp.cli.execute import ProgressView, doctor_without_daemon
from pyro_mcp.cli.options import Parser, usage_error
from pyro_mcp.cli.steps import Remembered, Steps, agreed, at_terminal, name_of, project_of
from pyro_mcp.client import place
from pyro_mcp.client.connection import Connection
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.errors import ComponentMissing, Conflict, DaemonUnavailable, HostError, NotPermitted, PyroError
from pyro_mcp.hosts import connect
from pyro_mcp.hosts.base import Host, server_argv
from pyro_mcp.hosts.ours import Ours

SETUP_WAIT_SECONDS = 45.0


def run(prog: str, words: Sequence[str], after: Sequence[str] | None = None) -> int:
    """Check the machine, fetch, connect, create; each step says whether it was done or there already."""
    parser = Parser(
        prog=prog,
        add_help=False,
        usage=f"{prog} [DIR] [--yes]",
        description="Get a project ready: check this computer and fetch what is missing, offer to connect the chat\n"
        "hosts that are installed, and create the project's workspace with its set-up. Repeat it whenever you like:\n"
        "what is there already stays. `pyro down` undoes it.\n\n"
        "A host's configuration is changed only when you agree to the change that is shown, or with --yes.",
    )
    parser.add_argument("--yes", "-y", action="store_true", help="Connect the installed hosts without asking.")
    parser.add_argument("--no-connect", action="store_true", help="Connect no host.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object, and ask nothing.")
    found, rest = parser.taken(words, after)
    if len(rest) > 1:
        raise usage_error("Give one project directory, or none for this one.", hint=f"See `{prog} --help`.")
    if found.yes and found.no_connect:
        raise usage_error("Use either --yes or --no-connect, not both.")
    project = project_of(rest[0] if rest else None)
    steps = Steps(project, found.json)
    with Remembered(project).held() as remembered, Connection(face="cli", client="up", project=str(project)) as pyro:
        if not _machine(pyro, remembered, steps, shown=not found.json):
            return steps.end("pyro up, once that is fixed")
        connected, offered = _hosts(project, remembered, steps, found)
        workspace = _workspace(pyro, project, steps, shown=not found.json)
    return steps.end(_following(project, connected, offered, workspace))


# -- the machine


def _machine(pyro: Connection, remembered: Remembered, steps: Steps, *, shown: bool) -> bool:
    """Whether workspaces can be created here, after what is missing was fetched."""
    record, fixed = _examined(pyro, fix=False, shown=shown), []
    installed = [each["name"] for each in record["environments"] if each["installed"]]
    if "environments_before" not in remembered.facts:
        remembered.write(environments_before=installed)
    if not record["ok"] or not installed:
        record = _examined(pyro, fix=True, shown=shown)
        fixed = record["fixed"]
    engine = next((each for each in record["engines"] if each["name"] == record["default_engine"]), None)
    if record["ok"] and engine is not None:
        steps.say("done" if fixed else "already", "computer", f"{engine['name']} runs machines here", *fixed)
        return True
    lacking = [each for each in (*record["checks"], *record["components"]) if not each["ok"]]
    wrong = [f"{each['name']}: {each['detail']}" for each in record["engines"] if not each["ok"]]
    remedies = [
        f"{each['name']}: {each.get('detail') or each.get('source') or 'missing'}\n  → {each['remedy']}"
        for each in lacking
        if each["remedy"] and each.get("required", True)
    ]
    steps.say("failed", "computer", "pyro cannot run machines here yet", *wrong, *remedies)
    return False


def _examined(pyro: Connection, *, fix: bool, shown: bool) -> dict[str, Any]:
    with ProgressView(shown=shown) as view:
        try:
            return pyro.call(KNOWN["doctor"], {"fix": fix}, on_event=view.show)
        except (DaemonUnavailable, HostError, NotPermitted, ComponentMissing) as error:
            if place.locations().on or (fix and not isinstance(error, DaemonUnavailable)):
                raise  # it was not fetched, or is on another computer, and says why
            return doctor_without_daemon(error)


# -- hosts


def _hosts(project: Path, remembered: Remembered, steps: Steps, found: Any) -> tuple[list[Host], bool]:
    """The hosts that are connected now, and whether one was offered that is not."""
    installed = [host for name in hosts.NAMES if (host := hosts.host(name)).executable()]
    if not installed:
        programs = ", ".join(hosts.host(name).program for name in hosts.NAMES)
        steps.say("skipped", "hosts", f"none is on the PATH ({programs}); connect one later with `pyro host connect`")
    connected, offered = [], False
    for host in installed:
        try:
            plan = connect.plan(host, server_argv(profile=None, network=None, allow_paths=()), "user", project)
            if _is_ours(plan):
                Ours(remembered.folder).join(plan, project)
                steps.say("already", host.name, f"connected in {plan.before.path if plan.before else plan.edit.path}")
            elif found.no_connect or not (found.yes or _wanted(plan, steps, found.json)):
                offered = offered or not found.no_connect
                steps.say("skipped", host.name, f"{plan.edit.path} was left as it is")
                continue
            else:
                saved = Ours(remembered.folder).make(plan, project)
                steps.say("done", host.name, f"connected in {plan.edit.path}", *([f"backup {saved}"] if saved else []))
            connected.append(host)
        except PyroError as error:
            steps.refused(host.name, error)
    return connected, offered


def _is_ours(plan: connect.Plan) -> bool:
    """The host starts pyro already: this one as it is wanted, or one set up otherwise that is there."""
    before = plan.before
    set_up = before is not None and before.ours and before.enabled and shutil.which(before.command) is not None
    return not plan.edit.changes or set_up


def _wanted(plan: connect.Plan, steps: Steps, as_json: bool) -> bool:
    """Show the change, and ask; where nobody can be asked, it is not wanted."""
    steps.say("open", plan.host.name, f"this would be added to {plan.edit.path}:", plan.edit.diff())
    return not as_json and at_terminal() and agreed(f"Connect {plan.host.title}?", otherwise=True)


# -- the workspace


def _workspace(pyro: Connection, project: Path, steps: Steps, *, shown: bool) -> dict[str, Any] | None:
    """The project's workspace, ready to be used; None where it is not."""
    there = pyro.call(KNOWN["list_workspaces"], {})["workspaces"]
    chosen = next((each for state in ("running", "stopped") for each in there if each["state"] == state), None)
    outcome = "already"
    if chosen is None and there:
        lost = there[0]
        steps.say(
            "failed", "workspace", f"{name_of(lost)} is {lost['state']}: {lost['cause'] or 'its machine has ended'}",
            f"A fresh machine, without what was changed: pyro reset {name_of(lost)}",
        )  # fmt: skip
        return None
    try:
        with ProgressView(shown=shown) as view:
            if chosen is None:
                chosen, outcome = _created(pyro, project, view), "done"
            elif chosen["state"] == "stopped":
                chosen = pyro.call(KNOWN["start_workspace"], {"workspace": chosen["id"]}, on_event=view.show)
                outcome = "done"
            chosen = _set_up(pyro, chosen, view)
    except PyroError as error:
        steps.refused("workspace", error)
        return None
    others = [name_of(each) for each in there if each["id"] != chosen["id"]]
    setup = chosen["devcontainer"] or {}
    more = [f"also: {', '.join(others)}"] if others else []
    more += list(setup.get("notes") or ())
    if setup.get("setup_status") in ("failed", "running"):
        steps.say("failed", "workspace", f"{name_of(chosen)} runs; its set-up: {setup['setup_status']}", *more,
                  f"its output: pyro logs {name_of(chosen)} --handle {setup['setup']}", setup["hint"])  # fmt: skip
        return chosen
    if setup.get("restored"):
        more.insert(0, "began with what an earlier set-up had made")
    steps.say(outcome, "workspace", f"{name_of(chosen)}: {chosen['environment']}, a copy of {project}", *more)
    return chosen


def _created(pyro: Connection, project: Path, view: ProgressView) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", project.name).strip("-._")[:64]
    arguments = {"seed_path": str(project)}
    try:
        given = {**arguments, "name": name} if name else arguments
        return pyro.call(KNOWN["create_workspace"], given, on_event=view.show)
    except Conflict as error:
        if error.code != "name_in_use":  # the name is some workspace's id
            raise
        return pyro.call(KNOWN["create_workspace"], arguments, on_event=view.show)


def _set_up(pyro: Connection, workspace: dict[str, Any], view: ProgressView) -> dict[str, Any]:
    """Wait until a set-up that still runs has ended: one that an `up` began which was killed."""
    while (workspace["devcontainer"] or {}).get("setup_status") == "running":
        asked = {"workspace": workspace["id"], "handle": workspace["devcontainer"]["setup"]}
        tail = {"wait_seconds": SETUP_WAIT_SECONDS, "max_output_bytes": 200}
        pyro.call(KNOWN["logs_workspace"], {**asked, **tail}, on_event=view.show)
        workspace = pyro.call(KNOWN["status_workspace"], {"workspace": workspace["id"]})
    return workspace


def _following(project: Path, connected: list[Host], offered: bool, workspace: dict[str, Any] | None) -> str:
    """The one thing to type next."""
    if workspace is None:
        return ""
    if not connected and offered:
        return "pyro up --yes"
    here = os.path.realpath(os.getcwd()) == str(project)
    command = connected[0].program if connected else "pyro sh"
    return command if here else f"cd {shlex.quote(str(project))} && {command}"
