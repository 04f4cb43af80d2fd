"""Images in files of this computer: an OCI layout, as a directory or a tar, and what `docker save` writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import IO, Protocol

from pyro_mcp.environments.oci import manifest as manifests
from pyro_mcp.environments.oci.manifest import Descriptor, ImageManifest, bad
from pyro_mcp.environments.oci.reference import Reference, parse
from pyro_mcp.environments.oci.registry import digest_of
from pyro_mcp.errors import InvalidInput, NotFound, PyroError
from pyro_mcp.tars import MADE_UP, BoundedInfo

MAX_ARCHIVE_MEMBERS = 20_000
MAX_INDEX = manifests.MAX_MANIFEST


class Files(Protocol):
    """Regular files by their relative paths."""

    def open(self, path: str) -> tuple[IO[bytes], int]:
        """A file, to be closed, with its size. Raises InvalidInput when there is none."""

    def close(self) -> None: ...


class DirectoryFiles:
    def __init__(self, place: str) -> None:
        self._place = place

    def open(self, path: str) -> tuple[IO[bytes], int]:
        try:
            handle = os.open(os.path.join(self._place, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise bad(f"lacks {path} ({error.strerror})") from error
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            os.close(handle)
            raise bad(f"has {path}, which is not a file")
        return open(handle, "rb"), info.st_size

    def close(self) -> None:
        pass


class TarFiles:
    def __init__(self, place: str) -> None:
        try:
            self._tar = tarfile.open(  # noqa: SIM115 - closed by `close`
                place, "r:", tarinfo=BoundedInfo, encoding="utf-8", errors="surrogateescape"
            )
            self._members: dict[str, tarfile.TarInfo] = {}
            for member in self._tar:
                self._members[os.path.normpath(member.name)] = member
                if len(self._members) > MAX_ARCHIVE_MEMBERS:
                    raise bad(f"is an archive of more than {MAX_ARCHIVE_MEMBERS} files")
        except InvalidInput:
            raise
        except (tarfile.TarError, EOFError, *MADE_UP) as error:
            raise bad(f"is not a tar archive, or is damaged or compressed ({error})") from error

    def open(self, path: str) -> tuple[IO[bytes], int]:
        member = self._members.get(os.path.normpath(path))
        for _ in range(3):  # `docker save` of old makes links between layers that are alike
            if member is None or not (member.issym() or member.islnk()):
                break
            base = os.path.dirname(member.name) if member.issym() else ""
            member = self._members.get(os.path.normpath(os.path.join(base, member.linkname)))
        if member is None or not member.isfile() or member.issparse() or member.size < 0:
            raise bad(f"lacks {path[:200]}")
        file = self._tar.extractfile(member)
        if file is None:
            raise bad(f"lacks {path[:200]}")
        return file, member.size

    def close(self) -> None:
        self._tar.close()


def _read(files: Files, path: str, most: int) -> bytes:
    file, size = files.open(path)
    with file:
        if size > most:
            raise bad(f"has {path} of {size} bytes; {most} is the most")
        return file.read(most + 1)


class LocalImage:
    """One image in a file or directory."""

    def __init__(self, reference: Reference) -> None:
        place = reference.place
        if not os.path.exists(place):
            raise NotFound(f"There is no {place} on this computer.", code="image_not_found")
        if (reference.transport == "oci") != os.path.isdir(place):
            kind = "an OCI layout is a directory" if reference.transport == "oci" else "an archive is a file"
            raise InvalidInput(f"{place} has the wrong type: {kind}.", code="bad_image")
        self._reference = reference
        self._files: Files = DirectoryFiles(place) if reference.transport == "oci" else TarFiles(place)
        self._layers: list[tuple[str, Descriptor | None]] = []

    def close(self) -> None:
        self._files.close()

    def describe(self) -> tuple[str, ImageManifest, bytes]:
        """The image's digest, manifest and configuration."""
        if self._reference.transport == "docker-archive":
            return self._docker()
        data, digest = _read(self._files, "index.json", MAX_INDEX), ""
        tag = self._reference.tag
        for _ in range(3):  # an index may name a further one
            wanted = manifests.choose(data, tag)
            data, digest, tag = self._blob(wanted), wanted.digest, ""
            if not manifests.is_index(data, wanted.media_type):
                break
        manifest = manifests.read_manifest(data)
        config = self._blob(manifest.config)
        self._layers = [(_blob_path(layer), layer) for layer in manifest.layers]
        return digest, manifest, config

    def _blob(self, wanted: Descriptor) -> bytes:
        data = _read(self._files, _blob_path(wanted), manifests.MAX_CONFIG)
        if digest_of(data) != wanted.digest or len(data) != wanted.size:
            raise bad(f"has other bytes than the digest {wanted.digest} says")
        return data

    def _docker(self) -> tuple[str, ImageManifest, bytes]:
        try:
            entries = json.loads(_read(self._files, "manifest.json", MAX_INDEX))
        except (ValueError, RecursionError) as error:
            raise bad("has a manifest.json that is not JSON") from error
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise bad("has a manifest.json that is not a list")
        wanted = self._reference.tag
        tags = [[tag for tag in _texts(entry.get("RepoTags")) if tag] for entry in entries]
        if wanted:
            full = _spelled(wanted)
            entries = [entry for entry, its in zip(entries, tags, strict=True) if full in map(_spelled, its)]
        if len(entries) != 1:
            there = ", ".join(tag for its in tags for tag in its)[:500] or "none"
            what = f"no image {wanted!r}" if wanted else f"{len(tags)} images"
            raise InvalidInput(
                f"The archive holds {what}; it has: {there}.", hint="Put one of them after it.", code="which_image"
            )
        config_path, layers = entries[0].get("Config"), _texts(entries[0].get("Layers"))
        if not isinstance(config_path, str) or len(layers) > manifests.MAX_LAYERS:
            raise bad("has a manifest.json without a configuration and layers")
        config = _read(self._files, config_path, manifests.MAX_CONFIG)
        self._layers = [(path, None) for path in layers]
        descriptors = []
        for path in layers:
            file, size = self._files.open(path)
            file.close()
            descriptors.append(Descriptor("", size))  # what is in it is checked against the configuration
        config_digest = digest_of(config)
        return config_digest, ImageManifest(Descriptor(config_digest, len(config)), tuple(descriptors)), config

    @contextlib.contextmanager
    def layer(self, number: int) -> Iterator[tuple[IO[bytes], int]]:
        """A layer's bytes, checked against their digest where they have one."""
        path, wanted = self._layers[number]
        file, size = self._files.open(path)
        with file:
            if wanted is not None:
                found = hashlib.sha256()
                while data := file.read(1024 * 1024):
                    found.update(data)
                file.seek(0)
                if f"sha256:{found.hexdigest()}" != wanted.digest or size != wanted.size:
                    raise bad(f"has a layer with other bytes than the digest {wanted.digest} says")
            yield file, size


def _spelled(name: str) -> str:
    """A tag in an archive, which may stand there in short or in full."""
    try:
        return parse(name).name
    except PyroError:
        return name


def _blob_path(wanted: Descriptor) -> str:
    return f"blobs/sha256/{wanted.hex}"


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
