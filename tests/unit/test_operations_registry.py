"""What holds of every operation, so that a new one cannot come half made."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
from pathlib import Path

import pytest

import pyro_mcp
from pyro_mcp import models, reference
from pyro_mcp.aio import AsyncPyro
from pyro_mcp.daemon import handlers
from pyro_mcp.definitions.known import KNOWN
from pyro_mcp.handles import AsyncWorkspace, Workspace
from pyro_mcp.operations import REGISTRY, Operation
from pyro_mcp.operations.described import raised
from pyro_mcp.sdk import Pyro
from pyro_mcp.stubs import STUB, stub

OPERATIONS = [pytest.param(op, id=op.name) for op in REGISTRY.values()]


@pytest.mark.parametrize("op", OPERATIONS)
def test_operation_is_described_whole(op: Operation) -> None:
    assert op.summary.endswith(".")
    names = {p.name for p in op.listed}
    for p in op.listed:
        assert p.description.endswith("."), p.name
    for listed in (op.positional, op.hidden, op.host_paths, tuple(op.cli_defaults)):
        assert set(listed) <= names
    assert not (op.read_only and op.destructive)
    if op.mcp:
        assert re.fullmatch("[a-z_]{1,40}", op.mcp)
        assert op.profiles
    assert all(p.name not in op.hidden for p in op.listed if p.required), "a tool could never be called"


@pytest.mark.parametrize("op", OPERATIONS)
def test_the_command_lines_table_says_what_the_definition_says(op: Operation) -> None:
    row = KNOWN[op.name]
    assert (row.help, row.summary, row.result_name, row.listed) == (op.help, op.summary, op.result_name, op.listed)
    assert row == op, "write it anew: make reference"
    assert row.function is op.function
    assert row.takes.keys() == op.takes.keys()


def test_the_table_has_every_operation() -> None:
    assert KNOWN.keys() == REGISTRY.keys()


@pytest.mark.parametrize("op", OPERATIONS)
def test_bounds_are_also_said_in_words(op: Operation) -> None:
    for p in op.listed:
        if p.kind in ("integer", "number") and p.maximum is not None and p.maximum < 2**40:
            assert f"{p.maximum:.0f}" in p.description, f"{p.name}: {p.description}"


@pytest.mark.parametrize("op", OPERATIONS)
def test_parameters_agree_with_the_model_that_checks_them(op: Operation) -> None:
    schema = op.parameters.model_json_schema()
    assert list(schema.get("properties", {})) == [p.name for p in op.listed]
    assert sorted(schema.get("required", [])) == sorted(p.name for p in op.listed if p.required)


def test_names_are_used_once() -> None:
    assert len({op.cli for op in REGISTRY.values()}) == len(REGISTRY)
    tools = [op.mcp for op in REGISTRY.values() if op.mcp]
    assert len(set(tools)) == len(tools)


def test_both_clients_have_every_operation() -> None:
    for name, op in REGISTRY.items():
        assert getattr(Pyro, name).operation is op
        assert getattr(AsyncPyro, name).operation is op
        assert inspect.iscoroutinefunction(getattr(AsyncPyro, name))
        assert not inspect.iscoroutinefunction(getattr(Pyro, name))


def test_workspaces_have_every_operation_on_a_workspace() -> None:
    methods = [op.workspace_method for op in REGISTRY.values() if op.takes_workspace]
    assert len(set(methods)) == len(methods)
    assert not set(methods) & set(models.Workspace.model_fields), "a field would hide the method"
    for op in REGISTRY.values():
        if op.takes_workspace:
            for kind in (Workspace, AsyncWorkspace):
                assert getattr(kind, op.workspace_method).operation is op


@pytest.mark.parametrize("op", OPERATIONS)
def test_help_says_types_arguments_results_and_errors(op: Operation) -> None:
    shown: list[tuple[type, str]] = [(Pyro, op.name)]
    shown += [(Workspace, op.workspace_method)] if op.takes_workspace else []
    for owner, name in shown:
        text = pydoc.plain(pydoc.render_doc(getattr(owner, name)))
        assert "Annotated" not in text and "FieldInfo" not in text
        args = text.partition("Args:\n")[2].partition("Returns:\n")[0]
        for p in op.listed:
            if owner is Pyro or p.name != "workspace":
                assert f" {p.name}: " in args
        assert op.result.__name__ in text.partition("Returns:\n")[2].partition("Raises:\n")[0]
        raises = text.partition("Raises:\n")[2]
        assert "InvalidInput:" in raises and "DaemonUnavailable:" in raises
    assert set(raised(op)) <= set(pyro_mcp.__all__)


HANDLERS = Path(handlers.__file__).parent
ITS_OWN = ("InternalError", "ValueError")


def _raised_by_itself(name: str) -> set[str]:
    """The errors that an operation's handler raises in its own body, or in a function of its module that it calls."""
    for path in HANDLERS.glob("*.py"):
        tree = ast.parse(path.read_text())
        functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
        if name not in functions:
            continue
        todo, seen, found = [name], {name}, set()
        while todo:
            for node in ast.walk(functions[todo.pop()]):
                match node:
                    case ast.Raise(exc=ast.Call(func=ast.Name(id=error))):
                        found.add(error)
                    case (
                        ast.Call(func=ast.Name(id=called))
                        | ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=called))
                    ) if called in functions and called not in seen:
                        seen.add(called)
                        todo.append(called)
        return found
    raise AssertionError(f"no handler has {name}")


@pytest.mark.parametrize("op", OPERATIONS)
def test_what_a_handler_raises_is_said(op: Operation) -> None:
    """The class or one above it stands under Raises."""
    said = {getattr(pyro_mcp, name) for name in raised(op)}
    for name in _raised_by_itself(op.name) - set(ITS_OWN):
        assert said & set(getattr(pyro_mcp, name).__mro__), f"{name} is not under Raises"


def test_type_stubs_are_what_the_operations_say() -> None:
    assert STUB.read_text() == stub(), "write them with: python -m pyro_mcp.reference"


def test_reference_page_is_what_the_operations_say() -> None:
    # Beside these tests, also when the package is installed elsewhere.
    written = Path(__file__).resolve().parents[2] / "docs" / "public-contract.md"
    assert written.read_text() == reference.page(), "write it with: python -m pyro_mcp.reference"


def test_reference_names_every_operation_and_parameter() -> None:
    text = reference.page()
    for op in REGISTRY.values():
        section = text.split(f"### pyro {' '.join(op.cli)}\n")[1].split("\n### ")[0]
        assert f"`{op.name}`" in section
        assert all(f"| `{p.name}` |" in section for p in op.listed)
