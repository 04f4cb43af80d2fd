"""The environment that a project's devcontainer.json asks for: its image, or its Dockerfile built, and its features.

What was built is used as long as the Dockerfile, its context, the images it begins with and the features are as they
were. The file is untrusted: a build has the network that the caller gave the workspace, at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import posixpath
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyro_mcp.builds import context as contexts
from pyro_mcp.builds import dockerfile
from pyro_mcp.daemon.call import Call, being_set_up
from pyro_mcp.daemon.context import Context
from pyro_mcp.daemon.environment_service import refuse_what_the_user_did_not_choose
from pyro_mcp.daemon.handlers import builds
from pyro_mcp.devcontainers import features
from pyro_mcp.devcontainers.find import read_below
from pyro_mcp.devcontainers.read import MAX_FEATURES, Devcontainer, shortened
from pyro_mcp.devcontainers.variables import TooLong, Variables
from pyro_mcp.environments import worker
from pyro_mcp.environments.cache import Manifest
from pyro_mcp.environments.oci.artifact import MAX_BYTES
from pyro_mcp.environments.oci.manifest import architecture
from pyro_mcp.environments.oci.reference import Reference
from pyro_mcp.errors import EngineError, InvalidInput, PyroError
from pyro_mcp.machines.protocol import RootTree
from pyro_mcp.network.rules import split
from pyro_mcp.seeds import archives
from pyro_mcp.seeds.scan import SeedPlan
from pyro_mcp.seeds.scan import scan as scan_seed
from pyro_mcp.seeds.sources import Source
from pyro_mcp.visible import visible_lines
from pyro_mcp.vocabulary import NetworkPolicy, asks, online
from pyro_mcp.wholeness import write_new

NAME = "project-"
SHOWN_LOG = 600
"""Characters of a failed build's log, in the notes."""


@dataclass
class _Building:
    """A build, waited for by any number of calls; cancelled when the last person who waits for it leaves."""

    begun_by: Call
    heard_by: Call
    """What it reports its progress to: a copy, so that it may outlive the call."""
    task: asyncio.Task[Manifest]
    waiting: int = 0
    """A chat host's call is never taken off: what it began goes on without it."""


_building: dict[str, _Building] = {}


@dataclass(frozen=True)
class Asked:
    """The project and what its caller allows."""

    source: Source
    plan: SeedPlan
    """Of the project's files: the source's, or of what it was unpacked to."""
    folder: str
    """Where devcontainer.json stands, relative; empty is the project itself."""
    network_policy: NetworkPolicy
    allow_domains: list[str]

    @property
    def slug(self) -> str:
        return hashlib.sha256(os.fsencode(self.source.path) + self.folder.encode()).hexdigest()[:12]

    @property
    def reach(self) -> tuple[NetworkPolicy, list[str], str]:
        """The network that its builds have: never more than the workspace's. And a note, where it is none instead."""
        if not online(self.network_policy):
            return "off", [], ""
        if asks(self.network_policy):
            why = "nobody is asked for its hosts"
        elif any(split(each)[1] for each in self.allow_domains):
            why = "allowed domains with rules (such as HOST:GET) cannot hold in it"
        else:
            return "egress", self.allow_domains, ""
        return "off", [], f"Its build has no network: {why}."

    def below(self, path: str, what: str) -> str:
        """A path of the file's, relative to the project.

        Raises:
            InvalidInput: it leads out of the project.
        """
        found = posixpath.normpath(posixpath.join(self.folder, path))
        if found.startswith(("/", "../")) or found == ".." or "\0" in found:
            raise InvalidInput(f"Its {what} is outside of the project: {shortened(path, 100)}", code="bad_path")
        return "" if found == "." else found


def asked(source: Source, tree: Path | None, path: str, network_policy: NetworkPolicy, domains: list[str]) -> Asked:
    """For a project whose file stands at `path`. Blocks."""
    plan = scan_seed(tree, include_ignored=True) if tree is not None else source.plan
    assert plan is not None
    return Asked(source, plan, posixpath.dirname(path), network_policy, domains)


async def built(call: Call, context: Context, wanted: Asked, said: Devcontainer) -> RootTree:
    """The environment of the file's Dockerfile.

    Raises:
        PyroError: it cannot be built; what a person should know of its log is in the message or `details`.
    """
    assert said.build is not None
    file = wanted.below(said.build.dockerfile, "Dockerfile")
    seeded = {entry.path for entry in wanted.plan.entries}
    text = read_below(wanted.plan.source, file, dockerfile.MAX_BYTES + 1) if file in seeded else None
    if text is None:
        raise InvalidInput(f"There is no file {shortened(file, 100)} in the project", code="no_dockerfile")
    variables = Variables(wanted.source.path.name)
    try:
        args = {name: variables.put_in(value) for name, value in said.build.args}
    except TooLong:
        raise InvalidInput("An argument of its build is too long with its variables put in") from None
    place = wanted.below(said.build.context, "build's context")
    files = await asyncio.to_thread(contexts.of_seed, wanted.plan, place)
    read = await asyncio.to_thread(dockerfile.read, text, args, architecture())
    digests = [(await context.environments.require_for_file(call, image)).digest for image in read.images]
    assert files.plan is not None
    mark = repr((text, sorted(args.items()), said.build.target, digests, files.plan.fingerprint()))
    order = builds.Order(
        name="",
        text=text,
        context=files,
        said=f"{file} of {wanted.source.path}",
        target=said.build.target,
        build_args=args,
    )
    return await _made(call, context, wanted, said, order, "", mark)


async def with_features(call: Call, context: Context, wanted: Asked, said: Devcontainer, base: RootTree) -> RootTree:
    """The environment with the file's features on top of it; what is not followed is noted in `said`.

    Raises:
        PyroError: a feature failed to install.
    """
    user = said.container_user or str(base.runtime.get("user", "") or "root")
    working = said.remote_user or user
    options = sorted((key, repr(value)) for key, value in said.features.items())
    marks = await asyncio.to_thread(_marks, wanted, said.features)
    mark = repr((base.digest, options, said.feature_order, user, working, marks))
    name = _name(wanted, "f", mark)
    present = await _present(context, name)
    if present is not None:
        return present
    async with builds.staged(context) as staged:
        found = await _collected(call, context, wanted, said, staged, working)
        if not found:
            return base
        found = features.ordered(found, said.feature_order)
        for each in found:
            said.passed_over.extend(each.notes[: max(0, 40 - len(said.passed_over))])
        order = builds.Order(
            name="",
            text=features.dockerfile(base.name, found, str(base.runtime.get("user", "") or "root")).encode(),
            context=await asyncio.to_thread(contexts.scan, str(staged / "files")),
            said=f"features of {wanted.source.path}",
        )
        return await _made(call, context, wanted, said, order, "f", mark)


def _marks(wanted: Asked, keys: Iterable[str]) -> list[str]:
    """What tells that a feature's folder in the project has changed."""
    found = []
    for key in keys:
        with contextlib.suppress(InvalidInput):  # one that is not followed is named later
            folder = wanted.below(key, "feature") if key.startswith(".") else ""
            if folder and _is_there(wanted, folder):
                plan = contexts.of_seed(wanted.plan, folder).plan
                found.append(plan.fingerprint() if plan is not None else "")
    return found


def _is_there(wanted: Asked, folder: str) -> bool:
    return any(entry.path == folder for entry in wanted.plan.entries)


async def _collected(
    call: Call, context: Context, wanted: Asked, said: Devcontainer, staged: Path, user: str
) -> list[features.Feature]:
    """All features with those that they need, their files and what `install.sh` is told below `staged`."""
    found: dict[str, features.Feature] = {}
    tried: set[str] = set()
    todo: list[tuple[str, Mapping[str, Any]]] = list(said.features.items())
    while todo:
        key, options = todo.pop(0)
        if key in tried or features.identity(key) in found:
            continue
        if len(tried) >= MAX_FEATURES:
            raise InvalidInput(f"There are more than {MAX_FEATURES} features with those that they need")
        folder = f"feature-{len(tried)}"
        tried.add(key)
        place = staged / "files" / folder
        try:
            where = features.place_of(key)
            if isinstance(where, Reference):
                refuse_what_the_user_did_not_choose(where)
                await call.progress(f"fetching the feature {key}")
                await _fetched(context, where, staged / f"{folder}.tar", place)
            else:
                await asyncio.to_thread(_copied, wanted, wanted.below(where, "feature"), place)
            feature = await asyncio.to_thread(features.read, key, folder, place, options)
            told_it = features.variables_file(feature, user).encode(errors="replace")
            await asyncio.to_thread(write_new, place / features.VARIABLES, told_it, 0o644)
        except (PyroError, OSError) as error:
            if isinstance(error, PyroError) and error.code == "image_not_pulled":
                why = "only the user may have it fetched; set PYRO_MCP_IMAGES to a pattern of such names"
            else:
                why = error.message.rstrip(".") if isinstance(error, PyroError) else str(error)
            said.over(f"features.{key}", shortened(why, 300))
            await asyncio.to_thread(shutil.rmtree, place, True)
            continue
        found[features.identity(key)] = feature
        todo += [(need, its) for need, its in feature.needs.items()]
    there = {features.identity(key) for key in found}
    whole = [each for each in found.values() if {features.identity(need) for need in each.needs} <= there]
    for each in found.values():
        if each not in whole:
            said.over(f"features.{each.key}", "what it needs is not there")
    return whole


async def _fetched(context: Context, reference: Reference, archive: Path, place: Path) -> None:
    cancel, cache = threading.Event(), context.environments.cache
    try:
        await asyncio.to_thread(worker.fetch, reference.name, archive, cache, cancel)
    finally:
        cancel.set()
    await asyncio.to_thread(_unpacked, archive, place)


def _unpacked(archive: Path, place: Path) -> None:
    """The files of a feature, unpacked as any archive of a stranger's is."""
    with archive.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        archive = _opened(archive)
    place.mkdir(parents=True)
    archives.extract(archive, place)


def _opened(archive: Path) -> Path:
    """Without its compression: a small file may hold a large one, so that it is bounded first."""
    import gzip
    import zlib

    plain = archive.with_name(f"{archive.name}.plain.tar")
    try:
        with gzip.open(archive) as file, plain.open("wb") as out:
            while data := file.read(1024 * 1024):
                out.write(data)
                if out.tell() > 4 * MAX_BYTES:
                    raise InvalidInput(f"is larger than {4 * MAX_BYTES} bytes")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput("is a damaged archive") from error
    return plain


def _copied(wanted: Asked, folder: str, place: Path) -> None:
    """A feature's folder of the project: the files that the seed has of it."""
    prefix = f"{folder}/"
    place.mkdir(parents=True)
    if not folder or not _is_there(wanted, folder):
        raise InvalidInput("is not a directory of the project")
    for entry in wanted.plan.entries:
        if not entry.path.startswith(prefix) or entry.link is not None:
            continue
        target = place / entry.path.removeprefix(prefix)
        if (wanted.plan.source / entry.path).is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        data = read_below(wanted.plan.source, entry.path, MAX_BYTES + 1)
        if data is None or len(data) > MAX_BYTES:
            raise InvalidInput("has a file that cannot be read, or is too large")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        target.chmod(0o755 if entry.mode & 0o111 else 0o644)


# -- building


def _name(wanted: Asked, kind: str, mark: str) -> str:
    return f"{NAME}{wanted.slug}{kind}-{hashlib.sha256(mark.encode('utf-8', 'backslashreplace')).hexdigest()[:16]}"


async def _present(context: Context, name: str) -> RootTree | None:
    def look() -> bool:
        cache = context.environments.cache
        manifest = cache.current(name)
        return manifest is not None and cache.sound(manifest.digest)

    return await asyncio.to_thread(context.environments.root, name) if await asyncio.to_thread(look) else None


async def _made(
    call: Call, context: Context, wanted: Asked, said: Devcontainer, order: builds.Order, kind: str, mark: str
) -> RootTree:
    name = _name(wanted, kind, mark)
    present = await _present(context, name)
    if present is not None:
        return present
    policy, domains, note = wanted.reach
    if note and note not in said.notes:
        said.notes.append(note)
    order = replace(order, name=name, network_policy=policy, allow_domains=domains, of_a_file=True)
    building = _building.get(name)
    if building is None:
        heard_by = replace(call)
        task = asyncio.create_task(builds.build(heard_by, context, order), name=f"build {name}")
        building = _building[name] = _Building(call, heard_by, task)
        task.add_done_callback(lambda _: _building.pop(name, None))
    building.waiting += 1
    try:
        done, _ = await asyncio.wait({building.task}, timeout=call.patience)
    finally:
        if building.begun_by is call:
            building.heard_by.emit = None
        if call.face != "mcp":
            building.waiting -= 1
        if not building.waiting:
            building.task.cancel()
    if not done:
        raise being_set_up("The environment of this project", "a Dockerfile is built")
    building.task.result()
    family = f"{NAME}{wanted.slug}{kind}-"
    for other in await asyncio.to_thread(context.environments.cache.names):
        if other.startswith(family) and other != name:
            context.environments.cache.forget(other)
    return await asyncio.to_thread(context.environments.root, name)


def told(error: PyroError) -> str:
    """Why it could not be built, with the end of its log."""
    text = error.message.rstrip(".")
    if isinstance(error, EngineError) and error.details.get("log"):
        text += f"; its log ends: {visible_lines(str(error.details['log'])[-SHOWN_LOG:]).strip()}"
    return text
