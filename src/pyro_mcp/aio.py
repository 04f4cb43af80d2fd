"""`AsyncPyro`: the operations as coroutines, with the same names, parameters and results as `Pyro`'s."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

from pyro_mcp import deriving
from pyro_mcp.client import place
from pyro_mcp.client.aio import AsyncTransport
from pyro_mcp.client.answers import Event, Noted, Output, Result, Started, understand
from pyro_mcp.client.calls import headers, made_absolute
from pyro_mcp.client.following import Following
from pyro_mcp.client.trace import begun
from pyro_mcp.client.wire import operation_path, went_away
from pyro_mcp.errors import NotFound
from pyro_mcp.handles import ASYNC_RESULTS, AsyncWorkspace, connected
from pyro_mcp.locations import Locations
from pyro_mcp.methods import AsyncPyroMethods, AsyncWorkspaceMethods
from pyro_mcp.models import ExecResult
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.validation import validated
from pyro_mcp.vocabulary import Face


class AsyncPyro(AsyncPyroMethods):
    """A connection to this user's daemon, for one event loop.

    >>> async with AsyncPyro() as pyro:
    ...     print((await pyro.doctor()).ok)
    """

    def __init__(
        self,
        *,
        on_event: Callable[[Event], None] | None = None,
        on: str | None = None,
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
        self._transport = transport or AsyncTransport(locations or place.locations(on))

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
        on_note: Callable[[str], None] = lambda text: None,
    ) -> dict[str, Any]:
        """Carry out an operation with plain arguments, and give its plain result.

        Without `outputs`, `on_event` hears of everything but a command's output. `on_note` is given what the person
        says to an agent, which is told once, and to MCP servers only.
        """
        fields = headers(self._face, self._client, on_event is not None, outputs, self._project)
        path, trace = operation_path(operation.name), begun(operation.name, fields)
        result: dict[str, Any] | None = None
        async with aclosing(
            self._transport.request("POST", path, made_absolute(operation, arguments), fields)  # type: ignore[type-var]
        ) as lines:
            async for line in lines:
                if trace is not None:
                    trace.ended(line)
                said = understand(line, outputs=outputs)
                if isinstance(said, Result):
                    result = said.record
                elif isinstance(said, Noted):
                    on_note(said.text)
                elif said is not None and on_event is not None:
                    on_event(said)
        if result is None:
            raise went_away()
        return result

    async def _invoke(self, operation: Operation, arguments: dict[str, Any]) -> Any:
        arguments = made_absolute(operation, arguments)
        validated(operation, arguments)
        record = await self.call(operation, arguments, on_event=self._on_event)
        shape = ASYNC_RESULTS.get(operation.result, operation.result)
        return connected(shape.model_validate(record, extra="ignore"), self)

    def _stream(self, arguments: dict[str, Any]) -> AsyncExecStream:
        operation = REGISTRY["exec_workspace"]
        return AsyncExecStream(self, validated(operation, made_absolute(operation, arguments)))

    @asynccontextmanager
    async def _temporary(self, *args: Any, **kwargs: Any) -> AsyncIterator[AsyncWorkspace]:
        created = await self.create_workspace(*args, **kwargs)
        try:
            yield created
        finally:
            # Shielded: a cancelled task, too, leaves no workspace behind.
            await asyncio.shield(asyncio.ensure_future(_gone(created)))


async def _gone(workspace: AsyncWorkspace) -> None:
    with suppress(NotFound):  # it may have been deleted inside, or have expired
        await workspace.delete()


class AsyncExecStream:
    """The output of a command while it runs: iterate once, then read `result`."""

    def __init__(self, pyro: AsyncPyro, arguments: dict[str, Any]) -> None:
        self._pyro = pyro
        self._arguments = arguments
        self._result: ExecResult | None = None
        self._pieces = self._follow()
        self.handle: str | None = None
        self.started = asyncio.Event()
        """Set as soon as `handle` is known."""

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
        following = Following(REGISTRY["exec_workspace"], self._arguments)
        while (step := following.next) is not None:
            said: asyncio.Queue[Event | None] = asyncio.Queue()
            on_event = said.put_nowait if step.streams else None
            work = asyncio.ensure_future(self._pyro.call(step.operation, step.arguments, on_event=on_event))
            work.add_done_callback(functools.partial(_end, said))
            try:
                while (event := await said.get()) is not None:
                    following.saw(event)
                    if isinstance(event, Started):
                        self.handle = event.handle
                        self.started.set()
                    elif isinstance(event, Output):
                        yield event
            finally:
                if not work.done():
                    work.cancel()
            following.took(await work)
        self._result = ExecResult.model_validate(following.result, extra="ignore")


def _end(said: asyncio.Queue[Event | None], work: asyncio.Future[Any]) -> None:
    said.put_nowait(None)


deriving.fill(
    AsyncPyroMethods,
    {
        **ASYNC_RESULTS,
        deriving.Stream: AsyncExecStream,
        deriving.Temporary: AbstractAsyncContextManager[AsyncWorkspace],
    },
    deriving.of_client(asynchronous=True),
)
deriving.fill(
    AsyncWorkspaceMethods, {**ASYNC_RESULTS, deriving.Stream: AsyncExecStream}, deriving.of_workspace(asynchronous=True)
)
