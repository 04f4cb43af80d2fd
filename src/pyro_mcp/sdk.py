"""The Python face: `Pyro`, whose methods are the operations.

>>> with Pyro() as pyro, pyro.workspace("debian:12", seed_path=".") as workspace:
...     print(workspace.run("make test").exit_code)
...     print(workspace.diff().patch)

Every operation is a method of `Pyro`. Those on a workspace are methods of `Workspace`, too, by shorter names; where an
operation takes a workspace, its id, its name or the `Workspace` itself will do. `Pyro` may be used from many threads.
Bad arguments raise `InvalidInput` before anything is sent; every other failure is a `PyroError`, too. The daemon is
started when it does not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from pyro_mcp import deriving
from pyro_mcp.client.answers import Event, Output, Progress, Result, Started
from pyro_mcp.client.calls import made_absolute
from pyro_mcp.client.connection import Connection
from pyro_mcp.client.wire import went_away
from pyro_mcp.errors import NotFound
from pyro_mcp.handles import RESULTS, Workspace, connected
from pyro_mcp.methods import PyroMethods, WorkspaceMethods
from pyro_mcp.models import ExecResult
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.validation import validated

__all__ = ["Event", "ExecStream", "Output", "Progress", "Pyro", "Started"]


class Pyro(Connection, PyroMethods):
    """A connection to this user's daemon.

    Args:
        on_event: called with `Progress`, `Started` and `Output` while operations run, in the calling thread.
        on: another computer, `ssh://USER@HOST` or a context's name; by default what PYRO_ON or the chosen context
            says, else this one.
        locations: where the daemon's socket is; by default as `on` says.
        transport: carries the calls; by default a new `Transport` to `locations`.
    """

    def _invoke(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        arguments = made_absolute(operation, arguments)
        validated(operation, arguments)
        record = self.call(operation, arguments, on_event=self._on_event)
        shape = RESULTS.get(operation.result, operation.result)
        return connected(shape.model_validate(record, extra="ignore"), self)

    def _stream(self, arguments: dict[str, Any]) -> ExecStream:
        operation = REGISTRY["exec_workspace"]
        return ExecStream(self, validated(operation, made_absolute(operation, arguments)))

    @contextmanager
    def _temporary(self, *args: Any, **kwargs: Any) -> Iterator[Workspace]:
        created = self.create_workspace(*args, **kwargs)
        try:
            yield created
        finally:
            with suppress(NotFound):  # it may have been deleted inside, or have expired
                created.delete()


class ExecStream:
    """The output of a command while it runs: iterate once, then read `result`."""

    def __init__(self, pyro: Pyro, arguments: dict[str, Any]) -> None:
        from pyro_mcp.client.following import follow

        self._pyro = pyro
        self._arguments = arguments
        self._pieces = follow(pyro.events, pyro.call, REGISTRY["exec_workspace"], arguments)
        self._result: ExecResult | None = None
        self.handle: str | None = None

    def __iter__(self) -> Iterator[Output]:
        for said in self._pieces:
            if isinstance(said, Started):
                self.handle = said.handle
            elif isinstance(said, Output):
                yield said
            elif isinstance(said, Result):
                self._result = ExecResult.model_validate(said.record, extra="ignore")

    @property
    def result(self) -> ExecResult:
        """The command's outcome; what was not iterated over yet is read first."""
        for _ in self:
            pass
        if self._result is None:
            raise went_away()
        return self._result

    def cancel(self) -> None:
        """End the command; from another thread, too. The iteration then comes to its end."""
        if self.handle is not None:
            self._pyro.cancel_workspace_exec(self._arguments["workspace"], self.handle)


deriving.fill(
    PyroMethods,
    {**RESULTS, deriving.Stream: ExecStream, deriving.Temporary: AbstractContextManager[Workspace]},
    deriving.of_client(asynchronous=False),
)
deriving.fill(WorkspaceMethods, {**RESULTS, deriving.Stream: ExecStream}, deriving.of_workspace(asynchronous=False))
