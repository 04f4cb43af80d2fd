"""Finds out whether a host and pyro work together, step by step, each with what to do when it does not."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pyro_mcp.errors import PyroError
from pyro_mcp.hosts import connect, guard, probe
from pyro_mcp.hosts.base import Entry, Host
from pyro_mcp.hosts.dialogue import Dialogue

Status = Literal["ok", "failed", "warning", "skipped"]


@dataclass(frozen=True)
class Check:
    """One finding. `fix` says what to do; empty when there is nothing to do."""

    name: str
    status: Status
    said: str
    fix: str = ""


@dataclass(frozen=True)
class Report:
    """All findings about one host."""

    host: str
    checks: tuple[Check, ...]

    @property
    def works(self) -> bool:
        return not any(check.status == "failed" for check in self.checks)

    @property
    def connected(self) -> bool:
        return any(check.name == "configured" and check.status == "ok" for check in self.checks)

    def to_record(self) -> dict[str, Any]:
        return {"host": self.host, "works": self.works, "checks": [asdict(check) for check in self.checks]}


def examine(host: Host, project: Path, *, deep: bool = False) -> Report:
    """Look at everything; with `deep` also make a workspace, and ask the host what it gives its model."""
    return Report(host.name, tuple(_checks(host, project, deep)))


def _checks(host: Host, project: Path, deep: bool) -> Iterator[Check]:
    program = host.executable()
    if program is None:
        yield Check(
            "installed", "failed", f"{host.program} is not on the PATH", f"install it: npm package {host.package}"
        )
    else:
        yield Check("installed", "ok", program)
        version = host.version() if program else ""
        yield Check("version", "ok" if version else "warning", version or "unknown")
    connecting = f"pyro host connect {host.name}"
    try:
        entry = host.effective(project)
    except PyroError as error:
        yield Check("configured", "failed", error.message, error.hint)
        return
    if entry is None:
        yield Check("configured", "failed", f"no entry for pyro in {_places(host, project)}", connecting)
        return
    if not entry.ours:
        yield Check("configured", "failed", f"{entry.path}: another server is named pyro: {entry.line}", connecting)
        return
    yield Check("configured", "ok", f"{entry.path} ({entry.scope})")
    repairing = f"pyro host repair {host.name}"
    if not entry.enabled:
        yield Check("enabled", "failed", "the entry is switched off", f"set enabled to true in {entry.path}")
    lacks = host.lacks(entry)
    yield (
        Check("settings", "failed", f"lacks {', '.join(lacks)}", repairing)
        if lacks
        else Check("settings", "ok", "timeouts are set correctly")
    )
    resolved = resolves(entry)
    if resolved is None:
        yield Check("command", "failed", f"{entry.command} is not a program", repairing)
        return
    absolute = os.path.isabs(entry.command)
    yield Check(
        "command",
        "ok" if absolute else "warning",
        entry.line if absolute else f"{entry.line}: found on the PATH, which may differ in the host",
        "" if absolute else repairing,
    )
    yield from _server_checks(host, entry, resolved, project, deep)
    yield from _guard_checks(host, entry, project, deep and program is not None)


def resolves(entry: Entry) -> str | None:
    """The program that an entry's command leads to."""
    return shutil.which(entry.command) if entry.command else None


def _places(host: Host, project: Path) -> str:
    return ", ".join(dict.fromkeys(str(host.file(scope, project)) for scope in host.scopes))


def _server_checks(host: Host, entry: Entry, program: str, project: Path, deep: bool) -> Iterator[Check]:
    step, fix = "starts", "pyro doctor"
    try:
        begun = time.monotonic()
        environment = host.server_environment(entry)
        with Dialogue([program, *entry.arguments], environment, project) as server:
            about = server.initialize().get("serverInfo") or {}
            yield Check("starts", "ok", f"{about.get('name')} {about.get('version')}")
            step = "tools"
            tools = server.tools()
            seconds = time.monotonic() - begun
            yield Check("tools", "ok", f"{len(tools)} tools listed after {seconds:.2f} s")
            step = "round-trip"
            if "workspace_list" in tools:
                found = server.call("workspace_list")
                yield Check("round-trip", "ok", f"workspace_list: {len(found.get('workspaces') or ())} workspaces")
            else:
                server.request("ping", {})
                yield Check("round-trip", "ok", "ping answered; this profile has no workspaces")
            if deep:
                step = "workspace"
                yield _deep(server, tools)
    except PyroError as error:
        yield Check(step, "failed", error.message, error.hint or fix)


def _deep(server: Dialogue, tools: list[str]) -> Check:
    begun = time.monotonic()
    if "workspace_create" not in tools:
        ran = server.call("vm_run", command="echo $((6 * 7))")
        said = str(ran.get("stdout", "")).strip()
    else:
        workspace = server.call("workspace_create", seed_path="")["id"]
        try:
            ran = server.call("workspace_exec", workspace=workspace, command="echo $((6 * 7))")
            said = str(ran.get("stdout", "")).strip()
        finally:
            server.call("workspace_delete", workspace=workspace)
    seconds = time.monotonic() - begun
    if said != "42":
        return Check("workspace", "failed", f"a command answered {said!r} instead of 42", "pyro doctor")
    return Check("workspace", "ok", f"created, used and deleted in {seconds:.1f} s")


def _guard_checks(host: Host, entry: Entry, project: Path, ask: bool) -> Iterator[Check]:
    state = guard.state(host, entry.scope, project)
    up = state.asked and not state.missing
    if state.asked:
        lost = ", ".join(f"{'.'.join(rule.path)}: {rule.value}" for rule in state.missing)
        yield Check(
            "guard",
            "ok" if up else "failed",
            f"is in {state.path}" if up else f"{state.path} has lost {lost}",
            "" if up else f"pyro host repair {host.name}",
        )
    else:
        yield Check("guard", "skipped", "not requested", "")
    if host.executable() is None or not (ask or state.asked):
        return
    seen, said = probe.look(host, project)
    if seen is None:
        yield Check("host-asked", "failed", f"{host.title} revealed nothing: {said}", f"start {host.program} and check")
        return
    yield Check(
        "host-asked",
        "ok" if seen.offers_pyro else "failed",
        f"{host.title} gives its model {'pyro' if seen.offers_pyro else 'no tool of pyro'} and {len(seen.tools)} tools",
        "" if seen.offers_pyro else f"approve the server in {host.title}, and check its log",
    )
    if state.asked:
        ways = ", ".join(seen.ways_round)
        yield Check(
            "guard-asked",
            "failed" if ways else "ok",
            f"{host.title} still gives its model {ways}"
            if ways
            else f"{host.title} gives its model no way around pyro",
            "another of the host's settings overrides the guard: check the project's settings" if ways else "",
        )


def repair(host: Host, project: Path) -> list[str]:
    """Mend what can be mended without a decision of the user's; says what was done.

    Raises:
        Conflict: the configuration cannot be read.
    """
    done: list[str] = []
    entry = host.effective(project)
    if entry is None or not entry.ours:
        return done
    absolute = os.path.isabs(entry.command) and resolves(entry) is not None
    argv = [entry.command, *entry.arguments] if absolute else connect.renewed(entry)
    if not absolute or host.lacks(entry):
        plan = connect.plan(host, argv, entry.scope, project)
        if plan.edit.changes:
            connect.apply(plan)
            done.append(f"{entry.path}: updated the entry: {' '.join(argv)}")
    state = guard.state(host, entry.scope, project)
    if state.asked and state.missing:
        raised = guard.raising(host, entry.scope, project)
        raised.apply()
        done += [f"{raised.edit.path}: {change.says}" for change in raised.changes]
    return done
