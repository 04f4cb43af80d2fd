"""What a project's devcontainer.json makes of a workspace: its environment, size and variables, and its set-up.

The file is untrusted (`devcontainers`). It never opens the network, never names a path of this computer, publishes no
port, and has fetched only what a model might have fetched: any other image the user pulls first.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers import project_images
from pyro_mcp.devcontainers.find import Found, find
from pyro_mcp.devcontainers.read import Devcontainer, Stage, read, ready, shortened
from pyro_mcp.devcontainers.script import script
from pyro_mcp.environments.accounts import owner
from pyro_mcp.environments.catalog import DEFAULT
from pyro_mcp.errors import EngineError, InvalidInput, NotFound, NotPermitted, Unsupported
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.operations.fields import DISK_GIB_DEFAULT, MEM_MIB_DEFAULT, VCPU_COUNT_DEFAULT
from pyro_mcp.seeds.sources import Source
from pyro_mcp.workspaces.launching import shell_of
from pyro_mcp.workspaces.plan import Plan

BASE_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
"""What every command has, whatever the image says (agent/process.go)."""
_GIB = 1 << 30


@dataclass(frozen=True)
class Shape:
    """How large a machine is; None where the caller did not say."""

    vcpu_count: int | None
    mem_mib: int | None
    disk_gib: int | None

    def whole(self) -> tuple[int, int, int]:
        return (
            self.vcpu_count or VCPU_COUNT_DEFAULT,
            self.mem_mib or MEM_MIB_DEFAULT,
            self.disk_gib or DISK_GIB_DEFAULT,
        )


@dataclass(frozen=True)
class Project:
    """What a workspace is made of, as far as the project's file says it."""

    root: RootTree
    shape: Shape
    record: dict[str, Any] | None = None
    """For the workspace's row: what was followed, and the script of the set-up."""
    env: dict[str, str] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    """Its set-up, of which the record has the script."""
    user: str = ""
    """Who commands run as; empty is root."""
    keyed_by: list[str] | None = None
    """What its set-up depends on, by globs; see `devcontainers.keys`."""

    def completed(self, plan: Plan) -> Plan:
        cpus, memory, disk = self.shape.whole()
        return replace(
            plan,
            environment=self.root.name,
            vcpu_count=cpus,
            mem_mib=memory,
            disk_gib=disk,
            devcontainer=self.record,
            env=self.env,
            user=self.user,
        )


def as_user(project: Project, asked: str | None) -> tuple[Project, tuple[int, int]]:
    """The project with who its commands run as, and the ids of whom it belongs to. Blocks shortly.

    What the call says comes before the project's file, and that before the image.

    Raises:
        InvalidInput: the environment has no such user, and it is not the project's file that said so.
    """
    if asked is None and project.user and project.record is not None:
        try:
            return project, owner(project.root.path, project.user)
        except InvalidInput as error:
            over = [*project.record["passed_over"], f"remoteUser: {error.message.rstrip('.')}; commands run as root"]
            return replace(project, user="", record={**project.record, "passed_over": over}), (0, 0)
    said = asked or project.user or str(project.root.runtime.get("user", ""))
    return replace(project, user=said), owner(project.root.path, said)


async def of_seed(
    call: Call, context: Context, source: Source | None, tree: Path | None, shape: Shape, plan: Plan
) -> Project:
    """What the seed's devcontainer.json asks for, or the default; `tree` is the seed's where it was unpacked.

    `plan` says what its builds may reach.

    Raises:
        PyroError: an image that may be fetched could not be.
    """
    found = await asyncio.to_thread(_find, source, tree)
    if source is None or found is None:
        return Project(await context.environments.require(call, DEFAULT), shape)
    said = Devcontainer(problem=found.problem) if found.problem else await asyncio.to_thread(read, found.text)
    environments = context.environments
    root = None
    wanted = await asyncio.to_thread(
        project_images.asked, source, tree, found.path, plan.network_policy, plan.allow_domains
    )
    if not said.problem and said.build is not None:
        try:
            root = await project_images.built(call, context, wanted, said)
        except (InvalidInput, NotFound, NotPermitted, Unsupported, EngineError) as error:
            said.problem = f"Its Dockerfile is not used: {project_images.told(error)}"
            said.notes.append(error.hint)
    elif not said.problem and said.image is not None:
        try:
            root = await environments.require_for_file(call, _image_of(said, source.path.name))
        except (InvalidInput, NotFound, NotPermitted, Unsupported) as error:
            if error.code == "image_not_found":  # that is what a registry said
                raise
            said.problem = f"Its image is not used: {error.message.rstrip('.')}"
            said.notes.append(error.hint)
    if root is None:
        root = await environments.require(call, DEFAULT)
    if not said.problem and said.features:
        try:
            root = await project_images.with_features(call, context, wanted, said, root)
        except (InvalidInput, EngineError) as error:
            said.over("features", project_images.told(error))
            said.notes.append(error.hint)
    record: dict[str, Any] = {"path": shortened(found.path, 256), "followed": not said.problem}
    env: dict[str, str] = {}
    stages: tuple[Stage, ...] = ()
    if said.problem:
        said.notes.insert(0, f"{said.problem}. The workspace starts from {root.name}, without the set-up.")
    else:
        image_env = BASE_ENV | {str(key): str(value) for key, value in root.runtime.get("env", {}).items()}
        done = ready(said, source.path.name, image_env)
        env, shape = done.env, await asyncio.to_thread(grown, said, shape, context.locations.state)
        if done.stages:
            try:
                record["script"] = script(done.stages, shell_of(root.runtime))
                record["stages"] = [stage.name for stage in done.stages]
                stages = done.stages
                started = [stage for stage in stages if stage.name == "postStartCommand"]
                if started:
                    record["post_start"] = script(started, shell_of(root.runtime))
            except Unsupported:
                said.over(", ".join(stage.name for stage in done.stages), "the image has no shell")
        if said.ports:
            said.notes.append(
                f"Not published: forwardPorts {', '.join(map(said.port, said.ports[:20]))}. Where the user allows it, "
                "with network_policy egress+published-ports, a service publishes its port (`publish`)."
            )
    record |= {"passed_over": said.passed_over, "notes": [note for note in said.notes if note]}
    user = "" if said.problem else said.remote_user or said.container_user
    return Project(root, shape, record, env, stages, user, said.setup_keys)


def _find(source: Source | None, tree: Path | None) -> Found | None:
    if source is None or source.plan is None:
        return None
    if tree is not None:
        return find(tree)
    return find(source.path, {entry.path for entry in source.plan.entries})


def _image_of(said: Devcontainer, basename: str) -> str:
    """The image's name with its variables; of `${localEnv:VARIANT:bookworm}` the default counts."""
    alone = replace(said, stages=[], container_env={"image": said.image or ""}, remote_env={})
    return ready(alone, basename, {}).env.get("image", "")


def grown(said: Devcontainer, shape: Shape, place: Path) -> Shape:
    """As large as the project asks for, where the caller did not say: at most half of this computer."""
    cpus, memory, disk = shape.vcpu_count, shape.mem_mib, shape.disk_gib
    if said.cpus is not None and cpus is None:
        most = min(len(os.sched_getaffinity(0)), 32)
        cpus = max(VCPU_COUNT_DEFAULT, min(said.cpus, most))
        if cpus < said.cpus:
            said.notes.append(f"hostRequirements.cpus: {said.cpus} requested; the machine has {cpus}.")
    if said.memory_bytes is not None and memory is None:
        half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        memory = max(MEM_MIB_DEFAULT, min(said.memory_bytes, half, 65536 << 20) >> 20)
        if memory << 20 < said.memory_bytes:
            said.notes.append(
                f"hostRequirements.memory: {said.memory_bytes >> 20} MiB requested; the machine has {memory}."
            )
    if said.storage_bytes is not None and disk is None:
        free = shutil.disk_usage(place).free // 2
        disk = max(DISK_GIB_DEFAULT, min(said.storage_bytes, free, 1024 * _GIB) // _GIB)
        if disk * _GIB < said.storage_bytes:
            said.notes.append(
                f"hostRequirements.storage: {said.storage_bytes // _GIB} GiB requested; the machine has {disk}."
            )
    return Shape(cpus, memory, disk)
