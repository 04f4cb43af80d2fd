"""`AsyncPyro`: the operations as coroutines, with the same names, parameters and results as `Pyro`'s.

Each line below takes one definition and gives its asynchronous twin; type checkers see the whole signature.
A test holds that none is missing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.client.answers import Event, Result, understand
from pyro_mcp.client.calls import Face, headers, made_absolute
from pyro_mcp.client.wire import operation_path, went_away
from pyro_mcp.locations import Locations
from pyro_mcp.operations import AllOperations, Operation
from pyro_mcp.operations.validation import validated

P = ParamSpec("P")
R = TypeVar("R")


def _twin(
    definition: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[AsyncPyro, P], Coroutine[Any, Any, R]]:
    operation: Operation = definition.operation  # type: ignore[attr-defined]
    signature = inspect.signature(operation.function)

    @functools.wraps(definition)
    async def call(self: AsyncPyro, *args: P.args, **kwargs: P.kwargs) -> R:
        arguments = dict(signature.bind(self, *args, **kwargs).arguments)
        del arguments["self"]
        arguments = made_absolute(operation, arguments)
        validated(operation, arguments)
        record = await self.call(operation, arguments, on_event=self._on_event)
        return operation.result.model_validate(record)  # type: ignore[return-value]

    return cast("Callable[Concatenate[AsyncPyro, P], Coroutine[Any, Any, R]]", call)


class AsyncPyro:
    """A connection to this user's daemon, for one event loop.

    >>> async with AsyncPyro() as pyro:
    ...     workspace = await pyro.create_workspace("debian:12")
    """

    def __init__(
        self,
        *,
        on_event: Callable[[Event], None] | None = None,
        locations: Locations | None = None,
        transport: AsyncTransport | None = None,
        face: Face = "sdk",
        client: str = "",
    ) -> None:
        self._on_event = on_event
        self._face: Face = face
        self._client = client
        self._transport = transport or AsyncTransport(locations or Locations.of_this_user())

    async def close(self) -> None:
        """Close the connections; the daemon and the workspaces live on."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        on_event: Callable[[Event], None] | None = None,
        *,
        outputs: bool = True,
    ) -> dict[str, Any]:
        """Carry out an operation with plain arguments, and give its plain result.

        Without `outputs`, `on_event` hears of everything but a command's output.
        """
        fields = headers(self._face, self._client, on_event is not None)
        path = operation_path(operation.name)
        result: dict[str, Any] | None = None
        async with aclosing(
            self._transport.request("POST", path, made_absolute(operation, arguments), fields)  # type: ignore[type-var]
        ) as lines:
            async for line in lines:
                said = understand(line, outputs=outputs)
                if isinstance(said, Result):
                    result = said.record
                elif said is not None and on_event is not None:
                    on_event(said)
        if result is None:
            raise went_away()
        return result

    doctor = _twin(AllOperations.doctor)
    list_environments = _twin(AllOperations.list_environments)
    inspect_environment = _twin(AllOperations.inspect_environment)
    pull_environment = _twin(AllOperations.pull_environment)
    prune_environments = _twin(AllOperations.prune_environments)
    run_in_vm = _twin(AllOperations.run_in_vm)
    create_workspace = _twin(AllOperations.create_workspace)
    list_workspaces = _twin(AllOperations.list_workspaces)
    status_workspace = _twin(AllOperations.status_workspace)
    update_workspace = _twin(AllOperations.update_workspace)
    delete_workspace = _twin(AllOperations.delete_workspace)
    reset_workspace = _twin(AllOperations.reset_workspace)
    history_workspace = _twin(AllOperations.history_workspace)
    push_workspace_sync = _twin(AllOperations.push_workspace_sync)
    export_workspace = _twin(AllOperations.export_workspace)
    exec_workspace = _twin(AllOperations.exec_workspace)
    cancel_workspace_exec = _twin(AllOperations.cancel_workspace_exec)
    logs_workspace = _twin(AllOperations.logs_workspace)
    list_workspace_files = _twin(AllOperations.list_workspace_files)
    read_workspace_file = _twin(AllOperations.read_workspace_file)
    write_workspace_file = _twin(AllOperations.write_workspace_file)
    apply_workspace_patch = _twin(AllOperations.apply_workspace_patch)
    diff_workspace = _twin(AllOperations.diff_workspace)
