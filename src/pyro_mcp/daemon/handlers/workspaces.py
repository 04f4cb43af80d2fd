"""Workspaces as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pyro_mcp import models
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers import projects
from pyro_mcp.environments.catalog import DEFAULT
from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.files import changes
from pyro_mcp.files.changes import Stored
from pyro_mcp.files.sifting import told
from pyro_mcp.landing.land import land
from pyro_mcp.landing.stored import as_stored
from pyro_mcp.network.grants import HostPort, LanAddress
from pyro_mcp.network.policy import NOTHING, Refused, normalised
from pyro_mcp.network.rules import Rule, split
from pyro_mcp.operations.fields import DISK_GIB_DEFAULT
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.paths import show
from pyro_mcp.seeds import sources
from pyro_mcp.seeds.archives import Progress
from pyro_mcp.seeds.prepared import PreparedSeed
from pyro_mcp.store import WorkspaceRow
from pyro_mcp.vocabulary import NetworkPolicy, asks, online
from pyro_mcp.workspaces import exporting, transfer
from pyro_mcp.workspaces.egress import new_authority
from pyro_mcp.workspaces.labels import checked_labels
from pyro_mcp.workspaces.last_checkpoint import brought_back
from pyro_mcp.workspaces.plan import Plan
from pyro_mcp.workspaces.secrets import Secrets, collect
from pyro_mcp.workspaces.whole_machine import LAST
from pyro_mcp.workspaces.workspace import Workspace

LANDINGS_KEPT = 20


class WorkspaceHandlers:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def create_workspace(
        self,
        call: Call,
        *,
        environment: str | None,
        seed_path: str | None,
        name: str | None,
        labels: dict[str, str] | None,
        network_policy: NetworkPolicy,
        vcpu_count: int | None,
        mem_mib: int | None,
        disk_gib: int | None,
        ttl_seconds: int | None,
        lifetime_seconds: int | None,
        allow_domains: list[str] | None,
        allow_host_ports: list[str] | None,
        allow_addresses: list[str] | None,
        secrets: dict[str, str] | None,
        secret_files: dict[str, str] | None,
        secret_hosts: dict[str, str] | None,
        include_ignored: bool,
        no_devcontainer: bool,
        setup_wait_seconds: float | None,
        engine: str,
    ) -> models.Workspace:
        context, begun = self._context, time.monotonic()
        if (allow_domains or allow_host_ports or allow_addresses) and not online(network_policy):
            raise InvalidInput(
                f"{'Domains' if allow_domains else 'Ports or addresses'} are allowed, but the network is off.",
                hint="Give network_policy egress with them.",
                code="network_off",
            )
        domains = checked_domains(allow_domains or [])
        kept = await asyncio.to_thread(_secrets, secrets, secret_files, secret_hosts, domains)
        if kept.authority and not online(network_policy):
            raise InvalidInput(
                "A secret is bound to a host, but the network is off.",
                hint="Give network_policy egress with it.",
                code="network_off",
            )
        engine = await context.engines.choose(call, engine)
        if engine == "firecracker" and disk_gib not in (None, DISK_GIB_DEFAULT):
            raise InvalidInput(
                f"A machine of the firecracker engine has a disk of {DISK_GIB_DEFAULT} GiB.",
                hint="Leave disk_gib out, or create it with engine gvisor.",
                code="disk_size",
            )
        grants = checked_grants(allow_host_ports, allow_addresses)
        plan = Plan(
            environment="",
            engine=engine,
            name=name,
            labels=checked_labels(labels or {}),
            network_policy=network_policy,
            vcpu_count=0,
            mem_mib=0,
            ttl_seconds=ttl_seconds,
            lifetime_seconds=lifetime_seconds,
            allow_domains=domains,
            allow_host_ports=grants["allow_host_ports"],
            allow_addresses=grants["allow_addresses"],
            secrets=kept,
            project=call.scope if call.scope is not None else _project_of(seed_path),
        )
        source = None
        if seed_path is not None:
            source = await asyncio.to_thread(sources.scan_source, seed_path, include_ignored)
        shape = projects.Shape(vcpu_count, mem_mib, DISK_GIB_DEFAULT if engine == "firecracker" else disk_gib)

        async def seed() -> PreparedSeed | None:
            if source is None:
                return None
            await call.progress(f"seeding {source.files} files" if source.files else "unpacking the seed")
            return await asyncio.to_thread(sources.prepare_seed, context.seeds, source, seed_progress(call))

        with context.seeds.used():
            if environment is not None or no_devcontainer:
                made = projects.Project(await context.environments.require(call, environment or DEFAULT), shape)
            else:
                packed = source is not None and source.plan is not None and source.plan.kind == "archive"
                unpacked = await seed() if packed else None
                made = await projects.of_seed(call, context, source, unpacked.tree if unpacked else None, shape)
            workspace = await context.manager.create(made.completed(plan), made.root, seed)
        await projects.set_up(call, context, workspace, begun, setup_wait_seconds)
        return workspace.record()

    async def list_workspaces(self, call: Call, *, labels: dict[str, str] | None) -> models.WorkspaceList:
        wanted = (labels or {}).items()
        found = [w for w in self._context.registry.all(call.scope) if wanted <= w.row.labels.items() and not w.is_trial]
        found.sort(key=lambda w: (w.row.last_activity_at, w.row.created_at, w.id), reverse=True)
        return models.WorkspaceList(workspaces=[workspace.record() for workspace in found])

    async def status_workspace(self, call: Call, *, workspace: Workspace) -> models.Workspace:
        return workspace.record()

    async def update_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        name: str | None,
        clear_name: bool,
        labels: dict[str, str] | None,
        clear_labels: list[str] | None,
        ttl_seconds: int | None,
        clear_ttl: bool,
        lifetime_seconds: int | None,
        clear_lifetime: bool,
        network_policy: NetworkPolicy | None,
        allow_domains: list[str] | None,
        allow_host_ports: list[str] | None,
        allow_addresses: list[str] | None,
    ) -> models.Workspace:
        for given, cleared, word in (
            (name, clear_name, "name"),
            (ttl_seconds, clear_ttl, "ttl"),
            (lifetime_seconds, clear_lifetime, "lifetime"),
        ):
            if given is not None and cleared:
                raise InvalidInput(f"`{word}` cannot be set and cleared at once.", hint="Give one of them.")
        network = (network_policy, allow_domains, allow_host_ports, allow_addresses)
        asked = (name, labels, clear_labels, ttl_seconds, lifetime_seconds, *network)
        if not any(asked) and not (clear_name or clear_ttl or clear_lifetime):
            raise InvalidInput(
                "There is nothing to change.", hint="Give name, clear_name, labels, clear_labels or a time limit."
            )
        row = workspace.row
        changed = replace(
            _with_network(row, network_policy, allow_domains, checked_grants(allow_host_ports, allow_addresses)),
            ttl_seconds=None if clear_ttl else ttl_seconds or row.ttl_seconds,
            lifetime_seconds=None if clear_lifetime else lifetime_seconds or row.lifetime_seconds,
        )
        kept = {key: value for key, value in workspace.row.labels.items() if key not in (clear_labels or [])}
        merged = checked_labels(kept | (labels or {}))
        new_name = None if clear_name else name or workspace.row.name
        await self._context.manager.update(workspace, changed, new_name, merged)
        return workspace.record()

    async def delete_workspace(self, call: Call, *, workspace: Workspace) -> models.Deleted:
        deleted = models.Deleted(id=workspace.id, name=workspace.row.name)
        await asyncio.shield(asyncio.ensure_future(self._context.manager.delete(workspace)))
        return deleted

    async def reset_workspace(self, call: Call, *, workspace: Workspace, snapshot: str | None) -> models.Workspace:
        begun = time.monotonic()
        if snapshot == LAST and LAST not in workspace.snapshots:
            last = await workspace.keeper.last()
            notes = await asyncio.shield(
                asyncio.ensure_future(brought_back(workspace, last, self._context.machines.reset(workspace, None)))
            )
            await projects.set_up(call, self._context, workspace, begun)
            return workspace.record().model_copy(update={"notes": notes})
        await asyncio.shield(asyncio.ensure_future(self._context.machines.reset(workspace, snapshot)))
        if snapshot in (None, "baseline"):
            await projects.set_up(call, self._context, workspace, begun)
        return workspace.record()

    async def history_workspace(
        self, call: Call, *, workspace: Workspace, limit: int, after: int | None, wait_seconds: float
    ) -> models.History:
        store = self._context.store
        after = None if after is None else min(after, 2**62)  # as much as the store counts, and more than there is
        rows = await store.events(workspace.id, limit, after)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                while not rows and wait_seconds > 0:
                    kept = workspace.event_kept
                    rows = await store.events(workspace.id, limit, after)
                    if not rows:
                        await kept.wait()
                        if workspace.row.state == "deleting":
                            break
        events = [
            models.HistoryEvent(
                sequence=row.sequence,
                at=row.at,
                face=row.face,
                operation=row.operation,
                outcome=row.outcome,
                duration_seconds=row.duration_seconds,
                summary=row.summary,
                error=row.error,
                details=row.details,
            )
            for row in rows
        ]
        cursor = max((row.change for row in rows), default=after or 0)
        checkpoints: list[models.Checkpoint] = []
        if after is None and rows:
            checkpoints = [one for one in await workspace.keeper.listed(limit) if one.at >= events[0].at]
        return models.History(workspace=workspace.id, events=events, cursor=cursor, checkpoints=checkpoints[::-1])

    async def push_workspace_sync(
        self, call: Call, *, workspace: Workspace, path: str, dest: str, include_ignored: bool
    ) -> models.Synced:
        source = await asyncio.to_thread(sources.scan_push, path, include_ignored)
        async with workspace.lock.shared():
            await call.progress(f"copying {source.files} files")
            progress, seeds = seed_progress(call), self._context.seeds
            try:
                with seeds.used():
                    return await transfer.push(seeds, workspace.guest, workspace.id, source, dest, progress)
            finally:
                self._context.manager.tidy_seeds()

    async def export_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        path: str | None,
        output: str,
        patch: bool,
        overwrite: bool,
        include_git: bool,
        include_ignored: bool,
    ) -> models.Exported:
        if patch == (path is not None):
            raise InvalidInput("Export takes a path, or `patch`.", hint="Give one of the two.", code="bad_export")
        to = self._context.destination(workspace, output, overwrite)
        async with workspace.lock.shared():
            if path is None:
                return await exporting.export_patch(
                    workspace.guest,
                    workspace.id,
                    workspace.row.seed,
                    to,
                    workspace.redactor,
                    include_ignored,
                    _stored(workspace.row.seed or {}),
                )
            return await exporting.export_path(
                workspace.guest,
                workspace.id,
                path,
                to,
                workspace.redactor,
                seed=workspace.row.seed,
                include_git=include_git,
                include_ignored=include_ignored,
            )

    async def land_workspace(
        self,
        call: Call,
        *,
        workspace: Workspace,
        branch: str,
        repo: str | None,
        message: str | None,
        include_ignored: bool,
    ) -> models.Landed:
        row = workspace.row
        seed = row.seed or {}
        if repo is None and seed.get("kind") != "git":
            raise InvalidInput(
                f"Workspace {workspace.id} was not seeded from a git work tree, so there is no repository to land in.",
                hint="Name one with --repo, or export the changes as a patch (workspace export --patch).",
                code="no_repository",
            )
        async with workspace.lock.shared():
            found = await changes.changed_entries(
                workspace.guest, row.seed, whole=True, include_ignored=include_ignored
            )
        entries = found.entries
        if not entries and found.left_out:
            raise InvalidInput(
                f"The workspace has no changes that git would commit. {told(found.left_out)}", code="nothing_to_land"
            )
        await asyncio.to_thread(_refuse_secrets, workspace, entries)
        place = Path(repo or seed["source"])
        landed = await asyncio.to_thread(
            functools.partial(
                land,
                place,
                str(seed.get("prefix", "")) if repo is None else "",
                entries,
                base_commit=seed.get("commit"),
                branch=branch,
                message=message or f"Changes from pyro workspace {row.name or workspace.id}",
                previous=row.landed.get(branch, "").split(),
            )
        )
        if landed.plain:
            # The older ones, too: an undo puts the branch back to one of them.
            commits = [*workspace.row.landed.get(branch, "").split(), landed.commit][-LANDINGS_KEPT:]
            workspace.row = replace(workspace.row, landed={**workspace.row.landed, branch: " ".join(commits)})
        await self._context.registry.save(workspace)
        return models.Landed(
            workspace=workspace.id,
            repository=str(place),
            **found.left_out_fields,
            **{name: value for name, value in asdict(landed).items() if name != "plain"},
        )


def _project_of(seed_path: str | None) -> str | None:
    """The project that a person means who seeds a workspace from a folder."""
    return os.path.realpath(seed_path) if seed_path is not None and os.path.isdir(seed_path) else None


def _secrets(
    literal: dict[str, str] | None, files: dict[str, str] | None, hosts: dict[str, str] | None, domains: list[str]
) -> Secrets:
    found = collect(literal, files, hosts)
    inspected = any(secret.host is not None for secret in found.values()) or any(split(each)[1] for each in domains)
    return Secrets(found, new_authority("secrets") if inspected else b"")


def _stored(seed: Mapping[str, Any]) -> Stored | None:
    """How git would store what was changed in a work tree of it."""
    if seed.get("kind") != "git":
        return None
    return functools.partial(as_stored, Path(seed["source"]), str(seed.get("prefix", "")), seed.get("commit"))


def _refuse_secrets(workspace: Workspace, entries: list[DiffEntry]) -> None:
    """A commit is for ever, and a masked one would be a wrong one.

    Raises:
        Conflict: a changed file holds a secret's value that it did not hold before.
    """
    redactor = workspace.redactor
    if not redactor:
        return

    def holds(version: FileVersion | None) -> bool:
        return version is not None and redactor.data(version.content) != version.content

    found = [entry.path for entry in entries if holds(entry.new) and not holds(entry.old)]
    found = [show(path) for path in found]
    if found:
        raise Conflict(
            f"The value of a secret stands in {', '.join(found[:10])}; it would be kept in git for ever. "
            "Nothing was changed.",
            hint="Take it out of these files in the workspace, then land again.",
            code="secret_in_changes",
            details={"files": found},
        )


def _with_network(
    row: WorkspaceRow, policy: NetworkPolicy | None, domains: list[str] | None, grants: dict[str, list[str]]
) -> WorkspaceRow:
    """The row with what its network may reach besides.

    Raises:
        InvalidInput: that is nothing, or the network would stay off.
    """
    more = checked_domains(domains or [])
    after = policy or row.network_policy
    if not online(after):
        if more or any(grants.values()):
            raise InvalidInput(
                f"Workspace {row.id} reaches nothing: its network is off.",
                hint="Give network_policy egress with what it may reach.",
                code="no_domain_list",
            )
        # What was open is not open again by itself, the next time that the network is.
        return replace(row, network_policy=after, allow_domains=[], allow_host_ports=[], allow_addresses=[])
    if more and not row.allow_domains and online(row.network_policy) and not asks(row.network_policy):
        raise InvalidInput(
            f"Workspace {row.id} has no list of allowed domains: it reaches every public host.",
            hint="The list is given when a workspace is created or opened (--allow-domain).",
            code="no_domain_list",
        )
    both = [*row.allow_domains, *more]
    return replace(
        row,
        network_policy=after,
        allow_domains=list(dict.fromkeys(name for name in both if name != NOTHING or set(both) == {NOTHING})),
        allow_host_ports=list(dict.fromkeys([*row.allow_host_ports, *grants["allow_host_ports"]])),
        allow_addresses=list(dict.fromkeys([*row.allow_addresses, *grants["allow_addresses"]])),
    )


def checked_grants(host_ports: list[str] | None, addresses: list[str] | None) -> dict[str, list[str]]:
    """Ports of this machine and addresses of its network, in one spelling.

    Raises:
        InvalidInput: one is none, or nothing that may be let in.
    """
    try:
        ports = [str(HostPort.parse(text)) for text in host_ports or []]
    except ValueError as error:
        raise InvalidInput(
            f"This is no port to let in: {error}.",
            hint="Give PORT or PORT:NAME, such as 5432:db.",
            code="bad_host_port",
        ) from None
    try:
        found = [str(LanAddress.parse(text)) for text in addresses or []]
    except ValueError as error:
        raise InvalidInput(
            f"This is no address to let in: {error}.",
            hint="Give ADDRESS or ADDRESS:PORT, such as 192.168.1.5:5432.",
            code="bad_address",
        ) from None
    return {"allow_host_ports": ports, "allow_addresses": found}


def checked_domains(patterns: list[str]) -> list[str]:
    """Allowed domains in one spelling.

    Raises:
        InvalidInput: one is neither a host name nor `*.suffix`.
    """
    checked = []
    for pattern in patterns:
        host, rule = split(pattern.strip())
        name = host.lower().rstrip(".")
        try:
            spelled = normalised(name.removeprefix("*."))
            rule = f":{Rule.parse(rule)}" if rule or host != pattern.strip() else ""
        except (Refused, ValueError):
            spelled = ""
        if name == NOTHING and len(patterns) > 1:
            spelled = ""
        if not spelled or "*" in spelled:
            raise InvalidInput(
                f"{pattern!r} is no domain.",
                hint="Give an exact name such as example.com, or a suffix such as *.example.com; after it may stand "
                "what may be asked of it, such as example.com:GET or example.com:GET,POST/below/here.",
                code="bad_domain",
            )
        checked.append((f"*.{spelled}" if name.startswith("*.") else spelled) + rule)
    return checked


def seed_progress(call: Call) -> Progress | None:
    """Tells a listening caller how far copying has come; for use from a thread."""
    if call.emit is None:
        return None
    loop = asyncio.get_running_loop()

    def tell(files: int, of_files: int | None, size: int) -> None:
        fraction = files / of_files if of_files else None
        text = f"{files} of {of_files} files" if of_files else f"{files} files"
        asyncio.run_coroutine_threadsafe(call.progress(f"{text}, {size >> 20} MiB", fraction), loop)

    return tell
