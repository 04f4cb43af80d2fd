"""Fetches what is in a registry beside images: an artifact of one layer, such as a devcontainer's feature. Blocks."""

from __future__ import annotations

import json
from pathlib import Path

from pyro_mcp.environments.oci.manifest import Descriptor, bad
from pyro_mcp.environments.oci.reference import DIGEST, Reference
from pyro_mcp.environments.oci.registry import Registry, digest_of

MAX_BYTES = 64 * 1024 * 1024


def fetch(reference: Reference, mirror: str, into: Path) -> str:
    """Write the artifact's only layer, a tar perhaps compressed, into the file `into`; gives its manifest's digest.

    Raises:
        InvalidInput: it is no artifact of one layer of at most 64 MiB.
        PyroError: the registry does not give it.
    """
    registry = Registry(reference, mirror)
    try:
        data, _ = registry.manifest(reference.digest or reference.tag)
        try:
            layers = json.loads(data)["layers"]
            (entry,) = layers
            wanted = Descriptor(str(entry["digest"]), int(entry["size"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise bad("is no artifact of one layer") from error
        if not DIGEST.fullmatch(wanted.digest) or not 0 < wanted.size <= MAX_BYTES:
            raise bad(f"has a layer that is not of at most {MAX_BYTES} bytes")
        registry.blob(wanted, into, lambda count: None)
        return digest_of(data)
    finally:
        registry.close()
