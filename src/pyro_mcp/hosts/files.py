"""Reads and replaces a configuration file: whole or not at all, where a symbolic link leads, with a backup beside."""

from __future__ import annotations

import difflib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.errors import Conflict
from pyro_mcp.hosts.documents import unreadable


def read(path: Path) -> str | None:
    """The text with its line ends as they are; None when there is no such file.

    Raises:
        Conflict: it is not UTF-8, or cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise unreadable(path, "it is not UTF-8 text") from None
    except OSError as error:
        raise unreadable(path, error.strerror or str(error)) from None


@dataclass(frozen=True)
class Edit:
    """A file before and after; `before` is None when there is none yet."""

    path: Path
    before: str | None
    after: str

    @property
    def changes(self) -> bool:
        return self.after != (self.before or "")

    def diff(self) -> str:
        """A unified diff; the lines carry their own ends."""
        old = "/dev/null" if self.before is None else str(self.path)
        lines = difflib.unified_diff(
            (self.before or "").splitlines(True), self.after.splitlines(True), old, str(self.path), n=3
        )
        out = []
        for line in lines:
            line = line.replace("\r\n", "\n")
            out.append(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")
        return "".join(out)

    def apply(self, *, with_backup: bool = True) -> Path | None:
        """Replace the file. Gives the backup's path, None when there was nothing to back up.

        Raises:
            Conflict: somebody else changed the file meanwhile.
        """
        if not self.changes:
            return None
        real = Path(os.path.realpath(self.path))
        real.parent.mkdir(parents=True, exist_ok=True)
        if read(real) != self.before:
            raise Conflict(
                f"{self.path} was changed by another program in the meantime; nothing was written.",
                hint="Try again.",
                code="configuration_changed",
            )
        mode = 0o600 if self.before is None else real.stat().st_mode & 0o7777
        saved = backup(real) if with_backup else None
        _replace(real, self.after, mode)
        return saved


def backup(path: Path) -> Path | None:
    """A copy beside the file, with its mode."""
    real = Path(os.path.realpath(path))
    if not real.exists():
        return None
    stem = f"{real.name}.pyro-{time.strftime('%Y%m%d-%H%M%S')}"
    number, saved = 1, real.with_name(stem)
    while saved.exists():
        number += 1
        saved = real.with_name(f"{stem}-{number}")
    _replace(saved, real.read_bytes().decode("utf-8"), real.stat().st_mode & 0o7777)
    return saved


def _replace(path: Path, text: str, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fchmod(file.fileno(), mode)
            if path.exists() and os.geteuid() == 0:
                found = path.stat()
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
