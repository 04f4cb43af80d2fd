"""The blocking client without models: an operation, plain arguments, a plain result.

The command line is this and no more, so that it starts quickly; `Pyro` adds the methods and the models.
"""

from __future__ import annotations

from pyro_mcp.client.answers import Noted, Result, understand
from pyro_mcp.client.calls import headers, made_absolute
from pyro_mcp.client.sync import Transport
from pyro_mcp.client.trace import begun
from pyro_mcp.client.wire import operation_path, went_away
from pyro_mcp.locations import Locations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from pyro_mcp.client.answers import Event
    from pyro_mcp.definitions.operation import Operation
    from pyro_mcp.vocabulary import Face


def _meant(on: str | None) -> Locations:
    """Where the daemon is; what other computers need is loaded only where one may be meant."""
    here = Locations.meant() if on is None else None
    if here is None:
        from pyro_mcp.client.place import locations

        return locations(on)
    return here


class Connection:
    """A connection to this user's daemon. May be used from many threads.

    Args:
        on_event: called with `Progress`, `Started` and `Output` while operations run, in the calling thread.
        on: another computer, `ssh://USER@HOST` or a context's name; by default what PYRO_ON or the chosen context
            says, else this one.
        locations: where the daemon's socket is; by default as `on` says.
        transport: carries the calls; by default a new `Transport` to `locations`.
        project: only workspaces of this project are known, as to an MCP server; by default all.
    """

    def __init__(
        self,
        *,
        on_event: Callable[[Event], None] | None = None,
        on: str | None = None,
        locations: Locations | None = None,
        transport: Transport | None = None,
        face: Face = "sdk",
        client: str = "",
        project: str | None = None,
    ) -> None:
        self._on_event = on_event
        self._face: Face = face
        self._client = client
        self._project = project
        self._transport = transport or Transport(locations or _meant(on))

    def close(self) -> None:
        """Close the connections; the daemon and the workspaces live on."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(
        self, operation: Operation, arguments: dict[str, Any], on_event: Callable[[Event], None] | None = None
    ) -> dict[str, Any]:
        """Carry out an operation with plain arguments, and give its plain result."""
        fields = headers(self._face, self._client, on_event is not None, project=self._project)
        path, trace = operation_path(operation.name), begun(operation.name, fields)
        result: dict[str, Any] | None = None
        for line in self._transport.request("POST", path, made_absolute(operation, arguments), fields):
            if trace is not None:
                trace.ended(line)
            said = understand(line)
            if isinstance(said, Result):
                result = said.record
            elif said is not None and not isinstance(said, Noted) and on_event is not None:
                on_event(said)
        if result is None:
            raise went_away()
        return result

    def events(self, operation: Operation, arguments: dict[str, Any]) -> Iterator[Event | Result]:
        """Carry out an operation, giving its events as they come and the `Result` last."""
        fields = headers(self._face, self._client, True, project=self._project)
        path, trace = operation_path(operation.name), begun(operation.name, fields)
        last: Event | Result | None = None
        for line in self._transport.request("POST", path, made_absolute(operation, arguments), fields):
            if trace is not None:
                trace.ended(line)
            said = understand(line)
            if said is not None and not isinstance(said, Noted):
                last = said
                yield said
        if not isinstance(last, Result):
            raise went_away()
