"""The unpacked layers on disk, each once for all images that have it.

    layers/HEX/root/         its files
    layers/HEX/layer.json    its notes, and the mark by which damage is noticed
    layers/HEX.lock          whoever makes it
    layers/HEX.blob          what came of its download
    layers/.staging-HEX/     its unpacking under way, or what a killed one left

HEX is the digest of the contents (`diff_id`), which is looked at after unpacking; nothing else can take its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from pyro_mcp import wholeness
from pyro_mcp.environments.oci import layer as reading
from pyro_mcp.environments.oci.compose import UnpackedLayer
from pyro_mcp.environments.oci.layer import LayerNotes

Open = Callable[[Path, Callable[[int], None]], AbstractContextManager[tuple[IO[bytes], int]]]
"""Gives a layer's bytes and their number; may keep what it downloads at the path, and tells how many bytes came."""
BLOB_DAYS = 14


class LayerStore:
    """Methods block."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self) -> None:
        # Setuid files of an image are files of this user's on this computer: nobody else may come near them.
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def find(self, diff_id: str) -> UnpackedLayer | None:
        """The layer, if it is there and whole; a damaged one is removed."""
        place = self._place(diff_id)
        try:
            record = wholeness.read_record(place / "layer.json")
            notes = LayerNotes(**{**record["notes"], "dirs": _pairs(record["notes"]["dirs"])})
            if wholeness.is_as_marked(place / "root", str(record["mark"])):
                return UnpackedLayer(place / "root", notes)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if place.is_symlink() or place.is_file():
            place.unlink()
        elif place.exists():
            shutil.rmtree(place, ignore_errors=True)
        return None

    def require(
        self, diff_id: str, opened: Open, downloaded: Callable[[int], None], unpacked: Callable[[int], None]
    ) -> UnpackedLayer:
        """The layer, fetched and unpacked unless it is there. Two at once do the work once."""
        place = self._place(diff_id)
        with self._lock(place):
            found = self.find(diff_id)
            if found is not None:
                return found
            staging = place.with_name(f".staging-{place.name}")
            shutil.rmtree(staging, ignore_errors=True)
            blob = place.with_suffix(".blob")
            (staging / "root").mkdir(mode=0o700, parents=True)
            try:
                with opened(blob, downloaded) as (raw, size):
                    notes = reading.unpack(raw, size, str(staging / "root"), diff_id, unpacked)
                record = {"notes": asdict(notes), "mark": wholeness.tree_mark(staging / "root")}
                text = json.dumps(record, ensure_ascii=False).encode("utf-8", "surrogateescape")
                wholeness.write_new(staging / "layer.json", text)
                os.rename(staging, place)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            blob.unlink(missing_ok=True)
            return UnpackedLayer(place / "root", notes)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Meanwhile no process removes a layer: an image is being put together, which holds none of them yet."""
        self.prepare()
        handle = self._users()
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def _users(self) -> int:
        return os.open(self._root / ".users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def prune(self, needed: Callable[[], set[str]], everything: bool) -> None:
        """Remove layers that no image needs, and downloads that nobody went on with for two weeks; none while one is
        being put together. `needed` is asked once that is certain."""
        self.prepare()
        handle = self._users()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._prune(needed(), everything)
        except BlockingIOError:
            pass
        finally:
            os.close(handle)

    def _prune(self, needed: set[str], everything: bool) -> None:
        keep = {self._place(diff_id).name for diff_id in needed}
        for entry in list(self._root.iterdir()) if self._root.exists() else ():
            if entry.name.endswith(".lock") or entry.name in keep:
                continue
            if entry.suffix == ".blob":
                if everything or entry.stat().st_mtime < time.time() - BLOB_DAYS * 86400:
                    entry.unlink(missing_ok=True)
                continue
            with self._lock(self._place(entry.name.removeprefix(".staging-")), wait=False) as mine:
                if mine:
                    shutil.rmtree(entry, ignore_errors=True)

    def _place(self, diff_id: str) -> Path:
        return self._root / diff_id.removeprefix("sha256:")

    @contextlib.contextmanager
    def _lock(self, place: Path, *, wait: bool = True) -> Iterator[bool]:
        handle = os.open(place.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)


def _pairs(value: dict[str, list[int]]) -> dict[str, tuple[int, int, int, int]]:
    return {path: (int(mode), int(uid), int(gid), int(mtime)) for path, (mode, uid, gid, mtime) in value.items()}
