"""Creates, forks, renames, resets and deletes workspaces."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyro_mcp.errors import HostError, PyroError
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.machines.protocol import Machine, RootTree
from pyro_mcp.network.cache.registry_cache import RegistryCache
from pyro_mcp.network.rules import split
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.output import OutputLog
from pyro_mcp.reserve import Reserve
from pyro_mcp.seeds.prepared import PreparedSeed
from pyro_mcp.seeds.store import SeedStore
from pyro_mcp.store import DepartedRow, WorkspaceRow, now
from pyro_mcp.vocabulary import ROOT_USER, online
from pyro_mcp.workspaces.egress import new_authority
from pyro_mcp.workspaces.moments import Images, Moment
from pyro_mcp.workspaces.occupancy import Occupancy
from pyro_mcp.workspaces.plan import Plan
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.secrets import Vault
from pyro_mcp.workspaces.workspace import RUN_AS, Workspace

STOP_SECONDS = 10.0
"""For the forks of a try to be gone."""


class WorkspaceManager:
    """What happens to a workspace as a whole."""

    def __init__(
        self,
        registry: Registry,
        occupancy: Occupancy,
        fleet: Fleet,
        vault: Vault,
        images: Images,
        seeds: SeedStore,
        reserve: Reserve,
        cache: RegistryCache,
    ) -> None:
        self._registry = registry
        self._occupancy = occupancy
        self._fleet = fleet
        self._vault = vault
        self._images = images
        self._seeds = seeds
        self._reserve = reserve
        self._cache = cache

    async def create(self, plan: Plan, root: RootTree, seed: Callable[[], Awaitable[PreparedSeed | None]]) -> Workspace:
        """A new workspace; `seed` prepares what fills it, while the machine is being made.

        Whatever goes wrong, cancellation included, leaves nothing behind.
        """
        workspace_id = self._registry.new_id()
        if plan.name is not None:
            self._registry.claim_name(plan.name, workspace_id, plan.project)
        at = now()
        row = WorkspaceRow(
            id=workspace_id,
            name=plan.name,
            state="creating",
            machine_id=None,
            environment=plan.environment,
            environment_digest=root.digest,
            runtime=_as_planned(root.runtime, plan),
            engine=plan.engine,
            network_policy=plan.network_policy,
            vcpu_count=plan.vcpu_count,
            mem_mib=plan.mem_mib,
            disk_gib=plan.disk_gib,
            created_at=at,
            last_activity_at=at,
            ttl_seconds=plan.ttl_seconds,
            labels=plan.labels,
            one_shot=plan.one_shot,
            lifetime_seconds=plan.lifetime_seconds,
            allow_domains=plan.allow_domains,
            allow_host_ports=plan.allow_host_ports,
            allow_addresses=plan.allow_addresses,
            ssh_hosts=plan.ssh_hosts,
            project=plan.project,
            devcontainer=plan.devcontainer,
        )
        workspace = self._registry.admit(row)
        workspace.secrets = plan.secrets
        workspace.in_use += 1
        machine: asyncio.Future[Machine] | None = None
        try:
            # Whoever finds it in the list meanwhile waits: to use it, or to delete it.
            async with workspace.lock.exclusive():
                try:
                    await self._registry.save(workspace)
                    await asyncio.to_thread(self._vault.write, workspace_id, plan.secrets)
                    machine = asyncio.ensure_future(
                        self._fleet.take(plan.engine, root, plan.vcpu_count, plan.mem_mib, plan.disk_gib)
                    )
                    with self._seeds.used():
                        prepared = await seed()
                        if prepared is not None:
                            workspace.row = replace(
                                workspace.row, seed=prepared.info.model_dump(mode="json"), seed_digest=prepared.digest
                            )
                    await self._occupancy.move_in(workspace, await machine, prepared.tree if prepared else None)
                except BaseException:
                    # Shielded: a caller that goes away in the middle must not leave half a workspace.
                    await asyncio.shield(self._abandon(workspace, machine))
                    raise
        finally:
            workspace.in_use -= 1
        self._registry.times_changed.set()
        return workspace

    async def update(
        self, workspace: Workspace, changed: WorkspaceRow, name: str | None, labels: dict[str, str]
    ) -> None:
        """Write a changed row, with a name that must be free. What its network may reach holds at once."""
        old = workspace.row.name
        if name is not None and name != old:
            self._registry.claim_name(name, workspace.id, workspace.row.project)
        try:
            if _network_of(changed) != _network_of(workspace.row):
                async with workspace.lock.exclusive():
                    await self._authorise(workspace, changed)
                    await self._occupancy.change_network(workspace, _network_of(changed))
            await self._registry.change(
                workspace,
                name=name,
                labels=labels,
                ttl_seconds=changed.ttl_seconds,
                lifetime_seconds=changed.lifetime_seconds,
            )
        except BaseException:
            if name is not None and name != old:
                self._registry.release_name(name, workspace.row.project)
            raise
        if old is not None and old != name:
            self._registry.release_name(old, workspace.row.project)
        self._registry.times_changed.set()

    async def _authorise(self, workspace: Workspace, changed: WorkspaceRow) -> None:
        """Hosts with rules, and cached registries, are looked into: that takes an authority that the machine trusts."""
        ruled = any(split(each)[1] for each in changed.allow_domains)
        cached = online(changed.network_policy) and self._cache.enabled
        if workspace.secrets.authority or not (ruled or cached):
            return
        secrets = replace(workspace.secrets, authority=await asyncio.to_thread(new_authority, "rules"))
        await asyncio.to_thread(self._vault.write, workspace.id, secrets)
        workspace.secrets = secrets

    async def _begin_anew(self, workspace: Workspace) -> None:
        row = workspace.row
        root, seed = await self._occupancy.root_of(row), await self._occupancy.seed_of(row)
        machine = await self._fleet.take(row.engine, root, row.vcpu_count, row.mem_mib, row.disk_gib)
        try:
            await self._occupancy.move_in(workspace, machine, seed)
        except BaseException:
            await asyncio.shield(machine.destroy())
            raise

    async def fork(
        self, parent: Workspace, name: str | None, image: Path, moment: Moment, *, trial: bool = False
    ) -> Workspace:
        """A sibling from an image of `parent`. Whatever goes wrong leaves nothing behind.

        One for a trial is nobody's: it is not listed, keeps no checkpoints, and ends with the daemon.
        """
        workspace_id = self._registry.new_id()
        if name is not None:
            self._registry.claim_name(name, workspace_id, parent.row.project)
        at = now()
        row = replace(
            parent.row,
            id=workspace_id,
            name=name,
            state="creating",
            machine_id=None,
            created_at=at,
            last_activity_at=at,
            forked_from=parent.id,
            suspended=None,
            cause=None,
            notes=[],
            one_shot=trial,
        )
        if trial:
            row = replace(row, ttl_seconds=None, lifetime_seconds=None)
        workspace = self._registry.admit(row)
        workspace.secrets = parent.secrets
        workspace.in_use += 1
        machine: asyncio.Future[Machine] | None = None
        try:
            async with workspace.lock.exclusive():
                try:
                    await self._registry.save(workspace)
                    await asyncio.to_thread(self._vault.write, workspace_id, parent.secrets)
                    machine = asyncio.ensure_future(self._occupancy.restored(row, image))
                    handles = await asyncio.to_thread(self._copy_commands, parent, workspace, moment)
                    workspace.row = replace(workspace.row, devcontainer=_of_fork(parent, handles))
                    for command in workspace.commands.values():
                        await self._registry.save_command(command)
                    moment = moment.of_fork(workspace_id, handles)
                    await self._occupancy.move_back(workspace, await machine, moment)
                    await self._occupancy.revive(workspace, await machine, moment)
                except BaseException:
                    await asyncio.shield(self._abandon(workspace, machine))
                    raise
        finally:
            workspace.in_use -= 1
        self._registry.times_changed.set()
        return workspace

    def _copy_commands(self, parent: Workspace, child: Workspace, moment: Moment) -> dict[str, str]:
        """Commands that run in the image, with their output so far, under handles of the child's own. Blocks."""
        handles = {}
        for number, (old, handle) in enumerate(moment.handles_of_fork(child.id).items(), 1):
            command = parent.commands.get(old)
            if command is None:
                continue
            handles[old] = handle
            output = OutputLog(child.outputs, handle)
            moment.copy_log(old, command.output, output)
            output.close()
            row = replace(
                command.row,
                handle=handle,
                workspace_id=child.id,
                status="suspended",
                stdout_bytes=output.stdout_bytes,
                stderr_bytes=output.stderr_bytes,
            )
            child.keep(Command(row, number, output, child.redactor))
        return handles

    async def reset(self, workspace: Workspace) -> None:
        """A fresh machine at the baseline takes the old one's place, in one write."""
        async with workspace.taken_over("the workspace is being reset"):
            self._registry.get(workspace.id)  # it may have been deleted meanwhile
            self._reserve.give_up_when_low()
            suspended = workspace.row.suspended
            try:
                await self._begin_anew(workspace)
            except (PyroError, OSError):
                if workspace.machine is None or not self._reserve.low():
                    raise
                # There is room for no second machine. The old one is given up anyway: it goes first, then.
                await self._occupancy.lost(
                    workspace, "it was reset while the disk was full; reset it again when there is space"
                )
                await self._fleet.finish_cleaning()
                await self._begin_anew(workspace)
            await self._occupancy.end_all(workspace, "the workspace was reset to its baseline")
            await self._occupancy.drop_suspended(workspace, suspended)

    async def delete(self, workspace: Workspace, cause: str = "it was deleted") -> None:
        """Remove the workspace. Its name is free at once; processes and files go behind the caller's back."""
        workspace.doomed = True
        await _stopped(workspace.trying)
        if workspace.lock.held_alone and workspace.machine is not None:
            # A snapshot is being taken, perhaps of a machine that never lets it: nobody will want it.
            await workspace.machine.destroy()
        async with workspace.taken_over("the workspace is being deleted"):
            if not self._registry.holds(workspace.id):
                return
            workspace.row = replace(workspace.row, state="deleting")
            self._reserve.give_up_when_low()
            with contextlib.suppress(HostError):  # on a full disk its removal makes the room to write that down
                await self._registry.save(workspace)
            workspace.lose_commands()
            if workspace.machine is not None:
                await workspace.machine.destroy()
            if not workspace.row.one_shot:
                with contextlib.suppress(HostError):
                    await self._registry.remember_departed(DepartedRow(workspace.id, workspace.row.name, now(), cause))
            await self.forget(workspace)

    async def _abandon(self, workspace: Workspace, machine: asyncio.Future[Machine] | None) -> None:
        if machine is not None:
            with contextlib.suppress(PyroError, OSError):
                await (await machine).destroy()
        await self.forget(workspace)

    async def forget(self, workspace: Workspace) -> None:
        """Remove every trace of it but its machine."""
        await self._occupancy.forget(workspace)
        with contextlib.suppress(HostError):
            await self._registry.remove(workspace)
        await asyncio.to_thread(self._remove_files, workspace)
        if self._reserve.low():
            await self._fleet.finish_cleaning()  # what the machine had taken of the disk is free now
        await self._registry.remove(workspace)
        self.tidy_seeds()

    def tidy_seeds(self) -> None:
        """Remove, behind everybody's back, the seeds that no workspace uses any more."""
        self._registry.spawn(asyncio.to_thread(self._tidy))

    def _tidy(self) -> None:
        self._seeds.tidy(self._registry.seeds_in_use)
        self._reserve.make()

    def _remove_files(self, workspace: Workspace) -> None:
        self._vault.remove(workspace.id)
        self._images.remove_all(workspace.id)
        shutil.rmtree(workspace.outputs, True)

    async def close(self) -> None:
        """Let go of everything; machines keep running."""
        await asyncio.gather(*(_stopped(workspace.trying) for workspace in self._registry.all()))
        tasks = [t for w in self._registry.all() for t in (w.watcher, w.network, *w.probes.values()) if t is not None]
        for workspace in self._registry.all():
            for command in workspace.running_commands():
                command.leave()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._registry.close()


async def _stopped(trying: asyncio.Task[None] | None) -> None:
    """What is being tried ends, and its forks with it."""
    if trying is not None and not trying.done():
        trying.cancel()
        await asyncio.wait({trying}, timeout=STOP_SECONDS)


def _as_planned(runtime: dict[str, Any], plan: Plan) -> dict[str, Any]:
    found = {**runtime, "env": {**runtime.get("env", {}), **plan.env}} if plan.env else dict(runtime)
    return found if plan.user in ROOT_USER else {**found, RUN_AS: plan.user}


def _of_fork(parent: Workspace, handles: dict[str, str]) -> dict[str, Any] | None:
    """What a fork knows of the set-up: a running one under its own handle, or how that of the parent ended."""
    kept, record = parent.row.devcontainer, parent.record().devcontainer
    if kept is None or record is None:
        return None
    ended = {"status": record.setup_status, "exit_code": record.setup_exit_code}
    return {**kept, "setup": handles.get(str(record.setup)), "started": handles.get(record.post_start, ""), **ended}


def _network_of(row: WorkspaceRow) -> dict[str, Any]:
    names = ("network_policy", "allow_domains", "allow_host_ports", "allow_addresses", "ssh_hosts")
    return {name: getattr(row, name) for name in names}
