"""Writes `methods.pyi` from the operations: what type checkers and editors see of `methods`.

`python -m pyro_mcp.reference` writes it beside the reference page, and `--check` compares both.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path

from pyro_mcp.definitions.standing import records_for
from pyro_mcp.deriving import RUN, STREAM, STREAM_WITHOUT, TEMPORARY, workspace_operations
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.described import document, signature, typed

STUB = Path(__file__).with_name("methods.pyi")
_CONNECTED = ("Workspace", "WorkspaceList", "Forked")
HEAD = '''\
"""Written by `python -m pyro_mcp.reference` from the operations' definitions; do not edit."""

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Literal

from pyro_mcp.aio import AsyncExecStream
from pyro_mcp.handles import AsyncForked, AsyncWorkspace, AsyncWorkspaceList, Forked, Workspace, WorkspaceList
from pyro_mcp.models import Workspace as WorkspaceRecord
from pyro_mcp.models import (
{models}
)
from pyro_mcp.sdk import ExecStream
'''


def stub() -> str:
    """The whole file."""
    named = {op.result.__name__ for op in REGISTRY.values()}
    named |= {record for op in REGISTRY.values() for name in op.takes for record in records_for(op, name)}
    models = sorted(named - set(_CONNECTED))
    parts = [HEAD.format(models="\n".join(f"    {name}," for name in models))]
    for asynchronous in (False, True):
        prefix = "Async" if asynchronous else ""
        listed = [_method(op, op.name, asynchronous) for op in REGISTRY.values()]
        listed += [_stream("stream_exec_workspace", prefix, of_workspace=False), _temporary(prefix)]
        parts.append(_class(f"{prefix}PyroMethods", "Every operation by its name.", listed))
        listed = [_method(op, op.workspace_method, asynchronous, of_workspace=True) for op in workspace_operations()]
        listed += [_stream("stream", prefix, of_workspace=True), _run(asynchronous)]
        parts.append(_class(f"{prefix}WorkspaceMethods", "Every operation on a workspace.", listed))
    return "\n".join(parts)


def _class(name: str, text: str, methods: list[str]) -> str:
    return f'class {name}:\n    """{text}"""\n\n' + "\n".join(textwrap.indent(m, "    ") for m in methods)


def _method(operation: Operation, name: str, asynchronous: bool, *, of_workspace: bool = False) -> str:
    result = operation.result.__name__
    if asynchronous and result in _CONNECTED:
        result = f"Async{result}"
    words = signature(operation, of_workspace=of_workspace)
    return _written(name, words, result, document(operation, of_workspace=of_workspace), asynchronous)


def _stream(name: str, prefix: str, *, of_workspace: bool) -> str:
    operation = REGISTRY["exec_workspace"]
    words = signature(operation, of_workspace=of_workspace, without=STREAM_WITHOUT)
    text = document(operation, lead=STREAM, of_workspace=of_workspace, without=STREAM_WITHOUT, returns="The stream.")
    return _written(name, words, f"{prefix}ExecStream", text)


def _run(asynchronous: bool) -> str:
    operation = REGISTRY["exec_workspace"]
    words = signature(operation, of_workspace=True, without=STREAM_WITHOUT)
    text = document(operation, lead=RUN, of_workspace=True, without=STREAM_WITHOUT)
    return _written("run", words, "ExecResult", text, asynchronous)


def _temporary(prefix: str) -> str:
    operation = REGISTRY["create_workspace"]
    result = f"Abstract{prefix}ContextManager[{prefix}Workspace]"
    return _written("workspace", signature(operation), result, document(operation, lead=TEMPORARY))


def _written(name: str, words: inspect.Signature, result: str, text: str, asynchronous: bool = False) -> str:
    listed, keyword = [], False
    for p in words.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not keyword:
            listed.append("*")
            keyword = True
        if p.name == "self":
            listed.append("self")
            continue
        kind = re.sub(r"\bWorkspace\b", "WorkspaceRecord", typed(p.annotation))
        listed.append(f"{p.name}: {kind}" + ("" if p.default is p.empty else f" = {p.default!r}"))
    head = f"{'async ' if asynchronous else ''}def {name}(\n" + "".join(f"    {item},\n" for item in listed)
    quoted = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f"{head}) -> {result}:\n{textwrap.indent(f'{chr(34) * 3}{quoted}{chr(34) * 3}', '    ')}\n"
