"""Writes an environment as an OCI layout of one layer, which other tools load. Blocks; see `worker`."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, cast

from pyro_mcp.environments import rooted
from pyro_mcp.environments.cache import EnvironmentCache, Manifest
from pyro_mcp.environments.oci.manifest import architecture
from pyro_mcp.errors import Conflict, InvalidInput

EMPTY = ("proc", "sys", "dev", "workspace", "tmp", "run")
"""Directories whose contents are a machine's, not an environment's."""
LEVEL = 5
_KIND = "application/vnd.oci.image."


def write(manifest: Manifest, cache: EnvironmentCache, output: str) -> int:
    """Make the directory `output`, an absolute path that is not there yet; gives the bytes written.

    Raises:
        Conflict: something is there.
        InvalidInput: the directory above it is not there.
        OSError: it cannot be written.
    """
    place = Path(output)
    if os.path.lexists(place):
        raise Conflict(
            f"{output} already exists; nothing was written.", hint="Choose a new name.", code="output_exists"
        )
    if not place.parent.is_dir():
        raise InvalidInput(f"There is no directory {place.parent}.", hint="Create it first.", code="no_such_directory")
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    try:
        blobs = partial / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        layer, diff_id = _layer(cache.tree(manifest.digest), blobs)
        run = manifest.runtime
        variables = [f"{name}={value}" for name, value in run.get("env", {}).items()]
        config = {
            "architecture": architecture(),
            "os": "linux",
            "created": manifest.created_at,
            "config": {
                "Env": variables or ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Cmd": run.get("cmd") or [run.get("shell", "/bin/bash") or ""],
                **({"User": run["user"]} if run.get("user") else {}),
                **({"WorkingDir": run["workdir"]} if run.get("workdir") else {}),
                **({"Entrypoint": run["entrypoint"]} if run.get("entrypoint") else {}),
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": manifest.created_at, "created_by": f"pyro env export {manifest.name}"}],
        }
        record = {
            "schemaVersion": 2,
            "mediaType": f"{_KIND}manifest.v1+json",
            "config": _blob(blobs, config, "config.v1+json"),
            "layers": [layer],
        }
        entry = _blob(blobs, record, "manifest.v1+json")
        entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
        (partial / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        (partial / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        size = sum(file.stat().st_size for file in blobs.iterdir())
        os.rename(partial, place)
        return size
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _blob(blobs: Path, record: object, kind: str) -> dict[str, Any]:
    data = json.dumps(record).encode()
    found = hashlib.sha256(data).hexdigest()
    (blobs / found).write_bytes(data)
    return {"mediaType": _KIND + kind, "digest": f"sha256:{found}", "size": len(data)}


class _Hashing:
    """What is written, counted and hashed on its way."""

    def __init__(self, inner: BinaryIO | gzip.GzipFile) -> None:
        self._inner, self.hash, self.size = inner, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._inner.write(data)

    def flush(self) -> None:
        self._inner.flush()


def _layer(root: Path, blobs: Path) -> tuple[dict[str, Any], str]:
    partial = blobs / "layer"
    with open(partial, "wb") as file:
        outer = _Hashing(file)
        with gzip.GzipFile(filename="", fileobj=cast(Any, outer), mode="wb", compresslevel=LEVEL, mtime=0) as packed:
            inner = _Hashing(packed)
            with tarfile.open(
                fileobj=cast(Any, inner),
                mode="w|",
                format=tarfile.PAX_FORMAT,
                encoding="utf-8",
                errors="surrogateescape",
                bufsize=256 * 1024,
            ) as tar:
                _members(tar, root)
    found = outer.hash.hexdigest()
    os.rename(partial, blobs / found)
    layer = {"mediaType": f"{_KIND}layer.v1.tar+gzip", "digest": f"sha256:{found}", "size": outer.size}
    return layer, f"sha256:{inner.hash.hexdigest()}"


def _members(tar: tarfile.TarFile, root: Path) -> None:
    for directory, names, files in os.walk(root):
        relative = os.path.relpath(directory, root)
        prefix = "" if relative == "." else f"{relative}/"
        names.sort()
        if not prefix:
            names[:] = [name for name in names if name != "pyro"]
        if relative in EMPTY:
            names[:], files = [], []
        for name in sorted([*names, *files]):
            path = os.path.join(directory, name)
            kind = stat.S_IFMT(os.lstat(path).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                continue
            # A layer's files have more names on this disk than in the environment: each is written as itself,
            # unless `tar` has seen one of its names in here.
            member = tar.gettarinfo(path, prefix + name)
            member.uname = member.gname = ""
            if member.isreg():
                with rooted.opened(path) as content:
                    tar.addfile(member, content)
            else:
                tar.addfile(member)
        tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
