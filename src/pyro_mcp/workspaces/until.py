"""What a caller waits for in a command that runs on: words in its output, a port, an answer, or a file."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pyro_mcp.errors import InvalidInput
from pyro_mcp.pattern import Pattern
from pyro_mcp.processes.command import Command
from pyro_mcp.processes.seen import seen
from pyro_mcp.workspaces.readiness import Readiness, ready_now, refuse_taken_port
from pyro_mcp.workspaces.services import FIRST_POLL_SECONDS, POLL_SECONDS
from pyro_mcp.workspaces.workspace import Workspace

PIECE = 1 << 20
_PORT = re.compile(r"(?:port\s*)?(?:localhost|127\.0\.0\.1|0\.0\.0\.0)?:?(\d{1,5})", re.IGNORECASE)


@dataclass
class Until:
    """What is waited for; `reached` tells whether it came."""

    text: str
    readiness: Readiness | None
    pattern: Pattern | None
    reached: bool = False
    _read: int = field(default=0)

    @classmethod
    def of(cls, text: str) -> Until:
        """A port (`8000`), an address (`http://localhost:8000/health`), a file (`file:PATH`), else a regex; what begins
        with `/` may be a file or a regex, and either counts.

        Raises:
            InvalidInput: it is nothing that can be waited for.
        """
        asked = text.strip()
        if not asked:
            raise InvalidInput("until is empty.", hint="Give a port, a file or a regex.", code="bad_until")
        port = _PORT.fullmatch(asked)
        if port:
            if not 0 < int(port[1]) < 65536:
                raise InvalidInput(f"{port[1]} is not a port.", hint="Ports are 1 to 65535.", code="bad_until")
            return cls(asked, Readiness(tcp=int(port[1])), None)
        if asked.startswith(("http://127.0.0.1", "http://localhost", "http://0.0.0.0")):
            return cls(asked, Readiness(http=asked).checked(), None)
        if asked.startswith("file:"):
            return cls(asked, Readiness(file=asked.removeprefix("file:").strip()).checked(), None)
        file = Readiness(file=asked).checked() if re.fullmatch(r"/[\w./+@-]+", asked) else None
        return cls(asked, file, Pattern(text))

    async def before(self, workspace: Workspace) -> None:
        """Before the command starts: what is there already is not its doing.

        Raises:
            Conflict: another process listens on the port.
        """
        if self.readiness is not None and self.readiness.file is None:
            await refuse_taken_port(workspace, self.readiness)

    @contextlib.contextmanager
    def watched(self, workspace: Workspace, command: Command) -> Iterator[None]:
        """Meanwhile it is looked for; the command's waiters are told when it came."""
        task = asyncio.create_task(self._watch(workspace, command), name=f"until {command.row.handle}")
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self, workspace: Workspace, command: Command) -> None:
        pause = FIRST_POLL_SECONDS
        while True:
            change, running = command.change, command.running
            if self.pattern is not None and await asyncio.to_thread(self._printed, command, self.pattern, not running):
                break
            if self.readiness is not None and await ready_now(workspace, self.readiness):
                break
            if not running:
                return
            if self.readiness is None:
                await change.wait()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await change.wait()
            pause = min(pause * 2, POLL_SECONDS)
        self.reached = True
        command.stir()

    def _printed(self, command: Command, pattern: Pattern, ended: bool) -> bool:
        """Whether a line of what came since the last look matches; the last one is looked at again."""
        while True:
            data = command.output.read(self._read, PIECE)
            begun = data.rfind(b"\n") + 1
            lines = [seen(line) for line in data.split(b"\n")]
            if any(pattern.matches(lines)):
                return True
            self._read += begun if begun else (len(data) if len(data) == PIECE else 0)
            if len(data) < PIECE:
                return False

    def hint(self, command: Command, waited_seconds: float) -> str:
        what = f"until={self.text!r}"
        if self.reached:
            return f"{what} holds."
        if command.running:
            return (
                f"{what} is not met yet. Keep waiting with workspace_logs(handle={command.row.handle!r}, {what}, "
                "wait_seconds=45)."
            )
        return f"It ended before {what} was met."
