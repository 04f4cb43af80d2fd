"""Makes the methods of `Pyro`, `AsyncPyro`, `Workspace` and `AsyncWorkspace` from the operations.

A method comes into being when somebody first asks for it: most programs use few, and `help()` wants signature and
docstring in words, which take time to make. Type checkers read `methods.pyi`, which `stubs` writes from the same
definitions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.described import document, signature

STREAM_WITHOUT = ("stdin_open", "wait_seconds")
"""Parameters of `exec_workspace` that a stream of its output has no use for."""
STREAM = """\
Run a command and iterate over its output while it runs, however long it takes.

Iterate over what comes back, which gives `Output` pieces; `result` is the command's outcome then."""
RUN = """\
Run a command to its end, however long it takes.

`exec` waits a while and gives a handle to a command that outlives the wait; this waits on."""
TEMPORARY = """\
`create_workspace` as a context manager: the workspace is deleted on exit, whatever happened inside."""


class Stream:
    """Stands in signatures for what `stream` gives: each client has its own."""


class Temporary:
    """Stands in signatures for what `workspace` gives."""


class Derived:
    """Stands in a class for a method, and is replaced by it on first use."""

    def __init__(self, make: Callable[[], Callable[..., Any]]) -> None:
        self._make = make

    def __set_name__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name

    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        made: Any = self._make()
        words: inspect.Signature = made.__signature__
        gives = words.return_annotation
        words = words.replace(return_annotation=self._owner._results.get(gives, gives))
        made.__signature__ = words
        made.__annotations__ = {p.name: p.annotation for p in words.parameters.values() if p.name != "self"}
        made.__annotations__["return"] = words.return_annotation
        made.__name__ = self._name
        made.__qualname__ = f"{self._owner.__name__}.{self._name}"
        made.__module__ = self._owner.__module__
        setattr(self._owner, self._name, made)
        return made if instance is None else made.__get__(instance, owner)


def fill(owner: type, results: dict[Any, Any], methods: dict[str, Callable[[], Callable[..., Any]]]) -> None:
    """Give a class its methods. `results` says what they give instead of a plain record, by the record's class."""
    owner._results = results  # type: ignore[attr-defined]
    for name, make in methods.items():
        derived = Derived(make)
        derived.__set_name__(owner, name)
        setattr(owner, name, derived)


def of_client(*, asynchronous: bool) -> dict[str, Callable[[], Callable[..., Any]]]:
    """The methods of `Pyro` or `AsyncPyro`: every operation by its name."""
    return {name: _maker(_client_method, op, asynchronous) for name, op in REGISTRY.items()} | {
        "stream_exec_workspace": lambda: _stream_method(of_workspace=False),
        "workspace": lambda: _temporary_method(asynchronous=asynchronous),
    }


def of_workspace(*, asynchronous: bool) -> dict[str, Callable[[], Callable[..., Any]]]:
    """The methods of `Workspace` or `AsyncWorkspace`: every operation on a workspace."""
    found = {op.workspace_method: _maker(_workspace_method, op, asynchronous) for op in workspace_operations()}
    return found | {
        "run": lambda: _run_method(asynchronous=asynchronous),
        "stream": lambda: _stream_method(of_workspace=True),
    }


def workspace_operations() -> list[Operation]:
    """The operations that `Workspace` has as methods."""
    return [op for op in REGISTRY.values() if op.takes_workspace]


def _maker(
    make: Callable[[Operation, bool], Callable[..., Any]], operation: Operation, asynchronous: bool
) -> Callable[[], Callable[..., Any]]:
    return lambda: make(operation, asynchronous)


def _client_method(operation: Operation, asynchronous: bool) -> Callable[..., Any]:
    words = signature(operation)

    def arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        bound = dict(words.bind(None, *args, **kwargs).arguments)
        del bound["self"]
        return bound

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._invoke(operation, arguments(args, kwargs))

    async def call_later(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await self._invoke(operation, arguments(args, kwargs))

    made = call_later if asynchronous else call
    return _dressed(made, words, document(operation), operation)


def _workspace_method(operation: Operation, asynchronous: bool) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._reach(), operation.name)(self, *args, **kwargs)

    async def call_later(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self._reach(), operation.name)(self, *args, **kwargs)

    made = call_later if asynchronous else call
    words = signature(operation, of_workspace=True)
    return _dressed(made, words, document(operation, of_workspace=True), operation)


def _stream_method(*, of_workspace: bool) -> Callable[..., Any]:
    operation = REGISTRY["exec_workspace"]
    words = signature(operation, of_workspace=of_workspace, without=STREAM_WITHOUT)

    def stream(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = dict(words.bind(self, *args, **kwargs).arguments)
        del bound["self"]
        return self._reach()._stream({"workspace": self, **bound}) if of_workspace else self._stream(bound)

    words = words.replace(return_annotation=Stream)
    text = document(operation, lead=STREAM, of_workspace=of_workspace, without=STREAM_WITHOUT, returns="The stream.")
    return _dressed(stream, words, text, operation)


def _run_method(*, asynchronous: bool) -> Callable[..., Any]:
    operation = REGISTRY["exec_workspace"]

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self.stream(*args, **kwargs).result

    async def run_later(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await self.stream(*args, **kwargs).result()

    text = document(operation, lead=RUN, of_workspace=True, without=STREAM_WITHOUT)
    words = signature(operation, of_workspace=True, without=STREAM_WITHOUT)
    return _dressed(run_later if asynchronous else run, words, text, operation)


def _temporary_method(*, asynchronous: bool) -> Callable[..., Any]:
    operation = REGISTRY["create_workspace"]

    def workspace(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._temporary(*args, **kwargs)

    words = signature(operation).replace(return_annotation=Temporary)
    return _dressed(workspace, words, document(operation, lead=TEMPORARY), operation)


def _dressed(made: Callable[..., Any], words: inspect.Signature, text: str, operation: Operation) -> Callable[..., Any]:
    made.__signature__ = words  # type: ignore[attr-defined]
    made.__doc__ = text
    made.operation = operation  # type: ignore[attr-defined]
    return made
