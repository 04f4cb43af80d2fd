"""runsc, gVisor's program, one command at a time."""

from __future__ import annotations

from pathlib import Path

from pyro_mcp.errors import EngineError
from pyro_mcp.machines.gvisor.starter import Starter
from pyro_mcp.machines.limits import Limits
from pyro_mcp.machines.protocol import MachineSpec

RUNSC_SECONDS = 60.0
"""The longest a single runsc command may take; a restore of a gigabyte took 1.4 s."""
# host-uds: the guest may dial a socket of this side's (the daemon's, gvisor/channel.py) and make none.
PANIC = "panic.log"
FLAGS = ("--platform=systrap", "--network=none", "--ignore-cgroups", "--host-uds=open", "--net-raw")


class Runsc:
    """Runs its commands within the limits of the machine that they are for."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        self._starter = Starter()

    async def run(
        self, directory: Path, *arguments: str, wrap: MachineSpec | None = None, pinned: bool = False
    ) -> None:
        """Run one runsc command for the machine in `directory`; its output goes to the machine's log."""
        argv = [
            str(self.path),
            f"--root={directory / 'runsc'}",
            *FLAGS,
            f"--overlay2=root:dir={directory / 'fs'}",
            # What Go says when the sandbox itself fails; each command empties it, so only the one that starts it may.
            *([f"--panic-log={directory / PANIC}"] if wrap is not None else []),
            *arguments,
        ]
        if wrap is not None:
            argv = self.limits.command(wrap.id, wrap.vcpu_count, wrap.mem_mib, argv, pinned=pinned)
        log = directory / "runsc.log"
        try:
            status = await self._starter.run(argv, log, RUNSC_SECONDS)
        except TimeoutError:
            raise EngineError(
                f"runsc {arguments[0]} took longer than {RUNSC_SECONDS:.0f} s and was ended.",
                hint="This computer may be short of memory or CPU. Try again.",
                code="runsc_timeout",
            ) from None
        if status != 0:
            said = log.read_text(errors="replace")[-600:].strip()
            raise EngineError(
                f"runsc {arguments[0]} failed with status {status}: {said}",
                hint="`pyro doctor` boots a machine and shows what this computer lacks.",
                code=f"runsc_{arguments[0]}_failed",
            )
