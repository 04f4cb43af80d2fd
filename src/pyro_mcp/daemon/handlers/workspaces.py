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
from pyro_mcp.daemon.handlers import projects, setups
from pyro_mcp.daemon.handlers.openings import checked_domains, checked_grants, checked_ssh_hosts, with_network
from pyro_mcp.environments.catalog import DEFAULT
from pyro_mcp.errors import Conflict, InvalidInput
from pyro_mcp.files import changes
from pyro_mcp.files.changes import Stored
from pyro_mcp.files.sifting import told
from pyro_mcp.landing.land import land
from pyro_mcp.landing.stored import as_stored
from pyro_mcp.network.rules import split
from pyro_mcp.operations.fields import DISK_GIB_DEFAULT
from pyro_mcp.patches.diff import DiffEntry, FileVersion
from pyro_mcp.paths import show
from pyro_mcp.seeds import arrivals, sources
from pyro_mcp.seeds.archives import Progress
from pyro_mcp.seeds.prepared import PreparedSeed
from pyro_mcp.vocabulary import NetworkPolicy, online
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
        user: str | None,
        network_policy: NetworkPolicy,
        vcpu_count: int | None,
        mem_mib: int | None,
        disk_gib: int | None,
        ttl_seconds: int | None,
        lifetime_seconds: int | None,
        allow_domains: list[str] | None,
        allow_host_ports: list[str] | None,
        allow_addresses: list[str] | None,
        ssh_hosts: list[str] | None,
        secrets: dict[str, str] | None,
        secret_files: dict[str, str] | None,
        secret_hosts: dict[str, str] | None,
        include_ignored: bool,
        no_devcontainer: bool,
        rebuild: bool,
        setup_wait_seconds: float | None,
        engine: str,
    ) -> models.Workspace:
        context, begun = self._context, time.monotonic()
        origin = None
        if seed_path is not None:
            origin = await asyncio.to_thread(arrivals.origin_of, context.locations.arrived, seed_path)
        if (allow_domains or allow_host_ports or allow_addresses or ssh_hosts) and not online(network_policy):
            raise InvalidInput(
                f"{'Domains' if allow_domains else 'Ports, addresses or servers'} are allowed, but the network is off.",
                hint="Add network_policy egress.",
                code="network_off",
            )
        domains = checked_domains(allow_domains or [])
        cached = online(network_policy) and context.cache.enabled
        kept = await asyncio.to_thread(_secrets, secrets, secret_files, secret_hosts, domains, cached)
        if kept.authority and not online(network_policy):
            raise InvalidInput(
                "A secret is bound to a host, but the network is off.",
                hint="Add network_policy egress.",
                code="network_off",
            )
        engine = await context.engines.choose(call, engine)
        if engine == "firecracker" and disk_gib not in (None, DISK_GIB_DEFAULT):
            raise InvalidInput(
                f"A machine of the firecracker engine has a disk of {DISK_GIB_DEFAULT} GiB.",
                hint="Omit disk_gib, or use engine gvisor.",
                code="disk_size",
            )
        grants = checked_grants(allow_host_ports, allow_addresses) | await checked_ssh_hosts(ssh_hosts)
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
            ssh_hosts=grants["ssh_hosts"],
            secrets=kept,
            project=call.scope if call.scope is not None else _project_of(seed_path, origin),
        )
        source = None
        if seed_path is not None:
            source = await asyncio.to_thread(sources.scan_source, seed_path, include_ignored)
        shape = projects.Shape(vcpu_count, mem_mib, DISK_GIB_DEFAULT if engine == "firecracker" else disk_gib)

        copied: dict[tuple[int, int], PreparedSeed] = {}
        whose = (0, 0)

        async def seed() -> PreparedSeed | None:
            if source is None or whose in copied:
                return copied.get(whose)
            await call.progress(f"seeding {source.files} files" if source.files else "unpacking the seed")
            prepare = functools.partial(sources.prepare_seed, context.seeds, source, seed_progress(call), whose)
            found = await asyncio.to_thread(prepare)
            copied[whose] = found if origin is None else arrivals.as_from(origin, found)
            return copied[whose]

        with context.seeds.used():
            if environment is not None or no_devcontainer:
                made = projects.Project(await context.environments.require(call, environment or DEFAULT), shape)
                made, whose = await asyncio.to_thread(projects.as_user, made, user)
            else:
                packed = source is not None and source.plan is not None and source.plan.kind == "archive"
                unpacked = await seed() if packed else None
                made = await projects.of_seed(call, context, source, unpacked.tree if unpacked else None, shape, plan)
                made, whose = await asyncio.to_thread(projects.as_user, made, user)
                if made.stages and (filled := await seed()) is not None:
                    made = await setups.prepared(call, context, made, filled, plan, rebuild=rebuild)
            workspace = await context.manager.create(made.completed(plan), made.root, seed)
        await setups.set_up(call, context, workspace, begun, setup_wait_seconds)
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
        ssh_hosts: list[str] | None,
    ) -> models.Workspace:
        for given, cleared, word in (
            (name, clear_name, "name"),
            (ttl_seconds, clear_ttl, "ttl"),
            (lifetime_seconds, clear_lifetime, "lifetime"),
        ):
            if given is not None and cleared:
                raise InvalidInput(f"`{word}` cannot be set and cleared in the same call.", hint="Give one of them.")
        network = (network_policy, allow_domains, allow_host_ports, allow_addresses, ssh_hosts)
        asked = (name, labels, clear_labels, ttl_seconds, lifetime_seconds, *network)
        if not any(asked) and not (clear_name or clear_ttl or clear_lifetime):
            raise InvalidInput(
                "Nothing to change was given.",
                hint="Give name, clear_name, labels, clear_labels, a time limit or a network option.",
            )
        row = workspace.row
        grants = checked_grants(allow_host_ports, allow_addresses) | await checked_ssh_hosts(ssh_hosts)
        changed = replace(
            with_network(row, network_policy, allow_domains, grants),
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
            back = brought_back(workspace, last, setups.reset(self._context, workspace))
            notes = await asyncio.shield(asyncio.ensure_future(back))
            await setups.set_up(call, self._context, workspace, begun)
            return workspace.record().model_copy(update={"notes": notes})
        baseline = snapshot in (None, "baseline")
        if baseline:
            reset = setups.reset(self._context, workspace)
        else:
            reset = self._context.machines.reset(workspace, snapshot)
        await asyncio.shield(asyncio.ensure_future(reset))
        if not baseline:
            setups.resume(self._context, workspace)
        else:
            await setups.set_up(call, self._context, workspace, begun)
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
        events = [models.HistoryEvent(**row.told()) for row in rows]
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
            raise InvalidInput(
                "Export takes either a path or `patch`.", hint="Give exactly one of the two.", code="bad_export"
            )
        to = self._context.destination(workspace, output, overwrite)
        made = await self._context.made(workspace)
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
                    made,
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
                made=made,
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
        found = await to_land(self._context, workspace, named=repo is not None, include_ignored=include_ignored)
        place = Path(repo or seed["source"])
        landed = await asyncio.to_thread(
            functools.partial(
                land,
                place,
                str(seed.get("prefix", "")) if repo is None else "",
                found.entries,
                base_commit=seed.get("commit"),
                branch=branch,
                message=message or f"Changes from pyro workspace {row.name or workspace.id}",
                previous=row.landed.get(branch, "").split(),
            )
        )
        await remember_landing(self._context, workspace, branch, landed.commit if landed.plain else "")
        return models.Landed(
            workspace=workspace.id,
            repository=str(place),
            **found.left_out_fields,
            **{name: value for name, value in asdict(landed).items() if name != "plain"},
        )


async def to_land(context: Context, workspace: Workspace, *, named: bool, include_ignored: bool) -> changes.Changes:
    """What a landing commits; `named`: a repository was named for it.

    Raises:
        InvalidInput: there is no repository, or nothing to commit.
        Conflict: the value of a secret would be committed.
    """
    seed = workspace.row.seed
    if not named and (seed or {}).get("kind") != "git":
        raise InvalidInput(
            f"Workspace {workspace.id} was not seeded from a git work tree, so there is no repository to land in.",
            hint="Name one with --repo, or export the changes as a patch (workspace export --patch).",
            code="no_repository",
        )
    made = await context.made(workspace)
    async with workspace.lock.shared():
        found = await changes.changed_entries(
            workspace.guest, seed, whole=True, include_ignored=include_ignored, made=made
        )
    if not found.entries and found.left_out:
        raise InvalidInput(
            f"The workspace has no changes for git to commit. {told(found.left_out)}", code="nothing_to_land"
        )
    await asyncio.to_thread(_refuse_secrets, workspace, found.entries)
    return found


async def remember_landing(context: Context, workspace: Workspace, branch: str, commit: str) -> None:
    """Note where a branch stands after a plain landing; no commit: it was none."""
    if commit:
        # The older ones, too: an undo puts the branch back to one of them.
        commits = [*workspace.row.landed.get(branch, "").split(), commit][-LANDINGS_KEPT:]
        workspace.row = replace(workspace.row, landed={**workspace.row.landed, branch: " ".join(commits)})
    await context.registry.save(workspace)


def _project_of(seed_path: str | None, origin: Mapping[str, Any] | None) -> str | None:
    """The project that a person means who seeds a workspace from a folder, here or on another computer."""
    if origin is not None:
        return origin.get("project")
    return os.path.realpath(seed_path) if seed_path is not None and os.path.isdir(seed_path) else None


def _secrets(
    literal: dict[str, str] | None,
    files: dict[str, str] | None,
    hosts: dict[str, str] | None,
    domains: list[str],
    cached: bool,
) -> Secrets:
    """What a workspace was given, with an authority where its TLS to some host is taken apart."""
    found = collect(literal, files, hosts)
    inspected = (
        cached or any(secret.host is not None for secret in found.values()) or any(split(each)[1] for each in domains)
    )
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
            f"The value of a secret is in {', '.join(found[:10])} and would stay in git forever. Nothing was changed.",
            hint="Remove it from these files in the workspace, then land again.",
            code="secret_in_changes",
            details={"files": found},
        )


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
