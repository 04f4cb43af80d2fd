"""One command in a workspace: followed by the daemon, whoever waits for it.

A command belongs to the machine, not to the call that started it: calls wait on it, leave and come back by
its handle; a daemon that restarts follows it again from the last byte it had kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Literal

from pyro_mcp import refusals
from pyro_mcp.errors import Conflict, GuestError, GuestUnreachable, InvalidInput, NotFound, PyroError
from pyro_mcp.guest import frames
from pyro_mcp.guest.client import Guest, ProcessStream
from pyro_mcp.guest.delta import Delta
from pyro_mcp.guest.said import Said, damaged, parsed
from pyro_mcp.masking.redaction import Redactor, StreamRedactor
from pyro_mcp.models import CommandRecord, ExecResult, RefusedConnection
from pyro_mcp.processes.output import STDERR, STDOUT, OutputLog
from pyro_mcp.store import CommandRow

TIMEOUT_EXIT_CODE = 124
"""As timeout(1) has it."""
KILL_AFTER_SECONDS = 2.0
MAX_CAUSE = 500
"""Characters of a reason."""
BEGIN_SECONDS = 5.0
"""Until the agent must have said what it calls a process that it started."""
MAX_SKIP = 2**50
"""Bytes of output that can have been missed."""
INPUT_PIECES = 16
"""Pieces of input, each at most one request, that wait for a command to read them."""
INPUT_LEASE_SECONDS = 90.0
"""An open input ends when nobody has said anything about it for so long: whoever fed it is gone."""
MAX_CHANGED = 20
"""Changed files that a command's result names."""
MAX_NAME = 4096
MAX_REFUSED = 16
"""Refused connections that a command's result names."""
FIRST_PAUSE_SECONDS = 0.005
LAST_PAUSE_SECONDS = 2.0
"""Between attempts to follow it again while none brings anything."""
NOTHING = Redactor(())
log = logging.getLogger(__name__)
Ended = Callable[["Command"], Awaitable[None]]
OUTPUT_HELD = (
    "A background process that it left behind holds its output open; whatever that prints from now on is lost. Give "
    "such a process a file (`program > file 2>&1 &`), or run it as a service."
)


class Command:
    """A command that runs or ran. `changed` is notified on output and at the end."""

    def __init__(self, row: CommandRow, number: int, output: OutputLog, redactor: Redactor | None = None) -> None:
        self.row = row
        self.number = number
        self.output = output
        self.refused: list[RefusedConnection] = []
        """What the workspace could not connect to while it ran; at most 16, and not kept."""
        self.changed: list[str] = []
        """Files of the workspace that were changed while it ran, the first 20; not kept."""
        self.changed_files: int | None = None
        """How many; None where nobody could tell in time."""
        self.delta: Delta | None = None
        """What these files have become, from one look of the agent's to the next; where that is little."""
        self.ending: Callable[[Command], None] | None = None
        """Called at its end, before anybody who waits for it hears of that."""
        self.heard: Callable[[], None] = lambda: None
        """Called at each output, and at the end."""
        self._masks = {kind: StreamRedactor(redactor or NOTHING) for kind in (STDOUT, STDERR)}
        self._started = time.monotonic()
        self._changed = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._stream: ProcessStream | None = None
        self._input: asyncio.Queue[tuple[bytes, bool]] | None = None
        self._cancelled = False
        self.output_held = ""
        """Where it is so, that what it left behind still prints, in words; not known after this daemon."""
        self._redactor = redactor or NOTHING
        self._unheard = False
        """The machine's agent did not answer when it was asked for this command last."""

    @property
    def running(self) -> bool:
        return self.row.status == "running"

    @property
    def agent_offset(self) -> int:
        """How much of its output, as the agent counts, was taken over; what masks hold back is asked for again."""
        return self.output.total_bytes - self.row.offset_shift

    @property
    def _heard(self) -> int:
        """As `agent_offset`, with what masks hold back."""
        return self.agent_offset + sum(mask.holding for mask in self._masks.values())

    # -- waiting

    @property
    def change(self) -> asyncio.Event:
        """Set at the next output, or the end; taken before looking, so that nothing falls in between."""
        return self._changed

    def _notify(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()
        self.heard()

    def stir(self) -> None:
        """Have those who wait look again."""
        self._notify()

    async def wait_ended(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait until the command has ended, or `enough` holds after some change, at most `seconds`."""
        if not self.running or seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                while self.running and not enough():
                    await self.change.wait()
        except TimeoutError:
            pass

    # -- following

    def follow(self, guest: Guest, stream: ProcessStream | None, ended: Ended) -> None:
        """Follow the command until it ends; without a stream, ask for one from the last kept byte on."""
        self._follower = asyncio.create_task(self._follow(guest, stream, ended), name=f"follow {self.row.handle}")

    def revived(self, output: OutputLog, agent_offset: int, redactor: Redactor | None = None) -> Command:
        """The same command, running again in a machine that was put back to a moment when it ran.

        Its output so far stays; what it prints from that moment on follows.
        """
        row = replace(
            self.row,
            status="running",
            exit_code=None,
            duration_seconds=None,
            cause="",
            offset_shift=output.total_bytes - agent_offset,
        )
        return Command(row, self.number, output, redactor)

    async def _follow(self, guest: Guest, stream: ProcessStream | None, ended: Ended) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self.running:
            before = self.output.total_bytes
            try:
                if stream is None:
                    stream = await self._found_again(guest)
                self._unheard = False
                self._stream = stream
                try:
                    await self._consume(guest, stream)
                finally:
                    self._stream = None
                    await stream.close()
            except NotFound:
                # It ended and was forgotten, or the machine is another one now.
                self._end("lost", None)
            except GuestUnreachable:
                # A stopped or starved agent may come back. That the machine is gone is said by who watches it.
                self._unheard = True
            except (PyroError, ValueError, KeyError, TypeError, RecursionError) as error:
                log.warning("command %s: the agent's word makes no sense: %s %s", self.row.handle, type(error), error)
                self._end("lost", None)
            # The stream broke off without an end: the agent was frozen for a snapshot, or does not answer.
            stream = None
            if self.running:
                pause = FIRST_PAUSE_SECONDS if self.output.total_bytes > before else min(pause * 2, LAST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        self.output.close()
        await ended(self)
        # Only when its end is written down: a daemon that is killed before that finds it with the agent.
        if self.row.process_id is not None and self.row.status not in ("lost", "suspended"):
            await guest.forget_process(self.row.process_id, self.output.total_bytes)

    async def _found_again(self, guest: Guest) -> ProcessStream:
        process_id = self.row.process_id or await self._find_process(guest)
        self._known_as(process_id)
        return await guest.follow_process(process_id, self._heard)

    def feed(self, stream: ProcessStream, data: bytes) -> None:
        """Give it its standard input, for as long as it takes to read it; nobody waits."""

        async def fed() -> None:
            with contextlib.suppress(OSError, PyroError):  # it ended without reading all of its input
                await stream.send_stdin(data)

        self._feeder = asyncio.create_task(fed(), name=f"feed {self.row.handle}")

    def open_input(self) -> None:
        """Its input is given piece by piece, by `offer`."""
        self._input = asyncio.Queue(INPUT_PIECES)
        self._feeder = asyncio.create_task(self._pass_input_on(self._input), name=f"feed {self.row.handle}")

    async def offer(self, data: bytes, end: bool, seconds: float) -> None:
        """Hand over a piece of its input, and say whether it is the last.

        Raises:
            Conflict: it has ended, takes no input, or has not read what it got before within `seconds`.
        """
        if self._input is None or not self.running:
            raise Conflict(
                f"Command {self.row.handle} does not take input" + (" any more." if not self.running else "."),
                hint="Only a command that was started with its input open takes input.",
                code="no_input",
            )
        try:
            async with asyncio.timeout(seconds):
                await self._input.put((data, end))
        except TimeoutError:
            raise Conflict(
                f"Command {self.row.handle} has not read its input for {seconds:.0f} s.",
                hint="Send the same piece again later.",
                code="input_full",
            ) from None

    async def _pass_input_on(self, pieces: asyncio.Queue[tuple[bytes, bool]]) -> None:
        with contextlib.suppress(OSError, PyroError):  # it ended without reading all of its input
            while self.running:
                try:
                    async with asyncio.timeout(INPUT_LEASE_SECONDS):
                        data, end = await pieces.get()
                except TimeoutError:
                    data, end = b"", True
                while self.running and self._stream is None:
                    await self.change.wait()
                if self._stream is None:
                    return
                if data:
                    await self._stream.send(frames.STDIN, data)
                if end:
                    await self._stream.send(frames.STDIN_EOF)
                    return

    def _take(self, kind: int, data: bytes) -> None:
        """Keep output, secrets masked; what may be the beginning of one waits for what decides it, however long."""
        self._flush(but=kind)  # streams keep their order
        self.output.append(kind, self._masks[kind].feed(data))
        self._notify()

    def _flush(self, but: int | None = None) -> None:
        """Give, with stars, what masks hold back and what something else comes behind."""
        for kind, mask in self._masks.items():
            if mask.pending and kind != but:
                self.output.append(kind, mask.flush())
                self._notify()

    async def _find_process(self, guest: Guest) -> str:
        """The agent's id of this command, by its label: the daemon may have ended before it kept the id."""
        answer = (await guest.call("GET", "/v1/processes")).record()
        for process in answer.records("processes"):
            if process.has("label") and process.text("label") == self.row.handle:
                return process.handle("id")
        raise NotFound(f"The machine has no process for command {self.row.handle}.")

    def _known_as(self, process_id: str) -> None:
        if self.row.process_id != process_id:
            self.row = replace(self.row, process_id=process_id)
            self._notify()

    async def begun(self, seconds: float) -> None:
        """Wait until the agent's id of it is known, or it has ended, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.running and self.row.process_id is None:
                    await self.change.wait()

    async def _consume(self, guest: Guest, stream: ProcessStream) -> None:
        expected = self._heard
        async for frame in stream.frames():
            if frame.type in (frames.STDOUT, frames.STDERR):
                kind = STDOUT if frame.type == frames.STDOUT else STDERR
                if frame.offset > expected + MAX_SKIP:
                    raise damaged("output begins beyond what anybody could have printed")
                if frame.offset > expected:
                    # The agent's ring overflowed while nobody followed; say so where it happened.
                    self._flush()
                    self.output.skip(kind, frame.offset - expected)
                    expected = frame.offset
                fresh = frame.payload[max(0, expected - frame.offset) :]
                expected += len(fresh)
                self._take(kind, fresh)
            elif frame.type == frames.STARTED:
                self._known_as(Said.of(parsed(frame.payload)).handle("id"))
            elif frame.type == frames.EXIT:
                self._ended_with(guest, Said.of(parsed(frame.payload)).fields)

    def _ended_with(self, guest: Guest, record: Mapping[str, object]) -> None:
        code, signal = record.get("exit_code"), record.get("signal")
        why = record.get("cause")
        self._take_changes(guest, Said.of(record))
        self.output_held = OUTPUT_HELD if record.get("output_held") is True else ""
        if isinstance(why, str) and why:
            self.row = replace(self.row, cause=self._redactor.text(plain(why)))
        if record.get("timed_out"):
            self._end("timed_out", TIMEOUT_EXIT_CODE)
        elif self._cancelled or record.get("killed_by_request"):
            self._end("cancelled", _exit_code(code, signal))
        else:
            self._end("exited", _exit_code(code, signal))

    def _take_changes(self, guest: Guest, record: Said) -> None:
        if record.has("changed"):
            said = record.record("changed")
            paths = said.fields.get("paths")
            names = [Said.of({"path": path}).name("path") for path in (paths if isinstance(paths, list) else [])]
            self.changed = [self._redactor.text(name[:MAX_NAME]) for name in names[:MAX_CHANGED]]
            self.changed_files = said.whole("count")
            if said.has("kept"):
                self.delta = Delta.of(guest, said.record("kept"))

    def _end(self, status: str, exit_code: int | None) -> None:
        if status != "suspended":  # then what is held back comes again
            for kind, mask in self._masks.items():
                if mask.pending:
                    self.output.append(kind, mask.cut_off())
        self.row = replace(
            self.row,
            status=status,
            exit_code=exit_code,
            duration_seconds=self.duration_seconds,
            stdout_bytes=self.output.stdout_bytes,
            stderr_bytes=self.output.stderr_bytes,
        )
        if self.ending is not None:
            self.ending(self)
        self._notify()

    def leave(self) -> None:
        """Follow it no more; it goes on, and the next daemon follows it again."""
        for task in (self._follower, self._feeder):
            if task is not None:
                task.cancel()

    def lose(self) -> None:
        """The machine it ran in is gone: by a reset, or because it was lost."""
        if self.running or self.row.status == "suspended":
            self._end("lost", None)
        self.leave()
        self.output.close()

    def suspend(self) -> None:
        """Its machine is stopped; it goes on when that is started again."""
        if self.running:
            self._end("suspended", None)
        self.leave()
        self.output.close()

    async def cancel(
        self, guest: Guest, grace_seconds: float = KILL_AFTER_SECONDS, *, first: Literal["INT", "TERM"] = "INT"
    ) -> None:
        """End it: INT to its process group, as Ctrl-C does, then TERM, then KILL, a grace apart.

        With `first="TERM"` without the INT, as a service manager does it.
        """
        await self.begun(BEGIN_SECONDS)
        if not self.running or self.row.process_id is None:
            return
        self._cancelled = True
        gentle = ("INT", "TERM") if first == "INT" else ("TERM",)
        for signal, patience in (*((name, grace_seconds) for name in gentle), ("KILL", 10.0)):
            await self.signal(guest, signal, sweep=True)
            await self.wait_ended(patience)
            if not self.running:
                return

    async def signal(self, guest: Guest, signal: str, *, sweep: bool = False) -> bool:
        """Send a signal to its process group; False when it had ended. With `sweep`, what it started ends with it."""
        try:
            await guest.call(
                "POST",
                f"/v1/processes/{self.row.process_id}/signal",
                json_body={"signal": signal, "group": True, "sweep": sweep},
            )
        except (NotFound, Conflict, GuestError, InvalidInput):
            return False  # it ended in between; the follower says how
        return True

    def was_refused(self, connection: RefusedConnection) -> None:
        """Hear of a connection that was refused or failed while it runs."""
        if len(self.refused) < MAX_REFUSED and connection not in self.refused:
            self.refused.append(connection)

    # -- reporting

    @property
    def duration_seconds(self) -> float:
        if self.row.duration_seconds is not None:
            return self.row.duration_seconds
        return round(time.monotonic() - self._started, 4)

    def record(self) -> CommandRecord:
        return CommandRecord(
            handle=self.row.handle,
            command=self.row.command,
            status=self.row.status,
            exit_code=self.row.exit_code,
            started_at=self.row.started_at,
            duration_seconds=self.duration_seconds,
            output_bytes=self.output.total_bytes,
            kind=self.row.kind,
            cause=self.row.cause,
        )

    def result(self, workspace_id: str, bound: int, *, raw: bool = False) -> ExecResult:
        """The outcome so far, its output within `bound` bytes shared by both streams. Reads and draws: in a thread."""
        error_share = min(self.output.stderr_bytes, max(bound // 2, bound - self.output.stdout_bytes))
        stdout = self.output.excerpt(STDOUT, bound - error_share, raw=raw)
        stderr = self.output.excerpt(STDERR, error_share, raw=raw)
        omitted = stdout.omitted_bytes + stderr.omitted_bytes
        hints = (self._hint(omitted), self.output_held, self.refusals_hint(stdout.text, stderr.text))
        return ExecResult(
            workspace=workspace_id,
            handle=self.row.handle,
            status=self.row.status,
            exit_code=self.row.exit_code,
            stdout=stdout.text,
            stderr=stderr.text,
            stdout_bytes=self.output.stdout_bytes,
            stderr_bytes=self.output.stderr_bytes,
            omitted_bytes=omitted,
            duration_seconds=self.duration_seconds,
            cause=self.row.cause,
            changed=list(self.changed),
            changed_files=self.changed_files,
            refused=list(self.refused),
            hint=" ".join(filter(None, hints)),
        )

    def refusals_hint(self, *texts: str) -> str:
        """What was refused, in words, and what the user may do; `texts` are what is told of its output."""
        return refusals.said(self.refused) or ("" if self.running else refusals.no_route(texts))

    def _hint(self, omitted: int) -> str:
        handle = self.row.handle
        if self.running and self._unheard:
            return (
                "The machine's agent is not answering, so the command's state is unknown. pyro will follow it "
                "again as soon as the agent answers; workspace_reset gives the workspace a fresh machine."
            )
        if self.running:
            return (
                f"Still running. Wait with workspace_logs(handle={handle!r}, wait_seconds=45); "
                f"end it with workspace_cancel(handle={handle!r})."
            )
        if self.row.status == "suspended":
            return "The workspace is stopped; the command continues when it is started."
        if self.row.status == "lost":
            return "Its machine was reset or lost before it ended; run it again if needed."
        if omitted:
            return f"The whole output: workspace_logs(handle={handle!r}, offset=0); search it with grep."
        return ""


def plain(why: str) -> str:
    """A reason as a person may read it: the agent said it, so nothing in it may steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in why[:MAX_CAUSE])


def _exit_code(code: object, signal: object) -> int | None:
    if isinstance(code, int) and 0 <= code <= 255:
        return code
    return 128 + signal if isinstance(signal, int) and 0 < signal < 128 else None
