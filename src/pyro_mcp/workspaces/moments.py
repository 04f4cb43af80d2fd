"""What belongs to a whole-machine image beside the image itself: which commands and services ran in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pyro_mcp.processes.output import OutputLog
from pyro_mcp.store import ServiceRow
from pyro_mcp.workspaces.workspace import Workspace

COPY_SIZE = 1 << 20


@dataclass(frozen=True)
class Moment:
    """The daemon's knowledge of a machine at the moment of its image."""

    running: dict[str, int] = field(default_factory=dict)
    """Handle to the agent's count of its output: from there its output goes on in a copy."""
    services: list[dict[str, Any]] = field(default_factory=list)
    """`ServiceRow`s, dumped, of services that ran."""
    logged: dict[str, list[int]] = field(default_factory=dict)
    """Handle to our log of its output then: bytes kept, counts of both streams. A fork's log ends there."""

    @classmethod
    def of(cls, workspace: Workspace) -> Moment:
        commands = workspace.running_commands()
        running = {command.row.handle: command.agent_offset for command in commands}
        services = [asdict(row) for row in workspace.services.values() if row.handle in running]
        logged = {
            command.row.handle: [
                command.output.kept_bytes,
                command.output.stdout_bytes,
                command.output.stderr_bytes,
            ]
            for command in commands
        }
        return cls(running, services, logged)

    @classmethod
    def load(cls, record: dict[str, Any]) -> Moment:
        return cls(dict(record.get("running", {})), list(record.get("services", [])), dict(record.get("logged", {})))

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    def service_rows(self) -> list[ServiceRow]:
        return [ServiceRow(**record) for record in self.services]

    def handles_of_fork(self, workspace_id: str) -> dict[str, str]:
        """What each command that ran is called in a fork of that id."""
        return {old: f"{workspace_id.removeprefix('ws-')}-{number}" for number, old in enumerate(self.running, 1)}

    def of_fork(self, workspace_id: str, handles: dict[str, str]) -> Moment:
        """The same in a sibling, whose commands have handles of their own."""
        running = {handles[old]: offset for old, offset in self.running.items() if old in handles}
        services = [
            asdict(replace(row, workspace_id=workspace_id, handle=handles[row.handle]))
            for row in self.service_rows()
            if row.handle in handles
        ]
        logged = {handles[old]: counts for old, counts in self.logged.items() if old in handles}
        return Moment(running, services, logged)

    def copy_log(self, handle: str, source: OutputLog, target: OutputLog) -> None:
        """Copy a command's output up to this moment. Blocks."""
        kept, stdout, stderr = self.logged[handle]
        position = 0
        while position < kept and (pieces := source.pieces(position, min(COPY_SIZE, kept - position))):
            for stream, data in pieces:
                target.append(stream, data)
                position += len(data)
        target.stdout_bytes, target.stderr_bytes = stdout, stderr


class Images:
    """Directories of whole-machine images, below one of each workspace."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def new(self, workspace_id: str, name: str) -> Path:
        """A path for an image that nothing else will have."""
        below = self._root / workspace_id
        below.mkdir(mode=0o700, exist_ok=True)
        return below / f"{name}.{secrets.token_hex(4)}"

    def path(self, workspace_id: str, image: str) -> Path:
        return self._root / workspace_id / image

    def size(self, image: Path) -> int:
        """Bytes that it takes on disk."""
        return sum(entry.stat().st_blocks * 512 for entry in os.scandir(image))

    def remove(self, image: Path) -> None:
        shutil.rmtree(image, ignore_errors=True)
        with contextlib.suppress(OSError):
            image.parent.rmdir()  # unless it holds another one

    def remove_all(self, workspace_id: str) -> None:
        shutil.rmtree(self._root / workspace_id, ignore_errors=True)

    def sweep(self, keep: Iterable[Path]) -> None:
        """Remove every image that nothing names."""
        kept = set(keep)
        for below in self._root.iterdir():
            if not below.is_dir():
                below.unlink()
                continue
            for image in below.iterdir():
                if image not in kept:
                    shutil.rmtree(image, ignore_errors=True)
            with contextlib.suppress(OSError):
                below.rmdir()
