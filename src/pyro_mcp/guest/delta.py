"""What files have become between two looks of the agent's at its workspace, as the end of a command carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyro_mcp.guest.client import Guest
from pyro_mcp.guest.said import Said, damaged

MOST_FILES = 100
"""More than the agent ever tells at once."""
MODE = 0o7777


@dataclass(frozen=True)
class Look:
    """A look of one machine's agent, by its number; a machine that is put back has another agent."""

    guest: Guest
    number: int


@dataclass(frozen=True)
class Became:
    """One file: kind same (as in the baseline), absent, file or symlink."""

    kind: str
    mode: int = 0
    content: bytes = field(default=b"", repr=False)
    link: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Delta:
    """From one look to the next, all of it."""

    since: Look
    now: Look
    files: Mapping[str, Became]

    @classmethod
    def of(cls, guest: Guest, said: Said) -> Delta:
        """Read what an agent said.

        Raises:
            GuestError: it makes no sense.
        """
        files = {}
        records = said.records("files")
        if len(records) > MOST_FILES:
            raise damaged("it tells of more files than it may")
        for record in records:
            path = record.name("path")
            if not path or "\0" in path or {"", ".", ".."} & set(path.split("/")):
                raise damaged("it lists a path that is none")
            kind = record.word("kind", ("same", "absent", "file", "symlink"))
            files[path] = Became(
                kind,
                record.whole("mode") & MODE,
                record.data("content") if kind == "file" else b"",
                record.name("link") if kind == "symlink" else "",
                record.text("mark") if record.has("mark") else "",
            )
        return cls(Look(guest, said.whole("since")), Look(guest, said.whole("look")), files)
