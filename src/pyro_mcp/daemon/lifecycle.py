"""The daemon from start to end: enclosure, adoption, serving, idling, leaving.

Leaving never ends a machine that belongs to a workspace. Only spare machines and half-made things go.
"""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import json
import logging
import os
import resource
import signal
import sys
from importlib import resources
from pathlib import Path

from pyro_mcp import enclosure, ownership
from pyro_mcp.daemon.app import App
from pyro_mcp.daemon.background import log_to, tell
from pyro_mcp.daemon.context import Context, DaemonInfo
from pyro_mcp.daemon.dispatch import Dispatcher
from pyro_mcp.daemon.door import Door
from pyro_mcp.daemon.engine_service import EngineService, runsc_path
from pyro_mcp.daemon.environment_service import EnvironmentService
from pyro_mcp.daemon.handlers import builds
from pyro_mcp.daemon.handlers.setups import resume
from pyro_mcp.daemon.preparing import Preparing
from pyro_mcp.errors import Conflict, InternalError, PyroError
from pyro_mcp.exports.backups import Backups
from pyro_mcp.host_errors import in_the_way, of_this_machine
from pyro_mcp.locations import Locations
from pyro_mcp.machines.choice import firecracker_engine
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.machines.gvisor.engine import GvisorEngine
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.watchdog import MemoryWatchdog
from pyro_mcp.network.cache.registry_cache import RegistryCache
from pyro_mcp.network.decisions import Decisions
from pyro_mcp.network.questions import Questions
from pyro_mcp.reserve import Reserve
from pyro_mcp.seeds.store import SeedStore
from pyro_mcp.serving import Server
from pyro_mcp.store import Store
from pyro_mcp.version import VERSION
from pyro_mcp.workspaces.adoption import Adoption
from pyro_mcp.workspaces.egress import Egress
from pyro_mcp.workspaces.expiry import Expiry
from pyro_mcp.workspaces.manager import WorkspaceManager
from pyro_mcp.workspaces.moments import Images
from pyro_mcp.workspaces.occupancy import Occupancy
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.secrets import Vault
from pyro_mcp.workspaces.services import Services
from pyro_mcp.workspaces.trying import Trying
from pyro_mcp.workspaces.whole_machine import WholeMachine

log = logging.getLogger("pyro_mcp.daemon")
IDLE_SECONDS = 120.0
"""A daemon with no workspace leaves this long after its last call."""
LEAVE_SECONDS = 15
"""The longest that leaving in good order may take; after that the stacks go to the log, and the process ends."""


def run(locations: Locations, ready_fd: int | None = None, launch_fd: int | None = None) -> int:
    """Be the daemon until there is nothing left to own, or until told to stop. Gives the exit status.

    `launch_fd` is the starters' lock, closed when the daemon listens.
    """
    try:
        locations.prepare()
        Reserve(locations.reserve).give_up_when_low()
        owned = ownership.own(locations.ownership, LEAVE_SECONDS + 5)
        lock = os.open(locations.daemon_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _be_the_only_one(lock)
        for directory in (locations.machines, locations.microvms, locations.outputs):
            directory.mkdir(mode=0o700, exist_ok=True)
        enclosure.enter()
        # Each machine's channel holds a handful of sockets; distributions give a process 1,024 unless it asks for more.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        for directory in (locations.machines, locations.microvms):
            enclosure.make_shared(directory)
        shown = enclosure.Shown(locations.shown)
        for directory in (locations.machines, locations.environments, locations.agents):
            directory.mkdir(mode=0o700, exist_ok=True)
            shown.add(directory)
        asyncio.run(_serve(locations, shown, owned, ready_fd, launch_fd))
    except (PyroError, OSError) as problem:
        if isinstance(problem, PyroError):
            error: PyroError | None = problem
        else:
            error = of_this_machine(problem, locations.state) or in_the_way(problem)
        if error is None:
            raise
        tell(ready_fd, json.dumps(error.to_record()))
        print(f"pyro daemon: {error}", file=sys.stderr)
        return error.exit_status
    return 0


def _be_the_only_one(lock: int) -> None:
    """Wait until the daemon before us, which may be leaving, is gone."""

    def too_long(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, LEAVE_SECONDS + 5)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except TimeoutError:
        raise Conflict("A daemon is already running for this user.", code="daemon_runs") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _agent_binary() -> Path:
    path = Path(str(resources.files("pyro_mcp") / "_bin" / "pyro-agent"))
    if not path.exists():
        raise InternalError(
            f"The guest agent {path} is missing from this installation.",
            hint="Reinstall pyro from its wheel; in a checkout, run `make setup`.",
            code="agent_missing",
        )
    return path


def _seed_tree(seeds: SeedStore, digest: str) -> Path:
    seed = seeds.find(digest)
    if seed is None:
        raise Conflict(
            f"The seed {digest[:12]} is gone from the store.",
            hint="The workspace's current files are intact: export them, then create a new workspace.",
            code="seed_gone",
        )
    return seed.tree


def _log_descriptor(locations: Locations) -> int:
    """The log for a last word; standard error when somebody has removed the state directory under us."""
    try:
        return os.open(locations.daemon_log, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return 2


async def _serve(
    locations: Locations, shown: enclosure.Shown, owned: int, ready_fd: int | None, launch_fd: int | None
) -> None:
    logging.raiseExceptions = False  # a full disk must not stop what frees it
    log_to(locations.daemon_log)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    reserve = Reserve(locations.reserve)
    store = await Store.open(locations.database, reserve)
    limits = Limits()
    agent = _agent_binary()
    gvisor = GvisorEngine(
        runsc=runsc_path(locations.cache),
        agent=agent,
        machines=locations.machines,
        cache=locations.cache,
        limits=limits,
        shown=shown,
    )
    firecracker = firecracker_engine(agent=agent, machines=locations.microvms, cache=locations.cache, limits=limits)
    fleet = Fleet([gvisor, firecracker])
    registry = Registry(store, locations.outputs, fleet.isolation)
    environments = EnvironmentService(locations, fleet, registry)
    engines = EngineService(locations.cache, store, environments.cache, gvisor, firecracker)
    seeds = SeedStore(locations.seeds)
    backups = Backups(locations.backups)
    services = Services(registry)
    questions, decisions = Questions(), Decisions(locations.decisions)
    cache = RegistryCache(locations.registries, locations.registries_settings)
    questions.heard = registry.news.stir
    vault, images = Vault(locations.secrets), Images(locations.images)
    occupancy = Occupancy(
        registry,
        fleet,
        services,
        Egress(questions, decisions, cache),
        images,
        seed_tree=lambda digest: _seed_tree(seeds, digest),
        find_root=environments.root,
    )
    manager = WorkspaceManager(registry, occupancy, fleet, vault, images, seeds, reserve, cache)
    machines = WholeMachine(manager, occupancy)
    context = Context(
        locations=locations,
        store=store,
        registry=registry,
        occupancy=occupancy,
        manager=manager,
        environments=environments,
        preparing=Preparing(environments, registry, occupancy),
        seeds=seeds,
        backups=backups,
        info=DaemonInfo(os.getpid(), locations.daemon_log, locations.socket),
        machines=machines,
        trying=Trying(manager, occupancy, machines),
        services=services,
        engines=engines,
        questions=questions,
        decisions=decisions,
        cache=cache,
    )
    await asyncio.to_thread(cache.store.begin)  # before any workspace fetches
    await Adoption(registry, occupancy, vault, images, manager.forget).run()
    registry.spawn(builds.sweep(context))
    for workspace in registry.all():
        resume(context, workspace)
    await asyncio.to_thread(seeds.sweep)
    await asyncio.to_thread(backups.sweep)
    await asyncio.to_thread(seeds.prune, registry.seeds_in_use())
    await asyncio.to_thread(reserve.make)
    watchdog = MemoryWatchdog(registry.machines, occupancy.lost_by_machine, occupancy.relieved)
    expiry = Expiry(registry, manager.delete)

    app = App(Dispatcher(context), stop.set, locations.state)
    server = Server.of(app, timeout_keep_alive=3600, h11_max_incomplete_event_size=65536)
    listener = Door(locations.socket, stop.set)
    ownership.say(owned, locations.socket_name)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    watching = asyncio.create_task(watchdog.run())
    expiring = asyncio.create_task(expiry.run(), name="expiry")

    async def owns() -> object:
        return registry.all() or context.environments.pulling

    idling = asyncio.create_task(app.stop_when_unused(IDLE_SECONDS, owns))
    checking = asyncio.create_task(_check(environments, seeds, registry))
    log.info("daemon %s of pyro %s serves %s", os.getpid(), VERSION, locations.socket)
    tell(ready_fd, "ready")
    if launch_fd is not None:
        os.close(launch_fd)
    await stop.wait()

    log.info("daemon %s leaves", os.getpid())
    leaving = _log_descriptor(locations)
    # Machines keep running by themselves, so a daemon that cannot leave in good order may as well just end.
    faulthandler.dump_traceback_later(LEAVE_SECONDS, exit=True, file=leaving)
    locations.socket.unlink(missing_ok=True)
    for task in (watching, expiring, idling, checking):
        task.cancel()
    server.should_exit = True
    server.force_exit = True
    try:
        async with asyncio.timeout(LEAVE_SECONDS / 3):
            await asyncio.gather(serving, watching, expiring, idling, checking, return_exceptions=True)
            await context.preparing.close()
            await cache.close()
            await services.close()
            await manager.close()
    except TimeoutError:
        for task in asyncio.all_tasks():
            log.error("did not end: %r", task)
    await fleet.close()
    await store.close()


async def _check(environments: EnvironmentService, seeds: SeedStore, registry: Registry) -> None:
    """Look at the trees that workspaces share, once after the start: what is damaged is not served again."""
    try:
        await asyncio.to_thread(environments.check, registry.environments_in_use())
        await asyncio.to_thread(seeds.check, registry.seeds_in_use())
    except OSError as error:
        log.warning("what workspaces share was not looked at, for each is when it is used: %s", error)
