"""`pyro host …`: connects chat hosts, shows what to paste, finds out what does not work and mends it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pyro_mcp import hosts
from pyro_mcp.cli.options import Parser, too_many, usage_error
from pyro_mcp.hosts import connect, doctor, guard
from pyro_mcp.hosts.base import Host, server_argv
from pyro_mcp.vocabulary import POLICIES

NEXT = {
    "claude-code": "Start `claude` in your project and ask it to use pyro; `/mcp` shows the server.",
    "codex": "Start `codex` in your project and ask it to use pyro; `/mcp` shows the server.",
    "opencode": "Start `opencode` in your project and ask it to use pyro; `opencode mcp list` shows the server.",
}


def run(prog: str, words: list[str], after: list[str] | None) -> int:
    command = {"connect": _connect, "print-config": _print_config, "doctor": _doctor, "repair": _repair}
    return command[prog.split()[-1]](prog, words, after)


def _take(parser: Parser, words: list[str], after: list[str] | None, *, host: bool) -> tuple[Any, Host | None]:
    """The options and the host; `host` says that one must be named."""
    parser.usage = f"{parser.prog} {'HOST' if host else '[HOST]'} [options]\n\nHOST: {', '.join(hosts.NAMES)}"
    found, rest = parser.taken(words, after)
    if len(rest) > 1:
        raise too_many(rest[1], parser.prog)
    if host and not rest:
        raise usage_error(
            f"HOST is missing. It is one of {', '.join(hosts.NAMES)}.",
            hint=f"For example: {parser.prog} {hosts.NAMES[0]}",
        )
    return found, hosts.host(rest[0]) if rest else None


def _add_server_options(parser: Parser) -> None:
    parser.add_argument(
        "--profile", choices=("vm-run", "workspace-core", "workspace-full"), help="Which tools to offer."
    )
    parser.add_argument(
        "--network",
        choices=POLICIES,
        help="The widest network policy that a workspace may use.",
    )
    parser.add_argument(
        "--allow-path",
        metavar="DIR",
        action="append",
        default=[],
        help="Another directory that the tools may reach. Repeatable.",
    )
    parser.add_argument(
        "--scope",
        choices=("local", "user", "project"),
        help="Where it applies: user (all your projects; the default), project (a file in the project, for "
        "everyone who works "
        "on it) or local (Claude Code: you, in this project).",
    )
    _add_project(parser)


def _add_project(parser: Parser) -> None:
    parser.add_argument("--project", metavar="DIR", help="Connect only this project (default: the working directory).")


def project_of(found: Any) -> Path:
    """The directory that --project names, else the working directory.

    Raises:
        InvalidInput: it is not there.
    """
    folder = os.path.abspath(os.path.expanduser(found.project or "."))
    if not os.path.isdir(folder):
        raise usage_error(f"--project {found.project}: no such directory.")
    return Path(os.path.realpath(folder))


def _connect(prog: str, words: list[str], after: list[str] | None) -> int:
    parser = Parser(prog=prog, add_help=False, description="Add pyro to a chat host's configuration.")
    _add_server_options(parser)
    flags = {
        "--dry-run": "Show the change without making it.",
        "--replace": "Replace another server that is named pyro.",
        "--guard": "Also close the ways around the sandbox: deny the host's own shell and editing tools, and allow "
        "pyro's, in the host's permission settings.",
        "--unguard": "Remove the guard and change nothing else.",
        "--json": "Print one JSON object.",
    }
    for flag, said in flags.items():
        parser.add_argument(flag, action="store_true", help=said)
    found, host = _take(parser, words, after, host=True)
    assert host is not None
    if found.guard and found.unguard:
        raise usage_error("Use either --guard or --unguard, not both.")
    project = project_of(found)
    scope = found.scope or connect.default_scope(host, found.project is not None)
    facts: dict[str, Any] = {"host": host.name, "scope": scope, "dry_run": found.dry_run}
    tell = _Teller(found.json)
    if found.unguard:
        _carry_guard(guard.lowering(host, scope, project), facts, tell, dry_run=found.dry_run)
        return tell.end(facts)
    argv = server_argv(profile=found.profile, network=found.network, allow_paths=found.allow_path)
    plan = connect.plan(host, argv, scope, project, replace=found.replace)
    facts.update(file=str(plan.edit.path), command=argv, outcome=plan.outcome, diff=plan.edit.diff())
    if plan.before is not None and plan.edit.changes:
        tell.note(f"{plan.edit.path} already has an entry for pyro, which is replaced: {plan.before.line}")
    if not plan.edit.changes:
        tell.say(f"{host.title} is already connected: {plan.edit.path} is unchanged.")
    elif found.dry_run:
        if host.own_command:
            tell.note(
                f"{host.title} writes this itself with `{host.program} mcp add-json`; it chooses the order of the keys."
            )
        tell.say(plan.edit.diff(), end="")
    else:
        saved = connect.apply(plan)
        facts["backup"] = str(saved) if saved else None
        tell.say(f"{host.title} is connected: {plan.edit.path} ({scope}).")
        tell.say(f"  starts  {' '.join(argv)}")
        if saved:
            tell.say(f"  backup  {saved}")
        if f"{os.sep}uv{os.sep}archive-" in argv[0]:
            tell.note(
                "That path is in uv's cache and may disappear. Run `uv tool install pyro-mcp`, then connect again."
            )
        if host.executable() is None:
            tell.note(f"{host.title} is not installed: `{host.program}` is not on the PATH.")
    if found.guard:
        _carry_guard(guard.raising(host, scope, project, planned=plan.edit), facts, tell, dry_run=found.dry_run)
    elif not found.dry_run:
        tell.say(NEXT[host.name])
    return tell.end(facts)


def _carry_guard(guarding: guard.Guarding, facts: dict[str, Any], tell: _Teller, *, dry_run: bool) -> None:
    edit, up = guarding.edit, guarding.up
    changes = [
        {"path": ".".join(change.path), "value": change.after, "says": change.says} for change in guarding.changes
    ]
    facts["guard"] = {"file": str(edit.path), "up": up, "changes": changes, "diff": edit.diff()}
    if up and not edit.changes:
        tell.say(f"The guard is already up: {edit.path}.")
    elif dry_run:
        tell.say(edit.diff(), end="")
    else:
        saved = guarding.apply()
        facts["guard"]["backup"] = str(saved) if saved else None
        tell.say(f"The guard is {'up' if up else 'down'}: {edit.path}")
        for change in guarding.changes:
            sign = "+" if up else "-"
            tell.say(f"  {sign} {'.'.join(change.path)}: {json.dumps(change.after)}  {change.says}".rstrip())
        if saved:
            tell.say(f"  backup  {saved}")
        if up:
            tell.say(
                f"Remove it with --unguard. `pyro host doctor {guarding.host.name}` checks that the host honors it."
            )


def _print_config(prog: str, words: list[str], after: list[str] | None) -> int:
    parser = Parser(prog=prog, add_help=False, description="Print pyro's entry, to paste into a host's configuration.")
    _add_server_options(parser)
    found, host = _take(parser, words, after, host=True)
    assert host is not None
    project = project_of(found)
    scope = found.scope or connect.default_scope(host, found.project is not None)
    if scope not in host.scopes:
        raise usage_error(f"{host.title} has no scope {scope}; it has: {', '.join(sorted(host.scopes))}.")
    argv = server_argv(profile=found.profile, network=found.network, allow_paths=found.allow_path)
    print(f"For {host.file(scope, project)}:", file=sys.stderr)
    print(host.snippet(argv, scope, project), end="")
    return 0


def _doctor(prog: str, words: list[str], after: list[str] | None) -> int:
    parser = Parser(prog=prog, add_help=False, description="Check that chat hosts and pyro work together.")
    _add_project(parser)
    parser.add_argument(
        "--deep",
        action="store_true",
        help="Also create, use and delete a workspace, and start the host against an endpoint on this computer to see "
        "what it gives its model.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    found, named = _take(parser, words, after, host=False)
    project = project_of(found)
    chosen = [named] if named else [host for name in hosts.NAMES if (host := hosts.host(name)).executable()]
    reports = [doctor.examine(host, project, deep=found.deep) for host in chosen]
    counted = reports if named else [report for report in reports if report.connected or not _unconnected(report)]
    works = bool(counted) and all(report.works for report in counted)
    if found.json:
        print(json.dumps({"works": works, "hosts": [report.to_record() for report in reports]}))
        return 0 if works else 1
    marks = {"ok": "ok", "failed": "!!", "warning": "? ", "skipped": "--"}
    for host, report in zip(chosen, reports, strict=True):
        print(host.title)
        for check in report.checks:
            print(f"  {marks[check.status]}  {check.name}: {check.said}")
            if check.fix and check.status != "ok":
                print(f"      → {check.fix}")
    if not reports:
        print(f"No chat host is on the PATH: {', '.join(hosts.host(name).program for name in hosts.NAMES)}.")
    return 0 if works else 1


def _unconnected(report: doctor.Report) -> bool:
    return any(check.name == "configured" and check.said.startswith("no entry") for check in report.checks)


def _repair(prog: str, words: list[str], after: list[str] | None) -> int:
    parser = Parser(prog=prog, add_help=False, description="Repair what can be repaired, then check again.")
    _add_project(parser)
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    found, named = _take(parser, words, after, host=False)
    project = project_of(found)
    chosen = [named] if named else [hosts.host(name) for name in hosts.NAMES]
    tell, facts, works = _Teller(found.json), [], True
    for host in chosen:
        done = doctor.repair(host, project)
        report = doctor.examine(host, project)
        if not named and _unconnected(report):
            continue
        works = works and report.works
        facts.append({"host": host.name, "done": done, "works": report.works})
        for line in done:
            tell.say(f"{host.title}: {line}")
        left = [check for check in report.checks if check.status == "failed"]
        for check in left:
            tell.say(
                f"{host.title}: left to you: {check.name}: {check.said}" + (f"\n  → {check.fix}" * bool(check.fix))
            )
        if not done and not left:
            tell.say(f"{host.title}: nothing needed repair.")
    if not facts:
        tell.say("No host is connected. Connect one with `pyro host connect`.")
    tell.end({"hosts": facts, "works": works})
    return 0 if works else 1


class _Teller:
    """Prints as it goes for people, or one object at the end for programs."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json

    def say(self, text: str, end: str = "\n") -> None:
        if not self._as_json:
            print(text, end=end)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)

    def end(self, facts: dict[str, Any]) -> int:
        if self._as_json:
            print(json.dumps(facts))
        return 0
