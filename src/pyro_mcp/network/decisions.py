"""What the user decided about hosts for a whole project, in a file that the user can read and edit."""

from __future__ import annotations

import json
import logging
import os
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mcp.errors import HostError
from pyro_mcp.wholeness import write_new

log = logging.getLogger(__name__)
HEAD = (
    "# Hosts that you allowed or refused when a workspace asked for them (`pyro allow`), by the project's directory.\n"
    "# You can edit this file: it is read again when it changes. Names are exact, or *.suffix. Your own comments\n"
    "# are lost when the next answer is saved. A file with anything but projects' lists is refused, and never "
    "overwritten.\n"
)
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Decided:
    """Of one project."""

    allow: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


class Decisions:
    """The file, kept in memory until it changes. One daemon writes it; a person may at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._adding = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._problem = ""
        """What is wrong with the file that was seen last; what was read before it still holds."""
        self._projects: dict[str, Decided] = {}

    def of(self, project: str) -> Decided:
        """What holds for a project now."""
        self._read()
        return self._projects.get(project, Decided())

    def add(self, project: str, host: str, *, allow: bool) -> None:
        """Keep a decision; an earlier one about this host gives way. Blocks.

        Raises:
            HostError: the file cannot be read or written; what it says stays.
        """
        with self._adding:
            self._read()
            self._require_readable()
            before = self._projects.get(project, Decided())
            allowed = [name for name in before.allow if name != host] + ([host] if allow else [])
            never = [name for name in before.never if name != host] + ([] if allow else [host])
            self._write({**self._projects, project: Decided(tuple(allowed), tuple(never))})

    def all(self) -> dict[str, Decided]:
        """What holds now, by project."""
        self._read()
        return dict(self._projects)

    def forget(self, project: str, host: str) -> bool:
        """Take a decision back, so that it is asked again; False where there was none. Blocks. Raises as `add`."""
        with self._adding:
            self._read()
            self._require_readable()
            before = self._projects.get(project, Decided())
            if host not in (*before.allow, *before.never):
                return False
            left = Decided(
                tuple(name for name in before.allow if name != host),
                tuple(name for name in before.never if name != host),
            )
            others = {name: decided for name, decided in self._projects.items() if name != project}
            self._write({**others, project: left} if left != Decided() else others)
            return True

    def _require_readable(self) -> None:
        if self._problem:
            raise HostError(
                f"{self.path} cannot be read: {self._problem}.",
                hint="Fix or remove it; until then no answer is kept for a project.",
                code="decisions_unreadable",
            )

    def _read(self) -> None:
        """A slip of the pen neither opens nor closes anything, and is read once."""
        try:
            status = os.stat(self.path)
            seen = (status.st_ctime_ns, status.st_size, status.st_ino)  # a mode that changed is a change, too
            if seen == self._seen:
                return
            self._seen, self._problem = seen, ""
            if status.st_size > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES} bytes")
            self._projects = _parsed(self.path.read_bytes())
        except FileNotFoundError:
            self._projects, self._seen, self._problem = {}, None, ""
        except (OSError, ValueError) as error:
            self._problem = str(error)
            log.warning("%s cannot be read: %s", self.path, error)

    def _write(self, projects: dict[str, Decided]) -> None:
        text = HEAD
        for project, decided in sorted(projects.items()):
            text += f"\n[projects.{_quoted(project)}]\n"
            text += "".join(
                f"{word} = [{', '.join(map(_quoted, names))}]\n"
                for word, names in (("allow", decided.allow), ("never", decided.never))
                if names
            )
        try:
            write_new(self.path, text.encode())
        except OSError as error:
            raise HostError(
                f"{self.path} cannot be written: {error.strerror}.",
                hint="Until then, answer for the workspace only.",
                code="decisions_unwritable",
            ) from error
        self._projects, self._seen = projects, None


def _quoted(text: str) -> str:
    # Escapes of JSON are TOML's, but for surrogates, which no TOML can say.
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")


def _parsed(data: bytes) -> dict[str, Decided]:
    """By project.

    Raises:
        ValueError: not what this module writes.
    """
    said = tomllib.loads(data.decode())
    projects: Any = said.get("projects", {})
    if set(said) - {"projects"}:  # it would be gone with the next answer
        raise ValueError(f"{', '.join(sorted(set(said) - {'projects'}))} is not known")
    if not isinstance(projects, dict) or not all(isinstance(each, dict) for each in projects.values()):
        raise ValueError('[projects."FOLDER"] is expected')
    found = {}
    for project, lists in projects.items():
        if set(lists) - {"allow", "never"}:
            raise ValueError(f"{', '.join(sorted(set(lists) - {'allow', 'never'}))} of {project} is not known")
        for word in ("allow", "never"):
            names = lists.get(word, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{word} of {project} is not a list of names")
        found[project] = Decided(tuple(lists.get("allow", ())), tuple(lists.get("never", ())))
    return found
