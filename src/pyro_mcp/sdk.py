"""The Python face: `Pyro`, whose methods are the operations.

>>> with Pyro() as pyro:
...     workspace = pyro.create_workspace("debian:12", seed_path=".")
...     print(pyro.exec_workspace(workspace, "make test").exit_code)

Wherever an operation takes a workspace, its id, its name or the `Workspace` itself will do. `Pyro` may be used
from many threads. Bad arguments raise `InvalidInput` before anything is sent; every
other failure is a `PyroError`, too. The daemon is started when it does not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, cast

from pyro_mcp.client.answers import Event, Output, Progress, Result, Started
from pyro_mcp.client.calls import made_absolute
from pyro_mcp.client.connection import Connection
from pyro_mcp.client.wire import went_away
from pyro_mcp.errors import NotFound
from pyro_mcp.models import ExecResult, Workspace
from pyro_mcp.operations import REGISTRY, AllOperations, Operation
from pyro_mcp.operations.fields import DEFAULT_TIMEOUT_SECONDS, RESULT_TEXT_DEFAULT
from pyro_mcp.operations.validation import validated

__all__ = ["Event", "ExecStream", "Output", "Progress", "Pyro", "Started"]


P = ParamSpec("P")


def _temporary(
    create: Callable[Concatenate[Any, P], Workspace],
) -> Callable[Concatenate[Pyro, P], AbstractContextManager[Workspace]]:
    @contextmanager
    def workspace(self: Pyro, *args: P.args, **kwargs: P.kwargs) -> Iterator[Workspace]:
        created = create(self, *args, **kwargs)
        try:
            yield created
        finally:
            with suppress(NotFound):  # it may have been deleted inside, or have expired
                self.delete_workspace(created.id)

    return cast("Callable[Concatenate[Pyro, P], AbstractContextManager[Workspace]]", workspace)


class Pyro(Connection, AllOperations):
    """A connection to this user's daemon.

    Args:
        on_event: called with `Progress`, `Started` and `Output` while operations run, in the calling thread.
        locations: where the daemon's socket is; by default where the environment says.
        transport: carries the calls; by default a new `Transport` to `locations`.
    """

    def _invoke(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        arguments = made_absolute(operation, arguments)
        validated(operation, arguments)
        return operation.result.model_validate(self.call(operation, arguments, on_event=self._on_event), extra="ignore")

    workspace = _temporary(AllOperations.create_workspace)
    """`create_workspace` as a context manager, which deletes the workspace on exit, whatever happened inside.

    >>> with pyro.workspace("debian:12", seed_path=".") as workspace:
    ...     pyro.exec_workspace(workspace, "make test")
    """

    def stream_exec_workspace(
        self,
        workspace: str | Workspace,
        command: str | list[str],
        *,
        cwd: str = "/workspace",
        env: dict[str, str] | None = None,
        secret_env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        max_output_bytes: int = RESULT_TEXT_DEFAULT,
    ) -> ExecStream:
        """Run a command and iterate over its output while it runs, however long it takes.

        >>> stream = pyro.stream_exec_workspace("w", "make")
        >>> for piece in stream:
        ...     sys.stdout.buffer.write(piece.data)
        >>> stream.result.exit_code
        """
        given: dict[str, Any] = {
            "workspace": workspace,
            "command": command,
            "cwd": cwd,
            "env": env,
            "secret_env": secret_env,
            "stdin": stdin,
            "timeout_seconds": timeout_seconds,
            "max_output_bytes": max_output_bytes,
        }
        given = made_absolute(REGISTRY["exec_workspace"], given)
        validated(REGISTRY["exec_workspace"], given)
        return ExecStream(self, given)


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
