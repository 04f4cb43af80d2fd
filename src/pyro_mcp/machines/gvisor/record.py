"""What is kept of a gVisor machine on disk, and the names of what is in its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pyro_mcp.machines.processes import ProcessId
from pyro_mcp.machines.record import read_record, write_record

DIALS = "dials"
AGENT_NAME = "agent"
"""In a snapshot: the content name of the agent that it runs, and how that is reached."""
PARTS = ("run", "seed", "seed/tree", "upper", "tmp", "fs", "runsc")


@dataclass(frozen=True)
class MachineRecord:
    """What a later daemon needs to adopt the machine."""

    id: str
    boot_id: str
    sandbox: ProcessId
    gofer: ProcessId
    vcpu_count: int
    mem_mib: int
    pins: list[int]
    agent: str = ""
    """The content name of the agent that runs in it: a restore of its snapshots needs the very same."""
    channel: str = "listens"
    """How its agent is reached. One that listens, of an earlier pyro, needs a directory that both sides write."""

    def write(self, directory: Path) -> None:
        write_record(self, directory)

    @classmethod
    def read(cls, directory: Path) -> MachineRecord | None:
        """The record, or None when the machine was not finished or the file is damaged."""
        return read_record(
            directory,
            lambda raw: cls(**{**raw, "sandbox": ProcessId(**raw["sandbox"]), "gofer": ProcessId(**raw["gofer"])}),
        )
