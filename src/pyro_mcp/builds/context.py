"""The files of a build's context: a directory of this machine without what its .dockerignore leaves out. Blocks.

Links are taken as they are and lead nowhere here; what is no file, directory or link stays out, as in a seed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pyro_mcp import trees
from pyro_mcp.builds import dockerfile, ignoring
from pyro_mcp.errors import InvalidInput, NotFound
from pyro_mcp.paths import show
from pyro_mcp.seeds import bounds
from pyro_mcp.seeds.scan import SeedPlan, Walk
from pyro_mcp.seeds.sources import Source

IGNORE = ".dockerignore"


class _Context(Walk):
    def __init__(self, source: Path, ignored: Callable[[str], bool]) -> None:
        super().__init__(source)
        self._ignored = ignored

    def add(self, path: str, info: os.stat_result) -> None:
        if self._ignored(path):
            return
        if self._above(path):
            super().add(path, info)

    def _above(self, path: str) -> bool:
        """List the directories above a path that an exception brought back."""
        parent = path.rpartition("/")[0]
        if parent not in self.dirs:
            if not self._above(parent):
                return False
            super().add(parent, os.lstat(self.full(parent)))
        return self.dirs[parent]


def scan(directory: str) -> Source:
    """The context in `directory`, an absolute path.

    Raises:
        InvalidInput: it is no directory, cannot be read, is hardly meant (a whole machine), or is over a seed's bounds.
    """
    place = Path(directory)
    if not place.is_dir():
        raise InvalidInput(f"The context {show(directory)} is no directory.", hint="Give one.", code="bad_context")
    source = place.resolve()
    bounds.refuse_unmeant(source, work_tree=False, meant=False)
    plan = _listed(source)
    return Source(source, plan, plan.files, plan.bytes)


def _listed(source: Path) -> SeedPlan:
    walk = _Context(source, ignoring.ignoring(_text(source)))
    walk.tree("")
    walk.tell()
    return SeedPlan(
        source,
        "directory",
        walk.entries,
        walk.files,
        walk.bytes,
        walk.skipped,
        walk.notes,
        lister=lambda: _listed(source),
    )


def of_seed(plan: SeedPlan, below: str) -> Source:
    """The context that is a folder of a seed: what the seed has of it, no git, without what stays out.

    Raises:
        InvalidInput: there is no such folder.
    """
    prefix = f"{below}/" if below else ""
    source = plan.source / below if below else plan.source
    seeded = {entry.path for entry in plan.entries}
    if below not in seeded or source.resolve() != source:
        raise InvalidInput(f"There is no directory {show(below)} in the project.", code="bad_context")
    ignored = ignoring.ignoring(_text(source) if f"{prefix}{IGNORE}" in seeded else "")
    walk = _Context(source, lambda path: path == ".git" or path.startswith(".git/") or ignored(path))
    for entry in plan.entries:
        if entry.path.startswith(prefix) and entry.path != below and entry.path:
            path = entry.path.removeprefix(prefix)
            try:
                walk.add(path, os.lstat(walk.full(path)))
            except FileNotFoundError:
                continue  # it went away since
    walk.tell()
    return Source(
        source,
        SeedPlan(
            source,
            "directory",
            walk.entries,
            walk.files,
            walk.bytes,
            walk.skipped,
            walk.notes,
            lister=lambda: _plan(of_seed(plan, below)),
        ),
        walk.files,
        walk.bytes,
    )


def _plan(source: Source) -> SeedPlan:
    assert source.plan is not None
    return source.plan


def _text(source: Path) -> str:
    try:
        with trees.opened(source / IGNORE) as file:
            data = file.read(ignoring.MAX_BYTES + 1)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{show(str(source / IGNORE))} is no file that can be read, so what it leaves out is not known.",
            hint="A link there is not followed; put the file itself there, or remove it.",
            code="bad_context",
        ) from error
    if len(data) > ignoring.MAX_BYTES:
        raise InvalidInput(f"{show(str(source / IGNORE))} is larger than {ignoring.MAX_BYTES} bytes.")
    return data.decode("utf-8", "surrogateescape")


def read_file(path: str) -> bytes:
    """The Dockerfile at a path that the user gave.

    Raises:
        NotFound: there is none.
        InvalidInput: it is no file, or too large.
    """
    try:
        with trees.opened(Path(os.path.realpath(path))) as file:
            return bytes(file.read(dockerfile.MAX_BYTES + 1))
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no {show(path)}.", hint="Name the Dockerfile with --file.", code="no_dockerfile"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{show(path)} is no file that can be read.", code="no_dockerfile") from error
