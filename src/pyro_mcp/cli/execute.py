"""Carries out an operation for the command line: streams, progress, Ctrl-C, and what is printed at the end.

Results go to standard output, everything else to standard error. `exec` and `run` pass the command's bytes
on as they come, untouched.
"""

from __future__ import annotations

import json
import os
import sys

from pyro_mcp.cli.feeding import Feeder, is_given
from pyro_mcp.cli.options import usage_error
from pyro_mcp.cli.parsing import COMMAND, Parsed, passes_output_on
from pyro_mcp.client.answers import Output, Progress, Result, Started
from pyro_mcp.client.connection import Connection
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.definitions.operation import Operation
from pyro_mcp.errors import (
    ComponentMissing,
    DaemonUnavailable,
    HostError,
    InternalError,
    NotFound,
    NotPermitted,
    PyroError,
)
from pyro_mcp.visible import visible, visible_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
    from typing import Any

    from pyro_mcp.client.answers import Event
else:
    import _signal as signal  # `signal` makes enumerations of these names, which takes a while

CONTENT = {
    "FileContent": "content",
    "Diff": "patch",
    "Logs": "output",
    "ShellOutput": "output",
    "ServiceLogs": "output",
    "SuggestedEnvironment": "content",
}
"""What `--content-only` prints, by the kind of result; commands print their output."""
TIMED_OUT = 124
LEAVES_RUNNING = frozenset({"wait_seconds", "background", "until"})
"""Options of a command with which its end is not waited for."""
FOLLOW_SECONDS = 45.0
_LINE_CHARACTERS = 200
"""Of a line of output that is shown as progress."""
FAILED = ("failed",)
"""States of a result, such as a service's, that are a failure of the command line, too."""
IDS = {
    "Workspace": "id",
    "Deleted": "id",
    "Shell": "shell",
    "ShellOutput": "shell",
    "Service": "name",
    "Snapshot": "name",
}
"""What `--id-only` prints, by the kind of result."""
ID_LISTS = {
    "WorkspaceList": ("workspaces", "id"),
    "Forked": ("workspaces", "id"),
    "SnapshotList": ("snapshots", "name"),
    "ServiceList": ("services", "name"),
}


def execute(operation: Operation, parsed: Parsed) -> int:
    """Carry out a parsed command line and give the exit status."""
    _refuse_impossible(operation, parsed)
    if parsed.content_only and operation.result_name in ("Logs", "ServiceLogs"):
        parsed.arguments["raw"] = True
    with Connection(face="cli", client="pyro") as pyro:
        if passes_output_on(operation):
            return run_command(pyro, operation, parsed)
        if parsed.follow:
            return follow(pyro, operation, parsed)
        with ProgressView(shown=not parsed.json, logs=operation.name == "build_environment") as view:
            try:
                record = pyro.call(operation, parsed.arguments, on_event=view.show if operation.streams else None)
            except (ComponentMissing, DaemonUnavailable, HostError, InternalError, NotPermitted) as error:
                if operation.name != "doctor" or _elsewhere():
                    raise
                # Where the daemon itself cannot start, doctor is needed most.
                record = doctor_without_daemon(error)
    print_result(operation, record, parsed)
    return 1 if record.get("ok") is False or record.get("state") in FAILED or _none_passed(record) else 0


def _none_passed(record: dict[str, Any]) -> bool:
    """Of what `workspace try` tried."""
    tried = record.get("alternatives")
    return bool(tried) and record.get("status") == "done" and all(one["status"] != "passed" for one in tried or ())


def _elsewhere() -> bool:
    """Whether another computer is meant."""
    from pyro_mcp.client.place import locations

    return bool(locations().on)


def doctor_without_daemon(error: PyroError) -> dict[str, Any]:
    """What can be found out from here, with the reason why the daemon does not run."""
    from pyro_mcp.locations import Locations
    from pyro_mcp.machines.choice import find_components
    from pyro_mcp.machines.host_checks import find_tools, host_checks
    from pyro_mcp.models import Doctor, EngineStatus

    locations = Locations.of_this_user()
    try:
        components = find_components(locations.cache)
    except OSError:
        components = []  # the cache cannot be; the error says why
    return Doctor(
        ok=False,
        default_engine=None,
        engines=[EngineStatus(name="gvisor", ok=False, detail=f"the daemon could not start: {error}")],
        components=[*components, *find_tools()],
        checks=host_checks(),
        environments=[],
        daemon={"running": False, "log": str(locations.daemon_log)},
    ).model_dump(mode="json")


def _refuse_impossible(operation: Operation, parsed: Parsed) -> None:
    """Before anything is done: the result must have what the flags ask for."""
    kind = operation.result_name
    if parsed.id_only and kind not in IDS and kind not in ID_LISTS:
        raise usage_error("This command's result has no id.", hint="Omit --id-only.")
    if parsed.content_only and kind not in CONTENT and not passes_output_on(operation):
        raise usage_error("This command's result has no content to print.", hint="Omit --content-only.")
    if parsed.content_only and kind == "Logs" and "handle" not in parsed.arguments:
        raise usage_error("--content-only needs --handle, because it prints the output of one command.")


def print_result(operation: Operation, record: dict[str, Any], parsed: Parsed) -> None:
    """Print a result the way the flags ask."""
    kind = operation.result_name
    if parsed.json:
        text = json.dumps(record) + "\n"
    elif parsed.id_only:
        text = "".join(f"{found}\n" for found in _ids(kind, record))
        if (record.get("devcontainer") or {}).get("hint"):
            note(record["devcontainer"]["hint"])
    elif parsed.content_only:
        text = record[CONTENT[kind]]
        if kind == "FileContent":
            text += "".join(file["content"] for file in record["files"])
        if record.get("hint"):
            note(record["hint"])
    else:
        from pyro_mcp.cli.render import render

        text = render(kind, record)
    print_text(text)


def _ids(kind: str, record: dict[str, Any]) -> list[str]:
    if kind in IDS:
        return [record[IDS[kind]]]
    items, name = ID_LISTS[kind]
    return [item[name] for item in record[items]]


def note(text: str) -> None:
    """A line for the person, beside the result."""
    print(visible_lines(text), file=sys.stderr, flush=True)


def write_out(stream: Any, data: bytes) -> None:
    """All of `data`, at once: what a command printed is seen when it was printed."""
    stream.flush()
    view = memoryview(data)
    while view:
        view = view[os.write(stream.fileno(), view) :]


def print_text(text: str) -> None:
    """All of a text to standard output, in the bytes that it came from."""
    write_out(sys.stdout, text.encode("utf-8", "surrogateescape"))


# -- following


def follow(pyro: Connection, operation: Operation, parsed: Parsed) -> int:
    """Print what there is and what comes, until it ends or Ctrl-C; with --json one object a line."""
    arguments = dict(parsed.arguments)
    arguments["wait_seconds"] = FOLLOW_SECONDS
    kind = operation.result_name
    if kind == "Logs" and "handle" not in arguments:
        raise usage_error(
            "--follow needs --handle, because it follows the output of one command.",
            hint="`pyro logs WS` lists the handles; `pyro history WS --follow` tells of all that is done.",
        )
    while True:
        try:
            record = pyro.call(operation, arguments)
        except NotFound as error:
            if error.code != "workspace_gone":
                raise
            note(error.message)
            return 0
        if kind == "History":
            ended = [event for event in record["events"] if event["outcome"] != "running"]
            print_text(_shown(ended, parsed))
            arguments["after"] = record["cursor"]
            continue
        text = record["output"]
        if parsed.json:
            text = json.dumps(record) + "\n" if text else ""
        elif not parsed.content_only:
            text = visible_lines(text)
        print_text(text)
        arguments["offset"] = record["next_offset"]
        over = record.get("status") != "running" if kind == "Logs" else record["state"] not in ("starting", "running")
        if over and record["next_offset"] >= record["total_bytes"]:
            return 0


def _shown(events: list[dict[str, Any]], parsed: Parsed) -> str:
    if parsed.json:
        return "".join(json.dumps(event) + "\n" for event in events)
    from pyro_mcp.cli.render import event_line

    return "".join(event_line(event) + "\n" for event in events)


# -- exec and run


def run_command(pyro: Connection, operation: Operation, parsed: Parsed) -> int:
    """Run a command and pass on what it says; gives its exit status."""
    arguments = dict(parsed.arguments)
    if _wants_terminal(operation, arguments, parsed):
        from pyro_mcp.cli import attach

        if operation.name == "exec_workspace":
            return attach.run_in_terminal(pyro, arguments)
        with ProgressView(shown=True) as view:
            return attach.one_shot_in_terminal(pyro, arguments, view.show_until_ready)
    leave_running = not LEAVES_RUNNING.isdisjoint(arguments)
    feed = arguments.pop("stdin", False) or (COMMAND in arguments and is_given(0))
    if feed and COMMAND in arguments and not leave_running:
        arguments["stdin_open"] = True
    record: dict[str, Any] = {}
    leaving = () if leave_running else (signal.SIGTERM, signal.SIGHUP)
    with (
        ProgressView(shown=not parsed.json) as view,
        _Interrupt(pyro, arguments.get("workspace"), (signal.SIGINT, *leaving)) as interrupt,
    ):
        for said in _pieces(pyro, operation, arguments, leave_running):
            match said:
                case Started():
                    interrupt.started(said)
                    if "stdin_open" in arguments:
                        Feeder(pyro, said.workspace or arguments["workspace"], said.handle).start()
                case Output():
                    view.clear()
                    if not parsed.json:
                        write_out(sys.stdout if said.stream == "stdout" else sys.stderr, said.data)
                case Progress():
                    view.show(said)
                case Result():
                    record = said.record
    if parsed.json:
        print_result(operation, record, parsed)
    elif not parsed.content_only:
        _tell_outcome(record)
    return _exit_status(record, interrupt.number)


def _wants_terminal(operation: Operation, arguments: dict[str, Any], parsed: Parsed) -> bool:
    """A program that is run on a terminal gets one: so editors, pagers and shells work."""
    asked = bool(arguments.pop("tty", False))
    if COMMAND not in arguments or parsed.json or parsed.content_only:
        return False
    on_terminal = is_terminal(sys.stdin) and is_terminal(sys.stdout)
    if asked and not on_terminal:
        raise usage_error(
            "--tty needs a terminal on standard input and output.",
            hint="Omit it: piped input is passed to the command anyway.",
        )
    return on_terminal and not (LEAVES_RUNNING | {"stdin", "timeout_seconds", "max_output_bytes"}) & arguments.keys()


def is_terminal(stream: Any) -> bool:
    """Whether a standard stream is a terminal; where it is closed there is none."""
    return stream is not None and bool(stream.isatty())


def _pieces(
    pyro: Connection, operation: Operation, arguments: dict[str, Any], leave_running: bool
) -> Iterator[Event | Result]:
    if leave_running or COMMAND not in arguments:
        return pyro.events(operation, arguments)
    from pyro_mcp.client.following import follow

    return follow(pyro.events, pyro.call, operation, arguments)


def _tell_outcome(record: dict[str, Any]) -> None:
    """What the exit status alone does not say."""
    handle, workspace = record["handle"], record["workspace"]
    if record.get("reached") is not None:
        note(f"The --until condition {'was met' if record['reached'] else 'was not met'}.")
    match record["status"]:
        case "running" if "environment" in record:
            note(f"Still running. Keep waiting with: pyro run --handle {handle}")
        case "running":
            note(
                f"Still running. Keep reading with: pyro workspace logs {workspace} --handle {handle} --wait-seconds 45"
            )
        case "timed_out":
            note("The command timed out and was ended (--timeout-seconds).")
        case "cancelled":
            note("The command was cancelled.")
        case "lost":
            note("The machine was reset or lost before the command ended.")
        case _ if record.get("cause"):
            note(record["cause"])
    if record.get("refused"):
        from types import SimpleNamespace

        from pyro_mcp import refusals

        note(refusals.said([SimpleNamespace(**each) for each in record["refused"]]))  # type: ignore[misc]


def _exit_status(record: dict[str, Any], ended_by: int) -> int:
    status = record["status"]
    if status == "running":
        return 0
    if status == "timed_out":
        return TIMED_OUT
    if status == "cancelled" and ended_by:
        return 128 + ended_by
    code = record.get("exit_code")
    return code if isinstance(code, int) else 1


class _Interrupt:
    """Ctrl-C while a command runs: the first cancels the command, the second leaves at once. So do TERM and HUP, with
    which `timeout` and a closed window end this program, unless it was told to pass over them, as `nohup` does."""

    def __init__(self, pyro: Connection, workspace: str | None, signals: tuple[int, ...]) -> None:
        self._pyro = pyro
        self._workspace = workspace
        self._signals = signals
        self._handle: str | None = None
        self._before: dict[int, Any] = {}
        self.number = 0
        """The signal that asked for the end."""

    def started(self, said: Started) -> None:
        self._handle = said.handle
        self._workspace = said.workspace or self._workspace

    def __enter__(self) -> _Interrupt:
        for number in self._signals:
            if number == signal.SIGINT or signal.getsignal(number) == signal.SIG_DFL:
                try:
                    self._before[number] = signal.signal(number, self._arrived)
                except ValueError:
                    break  # signals arrive in the main thread, and this is another
        return self

    def __exit__(self, *_: Any) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _arrived(self, number: int, frame: Any) -> None:
        again, self.number = bool(self.number), number
        if again or self._handle is None or self._workspace is None:
            # Nothing runs yet, or its name is not known: leaving closes the connection, which ends a one-shot run.
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + number)
        if number == signal.SIGINT:
            note("\nCancelling the command. Press Ctrl-C again to leave now.")
        import threading

        threading.Thread(target=self._cancel, daemon=True).start()

    def _cancel(self) -> None:
        try:
            self._pyro.call(KNOWN["cancel_workspace_exec"], {"workspace": self._workspace, "handle": self._handle})
        except PyroError as error:
            note(f"error: {error}")


# -- progress


def _last_line(data: bytes) -> str:
    from pyro_mcp.processes.seen import seen

    return next((line for line in reversed(seen(data[-4096:]).splitlines()) if line.strip()), "")[:_LINE_CHARACTERS]


class ProgressView:
    """Progress on standard error: a bar on a terminal, else one line for each new text."""

    def __init__(self, *, shown: bool, logs: bool = False) -> None:
        """With `logs`, output is shown whole, what steers a terminal in it made visible."""
        self._shown = shown
        self._logs = logs
        self._bar: Any = None
        self._task: Any = None
        self._last = ""

    def __enter__(self) -> ProgressView:
        return self

    def __exit__(self, *_: Any) -> None:
        self.clear()

    def show(self, event: Event) -> None:
        if isinstance(event, Output) and self._logs and self._shown:
            self.clear()
            write_out(sys.stderr, visible_lines(event.data.decode("utf-8", "replace")).encode())
            return
        if isinstance(event, Output):
            event = Progress(_last_line(event.data))
        if not self._shown or not isinstance(event, Progress) or not event.text:
            return
        if sys.stderr.isatty():
            self._draw(event)
        elif event.text != self._last:
            self._last = event.text
            note(event.text)

    def show_until_ready(self, event: Event) -> None:
        """As `show`, and clear the bar when it is full: what follows has the terminal for itself."""
        self.show(event)
        if isinstance(event, Progress) and event.fraction == 1.0:
            self.clear()

    def clear(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, event: Progress) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TimeElapsedColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        total = None if event.fraction is None else 1.0
        self._bar.update(self._task, description=visible(event.text), total=total, completed=event.fraction or 0.0)
