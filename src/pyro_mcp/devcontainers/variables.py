"""`${…}` in the texts of a devcontainer.json, as containers.dev has it. Nothing of this computer's environment is read.

`${localEnv:X}` is the user's environment and gives its default, or nothing; `${localWorkspaceFolder}` is /workspace,
for no directory of this computer is in reach.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pyro_mcp.paths import WORKSPACE

MAX_TEXT = 32 * 1024
"""Characters of a text after its variables were put in."""
_VARIABLE = re.compile(r"\$\{([A-Za-z]+)(?::([^${}:]*))?(?::([^{}]*))?\}")
_FOLDERS = ("localWorkspaceFolder", "containerWorkspaceFolder")


class TooLong(ValueError):
    """The text would be longer than `MAX_TEXT`."""


@dataclass
class Variables:
    """What the names stand for; notes which of the user's variables were asked for."""

    basename: str
    """Of the project's folder."""
    inside: Mapping[str, str] = field(default_factory=dict)
    """What `${containerEnv:X}` is looked up in."""
    not_read: list[str] = field(default_factory=list)

    def put_in(self, text: str) -> str:
        """The text with its variables; what is none of containers.dev's stays, for the shell.

        Raises:
            TooLong: it would be too long.
        """
        pieces: list[str] = []
        length = end = 0
        for found in _VARIABLE.finditer(text):
            value = self._value(found[1], found[2], found[3])
            piece = text[end : found.start()] + (found[0] if value is None else value)
            length += len(piece)
            if length > MAX_TEXT:
                raise TooLong
            pieces.append(piece)
            end = found.end()
        pieces.append(text[end:])
        whole = "".join(pieces)
        if len(whole) > MAX_TEXT:
            raise TooLong
        return whole

    def _value(self, kind: str, name: str | None, default: str | None) -> str | None:
        if kind in ("localEnv", "env") and name:
            if name not in self.not_read and len(self.not_read) < 20:
                self.not_read.append(name)
            return default or ""
        if kind == "containerEnv" and name:
            return self.inside.get(name, default or "")
        if name is not None:
            return None
        if kind in _FOLDERS:
            return WORKSPACE
        if kind == "localWorkspaceFolderBasename":
            return self.basename
        if kind == "containerWorkspaceFolderBasename":
            return WORKSPACE.strip("/")
        if kind == "devcontainerId":
            return hashlib.sha256(f"devcontainer {self.basename}".encode("utf-8", "surrogateescape")).hexdigest()[:52]
        return None
