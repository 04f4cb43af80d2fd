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

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from pyro_mcp import deriving
from pyro_mcp.client.answers import Event, Output, Progress, Result, Started, understand
from pyro_mcp.client.calls import Face, headers, made_absolute
from pyro_mcp.client.sync import Transport
from pyro_mcp.client.wire import operation_path, went_away
from pyro_mcp.errors import NotFound
from pyro_mcp.handles import RESULTS, Workspace, connected
from pyro_mcp.locations import Locations
from pyro_mcp.methods import PyroMethods, WorkspaceMethods
from pyro_mcp.models import ExecResult
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.validation import validated

__all__ = ["Event", "ExecStream", "Output", "Progress", "Pyro", "Started"]


class Pyro(PyroMethods):
    """A connection to this user's daemon.

    Args:
        on_event: called with `Progress`, `Started` and `Output` while operations run, in the calling thread.
        locations: where the daemon's socket is; by default where the environment says.
        transport: carries the calls; by default a new `Transport` to `locations`.
    """

    def __init__(
        self,
        *,
        on_event: Callable[[Event], None] | None = None,
        locations: Locations | None = None,
        transport: Transport | None = None,
        face: Face = "sdk",
        client: str = "",
    ) -> None:
        self._on_event = on_event
        self._face: Face = face
        self._client = client
        self._transport = transport or Transport(locations or Locations.of_this_user())

    def close(self) -> None:
        """Close the connections; the daemon and the workspaces live on."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _invoke(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        arguments = made_absolute(operation, arguments)
        validated(operation, arguments)
        record = self.call(operation, arguments, on_event=self._on_event)
        shape = RESULTS.get(operation.result, operation.result)
        return connected(shape.model_validate(record, extra="ignore"), self)

    def call(
        self, operation: Operation, arguments: dict[str, Any], on_event: Callable[[Event], None] | None = None
    ) -> dict[str, Any]:
        """Carry out an operation with plain arguments, and give its plain result."""
        fields = headers(self._face, self._client, on_event is not None)
        path = operation_path(operation.name)
        result: dict[str, Any] | None = None
        for line in self._transport.request("POST", path, made_absolute(operation, arguments), fields):
            said = understand(line)
            if isinstance(said, Result):
                result = said.record
            elif said is not None and on_event is not None:
                on_event(said)
        if result is None:
            raise went_away()
        return result

    def events(self, operation: Operation, arguments: dict[str, Any]) -> Iterator[Event | Result]:
        """Carry out an operation, giving its events as they come and the `Result` last."""
        fields = headers(self._face, self._client, True)
        path = operation_path(operation.name)
        last: Event | Result | None = None
        for line in self._transport.request("POST", path, made_absolute(operation, arguments), fields):
            last = understand(line)
            if last is not None:
                yield last
        if not isinstance(last, Result):
            raise went_away()

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
