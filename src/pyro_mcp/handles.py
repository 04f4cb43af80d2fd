"""Workspaces that can be worked with: the records, and every operation on a workspace as a method.

`Pyro` gives `Workspace`, `AsyncPyro` gives `AsyncWorkspace`, also within lists and forks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from pydantic import PrivateAttr

from pyro_mcp import models
from pyro_mcp.errors import InvalidInput
from pyro_mcp.methods import AsyncWorkspaceMethods, WorkspaceMethods

W = TypeVar("W")
R = TypeVar("R")


class _Handle(models.Workspace):
    _pyro: Any = PrivateAttr(default=None)

    def _reach(self) -> Any:
        if self._pyro is None:
            raise InvalidInput(
                f"This record of workspace {self.id} has no connection: it was not returned by a `Pyro`.",
                hint="Fetch it again with pyro.status_workspace(id).",
                code="no_connection",
            )
        return self._pyro

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return super().__deepcopy__({**(memo or {}), id(self._pyro): self._pyro})  # a copy has the same connection

    def __getstate__(self) -> dict[Any, Any]:
        # What is pickled is the record alone: connections do not travel.
        return {**super().__getstate__(), "__pydantic_private__": {"_pyro": None}}


class Workspace(WorkspaceMethods, _Handle):
    """A workspace, as measured when the call was answered, with every operation on it as a method.

    >>> with pyro.workspace("debian:12", seed_path=".") as workspace:
    ...     print(workspace.exec("make test").exit_code, workspace.diff().patch)

    The fields are those of that moment; `status()` gives a new record.
    """

    def __hash__(self) -> int:  # in each class, for pyright
        return hash(self.id)


class AsyncWorkspace(AsyncWorkspaceMethods, _Handle):
    """A workspace, as measured when the call was answered, with every operation on it as a coroutine.

    >>> async with AsyncPyro() as pyro, pyro.workspace("debian:12", seed_path=".") as workspace:
    ...     print((await workspace.exec("make test")).exit_code)

    The fields are those of that moment; `status()` gives a new record.
    """

    def __hash__(self) -> int:  # in each class, for pyright
        return hash(self.id)


if TYPE_CHECKING:

    class _Several(models.Record, Generic[W]):
        workspaces: list[W]

        def __iter__(self) -> Iterator[W]: ...  # type: ignore[override]
        def __len__(self) -> int: ...
        def __getitem__(self, index: int) -> W: ...

    _Workspaces = _Several[Workspace]
    _AsyncWorkspaces = _Several[AsyncWorkspace]
else:  # generic models take 30 ms to import

    class _Workspaces(models.Record):
        workspaces: list[Workspace]

        def __iter__(self):
            return iter(self.workspaces)

        def __len__(self):
            return len(self.workspaces)

        def __getitem__(self, index):
            return self.workspaces[index]

    class _AsyncWorkspaces(_Workspaces):
        workspaces: list[AsyncWorkspace]


class WorkspaceList(_Workspaces):
    """Workspaces, last used first; iterate over it, or index it."""


class AsyncWorkspaceList(_AsyncWorkspaces):
    """Workspaces, last used first; iterate over it, or index it."""


class Forked(_Workspaces):
    """Siblings of a workspace, from the same moment; iterate over it, or index it."""

    workspace: str
    """The one they were made from."""


class AsyncForked(_AsyncWorkspaces):
    """Siblings of a workspace, from the same moment; iterate over it, or index it."""

    workspace: str
    """The one they were made from."""


RESULTS: dict[Any, Any] = {
    models.Workspace: Workspace,
    models.WorkspaceList: WorkspaceList,
    models.Forked: Forked,
}
"""What `Pyro` gives instead of plain records."""
ASYNC_RESULTS: dict[Any, Any] = {
    models.Workspace: AsyncWorkspace,
    models.WorkspaceList: AsyncWorkspaceList,
    models.Forked: AsyncForked,
}


def connected(result: R, pyro: Any) -> R:
    """A result whose workspaces reach their client."""
    for found in getattr(result, "workspaces", [result]):
        if isinstance(found, _Handle):
            found._pyro = pyro
    return result
