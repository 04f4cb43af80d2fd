"""What describes an image: index, manifest and configuration, read as the foreign bytes that they are. No I/O.

Bounds: an index and a manifest have at most 4 MiB, a configuration 8 MiB, an image 256 layers.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any

from pyro_mcp.environments.oci.reference import DIGEST
from pyro_mcp.errors import InvalidInput, Unsupported

MAX_MANIFEST = 4 * 1024 * 1024
MAX_CONFIG = 8 * 1024 * 1024
MAX_LAYERS = 256
MAX_LAYER_BYTES = 64 * 1024**3
MAX_VARIABLES = 200
"""The agent takes 256; pyro adds some of its own."""
MAX_TEXT = 32 * 1024

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPT = ", ".join((*MANIFESTS, *INDEXES))
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Descriptor:
    """A blob by its content."""

    digest: str
    size: int
    media_type: str = ""

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")


@dataclass(frozen=True)
class ImageManifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class ImageConfig:
    """What an image says of its contents and of how it is meant to be run."""

    diff_ids: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


def architecture() -> str:
    """This computer's architecture, as images call it."""
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def bad(what: str) -> InvalidInput:
    return InvalidInput(
        f"The image {what}; none of it was used.",
        hint="Ask whoever built it to check it, or use another image.",
        code="bad_image",
    )


def _record(data: bytes, what: str, most: int) -> dict[str, Any]:
    if len(data) > most:
        raise bad(f"has {what} of more than {most} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad(f"has {what} that is not JSON") from error
    if not isinstance(found, dict):
        raise bad(f"has {what} that is not a record")
    return found


def _descriptor(value: object, what: str, most: int) -> Descriptor:
    fields = value if isinstance(value, dict) else {}
    digest, size, kind = fields.get("digest"), fields.get("size"), fields.get("mediaType", "")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise bad(f"names {what} by something else than a sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= most:
        raise bad(f"says an impossible size of {what}")
    if fields.get("urls"):
        raise Unsupported("A layer of the image is kept elsewhere than in its registry.", code="foreign_layer")
    return Descriptor(digest, size, kind if isinstance(kind, str) else "")


def is_index(data: bytes, media_type: str = "") -> bool:
    """Whether these bytes list images instead of being one."""
    record = _record(data, "a manifest", MAX_MANIFEST)
    said = record.get("mediaType", media_type)
    return said in INDEXES or (said not in MANIFESTS and "manifests" in record)


def choose(data: bytes, tag: str = "") -> Descriptor:
    """The manifest for this computer in an index; `tag` is that of an OCI layout.

    Raises:
        InvalidInput: it is damaged, or several fit equally.
        Unsupported: it has none for Linux on this computer's architecture.
    """
    listed = _record(data, "an index", MAX_MANIFEST).get("manifests")
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise bad("has an index without a list of manifests")
    if tag:
        named = [e for e in listed if _annotation(e) == tag]
        if not named:
            there = ", ".join(sorted(filter(None, map(_annotation, listed)))[:10]) or "none"
            raise InvalidInput(f"There is no image tagged {tag!r}; tags there: {there}.", code="unknown_tag")
        listed = named
    wanted = architecture()
    offered: list[str] = []
    plain: list[dict[str, Any]] = []
    for entry in listed:
        platform = entry.get("platform")
        if not isinstance(platform, dict):
            plain.append(entry)
            continue
        system, machine = platform.get("os"), platform.get("architecture")
        if system == "linux" and machine == wanted:
            return _descriptor(entry, "a manifest", MAX_MANIFEST)
        if system != "unknown":  # attestations
            offered.append(f"{system}/{machine}")
    if len(plain) == 1:
        return _descriptor(plain[0], "a manifest", MAX_MANIFEST)
    if plain:
        tags = ", ".join(sorted(filter(None, map(_annotation, plain)))[:10])
        raise InvalidInput(
            f"There are {len(plain)} images; say which one.", hint=f"Put a tag after it: {tags}.", code="which_image"
        )
    raise Unsupported(
        f"The image is not for linux/{wanted}, but for {', '.join(offered[:10]) or 'nothing'}.",
        hint="Choose another tag, or build it for this computer's architecture.",
        code="wrong_platform",
    )


def _annotation(entry: dict[str, Any]) -> str:
    notes = entry.get("annotations")
    name = notes.get("org.opencontainers.image.ref.name") if isinstance(notes, dict) else None
    return name if isinstance(name, str) else ""


def read_manifest(data: bytes) -> ImageManifest:
    """An image's manifest.

    Raises:
        InvalidInput: it is damaged or over this module's bounds.
        Unsupported: of the schema that registries gave up in 2017, or no image.
    """
    record = _record(data, "a manifest", MAX_MANIFEST)
    if record.get("schemaVersion") != 2 or "fsLayers" in record:
        raise Unsupported("The image has a manifest of version 1, which pyro does not read.", code="old_manifest")
    layers = record.get("layers")
    if not isinstance(layers, list) or len(layers) > MAX_LAYERS:
        raise bad(f"has no list of at most {MAX_LAYERS} layers")
    config = _descriptor(record.get("config"), "its configuration", MAX_CONFIG)
    if config.media_type and "image" not in config.media_type and "container" not in config.media_type:
        raise Unsupported(
            f"It holds {config.media_type[:80]}, which is not a container image.", code="no_container_image"
        )
    return ImageManifest(config, tuple(_descriptor(entry, "a layer", MAX_LAYER_BYTES) for entry in layers))


def read_config(data: bytes, layers: int) -> ImageConfig:
    """An image's configuration.

    Raises:
        InvalidInput: it is damaged or does not fit the number of layers.
        Unsupported: it is for another machine.
    """
    record = _record(data, "a configuration", MAX_CONFIG)
    system, machine = record.get("os", "linux"), record.get("architecture", architecture())
    if system != "linux" or machine not in (architecture(), ""):
        raise Unsupported(
            f"The image is for {system}/{machine}; this computer is linux/{architecture()}.",
            hint="Choose another tag, or build it for this computer's architecture.",
            code="wrong_platform",
        )
    rootfs = record.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list) or len(diff_ids) != layers:
        raise bad("has a configuration that does not fit its layers")
    if not all(isinstance(each, str) and DIGEST.fullmatch(each) for each in diff_ids):
        raise bad("names a layer's contents by something else than a sha256 digest")
    run = record.get("config")
    run = run if isinstance(run, dict) else {}
    return ImageConfig(
        diff_ids=tuple(diff_ids),
        env=_variables(run.get("Env")),
        user=_text(run.get("User")),
        workdir=_text(run.get("WorkingDir")),
        entrypoint=_words(run.get("Entrypoint")),
        cmd=_words(run.get("Cmd")),
    )


def _variables(value: object) -> dict[str, str]:
    """Those that a program can have; an image with hundreds has the first ones."""
    found: dict[str, str] = {}
    for entry in value if isinstance(value, list) else ():
        name, equals, content = _text(entry).partition("=")
        if equals and re.fullmatch(r"[^=\0\s]{1,256}", name) and len(found) < MAX_VARIABLES:
            found[name] = content
    return found


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
        return ""
    return value.encode("utf-8", "replace").decode()


def _words(value: object) -> tuple[str, ...]:
    return tuple(_text(each) for each in value[:256]) if isinstance(value, list) else ()
