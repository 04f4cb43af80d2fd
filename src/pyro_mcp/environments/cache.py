"""Where built environments are kept.

    environments/DIGEST/root/          the tree
    environments/DIGEST/manifest.json  what is in it
    environments/names/NAME.json       which build a name means now
    environments/staging/…             a build under way, or what a killed one left
    environments/packages/SUITE/       downloaded packages, so that an interrupted build goes on

A build appears under its digest in one rename. All of this runs inside the enclosure, where the trees'
owners are ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pyro_mcp.environments.catalog import CATALOG, Definition
from pyro_mcp.errors import NotFound


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


class EnvironmentCache:
    """The directory of environments. Methods block; call them from a worker thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = root / "names"

    def prepare(self) -> None:
        for directory in (self.root, self._names, self.root / "staging"):
            directory.mkdir(parents=True, exist_ok=True)

    def packages(self, suite: str) -> Path:
        directory = self.root / "packages" / suite
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def tree(self, digest: str) -> Path:
        return self.root / digest / "root"

    def manifest(self, digest: str) -> Manifest | None:
        try:
            return Manifest(**json.loads((self.root / digest / "manifest.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def installed(self, definition: Definition) -> Manifest | None:
        """The current build of this definition; one by an older recipe does not count."""
        try:
            digest = json.loads((self._names / f"{definition.name}.json").read_text())["digest"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        manifest = self.manifest(digest)
        return manifest if manifest is not None and manifest.recipe == definition.recipe else None

    @contextmanager
    def lock(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Have the building of `name` alone, across processes; `waiting` is called when somebody else has it."""
        self.prepare()
        handle = os.open(self._names / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        (staged / "manifest.json").write_text(json.dumps(asdict(manifest)))
        target = self.root / manifest.digest
        if target.exists():
            remove_tree(staged)
        else:
            os.rename(staged, target)
        pointer = self._names / f"{manifest.name}.json"
        partial = pointer.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps({"digest": manifest.digest}))
        os.replace(partial, pointer)

    def builds(self) -> list[Manifest]:
        found = []
        for entry in self.root.iterdir() if self.root.exists() else ():
            manifest = self.manifest(entry.name)
            if manifest is not None:
                found.append(manifest)
        return found

    def prune(self, in_use: set[str], everything: bool) -> list[Manifest]:
        """Remove builds that no workspace uses and no name means; with `everything`, also those a name means."""
        current = set()
        if not everything:
            for definition in CATALOG.values():
                manifest = self.installed(definition)
                if manifest is not None:
                    current.add(manifest.digest)
        removed = []
        for manifest in self.builds():
            if manifest.digest not in in_use | current:
                (self._names / f"{manifest.name}.json").unlink(missing_ok=True) if everything else None
                remove_tree(self.root / manifest.digest)
                removed.append(manifest)
        if everything and not in_use:
            shutil.rmtree(self.root / "packages", ignore_errors=True)
        return removed

    def require(self, name: str, digest: str) -> Manifest:
        manifest = self.manifest(digest)
        if manifest is None:
            raise NotFound(
                f"The build {digest} of environment {name} is gone from the cache.",
                hint="It cannot be rebuilt as it was; create a new workspace.",
                code="environment_build_gone",
            )
        return manifest


def remove_tree(path: Path) -> None:
    """Remove a tree, out of sight first, so that a killed removal leaves nothing that looks whole."""
    doomed = path.with_name(f".doomed-{path.name}-{os.getpid()}")
    try:
        os.rename(path, doomed)
    except OSError:
        return
    shutil.rmtree(doomed, ignore_errors=True)
