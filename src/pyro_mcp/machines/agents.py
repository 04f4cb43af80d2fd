"""The guest agents that machines run, kept under names made of their content: a snapshot needs the very binary it ran.

    AGENTS/HASH/pyro-agent

Every machine of this user runs one of these files, so each is hashed when this daemon first uses it and whenever
anything about it changed since; the present one is then written anew, an older one is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from pyro_mcp import wholeness
from pyro_mcp.errors import EngineError

NAME = "pyro-agent"


class Agents:
    """Args: this installation's agent, and the directory. Methods block for some milliseconds at their first call."""

    def __init__(self, source: Path, directory: Path) -> None:
        self._source = source
        self._directory = directory
        self._current: str | None = None
        self._known: dict[str, tuple[int, ...]] = {}

    def current(self) -> Path:
        """The present agent, whole. Raises OSError."""
        if self._current is not None and self._whole(self._current):
            return self._place(self._current)
        content = self._source.read_bytes()
        self._current = hashlib.sha256(content).hexdigest()[:16]
        if not self._whole(self._current):
            with self._alone():
                if not self._whole(self._current):
                    self._install(self._current, content)
        return self._place(self._current)

    def named(self, name: str) -> Path:
        """The agent that runs in a snapshot.

        Raises:
            EngineError: it is not kept any more, or is not what it was.
        """
        current = self.current()
        if name == current.parent.name:
            return current
        if len(name) == 16 and name.isalnum() and self._whole(name):
            return self._place(name)
        raise EngineError(
            f"The agent {name[:16]!r} that this snapshot needs is gone, or was changed on this disk.",
            hint="It belongs to another version of pyro, whose cache has since been removed or damaged. Delete the "
            "snapshot.",
            code="snapshot_agent_missing",
        )

    def _place(self, name: str) -> Path:
        return self._directory / name / NAME

    def _whole(self, name: str) -> bool:
        place = self._place(name)
        try:
            now = wholeness.signature(place)
            if self._known.get(name) == now:
                return True
            if wholeness.content_hash(place)[:16] != name or now[0] & 0o111 != 0o111:
                return False
        except OSError:
            return False
        self._known[name] = now
        return True

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread, and no other daemon of this user, installs one meanwhile: it would clear ours away."""
        self._directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _install(self, name: str, content: bytes) -> None:
        place = self._place(name)
        if place.parent.is_symlink() or (place.parent.exists() and not place.parent.is_dir()):
            place.parent.unlink()
        place.parent.mkdir(exist_ok=True)
        for other in os.scandir(place.parent):  # nothing but the agent belongs there
            if other.name != NAME:
                with contextlib.suppress(OSError):
                    os.unlink(other.path)
        if place.is_dir() and not place.is_symlink():
            place.rename(place.with_name(f".aside-{os.getpid()}"))
        wholeness.write_new(place, content, 0o755)
        self._known[name] = wholeness.signature(place)
