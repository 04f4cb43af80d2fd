"""`AsyncPyro`: the operations as coroutines, with the same names, parameters and results as `Pyro`'s.

Each line below takes one definition and gives its asynchronous twin; type checkers see the whole signature.
A test holds that none is missing.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.client.answers import Event, Output, Result, Started, understand
from pyro_mcp.client.calls import Face, headers, made_absolute
from pyro_mcp.client.excerpts import HeadTail, Watched
from pyro_mcp.client.following import WAIT_SECONDS, duration_of, ended_record
from pyro_mcp.client.wire import operation_path, went_away
from pyro_mcp.errors import NotFound
from pyro_mcp.locations import Locations
from pyro_mcp.models import ExecResult, Workspace
from pyro_mcp.operations import REGISTRY, AllOperations, Operation
from pyro_mcp.operations.fields import DEFAULT_TIMEOUT_SECONDS, RESULT_TEXT_DEFAULT
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
        return operation.result.model_validate(record, extra="ignore")  # type: ignore[return-value]

    return cast("Callable[Concatenate[AsyncPyro, P], Coroutine[Any, Any, R]]", call)


def _temporary(
    create: Callable[Concatenate[AsyncPyro, P], Coroutine[Any, Any, Workspace]],
) -> Callable[Concatenate[AsyncPyro, P], AbstractAsyncContextManager[Workspace]]:
    @asynccontextmanager
    async def workspace(self: AsyncPyro, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Workspace]:
        created = await create(self, *args, **kwargs)
        try:
            yield created
        finally:
            # Shielded: a cancelled task, too, leaves no workspace behind.
            await asyncio.shield(asyncio.ensure_future(_gone(self, created.id)))

    return cast("Callable[Concatenate[AsyncPyro, P], AbstractAsyncContextManager[Workspace]]", workspace)


async def _gone(pyro: AsyncPyro, workspace_id: str) -> None:
    with suppress(NotFound):  # it may have been deleted inside, or have expired
        await pyro.delete_workspace(workspace_id)


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
        project: str | None = None,
    ) -> None:
        self._project = project
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
        fields = headers(self._face, self._client, on_event is not None, outputs, self._project)
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
    ) -> AsyncExecStream:
        """Run a command and iterate over its output while it runs, however long it takes.

        >>> stream = pyro.stream_exec_workspace("w", "make")
        >>> async for piece in stream:
        ...     sys.stdout.buffer.write(piece.data)
        >>> (await stream.result()).exit_code
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
        return AsyncExecStream(self, given)

    doctor = _twin(AllOperations.doctor)
    list_environments = _twin(AllOperations.list_environments)
    inspect_environment = _twin(AllOperations.inspect_environment)
    pull_environment = _twin(AllOperations.pull_environment)
    remove_environment = _twin(AllOperations.remove_environment)
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
    feed_workspace_exec = _twin(AllOperations.feed_workspace_exec)
    cancel_workspace_exec = _twin(AllOperations.cancel_workspace_exec)
    logs_workspace = _twin(AllOperations.logs_workspace)
    list_workspace_files = _twin(AllOperations.list_workspace_files)
    read_workspace_file = _twin(AllOperations.read_workspace_file)
    edit_workspace_file = _twin(AllOperations.edit_workspace_file)
    search_workspace = _twin(AllOperations.search_workspace)
    write_workspace_file = _twin(AllOperations.write_workspace_file)
    apply_workspace_patch = _twin(AllOperations.apply_workspace_patch)
    diff_workspace = _twin(AllOperations.diff_workspace)
    create_snapshot = _twin(AllOperations.create_snapshot)
    list_snapshots = _twin(AllOperations.list_snapshots)
    delete_snapshot = _twin(AllOperations.delete_snapshot)
    fork_workspace = _twin(AllOperations.fork_workspace)
    stop_workspace = _twin(AllOperations.stop_workspace)
    start_workspace = _twin(AllOperations.start_workspace)
    list_workspace_disk = _twin(AllOperations.list_workspace_disk)
    read_workspace_disk = _twin(AllOperations.read_workspace_disk)
    export_workspace_disk = _twin(AllOperations.export_workspace_disk)
    open_shell = _twin(AllOperations.open_shell)
    read_shell = _twin(AllOperations.read_shell)
    write_shell = _twin(AllOperations.write_shell)
    signal_shell = _twin(AllOperations.signal_shell)
    resize_shell = _twin(AllOperations.resize_shell)
    close_shell = _twin(AllOperations.close_shell)
    start_service = _twin(AllOperations.start_service)
    list_services = _twin(AllOperations.list_services)
    status_service = _twin(AllOperations.status_service)
    logs_service = _twin(AllOperations.logs_service)
    stop_service = _twin(AllOperations.stop_service)
    land_workspace = _twin(AllOperations.land_workspace)
    workspace = _temporary(create_workspace)
    """`create_workspace` as an asynchronous context manager, which deletes the workspace on exit."""


class AsyncExecStream:
    """The output of a command while it runs: iterate once, then read `result`."""

    def __init__(self, pyro: AsyncPyro, arguments: dict[str, Any]) -> None:
        self._pyro = pyro
        self._arguments = arguments
        self._result: ExecResult | None = None
        self._pieces = self._follow()
        self.handle: str | None = None

    def __aiter__(self) -> AsyncIterator[Output]:
        return self._pieces

    async def result(self) -> ExecResult:
        """The command's outcome; what was not iterated over yet is read first."""
        async for _ in self._pieces:
            pass
        if self._result is None:
            raise went_away()
        return self._result

    async def cancel(self) -> None:
        """End the command. The iteration then comes to its end."""
        if self.handle is not None:
            await self._pyro.cancel_workspace_exec(self._arguments["workspace"], self.handle)

    async def _follow(self) -> AsyncIterator[Output]:
        bound = int(self._arguments["max_output_bytes"])
        raw = bool(self._arguments.get("raw"))
        streams: dict[str, HeadTail] = {name: HeadTail(bound) if raw else Watched() for name in ("stdout", "stderr")}
        begun, seen = time.monotonic(), 0
        operation, arguments = REGISTRY["exec_workspace"], {**self._arguments, "wait_seconds": WAIT_SECONDS}
        first: dict[str, Any] | None = None
        while True:
            said: asyncio.Queue[Event | None] = asyncio.Queue()
            work = asyncio.ensure_future(self._pyro.call(operation, arguments, on_event=said.put_nowait))
            work.add_done_callback(functools.partial(_end, said))
            try:
                while (event := await said.get()) is not None:
                    if isinstance(event, Started):
                        self.handle = event.handle
                    elif isinstance(event, Output):
                        seen += len(event.data)
                        streams[event.stream].feed(event.data)
                        yield event
            finally:
                if not work.done():
                    work.cancel()
            record = await work
            if first is None:
                first = record
            if record["status"] != "running":
                break
            operation = REGISTRY["logs_workspace"]
            arguments = {"workspace": first["workspace"], "handle": first["handle"], "offset": seen}
            arguments |= {"wait_seconds": WAIT_SECONDS, "max_output_bytes": 200}
        if record is not first:
            listed = await self._pyro.call(REGISTRY["logs_workspace"], {"workspace": first["workspace"], "limit": 1000})
            record = ended_record(first, record, streams, bound, duration_of(first, listed, begun))
        self._result = ExecResult.model_validate(record, extra="ignore")


def _end(said: asyncio.Queue[Event | None], work: asyncio.Future[Any]) -> None:
    said.put_nowait(None)
