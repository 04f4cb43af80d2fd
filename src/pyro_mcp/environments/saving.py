"""Makes an environment of a workspace's root: what changed in it, on top of the environment that it began with.

What comes out of the machine is hostile, and read as a layer of an image is. Blocks; runs in the pulling process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pyro_mcp.environments import rooted
from pyro_mcp.environments.cache import EnvironmentCache, Manifest, remove_tree
from pyro_mcp.environments.oci import dress
from pyro_mcp.environments.oci.compose import UnpackedLayer, compose
from pyro_mcp.environments.oci.layer import LayerNotes, unpack
from pyro_mcp.errors import Conflict
from pyro_mcp.masking.redaction import Redactor
from pyro_mcp.models.base import iso
from pyro_mcp.paths import show

NOT_SAVED = ("proc", "sys", "dev", "tmp", "run", "workspace", "pyro")
"""What the agent does not send (agent/rootfs.go)."""
MACHINES_OWN = (
    *dress.FILES,
    "etc/pyro-git-credentials",
    "etc/pyro-gitconfig",
    "etc/ssl/pyro-workspace.crt",
    "etc/apt/apt.conf.d/80pyro-proxy",
    "etc/ssl/certs/ca-certificates.crt",
)
"""What pyro writes into each machine (`workspaces.occupancy`, `network.guest_environment`): the environment's stays."""
_CHUNK = 1024 * 1024
_SPELLED = 8
"""How many times longer than itself the masked spellings of a value are at most."""


def save(
    name: str,
    base: Manifest,
    archive: Path,
    workspace: str,
    values: Iterable[bytes],
    cache: EnvironmentCache,
    user: str = "",
) -> Manifest:
    """Install the machine's root in `archive` as the environment `name`; `values` are what it must not hold, `user` is
    who commands run as.

    Raises:
        Conflict: a secret's value stands in a file that changed; nothing was saved.
        InvalidInput: the archive is not what an agent sends.
    """
    with cache.lock(name, lambda: None):
        staged = cache.root / "staging" / f"save-{os.getpid()}-{secrets.token_hex(8)}"
        (staged / "changed").mkdir(mode=0o700, parents=True)
        try:
            marked: dict[str, str] = {}
            with open(archive, "rb") as raw:
                notes = unpack(raw, archive.stat().st_size, str(staged / "changed"), None, marked=marked)
            without_machines_own(staged / "changed", notes)
            refuse_secrets(staged / "changed", list(values))
            below = cache.tree(base.digest)
            notes.whiteouts += gone(below, staged / "changed", set(marked))
            (staged / "root").mkdir(mode=0o755)
            compose([UnpackedLayer(below, as_it_is(below)), UnpackedLayer(staged / "changed", notes)], staged / "root")
            shutil.rmtree(staged / "changed")
            rooted.remove(staged / "root", "pyro/prepared")  # what a project's set-up made of /workspace is its own
            dress.dress(staged / "root")
            manifest = Manifest(
                name=name,
                digest=hashlib.sha256(secrets.token_bytes(32)).hexdigest()[:24],
                recipe="saved-1",
                created_at=iso(datetime.now(UTC)),
                size_bytes=dress.size(staged / "root"),
                contents=dress.contents(staged / "root"),
                description=f"saved from a workspace on {base.name}",
                source=workspace,
                runtime={**base.runtime, "user": user},
                layers=base.layers,
                notes=base.notes,
            )
            cache.install(staged, manifest)
        finally:
            remove_tree(staged)
        return manifest


def without_machines_own(changed: Path, notes: LayerNotes) -> None:
    """Take out what pyro writes into each machine."""
    for path in MACHINES_OWN:
        rooted.remove(changed, path)
        notes.dirs = {each: its for each, its in notes.dirs.items() if not f"{each}/".startswith(f"{path}/")}


def gone(below: Path, changed: Path, unchanged: set[str]) -> list[str]:
    """What the environment has and the machine has not any more, the highest of it."""
    missing: list[str] = []
    for directory, names, files in os.walk(below):
        relative = os.path.relpath(directory, below)
        prefix = "" if relative == "." else f"{relative}/"
        if not prefix:
            names[:] = [each for each in names if each not in NOT_SAVED]
        for each in [*names, *files]:
            path = prefix + each
            if path in unchanged or path in MACHINES_OWN or rooted.holds(changed, path):
                continue
            missing.append(path)
            if each in names:
                names.remove(each)
        # A directory that became something else takes its contents with it.
        names[:] = [each for each in names if not (changed / (prefix + each)).is_symlink()]
    return missing


def as_it_is(tree: Path) -> LayerNotes:
    """The directories of a tree with what they are, as a layer would say it."""
    notes = LayerNotes()
    for directory, _, _ in os.walk(tree):
        info = os.lstat(directory)
        relative = os.path.relpath(directory, tree)
        at = (info.st_mode & 0o7777, info.st_uid, info.st_gid, info.st_mtime_ns)
        notes.dirs["" if relative == "." else relative] = at
    return notes


def refuse_secrets(root: Path, values: list[bytes]) -> None:
    """Raises Conflict: a secret's value, in any spelling that is masked, stands in the tree, in a name or a link."""
    redactor = Redactor(value.decode("utf-8", "surrogateescape") for value in values)
    longest = _SPELLED * max(map(len, values), default=0)
    found: list[str] = []
    for directory, names, files in os.walk(root) if longest else ():
        for each in [*names, *files]:
            path = os.path.join(directory, each)
            link = os.path.islink(path)
            said = os.fsencode(each) + (b"\0" + os.fsencode(os.readlink(path)) if link else b"")
            if redactor.data(said) != said or (not link and os.path.isfile(path) and _holds(path, redactor, longest)):
                found.append("/" + os.path.relpath(path, root))
    if found:
        shown = [redactor.text(path) for path in found[:100]]
        raise Conflict(
            f"The value of a secret is in {', '.join(map(show, shown[:10]))}; nothing was saved.",
            hint="Remove it there (often a history, log or configuration file), then save again.",
            code="secret_in_environment",
            details={"files": shown},
        )


def _holds(path: str, redactor: Redactor, longest: int) -> bool:
    with rooted.opened(path) as file:
        tail = b""
        while data := file.read(_CHUNK):
            text = tail + data
            if redactor.data(text) != text:
                return True
            tail = text[-longest:]
    return False
