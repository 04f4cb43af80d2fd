"""Makes an environment of an image: resolve, fetch, unpack, compose, dress, install. Blocks; see `worker`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from pyro_mcp.environments.cache import EnvironmentCache, Manifest, remove_tree
from pyro_mcp.environments.oci import dress
from pyro_mcp.environments.oci import manifest as manifests
from pyro_mcp.environments.oci.compose import UnpackedLayer, compose
from pyro_mcp.environments.oci.layers import LayerStore
from pyro_mcp.environments.oci.local import LocalImage
from pyro_mcp.environments.oci.manifest import ImageConfig, ImageManifest, bad
from pyro_mcp.environments.oci.reference import DOCKER, Reference
from pyro_mcp.environments.oci.registry import Registry, digest_of
from pyro_mcp.errors import EngineError, NotFound
from pyro_mcp.models.base import iso

Report = Callable[[str, float | None], None]
SIDE_BY_SIDE = 3
"""Layers that are fetched at once, as Docker does."""
_DOWNLOAD = 0.7
"""The download's share of the work, for the bar."""


class Source(Protocol):
    def describe(self) -> tuple[str, ImageManifest, bytes]:
        """The image's digest, manifest and configuration."""

    def layer(
        self, number: int, blob: Path, progress: Callable[[int], None]
    ) -> contextlib.AbstractContextManager[tuple[IO[bytes], int]]:
        """A layer's bytes, checked."""

    def close(self) -> None: ...


class _Remote:
    def __init__(self, reference: Reference, mirror: str) -> None:
        self._reference = reference
        self._registry = Registry(reference, mirror)
        self._layers: tuple[manifests.Descriptor, ...] = ()

    def describe(self) -> tuple[str, ImageManifest, bytes]:
        data, kind = self._registry.manifest(self._reference.digest or self._reference.tag)
        for _ in range(2):  # an index may name a further one
            if not manifests.is_index(data, kind):
                break
            wanted = manifests.choose(data)
            data, kind = self._registry.manifest(wanted.digest)
        manifest = manifests.read_manifest(data)
        self._layers = manifest.layers
        return digest_of(data), manifest, self._registry.small_blob(manifest.config)

    @contextlib.contextmanager
    def layer(self, number: int, blob: Path, progress: Callable[[int], None]) -> Iterator[tuple[IO[bytes], int]]:
        wanted = self._layers[number]
        self._registry.blob(wanted, blob, progress)
        with open(blob, "rb") as file:
            yield file, wanted.size

    def close(self) -> None:
        self._registry.close()


class _Local:
    def __init__(self, reference: Reference) -> None:
        self._image = LocalImage(reference)

    def describe(self) -> tuple[str, ImageManifest, bytes]:
        return self._image.describe()

    def layer(
        self, number: int, blob: Path, progress: Callable[[int], None]
    ) -> contextlib.AbstractContextManager[tuple[IO[bytes], int]]:
        return self._image.layer(number)

    def close(self) -> None:
        self._image.close()


def pull(reference: Reference, cache: EnvironmentCache, mirror: str, report: Report) -> Manifest:
    """The environment of an image as it is now; only what is not there is fetched.

    Raises:
        PyroError: as the modules of this package say.
        OSError: this computer's disk refuses it.
    """
    waiting = cache.lock(reference.name, lambda: report("waiting for another pull of this image", None))
    with waiting, LayerStore(cache.layers).used():
        report("asking for the image", 0.0)
        with contextlib.ExitStack() as closing:
            source, (digest, manifest, raw_config) = _resolved(reference, mirror, closing)
            config = manifests.read_config(raw_config, len(manifest.layers))
            build = hashlib.sha256(f"oci\n{dress.DRESS_VERSION}\n{digest}".encode()).hexdigest()[:24]
            present = cache.manifest(build)
            if present is not None and cache.sound(build):
                cache.point(reference.name, present.digest)
                report("it is there already", 1.0)
                return present
            layers = _layers(source, manifest, config, cache, report, SIDE_BY_SIDE if _far(reference) else 1)
        return _install(reference, cache, build, digest, config, layers, report)


def _far(reference: Reference) -> bool:
    return reference.transport == "registry"


def _resolved(
    reference: Reference, mirror: str, closing: contextlib.ExitStack
) -> tuple[Source, tuple[str, ImageManifest, bytes]]:
    """Where the image comes from: Docker Hub's from the mirror, if it has it."""
    if not _far(reference):
        local = _Local(reference)
        closing.callback(local.close)
        return local, local.describe()
    if mirror and reference.place == DOCKER:
        try:
            near = _Remote(reference, mirror)
            closing.callback(near.close)
            return near, near.describe()
        except (NotFound, EngineError) as at_mirror:
            try:
                return _direct(reference, closing)
            except (NotFound, EngineError) as error:
                # Both are said: whoever set a mirror wants to know what it said.
                raise type(error)(
                    f"{at_mirror.message} {error.message}", hint=error.hint, code=error.code
                ) from at_mirror
    return _direct(reference, closing)


def _direct(reference: Reference, closing: contextlib.ExitStack) -> tuple[Source, tuple[str, ImageManifest, bytes]]:
    far = _Remote(reference, "")
    closing.callback(far.close)
    return far, far.describe()


class _Bars:
    """How far each layer is, said as one line."""

    def __init__(self, sizes: list[int], report: Report) -> None:
        self._sizes = [max(1, size) for size in sizes]
        self._come, self._open = [0] * len(sizes), [0] * len(sizes)
        self._done = [False] * len(sizes)
        self._report = report
        self._lock = threading.Lock()

    def came(self, number: int, count: int) -> None:
        self._come[number] = count
        self._say()

    def opened(self, number: int, count: int) -> None:
        self._come[number] = self._sizes[number]
        self._open[number] = count
        self._say()

    def finished(self, number: int) -> None:
        self._done[number] = True
        self._come[number] = self._open[number] = self._sizes[number]
        self._say()

    def _say(self) -> None:
        with self._lock:
            total = sum(self._sizes)
            share = (sum(self._come) * _DOWNLOAD + sum(self._open) * (1 - _DOWNLOAD)) / total
            under_way = []
            for number, size in enumerate(self._sizes):
                if self._done[number] or not self._come[number]:
                    continue
                if self._open[number]:
                    under_way.append(f"{number + 1}: unpacking {min(self._open[number] / size, 1):.0%}")
                else:
                    under_way.append(f"{number + 1}: {self._come[number] / size:.0%} of {size / 1e6:.1f} MB")
            text = f"{sum(self._done)} of {len(self._sizes)} layers"
            self._report("; ".join([text, *under_way]), round(min(share, 1.0) * 0.9, 4))


def _layers(
    source: Source,
    manifest: ImageManifest,
    config: ImageConfig,
    cache: EnvironmentCache,
    report: Report,
    side_by_side: int,
) -> list[UnpackedLayer]:
    store = LayerStore(cache.layers)
    store.prepare()
    bars = _Bars([layer.size for layer in manifest.layers], report)

    def one(number: int) -> UnpackedLayer:
        found = store.require(
            config.diff_ids[number],
            lambda blob, progress: source.layer(number, blob, progress),
            lambda count: bars.came(number, count),
            lambda count: bars.opened(number, count),
        )
        bars.finished(number)
        return found

    with ThreadPoolExecutor(side_by_side) as pool:
        tasks = [pool.submit(one, number) for number in range(len(manifest.layers))]
        try:
            return [task.result() for task in tasks]
        except BaseException:
            for task in tasks:
                task.cancel()
            raise


def _install(
    reference: Reference,
    cache: EnvironmentCache,
    build: str,
    digest: str,
    config: ImageConfig,
    layers: list[UnpackedLayer],
    report: Report,
) -> Manifest:
    report("putting the layers together", 0.92)
    slug = hashlib.sha256(reference.name.encode()).hexdigest()[:16]
    for left in (cache.root / "staging").glob(f"{slug}.*"):  # of a killed pull: the lock says that nobody works there
        remove_tree(left)
    staged = cache.root / "staging" / f"{slug}.{os.getpid()}"
    root = staged / "root"
    root.mkdir(mode=0o755, parents=True)
    staged.chmod(0o700)
    try:
        try:
            compose(layers, root)
        except RecursionError as error:
            raise bad("has directories that are nested too deeply") from error
        dress.dress(root)
        manifest = Manifest(
            name=reference.name,
            digest=build,
            recipe=f"oci-{dress.DRESS_VERSION}",
            created_at=iso(datetime.now(UTC)),
            size_bytes=dress.size(root),
            contents=dress.contents(root),
            description=dress.describe(root),
            source=digest,
            runtime=dress.runtime(root, config),
            layers=list(config.diff_ids),
            notes=dress.notes(root, config, [layer.notes for layer in layers]),
        )
        cache.install(staged, manifest)
    finally:
        remove_tree(staged)
    report("installed", 1.0)
    return manifest
