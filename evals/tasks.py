"""Tasks, one TOML file each in tasks/: what is asked, the files, the check, and a solution that proves the check."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

PLACE = Path(__file__).parent / "tasks"
KINDS = ("fix", "add", "upgrade", "migrate", "debug", "review")


@dataclass(frozen=True)
class Task:
    name: str
    kind: str
    prompt: str
    files: dict[str, str]
    check: str
    """A command line that succeeds when the task is done, run in the workspace by the harness."""
    solution: str
    """A command line that does the task."""

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.files.items():
            (folder / name).write_text(text)


def tasks() -> list[Task]:
    """All of them, by name."""
    return [Task(name=path.stem, **tomllib.loads(path.read_text())) for path in sorted(PLACE.glob("*.toml"))]
