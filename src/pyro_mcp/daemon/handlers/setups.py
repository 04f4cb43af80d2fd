"""The set-up of a project's workspace: begun, watched, kept when it is through, and not run again where it was kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pyro_mcp.daemon.call import Call
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.handlers.following import wait_and_pass_on
from pyro_mcp.daemon.handlers.projects import Project
from pyro_mcp.daemon.preparing import Disturbed, Found
from pyro_mcp.devcontainers.keys import content_keys
from pyro_mcp.devcontainers.read import Stage
from pyro_mcp.devcontainers.script import PREPARED, script
from pyro_mcp.environments.prepared import SHOWN, Wanted, setup_hash
from pyro_mcp.errors import HostError, PyroError
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.paths import show
from pyro_mcp.processes.command import Command
from pyro_mcp.seeds.prepared import PreparedSeed
from pyro_mcp.vocabulary import online
from pyro_mcp.wholeness import content_hash
from pyro_mcp.workspaces.launching import launch, shell_of
from pyro_mcp.workspaces.plan import Plan
from pyro_mcp.workspaces.workspace import Workspace

log = logging.getLogger(__name__)
CALL_SECONDS = 40.0
"""How long a call of a chat host may take with its set-up (no call lasts 50 s); the set-up goes on by itself."""
SETUP_SECONDS = 7200.0
"""After which a set-up is ended."""
KEPT_STAGES = frozenset({"onCreateCommand", "updateContentCommand"})
"""What these did is kept; the others are for each workspace anew (containers.dev)."""
ENGINES = ("gvisor",)
"""On which what was made is kept: the only one on which that was measured."""
_LOOK_BYTES = 64 * 1024


async def prepared(
    call: Call, context: Context, project: Project, seed: PreparedSeed, plan: Plan, *, rebuild: bool
) -> Project:
    """The project as its set-up left it once, where that is kept; or what its set-up is kept under.

    Never fails for what is kept: then the set-up runs.
    """
    record, stages = project.record, project.stages
    if record is None or not record.get("script") or plan.engine not in ENGINES:
        return project
    first = [stage for stage in stages if stage.name in KEPT_STAGES]
    if not first:
        return project
    try:
        wanted = await asyncio.to_thread(_wanted, project, seed, plan, first)
        folder = Path(seed.info.source)
        found = None if rebuild else await context.preparing.find(wanted, folder, seed.tree)
    except (PyroError, OSError) as error:
        log.warning("what was prepared of %s could not be looked at: %s", seed.info.source, error)
        return project
    shell = shell_of(project.root.runtime)
    rest = [stage for stage in stages if stage.name not in KEPT_STAGES]
    plain = {**record, "script": script(rest, shell) if rest else "", "stages": [stage.name for stage in rest]}
    prepare = {"wanted": wanted.dump(), "anew": rebuild, "restored": plain}
    if found is not None and not found.fits and not any(stage.name == "updateContentCommand" for stage in first):
        found = None  # nothing would bring it up to date
    if found is None:
        said = script(stages, shell, KEPT_STAGES)
        return replace(project, record={**record, "script": said, "prepare": prepare})
    root = RootTree(project.root.name, found.manifest.digest, found.path, found.manifest.runtime)
    record = _restored(plain, found)
    if not found.fits:
        rest = [stage for stage in stages if stage.name != "onCreateCommand"]
        record |= {"script": script(rest, shell, KEPT_STAGES), "stages": [stage.name for stage in rest]}
        record |= {"prepare": prepare, "status": None}
    return replace(project, root=root, record=record)


def _wanted(project: Project, seed: PreparedSeed, plan: Plan, first: list[Stage]) -> Wanted:
    info = seed.info
    place, inode = os.path.realpath(info.source), 0
    if info.kind == "archive":
        place = f"archive:{content_hash(Path(place))}"
    elif info.kind == "directory":
        inode = os.stat(place).st_ino
    elif info.prefix:
        place = f"{place}//{info.prefix}"
    made_of = [platform.machine(), [asdict(stage) for stage in first], project.env, project.keyed_by, project.user]
    return Wanted(
        project=place,
        inode=inode,
        commit=(info.commit or "") if info.kind == "git" else "",
        base=project.root.digest,
        setup=setup_hash(made_of),
        locks=content_keys(seed.tree, project.keyed_by),
        online=online(plan.network_policy),
    )


def _restored(record: dict[str, Any], found: Found) -> dict[str, Any]:
    kept = found.kept
    notes = list(record.get("notes", []))
    if found.fits:
        said = f"It begins with what the project's set-up made at {found.manifest.created_at}; it was not run again."
    else:
        said = f"It begins with what the set-up made for other lock files, at {found.manifest.created_at}."
    if kept.made:
        some = ", ".join(show(path) for path, _ in kept.made[:5])
        more = f" and {len(kept.made) - 5} more" if len(kept.made) > 5 else ""
        said += f" In no diff, and not landed: {some}{more}."
    notes.append(said)
    if kept.changed:
        some = ", ".join(map(show, kept.changed[:5])) + (" and others" if len(kept.changed) > 5 else "")
        notes.append(f"The set-up had changed {some}: here they are as in the project.")
    back = sorted(set(kept.deleted) - set(found.gone))[:5]
    if back:
        notes.append(f"The set-up had deleted {', '.join(map(show, back))}, which changed since: they are there.")
    if not record.get("script"):
        record = {**record, "status": "done", "exit_code": 0}
    about = {"name": found.manifest.name, "gone": found.gone, "made": [list(each) for each in kept.made[:SHOWN]]}
    return {**record, "notes": notes, "prepared": about}


# -- running it


async def set_up(
    call: Call, context: Context, workspace: Workspace, begun: float, seconds: float | None = None
) -> None:
    """Run the set-up of a workspace that has one, as a command of its own, and wait as long as the caller can.

    Never fails: what came of it is in the workspace's record. `begun` is when the call was (`time.monotonic`).
    """
    record = workspace.row.devcontainer
    if not record or not record.get("script"):
        return
    shown = ["devcontainer.json", *record.get("stages", [])]
    try:
        command = await asyncio.shield(asyncio.ensure_future(_begin(context, workspace, record, shown)))
    except (PyroError, OSError) as error:
        said = f"The set-up could not be started: {error}"
        kept = workspace.row.devcontainer or record
        workspace.row = replace(workspace.row, devcontainer={**kept, "failure": said})
        with contextlib.suppress(HostError):  # on a full disk: the workspace is there all the same
            await context.registry.save(workspace)
        return
    keeping = None
    if record.get("prepare"):
        keeping = context.preparing.watch(_keep(context, workspace, command))
    handle = command.row.handle
    await call.progress(f"workspace {workspace.id} is ready; its set-up is running as command {handle}")
    most = SETUP_SECONDS + 60 if call.face != "mcp" else max(0.0, CALL_SECONDS - (time.monotonic() - begun))
    most = most if seconds is None else min(seconds, most)
    until = time.monotonic() + most
    await wait_and_pass_on(call, command, most)
    if keeping is not None and (left := until - time.monotonic()) > 0:
        await asyncio.wait({keeping}, timeout=left)


async def started(call: Call, context: Context, workspace: Workspace, begun: float) -> None:
    """Run the project's postStartCommand again, in a workspace that was stopped and is started; as `set_up` waits.

    Never fails: its log says what came of it.
    """
    record = workspace.row.devcontainer or {}
    setting_up = workspace.commands.get(str(record.get("setup")))
    if not record.get("post_start") or (setting_up is not None and setting_up.running):  # that one comes to it
        return
    argv = [shell_of(workspace.row.runtime), "-c", record["post_start"]]
    shown = ["devcontainer.json", "postStartCommand"]
    running = launch(context.occupancy, workspace, argv, shown=shown, cwd="/workspace", timeout_seconds=SETUP_SECONDS)
    try:
        command = await asyncio.shield(asyncio.ensure_future(running))
        await _noted(context, workspace, started=command.row.handle)
    except (PyroError, OSError) as error:
        log.warning("postStartCommand of workspace %s could not be started: %s", workspace.id, error)
        return
    await call.progress(f"postStartCommand is running as command {command.row.handle}")
    most = SETUP_SECONDS + 60 if call.face != "mcp" else max(0.0, CALL_SECONDS - (time.monotonic() - begun))
    await wait_and_pass_on(call, command, most)


async def _begin(context: Context, workspace: Workspace, record: dict[str, Any], shown: list[str]) -> Command:
    argv = [shell_of(workspace.row.runtime), "-c", record["script"]]
    fresh = {**record, "setup": None, "started": "", "failure": "", "status": None, "kept": "", "unkept": ""}
    workspace.row = replace(workspace.row, devcontainer=fresh)
    command = await launch(
        context.occupancy,
        workspace,
        argv,
        shown=shown,
        cwd="/workspace",
        timeout_seconds=SETUP_SECONDS,
        stdin_held=bool(record.get("prepare")),
    )
    workspace.row = replace(workspace.row, devcontainer={**fresh, "setup": command.row.handle})
    await context.registry.save(workspace)
    context.registry.note(workspace, "daemon", "set_up", "ok", f"started as command {command.row.handle}", {})
    return command


async def _keep(context: Context, workspace: Workspace, command: Command) -> None:
    """When the set-up has come so far, keep what it made, and let it go on. Raises nothing of what may happen."""
    prepare = (workspace.row.devcontainer or {})["prepare"]
    wanted, mark = Wanted(**prepare["wanted"]), workspace.changes

    def disturbed() -> str:
        others = [each for each in workspace.commands.values() if each.number > command.number or each.running]
        if any(each is not command for each in others) or workspace.changes != mark:
            return "something else was done in the workspace while it ran"
        return "" if command.running else "it had ended"

    workspace.in_use += 1
    outcome, said = "error", ""
    try:
        try:
            known = not prepare["anew"] and await context.preparing.has(wanted)
            if not await _so_far(command) or known:
                await go_on(workspace, command)
                return
            archive = await context.preparing.spool(workspace, disturbed)
        except asyncio.CancelledError:
            raise  # this daemon ends; the next one has the set-up go on
        except BaseException:
            await go_on(workspace, command)
            raise
        await go_on(workspace, command)
        seed = await context.occupancy.seed_of(workspace.row)
        assert seed is not None
        made = await context.preparing.keep(workspace, wanted, archive, seed, anew=bool(prepare["anew"]))
        outcome, said = "ok", f"What the set-up made is kept as {made.name}."
        await _noted(context, workspace, kept=made.name, prepare={**prepare, "anew": False})
    except (PyroError, OSError, Disturbed) as error:
        why = error.message.rstrip(".") if isinstance(error, PyroError) else str(error)
        said = workspace.redactor.text(f"What the set-up made is not kept: {why}.")
        with contextlib.suppress(PyroError):
            await _noted(context, workspace, unkept=said)
    finally:
        workspace.in_use -= 1
        if said and context.registry.holds(workspace.id):
            context.registry.note(workspace, "daemon", "prepare", outcome, said)


async def _noted(context: Context, workspace: Workspace, **said: Any) -> None:
    await context.registry.revise(workspace, lambda row: {"devcontainer": {**(row.devcontainer or {}), **said}})


async def _so_far(command: Command) -> bool:
    """Wait until the set-up says that what is to be kept is made; False when it ended before."""
    line, offset, rest = PREPARED.encode() + b"\n", 0, b""
    while True:
        change, running = command.change, command.running
        while data := command.output.read(offset, _LOOK_BYTES):
            offset += len(data)
            rest = (rest + data)[-_LOOK_BYTES - len(line) :]
            if line in rest:
                return running
        if not running:
            return False
        await change.wait()


async def go_on(workspace: Workspace, command: Command) -> None:
    """The set-up that waits goes on; one that does not will not wait any more."""
    with contextlib.suppress(PyroError, OSError):
        await command.begun(SETUP_SECONDS)
        if command.running:
            place = f"/v1/processes/{command.row.process_id}/stdin"
            await workspace.guest.call("PUT", place, query={"close": "1"}, body=b"\n")


def resume(context: Context, workspace: Workspace) -> None:
    """Have a set-up that an earlier daemon, or another workspace, began go on to its end. What it makes is not kept."""
    record = workspace.row.devcontainer or {}
    command = workspace.commands.get(str(record.get("setup")))
    if command is None or not command.running or not record.get("prepare"):
        return

    async def follow() -> None:
        if await _so_far(command):
            await go_on(workspace, command)

    context.preparing.watch(follow())


async def reset(context: Context, workspace: Workspace) -> None:
    """To the baseline: where its set-up was kept meanwhile, that is what it begins with from now on.

    Not while it has snapshots, which know the root that it began with.
    """
    before = workspace.row
    record = before.devcontainer or {}
    if record.get("kept") and not workspace.snapshots and before.seed_digest:
        wanted = Wanted(**record["prepare"]["wanted"])
        with contextlib.suppress(PyroError, OSError):
            tree = await context.occupancy.seed_of(before)
            folder = Path(str((before.seed or {}).get("source", "")))
            found = await context.preparing.find(wanted, folder, tree) if tree is not None else None
            if found is not None and found.fits:
                begins = {**_restored(record["prepare"]["restored"], found), "setup": None, "started": ""}
                workspace.row = replace(workspace.row, environment_digest=found.manifest.digest, devcontainer=begins)
    try:
        await context.machines.reset(workspace, None)
    except BaseException:
        begun_on, said = before.environment_digest, before.devcontainer
        workspace.row = replace(workspace.row, environment_digest=begun_on, devcontainer=said)
        raise
