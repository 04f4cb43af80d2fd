"""Environments as the daemon offers them: pulled once for however many ask."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import functools
import os
import secrets
import shlex
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from pyro_mcp.daemon.call import Call, being_set_up
from pyro_mcp.environments import debian, names, prepared, worker
from pyro_mcp.environments.budget import over_budget
from pyro_mcp.environments.cache import BUILT, EnvironmentCache, Manifest
from pyro_mcp.environments.catalog import CATALOG, DEFAULT, Definition
from pyro_mcp.environments.names import Saved, Wanted
from pyro_mcp.environments.oci.layer import MAX_BYTES
from pyro_mcp.environments.oci.layers import LayerStore
from pyro_mcp.environments.oci.reference import Reference
from pyro_mcp.errors import Conflict, EngineError, InvalidInput, NotFound, NotPermitted, PyroError
from pyro_mcp.guest.client import Guest
from pyro_mcp.locations import Locations
from pyro_mcp.machines.components import mmdebstrap
from pyro_mcp.machines.fleet import Fleet
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.models import Environment, PreparedSetup, Pruned
from pyro_mcp.models.base import iso
from pyro_mcp.packages import install_command
from pyro_mcp.reserve import keep_room
from pyro_mcp.workspaces.registry import Registry
from pyro_mcp.workspaces.workspace import Workspace

STEP_BYTES = 64 * 1024
"""What counts as progress of a machine that sends its files."""
LOOK_BYTES = 16 * 1024 * 1024
"""Of a spooled root, until the room on the disk is looked at again."""


class _Pull:
    """One pull, watched by any number of calls; cancelled when the last of them leaves."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.said: tuple[str, float | None] = ("starting", 0.0)
        self.changed = asyncio.Event()
        self.task: asyncio.Task[Manifest] | None = None
        self.watchers = 0

    def say(self, text: str, fraction: float | None) -> None:
        self.said = (text, fraction)
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()


class EnvironmentService:
    def __init__(self, locations: Locations, fleet: Fleet, registry: Registry) -> None:
        self.cache = EnvironmentCache(locations.cache / "environments")
        self._pulls: dict[str, _Pull] = {}
        self._read: Counter[str] = Counter()
        """Builds that are being written out: nothing may remove them meanwhile."""
        self._fleet = fleet
        self._registry = registry

    def root(self, name: str, digest: str | None = None) -> RootTree:
        """The tree of a build: the given one, or the current."""
        if digest is None:
            manifest = names.installed(names.meaning(name, self.cache), self.cache)
            digest = manifest.digest if manifest else ""
        return self._tree(name, self.cache.require(name, digest))

    def _tree(self, name: str, manifest: Manifest) -> RootTree:
        self.cache.used(manifest.digest)
        return self.root_of_build(name, manifest)

    def root_of_build(self, name: str, manifest: Manifest) -> RootTree:
        """The tree of a build, under the name of the environment that it is or began as."""
        return RootTree(name, manifest.digest, self.cache.tree(manifest.digest), manifest.runtime)

    @property
    def pulling(self) -> bool:
        """Something is being fetched, perhaps for nobody who waits."""
        return bool(self._pulls)

    async def require(self, call: Call, name: str) -> RootTree:
        """The current tree of an environment, pulled first when it is not installed."""
        wanted = await asyncio.to_thread(names.meaning, name, self.cache)
        manifest = await asyncio.to_thread(self._usable, wanted)
        if manifest is None:
            if call.face == "mcp":
                refuse_what_the_user_did_not_choose(wanted)
            manifest = await self.pull(call, wanted, patience=call.patience)
        return self._tree(wanted.name, manifest)

    async def require_for_file(self, call: Call, name: str, *, any_registry: bool = False) -> RootTree:
        """As `require`, for a name that stands in a project's file, whoever asks: what a model may name, and no file.

        With `any_registry`, the user has asked for just this file to be built: of every registry.

        Raises:
            NotPermitted: it is not here, and only the user brings it; or it names a place of this computer.
        """
        wanted = await asyncio.to_thread(names.meaning, name, self.cache)
        if isinstance(wanted, Reference) and wanted.transport != "registry":
            raise NotPermitted(
                "It names a file of this computer.",
                hint="The user may give it as the environment.",
                code="image_not_pulled",
            )
        if not any_registry and await asyncio.to_thread(self._usable, wanted) is None:
            refuse_what_the_user_did_not_choose(wanted)
        return await self.require(call, name)

    def _usable(self, wanted: Wanted) -> Manifest | None:
        """The installed build, if it is just as it was made: a damaged one is built again."""
        manifest = names.installed(wanted, self.cache)
        return manifest if manifest is not None and self.cache.sound(manifest.digest) else None

    def check(self, digests: set[str]) -> None:
        """Look at the builds that workspaces stand on, and at those that the next ones will. For a worker thread."""
        self.cache.sweep()
        meant = {m.digest for m in map(self.cache.installed, CATALOG.values()) if m is not None}
        named = [name for name in self.cache.names() if name not in CATALOG and not name.startswith(prepared.PREFIX)]
        # What was prepared is looked at when it is used.
        meant |= {digest for name, digest in self.cache.names().items() if name in named}
        for manifest in self.cache.builds():
            if manifest.digest in digests | meant:
                self.cache.sound(manifest.digest)

    async def pull(self, call: Call, wanted: Wanted, *, force: bool = False, patience: float | None = None) -> Manifest:
        """Join the pull of this environment, or begin it; with `patience`, leave it going after so many seconds."""
        pull = self._pulls.get(wanted.name)
        if pull is None:
            pull = self._pulls[wanted.name] = _Pull()
            loop = asyncio.get_running_loop()
            mine = pull

            def progress(text: str, fraction: float | None) -> None:
                loop.call_soon_threadsafe(mine.say, text, fraction)

            pull.task = asyncio.create_task(
                asyncio.to_thread(self._make, wanted, progress, pull.cancel, force),
                name=f"pull {wanted.name}",
            )
            pull.task.add_done_callback(lambda _: self._pulls.pop(wanted.name, None))
        pull.watchers += 1
        try:
            async with asyncio.timeout(patience):
                return await self._watch(call, wanted, pull)
        except TimeoutError:
            text, fraction = pull.said
            done = f", {fraction:.0%} done" if fraction is not None else ""
            pull.watchers += 1  # it goes on without us
            raise being_set_up(f"The environment {wanted.name}", f"{text}{done}") from None
        finally:
            pull.watchers -= 1
            if not pull.watchers:
                pull.cancel.set()

    def _make(
        self, wanted: Wanted, progress: Callable[[str, float | None], None], cancel: threading.Event, force: bool
    ) -> Manifest:
        """Build or fetch it. For a worker thread."""
        if isinstance(wanted, Definition):
            if mmdebstrap() is None:
                return self._image_for(wanted, progress, cancel)
            return debian.build(wanted, self.cache, progress, cancel, force)
        if isinstance(wanted, Saved):
            manifest = self.cache.current(wanted.name)
            if manifest is None or not self.cache.sound(manifest.digest):
                raise NotFound(
                    f"The saved environment {wanted.name} is gone or damaged.",
                    hint="It was saved from a workspace (`pyro env save`) and cannot be rebuilt.",
                    code="environment_build_gone",
                )
            return manifest
        try:
            return worker.pull(wanted.name, self.cache, progress, cancel)
        except PyroError as error:
            if error.code in ("image_not_found", "registry_login", "registry_unreachable"):
                error.hint += names.own_near(wanted.name.rpartition("/")[2])
            raise

    def _image_for(
        self, wanted: Definition, progress: Callable[[str, float | None], None], cancel: threading.Event
    ) -> Manifest:
        """The image that stands in for one of pyro's own, on a machine that cannot build it."""
        try:
            manifest = worker.pull(wanted.image, self.cache, progress, cancel)
        except PyroError as error:
            error.hint += f" Or install what builds it here: {install_command('mmdebstrap')}"
            raise
        self.cache.point(wanted.name, manifest.digest)
        return replace(manifest, name=wanted.name)

    async def _watch(self, call: Call, wanted: Wanted, pull: _Pull) -> Manifest:
        assert pull.task is not None
        while not pull.task.done():
            changed = pull.changed
            text, fraction = pull.said
            await call.progress(f"{wanted.name}: {text}", fraction)
            waiter = asyncio.ensure_future(changed.wait())
            try:
                await asyncio.wait({waiter, pull.task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()
        return await asyncio.shield(pull.task)

    def describe(self, name: str, contents: bool = False) -> Environment:
        wanted = names.meaning(name, self.cache)
        return self._described(wanted, names.installed(wanted, self.cache), contents)

    def _described(self, wanted: Wanted, manifest: Manifest | None, contents: bool = False) -> Environment:
        own = wanted if isinstance(wanted, Definition) else None
        runtime = manifest.runtime if manifest else {}
        return Environment(
            name=wanted.name,
            description=own.description if own else manifest.description if manifest else "an image",
            installed=manifest is not None,
            size_bytes=manifest.size_bytes if manifest else None,
            digest=manifest.digest if manifest else None,
            created_at=manifest.created_at if manifest else None,
            default=wanted.name == DEFAULT,
            packages=sorted(own.packages) if own else [],
            contents=manifest.contents if manifest and contents else None,
            source=_source(wanted, manifest),
            notes=[*_stand_in(own, manifest), *manifest.notes] if manifest else [],
            env=dict(runtime.get("env", {})) if contents else None,
            user=str(runtime.get("user", "")),
            workdir=str(runtime.get("workdir", "")),
        )

    def describe_all(self) -> list[Environment]:
        own: list[Wanted] = list(CATALOG.values())
        others: list[Wanted] = [
            names.meaning(name, self.cache)
            for name in self.cache.names()
            if name not in CATALOG and not name.startswith(prepared.PREFIX)
        ]
        return [self._described(wanted, names.installed(wanted, self.cache)) for wanted in (*own, *others)]

    async def save(self, call: Call, workspace: Workspace, name: str, overwrite: bool) -> None:
        """Make an environment of a workspace's root.

        Raises:
            Conflict: the name is taken, or a secret's value stands in what changed.
        """
        if self.cache.current(name) is not None and not overwrite:
            raise Conflict(
                f"An environment named {name} already exists.",
                hint="Choose another name, or replace it with --overwrite; workspaces that use it keep their copy.",
                code="environment_exists",
            )
        row = workspace.row
        base = await asyncio.to_thread(self.cache.require, row.environment, row.environment_digest)
        values = [secret.value.encode() for secret in workspace.secrets.by_name.values()]
        await asyncio.to_thread(self.cache.prepare)
        archive = self.cache.root / "staging" / f"root-{os.getpid()}-{secrets.token_hex(8)}.tar"
        cancel = threading.Event()
        try:
            await call.progress("reading the machine's root file system", 0.1)
            async with workspace.lock.shared():
                await spool(workspace.guest, archive)
            await call.progress("saving it as an environment", 0.5)
            keep = functools.partial(worker.save, name, base, archive, workspace.id, values, self.cache, cancel)
            await asyncio.to_thread(keep, workspace.user)
        finally:
            cancel.set()
            archive.unlink(missing_ok=True)

    async def export(self, call: Call, name: str, output: str) -> int:
        """Write an installed environment as an OCI layout; gives the bytes written."""
        wanted = await asyncio.to_thread(names.meaning, name, self.cache)
        manifest = await asyncio.to_thread(self._usable, wanted)
        if manifest is None:
            raise NotFound(
                f"The environment {wanted.name} is not installed.",
                hint=f"Pull it first: pyro env pull {shlex.quote(wanted.name)}",
                code="environment_not_installed",
            )
        await call.progress(f"writing {output}")
        cancel = threading.Event()
        with self.reading(manifest.digest):
            try:
                return await asyncio.to_thread(worker.export, manifest, output, self.cache, cancel)
            finally:
                cancel.set()

    @contextlib.contextmanager
    def reading(self, digest: str) -> Iterator[None]:
        """Meanwhile nothing removes this build."""
        self._read[digest] += 1
        try:
            yield
        finally:
            self._read[digest] -= 1

    async def remove(self, name: str) -> Pruned:
        """Let a name mean nothing any more, and remove its build unless something still needs it."""
        if not name.startswith(prepared.PREFIX):
            name = (await asyncio.to_thread(names.meaning, name, self.cache)).name
        if name in self._pulls:
            raise Conflict(f"The environment {name} is being pulled just now.", code="environment_being_built")
        manifest = await asyncio.to_thread(self.cache.current, name)
        if manifest is None:
            raise NotFound(f"The environment {name} is not installed.", code="environment_not_installed")
        self.cache.forget(name)
        kept = self.cache.drop_kept({self.cache.kept(name)})
        if manifest.digest in self.in_use() | set(self.cache.names().values()):
            return Pruned(removed=[manifest.name], freed_bytes=kept)
        await self._fleet.drop(manifest.digest)
        await asyncio.to_thread(self.cache.discard, manifest.digest)
        if not self._pulls:
            await asyncio.to_thread(self._prune_layers, False)
        freed = await self._fleet.prune_templates({m.digest for m in self.cache.builds()})
        return Pruned(removed=[f"{manifest.name} ({manifest.digest})"], freed_bytes=manifest.size_bytes + kept + freed)

    async def discard(self, manifest: Manifest) -> None:
        """Remove a build that no workspace uses, with its name."""
        if self.cache.names().get(manifest.name) == manifest.digest:
            self.cache.forget(manifest.name)
        await self._fleet.drop(manifest.digest)
        await asyncio.to_thread(self.cache.discard, manifest.digest)
        await self._fleet.prune_templates({m.digest for m in await asyncio.to_thread(self.cache.builds)})

    def prepared(self) -> list[PreparedSetup]:
        """What is kept of projects' set-ups, the latest use first. Blocks shortly."""
        in_use, cache = self.in_use(), self.cache
        found = [
            PreparedSetup(
                name=manifest.name,
                project=kept.wanted.project,
                size_bytes=kept.own_bytes,
                created_at=manifest.created_at,
                last_used_at=iso(datetime.fromtimestamp(cache.last_used(manifest.digest), UTC)),
                in_use=manifest.digest in in_use,
            )
            for manifest, kept in prepared.all_kept(cache)
        ]
        return sorted(found, key=lambda each: str(each.last_used_at), reverse=True)

    async def prune(self, everything: bool, keep_gib: float | None = None) -> Pruned:
        pruned = await self._prune(everything)
        if keep_gib is None:
            return pruned
        removed, freed = list(pruned.removed), pruned.freed_bytes
        going = await asyncio.to_thread(over_budget, self.cache, self.in_use(), int(keep_gib * (1 << 30)))
        for manifest, size in going:
            if isinstance(manifest, Path):
                manifest.unlink(missing_ok=True)
                removed.append(f"layers of the build {manifest.stem}")
                freed += size
                continue
            if manifest.digest in self.in_use():
                continue
            for name, digest in self.cache.names().items():
                if digest == manifest.digest:
                    self.cache.forget(name)
            await self.discard(manifest)
            removed.append(f"{manifest.name} ({manifest.digest})")
            freed += size
        if not self._pulls:
            await asyncio.to_thread(self._prune_layers, False)
        return Pruned(removed=removed, freed_bytes=freed)

    async def _prune(self, everything: bool) -> Pruned:
        in_use = self.in_use()
        for manifest in await asyncio.to_thread(self.cache.builds):
            if manifest.digest not in in_use:
                await self._fleet.drop(manifest.digest)
        kept = await asyncio.to_thread(lambda: self.cache.drop_kept(self.cache.kept_of_nothing(everything)))
        removed = await asyncio.to_thread(self.cache.prune, in_use, everything)
        if not self._pulls:  # one that is under way needs layers that no image has yet
            await asyncio.to_thread(self._prune_layers, everything)
        freed = kept + sum(manifest.size_bytes for manifest in removed)
        freed += await self._fleet.prune_templates({m.digest for m in self.cache.builds()})
        return Pruned(removed=[f"{m.name} ({m.digest})" for m in removed], freed_bytes=freed)

    def in_use(self) -> set[str]:
        """Builds that nothing may remove at this moment."""
        return self._registry.environments_in_use() | {digest for digest, count in self._read.items() if count}

    def _prune_layers(self, everything: bool) -> None:
        def needed() -> set[str]:
            return {layer for manifest in self.cache.builds() for layer in manifest.layers}

        LayerStore(self.cache.layers).prune(needed, everything)


async def spool(
    guest: Guest,
    archive: Path,
    path: str = "/v1/root",
    query: Mapping[str, str] = MappingProxyType({}),
    most: int = MAX_BYTES,
    stall_seconds: float | None = None,
) -> None:
    """What the machine's agent sends, its root or a tree, into a file that is not there yet.

    Raises:
        InvalidInput: it is larger than any environment.
        HostError: the disk has no room for it and for what it is unpacked to.
        EngineError: fewer than `STEP_BYTES` came within `stall_seconds`, and that was not all.
    """
    try:
        async with asyncio.timeout(stall_seconds) as limit:
            await _spool(guest, archive, path, query, most, limit, stall_seconds)
    except TimeoutError:
        if stall_seconds is None or not limit.expired():
            raise
        raise EngineError(
            f"Reading it came to a halt: less than {STEP_BYTES} bytes in {stall_seconds:.0f} s."
        ) from None


async def _spool(
    guest: Guest,
    archive: Path,
    path: str,
    query: Mapping[str, str],
    most: int,
    limit: asyncio.Timeout,
    stall_seconds: float | None,
) -> None:
    size, unlooked, step = 0, LOOK_BYTES, 0
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        async with guest.download(path, query) as stream:
            async for piece in stream:
                size += len(piece)
                if size > most:
                    raise InvalidInput(
                        f"What the machine sends is more than {most} bytes.", code="environment_too_large"
                    )
                unlooked += len(piece)
                if unlooked > LOOK_BYTES:
                    await asyncio.to_thread(keep_room, archive.parent, unlooked)
                    unlooked = 0
                await asyncio.to_thread(file.write, piece)
                step += len(piece)
                if stall_seconds is not None and step >= STEP_BYTES:
                    step = 0
                    limit.reschedule(asyncio.get_running_loop().time() + stall_seconds)
        # It is unpacked beside itself.
        await asyncio.to_thread(keep_room, archive.parent, size)


def _stand_in(own: Definition | None, manifest: Manifest) -> list[str]:
    if own is None or not manifest.stands_in:
        return []
    missing = [package for package in own.packages if package not in manifest.contents]
    lacks = f", without {', '.join(missing)} (apt-get install adds them)" if missing else ""
    return [f"{own.image} is used instead, because this computer has no mmdebstrap{lacks}."]


def _source(wanted: Wanted, manifest: Manifest | None) -> str:
    if isinstance(wanted, Definition) and manifest is not None and manifest.stands_in:
        return f"image {manifest.source}"
    if isinstance(wanted, Definition):
        return f"Debian's signed archive, suite {wanted.suite}, by mmdebstrap"
    if isinstance(wanted, Saved) and manifest is not None and manifest.recipe == BUILT:
        return f"built from {manifest.source}"
    if isinstance(wanted, Saved):
        return f"saved from workspace {manifest.source}" if manifest else "saved"
    return f"image {manifest.source}" if manifest else "image"


IMAGES = "PYRO_MCP_IMAGES"


def refuse_what_the_user_did_not_choose(wanted: Wanted) -> None:
    """A model may name Docker's official images, and those that the user allowed.

    What it names is asked of a registry by this computer, whatever the workspace's network policy is: a name in
    somebody's registry is a message to them, a file is one of the user's.

    Raises:
        NotPermitted: it is neither; the hint says what the user may do.
    """
    if not isinstance(wanted, Reference) or wanted.official:
        return
    allowed = [pattern for pattern in os.environ.get(IMAGES, "").replace(",", " ").split() if pattern]
    if wanted.transport == "registry" and any(fnmatch.fnmatchcase(wanted.name, pattern) for pattern in allowed):
        return
    raise NotPermitted(
        f"The image {wanted.name} is not on this computer, and only the user can fetch it.",
        hint=f"The user may run: pyro env pull {shlex.quote(wanted.name)}",
        code="image_not_pulled",
    )
