"""Builds of Dockerfiles: in a machine of their own, by buildah, without a registry.

What the file begins with comes from this machine's own client of registries and goes in as an image; what comes out
is a stranger's image like any other. The layers are kept for the next build of that name, as one file that only the
machine of a build reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from pyro_mcp.builds import dockerfile, script
from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.environment_service import spool
from pyro_mcp.daemon.handlers.following import wait_and_pass_on
from pyro_mcp.environments import worker
from pyro_mcp.environments.cache import BUILT, Manifest, remove_tree
from pyro_mcp.environments.catalog import BUILDER, CATALOG
from pyro_mcp.environments.names import SAVED_NAME
from pyro_mcp.environments.oci.manifest import architecture
from pyro_mcp.errors import Conflict, EngineError, InvalidInput, PyroError
from pyro_mcp.guest.client import WORK_SECONDS
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.processes.command import Command
from pyro_mcp.reserve import keep_room
from pyro_mcp.seeds.sources import Source
from pyro_mcp.visible import shortened, visible, visible_lines
from pyro_mcp.vocabulary import NetworkPolicy
from pyro_mcp.workspaces import transfer
from pyro_mcp.workspaces.launching import launch
from pyro_mcp.workspaces.plan import Plan
from pyro_mcp.workspaces.workspace import Workspace

LABEL = "pyro.build"
"""Of the machine that builds: the environment's name."""
BUILD_SECONDS = 7200.0
"""After which a build is ended."""
STEP_SECONDS = 1800.0
"""The same, of what pyro itself does in the machine."""
TTL_SECONDS = 600
KEPT_BYTES = 8 * 1024**3
"""Of layers that are kept for the next build; more are not."""
LOG_BYTES = 16 * 1024
"""Of a failed build's log, in the error."""
_PIECE = 1024 * 1024
_STEP = re.compile(r"(?:\[\d+/\d+\] )?STEP \d+/\d+: .*")


@dataclass(frozen=True)
class Order:
    """What is to be built."""

    name: str
    text: bytes = field(repr=False)
    """The Dockerfile."""
    context: Source
    said: str
    """Where it comes from, for people."""
    network_policy: NetworkPolicy = "off"
    allow_domains: list[str] | None = None
    target: str | None = None
    build_args: dict[str, str] = field(default_factory=dict)
    vcpu_count: int = 2
    mem_mib: int = 2048
    disk_gib: int = 20
    again: bool = False
    """Do every step, whatever is kept."""
    of_a_file: bool = False
    """A project's file asks for it, not the user: it has fetched only what a model might have fetched."""


_under_way: set[str] = set()


def check_name(context: Context, name: str, overwrite: bool) -> None:
    """Whether the result may have this name.

    Raises:
        Conflict: something else has it.
    """
    present = context.environments.cache.current(name)
    if name in CATALOG or not SAVED_NAME.fullmatch(name):
        raise InvalidInput(f"The name {name!r} is taken by pyro, or is none.", hint="Choose another.", code="bad_name")
    if present is not None and present.recipe != BUILT and not overwrite:
        raise Conflict(
            f"There is an environment {name} already, which was not built from a Dockerfile.",
            hint="Choose another name, or replace it with --overwrite; workspaces on it keep what they have.",
            code="environment_exists",
        )


async def build(call: Call, context: Context, order: Order) -> Manifest:
    """Build it, and install the result under the order's name.

    Raises:
        InvalidInput: the Dockerfile is none, or has no such target.
        Conflict: one of this name is being built just now.
        EngineError: a step failed; `details` has its log and exit status.
    """
    read = await asyncio.to_thread(dockerfile.read, order.text, order.build_args, architecture())
    if order.target is not None and not _has_stage(read, order.target):
        known = ", ".join(stage for stage in read.stages if stage) or "none has a name"
        raise InvalidInput(f"The Dockerfile has no stage {order.target!r}; its stages: {known}.", code="unknown_target")
    if order.name in _under_way:
        raise Conflict(f"{order.name} is being built just now.", hint="Wait for it.", code="environment_being_built")
    _under_way.add(order.name)
    try:
        return await _build(call, context, order, read)
    finally:
        _under_way.discard(order.name)


def _has_stage(read: dockerfile.Dockerfile, target: str) -> bool:
    number = int(target) if target.isascii() and target.isdigit() and len(target) < 6 else len(read.stages)
    return number < len(read.stages) or target.lower() in (stage.lower() for stage in read.stages if stage)


async def _build(call: Call, context: Context, order: Order, read: dockerfile.Dockerfile) -> Manifest:
    environments = context.environments
    bases: dict[str, tuple[str, RootTree]] = {}
    for image in read.images:
        any_registry = not order.of_a_file and call.face != "mcp"
        root = await environments.require_for_file(call, image, any_registry=any_registry)
        bases[image] = (f"localhost/pyro-base:{root.digest}", root)
    builder = await environments.require(call, BUILDER)
    text = read.named({image: name for image, (name, _) in bases.items()})
    async with _machine(call, context, order, builder) as workspace, staged(context) as room:
        await call.progress(f"bringing {order.context.files} files of the context in")
        with context.seeds.used():
            await transfer.push(context.seeds, workspace.guest, workspace.id, order.context, script.CONTEXT)
        (room / "Dockerfile").write_text(text, encoding="utf-8")
        await _bring(workspace, room, "Dockerfile", script.FILES)
        kept = environments.cache.kept(order.name)
        if not order.again and kept.is_file():
            await call.progress("bringing in the layers of the last build")
            try:
                await _bring_back(workspace, kept)
            except (PyroError, OSError) as error:  # of a machine that is gone the next step says it
                why = error.message.rstrip(".") if isinstance(error, PyroError) else str(error)
                await call.progress(f"the layers of the last build cannot be used ({why}): building afresh")
                await _run(context, workspace, script.FORGET, [])
                kept.unlink(missing_ok=True)
        wanted = dict(bases.values())
        prepared = await _run(context, workspace, script.PREPARE, list(wanted))
        there = set(_text(prepared).split("\n"))
        for number, (name, root) in enumerate(wanted.items()):
            if f"have {name}" not in there:
                await call.progress(f"bringing the image {root.name} in")
                await _bring_base(context, workspace, room, root, f"{script.BASES}{number}", name)
        await call.progress(f"building {order.name}")
        options = [f"--build-arg={name}={value}" for name, value in order.build_args.items()]
        options += [f"--target={order.target}"] if order.target is not None else []
        options += ["--no-cache"] if order.again else []
        command = await _start(context, workspace, script.BUILD, options, BUILD_SECONDS)
        await wait_and_pass_on(call, command, BUILD_SECONDS + 60)
        await _keep(context, workspace, room, kept)
        if command.row.exit_code != 0:
            raise await asyncio.to_thread(_failed, order, command)
        await call.progress(f"taking {order.name} out")
        await _run(context, workspace, script.DELIVER, [])
        archive = room / "result.tar"
        await spool(workspace.guest, archive, "/v1/tar", {"path": script.RESULT})
        cancel = threading.Event()
        try:
            return await asyncio.to_thread(worker.take, order.name, archive, order.said, environments.cache, cancel)
        finally:
            cancel.set()


@contextlib.asynccontextmanager
async def _machine(call: Call, context: Context, order: Order, builder: RootTree) -> AsyncIterator[Workspace]:
    """The machine of this build, gone afterwards whatever happens."""
    plan = Plan(
        environment=builder.name,
        engine=await context.engines.choose(call, "auto"),
        name=None,
        labels={LABEL: order.name},
        network_policy=order.network_policy,
        vcpu_count=order.vcpu_count,
        mem_mib=order.mem_mib,
        disk_gib=order.disk_gib,
        ttl_seconds=TTL_SECONDS,
        one_shot=True,
        allow_domains=order.allow_domains or [],
        project=call.scope,
    )
    workspace = await context.manager.create(plan, builder, _no_seed)
    workspace.in_use += 1
    try:
        yield workspace
    finally:
        workspace.in_use -= 1
        await asyncio.shield(asyncio.ensure_future(context.manager.delete(workspace, "its build is over")))


async def _no_seed() -> None:
    return None


@contextlib.asynccontextmanager
async def staged(context: Context) -> AsyncIterator[Path]:
    """A directory for what goes in and comes out; what a killed daemon leaves of it, the cache's sweep removes."""
    cache = context.environments.cache
    await asyncio.to_thread(cache.prepare)
    place = cache.root / "staging" / f"build-{os.getpid()}-{secrets.token_hex(8)}"
    place.mkdir(mode=0o700)
    try:
        yield place
    finally:
        await asyncio.shield(asyncio.to_thread(remove_tree, place))


async def _bring(workspace: Workspace, directory: Path, member: str, dest: str) -> None:
    async with transfer.tar_of(directory, member) as stream:
        await workspace.guest.call("PUT", "/v1/tar", query={"dest": dest}, body=stream, seconds=WORK_SECONDS)


async def _bring_back(workspace: Workspace, kept: Path) -> None:
    with kept.open("rb") as file:

        async def pieces() -> AsyncIterator[bytes]:
            while data := await asyncio.to_thread(file.read, _PIECE):
                yield data

        query = {"dest": script.KEPT}
        await workspace.guest.call("PUT", "/v1/tar", query=query, body=pieces(), seconds=WORK_SECONDS)


async def _bring_base(
    context: Context, workspace: Workspace, staged: Path, root: RootTree, place: str, name: str
) -> None:
    cache = context.environments.cache
    manifest = await asyncio.to_thread(cache.require, root.name, root.digest)
    await asyncio.to_thread(keep_room, staged, manifest.size_bytes)
    cancel = threading.Event()
    with context.environments.reading(manifest.digest):
        try:
            export = worker.export
            await asyncio.to_thread(export, manifest, str(staged / place), cache, cancel, compress=False)
        finally:
            cancel.set()
    await _bring(workspace, staged / place, ".", place)
    await asyncio.to_thread(remove_tree, staged / place)
    await _run(context, workspace, script.TAKE, [place, name])


async def _start(context: Context, workspace: Workspace, text: str, words: list[str], seconds: float) -> Command:
    argv = ["/bin/sh", "-c", text, "build", *words]
    started = launch(
        context.occupancy, workspace, argv, cwd="/workspace", shown=["build", *words], timeout_seconds=seconds
    )
    return await asyncio.shield(asyncio.ensure_future(started))


async def _run(context: Context, workspace: Workspace, text: str, words: list[str]) -> Command:
    """One of pyro's own programs in the machine.

    Raises:
        EngineError: it failed.
    """
    command = await _start(context, workspace, text, words, STEP_SECONDS)
    await command.wait_ended(STEP_SECONDS + 60)
    if command.row.exit_code != 0:
        said = shortened(visible(" ".join(_text(command).split()[-60:])), 400)
        raise EngineError(
            f"The machine of the build failed at what comes before and after its steps: {said or command.row.cause}.",
            hint="Try again, with more memory (--mem-mib) or disk (--disk-gib) perhaps.",
            code="build_failed",
        )
    return command


def _text(command: Command) -> str:
    end = command.output.kept_bytes
    return command.output.read(max(0, end - LOG_BYTES), LOG_BYTES).decode("utf-8", "replace")


async def _keep(context: Context, workspace: Workspace, staged: Path, kept: Path) -> None:
    """Keep the layers for the next build, of a failed one as well; a build is none the worse where that fails."""
    archive = staged / "kept.tar"
    with contextlib.suppress(PyroError, OSError):
        await _run(context, workspace, script.KEEP, [])
        await spool(workspace.guest, archive, "/v1/tar", {"path": script.KEPT}, KEPT_BYTES)
        await asyncio.to_thread(os.replace, archive, kept)
    archive.unlink(missing_ok=True)


def _failed(order: Order, command: Command) -> EngineError:
    log = visible_lines(_text(command), line_ends=True)
    steps = _STEP.findall(log)
    at = f" at {shortened(steps[-1], 200)}" if steps else ""
    code = command.row.exit_code
    how = f"exit status {code}" if command.row.status == "exited" else f"it was ended: {command.row.status}"
    cause = f" ({command.row.cause})" if command.row.cause else ""
    hint = "Its log is in `details`; the steps before it are kept for the next build."
    if command.refused and order.network_policy == "off":
        names = ", ".join(dict.fromkeys(each.host for each in command.refused[:5]))
        hint = f"The network of the build is off ({names} was asked for); the user opens it: --network-policy egress."
    elif command.refused:
        hint = command.refusals_hint()
    return EngineError(
        f"The build of {order.name} failed{at}: {how}{cause}.",
        hint=hint,
        code="build_failed",
        details={"exit_status": code, "step": steps[-1] if steps else "", "log": log},
    )


async def sweep(context: Context) -> None:
    """Remove the machines of builds whose daemon was killed: nobody waits for them."""
    for workspace in context.registry.all():
        if workspace.row.one_shot and LABEL in workspace.row.labels:
            with contextlib.suppress(PyroError):
                await context.manager.delete(workspace, "its build was cut off")
