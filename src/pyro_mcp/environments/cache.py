"""Where built environments are kept.

    environments/DIGEST/root/          the tree
    environments/DIGEST/manifest.json  what is in it
    environments/names/NAME.json       which build a name means now
    environments/staging/…             a build under way, or what a killed one left
    environments/packages/SUITE/       downloaded packages, so that an interrupted build goes on
    environments/layers/…              of images, each once for all that have it (`oci.layers`)
    environments/kept/NAME.tar         a build's layers, for the next build of that name: read by its machine only

A build appears under its digest in one rename. All of this runs inside the enclosure, where the trees'
owners are ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pyro_mcp import trees, wholeness
from pyro_mcp.environments.catalog import CATALOG, Definition
from pyro_mcp.errors import Conflict, NotFound
from pyro_mcp.machines.processes import start_time

log = logging.getLogger(__name__)
_OWNED = re.compile(r"(?:save|root|build)-([0-9]+)-[0-9a-f]+(?:\.tar)?|[0-9a-f]{16}\.([0-9]+)")
"""What is made of an image or a workspace, with the process that makes it."""
_OF_A_PROJECT = re.compile(r"(project-[0-9a-f]{12}f?)-[0-9a-f]{16}")
"""What a devcontainer.json asks for (`daemon.handlers.project_images`): the project's part, and that of one state."""
BUILT = "built-1"
"""The recipe of what was made of a Dockerfile."""
MARK = "mark"
"""Beside a build's tree: what `wholeness.tree_mark` said of it when it was made."""

USED = "used"
"""Beside a build's tree: an empty file, as old as its last use."""


@dataclass(frozen=True)
class Manifest:
    """What an installed environment is."""

    name: str
    digest: str
    recipe: str
    created_at: str
    size_bytes: int
    contents: dict[str, str]
    """Every package with its version."""
    description: str = ""
    source: str = ""
    """Of an image: the digest of its manifest. Of a saved one: the workspace it was."""
    runtime: dict[str, Any] = field(default_factory=dict)
    """How commands are run in it; see `machines.protocol.Runtime`."""
    layers: list[str] = field(default_factory=list)
    """Of an image: what it shares with others on disk."""
    notes: list[str] = field(default_factory=list)
    """What a person should know of it, in words."""
    prepared: dict[str, Any] = field(default_factory=dict)
    """Of what a project's set-up made: a `prepared.Kept`, dumped. An earlier pyro knows no such field, so it stands
    in the manifest only where there is something in it."""

    @property
    def stands_in(self) -> bool:
        """An image, which under the name of one of pyro's own stands in for it (`catalog.Definition.image`)."""
        return self.recipe.startswith("oci-")


class EnvironmentCache:
    """The directory of environments. Methods block; call them from a worker thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._sound: set[str] = set()
        self._damaged: set[str] = set()
        self._names = root / "names"

    def prepare(self) -> None:
        for directory in (self.root, self._names, self.root / "staging", self.root / "kept"):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    def kept(self, name: str) -> Path:
        """Where the layers of a Dockerfile's build are kept for the next one: once for all states of a project."""
        project = _OF_A_PROJECT.fullmatch(name)
        return self.root / "kept" / f"{_file_name(project[1] if project else name)}.tar"

    def all_kept(self) -> list[Path]:
        return trees.matching(self.root / "kept", "*")

    def kept_of_nothing(self, everything: bool) -> set[Path]:
        """Layers of builds whose names mean nothing any more; all, with `everything`."""
        return set(self.all_kept()) - (set() if everything else {self.kept(name) for name in self.names()})

    @staticmethod
    def drop_kept(layers: set[Path]) -> int:
        """Remove kept layers; the bytes that this frees."""
        freed = 0
        for each in layers:
            with contextlib.suppress(FileNotFoundError):
                size = each.lstat().st_blocks * 512
                each.unlink()
                freed += size
        return freed

    def packages(self, suite: str) -> Path:
        directory = self.root / "packages" / suite
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def tree(self, digest: str) -> Path:
        return self.root / digest / "root"

    def manifest(self, digest: str) -> Manifest | None:
        """What is noted of a build; None where there is none. Raises OSError as `wholeness.no_verdict` has it."""
        try:
            return Manifest(**wholeness.read_record(self.root / digest / "manifest.json"))
        except (OSError, ValueError, TypeError) as error:
            if wholeness.no_verdict(error):
                raise
            return None

    def sound(self, digest: str) -> bool:
        """Whether a build is just as it was made; looked at once by this process, one lstat a file.

        A damaged build is put aside, for those machines that run on it, and is not there any more. One of an earlier
        pyro, which took no mark, gets it now. Raises OSError where this computer had nothing to look with.
        """
        if digest in self._sound:
            return True
        note, tree = self.root / digest / MARK, self.tree(digest)
        try:
            if not os.path.lexists(note):
                wholeness.write_new(note, wholeness.tree_mark(tree).encode())
            if wholeness.is_as_marked(tree, wholeness.read_text(note)):
                self._sound.add(digest)
                return True
        except OSError as error:
            if wholeness.no_verdict(error):
                raise
            log.warning("the environment %s cannot be read: %s", digest, error)
        log.warning("the environment %s was changed on this disk since it was built", digest)
        self._damaged.add(digest)
        self._put_aside(digest)
        return False

    def _put_aside(self, digest: str) -> None:
        self._sound.discard(digest)
        with contextlib.suppress(OSError):
            os.rename(self.root / digest, self.root / f".damaged-{digest}-{secrets.token_hex(4)}")

    def used(self, digest: str) -> None:
        """Note that a workspace begins with this build now."""
        with contextlib.suppress(OSError):
            wholeness.write_new(self.root / digest / USED, b"")

    def last_used(self, digest: str) -> float:
        """When a workspace began with it last, or else when it was made; in seconds since the epoch."""
        for name in (USED, "manifest.json"):
            with contextlib.suppress(OSError):
                return os.lstat(self.root / digest / name).st_mtime
        return 0.0

    def current(self, name: str) -> Manifest | None:
        """The build that a name means now."""
        try:
            digest = str(wholeness.read_record(self._pointer(name))["digest"])
        except (OSError, ValueError, KeyError) as error:
            if wholeness.no_verdict(error):
                raise
            return None
        manifest = self.manifest(digest)
        # Two names may mean one build.
        return replace(manifest, name=name) if manifest is not None else None

    def installed(self, definition: Definition) -> Manifest | None:
        """The current build of this definition; one by an older recipe does not count."""
        manifest = self.current(definition.name)
        if manifest is None or (manifest.recipe != definition.recipe and not manifest.stands_in):
            return None
        return manifest

    def names(self) -> dict[str, str]:
        """Every name that means a build, with the build's digest: a name whose build was damaged means none."""
        found = {}
        for pointer in trees.matching(self._names, "*.json"):
            try:
                record = wholeness.read_record(pointer)
                name, digest = str(record.get("name") or pointer.name.removesuffix(".json")), str(record["digest"])
                if os.path.lexists(self.root / digest / "manifest.json"):
                    found[name] = digest
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                if wholeness.no_verdict(error):
                    raise
        return found

    def _pointer(self, name: str) -> Path:
        return self._names / f"{_file_name(name)}.json"

    @contextlib.contextmanager
    def lock(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Have the building of `name` alone, across processes; `waiting` is called when somebody else has it."""
        self.prepare()
        handle = os.open(self._names / f"{_file_name(name)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def install(self, staged: Path, manifest: Manifest) -> None:
        """Move a finished build into place and have its name mean it."""
        record = {key: value for key, value in asdict(manifest).items() if key != "prepared" or value}
        (staged / "manifest.json").write_text(json.dumps(record))
        (staged / MARK).write_text(wholeness.tree_mark(staged / "root"))
        target = self.root / manifest.digest
        # Two names may mean one image, and two processes bring it at once.
        with self.lock(f"build-{manifest.digest}", lambda: None):
            # What stands there may be damaged; then it goes aside, and ours comes in its place.
            if os.path.lexists(target) and self.manifest(manifest.digest) is not None and self.sound(manifest.digest):
                remove_tree(staged)
            else:
                self._put_aside(manifest.digest)
                os.rename(staged, target)
                self._damaged.discard(manifest.digest)
            self.point(manifest.name, manifest.digest)

    def point(self, name: str, digest: str) -> None:
        """From now on, a name means this build."""
        wholeness.write_new(self._pointer(name), json.dumps({"digest": digest, "name": name}).encode())

    def forget(self, name: str) -> bool:
        """A name means nothing any more; what it meant is for `prune`. Gives whether it meant something."""
        there = self._pointer(name).exists()
        self._pointer(name).unlink(missing_ok=True)
        return there

    def discard(self, digest: str) -> None:
        """Remove a build that nothing needs."""
        remove_tree(self.root / digest)

    def sweep(self) -> None:
        """Remove what killed processes left behind. What a living one is at, it keeps."""
        staging = self.root / "staging"
        for doomed in (*trees.matching(self.root, ".doomed-*"), *trees.matching(staging, ".doomed-*")):
            shutil.rmtree(doomed, ignore_errors=True)  # nobody wants it, whoever began
        for left in trees.matching(staging, "*"):
            owner = _OWNED.fullmatch(left.name)
            if owner is None or start_time(int(owner[1] or owner[2])) is not None:
                continue
            if left.is_dir() and not left.is_symlink():
                remove_tree(left)
            else:
                left.unlink(missing_ok=True)

    def builds(self) -> list[Manifest]:
        found = []
        for entry in self.root.iterdir() if self.root.exists() else ():
            if entry.name.startswith("."):
                continue
            manifest = self.manifest(entry.name)
            if manifest is not None:
                found.append(manifest)
        return found

    def prune(self, in_use: set[str], everything: bool) -> list[Manifest]:
        """Remove builds that no workspace uses and no name means; with `everything`, also those a name means."""
        current = set()
        if not everything:
            for name, digest in self.names().items():
                known = CATALOG.get(name)
                if known is None or self.installed(known) is not None:
                    current.add(digest)
        self.sweep()
        removed = []
        for manifest in self.builds():
            if manifest.digest not in in_use | current:
                for name, digest in self.names().items() if everything else ():
                    if digest == manifest.digest:
                        self.forget(name)
                remove_tree(self.root / manifest.digest)
                removed.append(manifest)
        self.drop_kept(self.kept_of_nothing(everything))
        for aside in trees.matching(self.root, ".damaged-*"):
            if aside.name.split("-")[1] not in in_use:
                remove_tree(aside)
        if everything and not in_use:
            shutil.rmtree(self.root / "packages", ignore_errors=True)
        return removed

    def require(self, name: str, digest: str) -> Manifest:
        """A build, just as it was made.

        Raises:
            Conflict: it was changed on this disk.
            NotFound: it is not there.
        """
        manifest = self.manifest(digest)
        if os.path.lexists(self.root / digest) and (manifest is None or not self.sound(digest)):
            if manifest is None:
                self._damaged.add(digest)
                self._put_aside(digest)
            manifest = None
        if manifest is None and digest in self._damaged:
            raise Conflict(
                f"The build {digest} of environment {name} was changed on this computer's disk after it was built.",
                hint="It will not be used again. Export what you need from the running workspace, then create a "
                "new one.",
                code="environment_damaged",
            )
        if manifest is None:
            raise NotFound(
                f"The build {digest} of environment {name} is gone from the cache.",
                hint="It cannot be rebuilt exactly; create a new workspace.",
                code="environment_build_gone",
            )
        return manifest


def _file_name(name: str) -> str:
    """A name as part of a path: a reference to an image holds slashes, and may be long."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}", name):
        return name
    return f"image-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def remove_tree(path: Path) -> None:
    """Remove a tree, out of sight first, so that a killed removal leaves nothing that looks whole."""
    doomed = path.with_name(f".doomed-{path.name}-{os.getpid()}")
    try:
        os.rename(path, doomed)
    except OSError:
        return
    shutil.rmtree(doomed, ignore_errors=True)
