"""Puts pyro into a host's configuration, and brings an entry of ours up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyro_mcp.errors import Conflict, InternalError, InvalidInput
from pyro_mcp.hosts.base import SERVER, Entry, Host, Scope, pyro_command
from pyro_mcp.hosts.files import Edit


@dataclass(frozen=True)
class Plan:
    """What connecting would do."""

    host: Host
    scope: Scope
    project: Path
    argv: tuple[str, ...]
    before: Entry | None
    """The entry of that name that is there already."""
    edit: Edit

    @property
    def outcome(self) -> Literal["added", "updated", "unchanged"]:
        if not self.edit.changes:
            return "unchanged"
        return "added" if self.before is None else "updated"


def default_scope(host: Host, project_given: bool) -> Scope:
    """All of the user's projects; only one when one is named."""
    return host.scopes[0] if project_given else "user"


def plan(host: Host, argv: Sequence[str], scope: Scope, project: Path, *, replace: bool = False) -> Plan:
    """What there is to do; nothing is changed yet.

    Raises:
        InvalidInput: the host has no such scope.
        Conflict: the name is taken by a server that is not pyro, and `replace` is not said.
        Conflict: the configuration cannot be read, or not be changed alone.
    """
    if scope not in host.scopes:
        raise InvalidInput(
            f"{host.title} has no scope {scope}; it has: {', '.join(sorted(host.scopes))}.", code="scope_unknown"
        )
    before = host.found(scope, project)
    if before is not None and not before.ours and not replace:
        raise Conflict(
            f"{before.path} has a server named {SERVER} that is not pyro: {before.line or 'no command'}.",
            hint="Rename or remove it, or use --replace.",
            code="name_taken",
        )
    return Plan(host, scope, project, tuple(argv), before, host.plan(argv, scope, project))


def apply(plan: Plan) -> Path | None:
    """Carry it out, and look whether it stands there. Gives the backup's path."""
    saved = plan.host.apply(plan.edit, plan.argv, plan.scope, plan.project)
    found = plan.host.found(plan.scope, plan.project)
    if found is None or (found.command, *found.arguments) != plan.argv:
        raise InternalError(
            f"{plan.host.title} did not accept the entry: it is not in {plan.edit.path}.",
            hint="`pyro host print-config` prints the entry to paste.",
            code="not_configured",
        )
    return saved


def renewed(entry: Entry) -> list[str]:
    """An entry's command line with this pyro, its options kept."""
    words = list(entry.arguments)
    at = next((n for n in range(len(words)) if words[n : n + 2] == ["mcp", "serve"]), len(words))
    return [*pyro_command(), *(words[at:] or ["mcp", "serve"])]
